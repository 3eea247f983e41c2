"""``townlet golden``: captures of the catalogue against the figures kept in the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from townlet_replay.golden import Drift, Golden

app = typer.Typer(help="Check and refresh the goldens of the catalogue.", no_args_is_help=True)

DEFAULT = Path("docs/samples/rollout_scenario_stats.json")
File = Annotated[Path, typer.Option("--file", help="The golden file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


@app.command()
def check(file: File = DEFAULT, as_json: AsJson = False) -> None:
    """Capture every scenario and print what moved; exit 1 if anything did.

    Example: townlet golden check
    """
    from townlet_replay.golden import read_golden

    golden = read_golden(file)
    _, drifts = _measured(golden)
    _print(drifts, as_json)
    if drifts:
        raise typer.Exit(1)


@app.command()
def refresh(
    file: File = DEFAULT,
    dry_run: Annotated[bool, typer.Option(help="Print what would move; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Capture every scenario and write the figures.

    Example: townlet golden refresh --dry-run
    """
    from townlet_replay.golden import Golden, read_golden, write_golden

    golden = read_golden(file) if file.is_file() else Golden(scenarios={})
    now, drifts = _measured(golden)
    _print(drifts, as_json)
    if not dry_run:
        write_golden(file, now)
        typer.echo(f"wrote {file}", err=True)


def _measured(golden: Golden) -> tuple[Golden, list[Drift]]:
    """Return today's figures and what moved."""
    from townlet_env.config.load import list_scenarios
    from townlet_replay.cli.console import bar
    from townlet_replay.golden import compare, measure

    names = list_scenarios()
    with bar("capturing", len(names)) as progress:
        now = measure(names, lambda name: progress.advance(note=name))
    return now, compare(golden, now)


def _print(drifts: list[Drift], as_json: bool) -> None:
    from rich.table import Table

    from townlet_replay.cli.console import stdout

    if as_json:
        typer.echo(json.dumps([drift._asdict() for drift in drifts], indent=1))
    elif not drifts:
        typer.echo("nothing moved")
    else:
        table = Table()
        for heading in ("scenario", "resident", "figure", "golden", "now"):
            # A cut figure would say nothing, and names are to be copied.
            table.add_column(heading, overflow="fold", no_wrap=heading == "scenario")
        for drift in drifts:
            table.add_row(*drift)
        stdout.print(table)
