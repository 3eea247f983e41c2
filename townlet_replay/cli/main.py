"""``townlet``: one command per thing one does.

Commands import what they need when they run, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys

import typer

from townlet_env.errors import TownletError
from townlet_replay.cli import (
    capture,
    captures,
    compare,
    demo,
    doctor,
    evaluate,
    golden,
    scenarios,
    telemetry,
    train,
)
from townlet_replay.cli.console import stderr

app = typer.Typer(
    name="townlet",
    help="Record the town, replay it, train on the recordings, and compare.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.add_typer(scenarios.app, name="scenarios")
app.command("capture")(capture.capture)
app.add_typer(captures.app, name="captures")
app.add_typer(golden.app, name="golden")
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.add_typer(telemetry.app, name="telemetry")
app.command("doctor")(doctor.doctor)


def run() -> None:
    """Run the command line; a ``TownletError`` is one message and exit code 1."""
    try:
        app()
    except TownletError as error:
        stderr.print(f"[bold red]error:[/] {_plain(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        stderr.print("interrupted; what was complete is on disk", highlight=False)
        sys.exit(130)


def _plain(text: str) -> str:
    """Keep names from files from being read as markup or terminal codes."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() or c in "\n\t" else "?" for c in text))
