"""``townlet``: one command per thing one does.

Commands import what they need when they run, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys

import typer

from townlet_env.errors import TownletError
from townlet_env.notices import listen
from townlet_replay.cli.bench import bench
from townlet_replay.cli.capture import capture
from townlet_replay.cli.captures import app as captures
from townlet_replay.cli.compare import compare
from townlet_replay.cli.console import printable, stderr
from townlet_replay.cli.demo import demo
from townlet_replay.cli.doctor import doctor
from townlet_replay.cli.evaluate import evaluate
from townlet_replay.cli.golden import app as golden
from townlet_replay.cli.kpis import kpis
from townlet_replay.cli.parity import parity
from townlet_replay.cli.render import render
from townlet_replay.cli.scenarios import app as scenarios
from townlet_replay.cli.telemetry import app as telemetry
from townlet_replay.cli.train import train

INTERRUPTED = 130  # how Typer ends after Ctrl-C: 128 + SIGINT

app = typer.Typer(
    name="townlet",
    help="Record the town, replay it, train on the recordings, and compare.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo)
app.add_typer(scenarios, name="scenarios")
app.command("render")(render)
app.command("kpis")(kpis)
app.command("capture")(capture)
app.add_typer(captures, name="captures")
app.add_typer(golden, name="golden")
app.command("train")(train)
app.command("parity")(parity)
app.command("evaluate")(evaluate)
app.command("compare")(compare)
app.add_typer(telemetry, name="telemetry")
app.command("bench")(bench)
app.command("doctor")(doctor)


def run() -> None:
    """Run the command line; a ``TownletError`` is one message and exit code 1."""
    listen(lambda sentence: stderr.print(sentence, highlight=False, markup=False, soft_wrap=True))
    try:
        app()
    except TownletError as error:
        stderr.print(f"[bold red]error:[/] {_plain(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except SystemExit as stopped:
        if stopped.code == INTERRUPTED:
            stderr.print("interrupted; what was complete is on disk", highlight=False)
        raise


def _plain(text: str) -> str:
    """Keep names from files from being read as markup or terminal codes."""
    from rich.markup import escape

    return escape(printable(text))
