"""``townlet bench``: how fast the town is here."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def bench(
    scenario: Annotated[str, typer.Argument(help="Scenario to play, or its file.")] = "town_day",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of every part.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.01, help="Seconds of a turn.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Measure the main parts in turn and print agent steps per second; takes about half a minute.

    Figures are of this machine and of now; docs/PERFORMANCE.md compares with other environments.

    Example: townlet bench --rounds 5
    """
    from rich.progress import track
    from rich.table import Table

    from townlet_replay.bench.measure import Effort
    from townlet_replay.bench.quick import quick
    from townlet_replay.cli.console import stderr, stdout

    found = quick(
        scenario,
        Effort(rounds, seconds),
        lambda turns: track(list(turns), "turns", console=stderr, disable=not stderr.is_terminal),
    )
    if as_json:
        typer.echo(json.dumps({"speeds": found.rows, "left_out": found.left_out}, indent=1))
        return
    table = Table("part", "agent steps per second", "lowest to highest")
    for row in found.rows:
        between = f"{row['lowest']:,.0f} to {row['highest']:,.0f}"
        table.add_row(row["arm"], f"{row['per_second']:,.0f}", between)
    stdout.print(table)
    for name, reason in found.left_out.items():
        stdout.print(f"{name}: not measured, {reason}", highlight=False)
