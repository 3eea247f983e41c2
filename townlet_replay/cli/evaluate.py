"""``townlet evaluate``: how well a network plays, sampled and greedy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint, or a zip of SB3 of your own.")],
    scenario: Annotated[
        list[str] | None, typer.Option(help="Scenario; may be repeated; that of the training.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Episodes per scenario.")] = 16,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first.")] = 1_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Play scenarios with a network and print returns and KPIs beside script and random.

    Example: townlet evaluate runs/ppo.json --scenario queue_conflict --seeds 32
    """
    import json

    from rich.table import Table

    from townlet_replay.cli.console import bar, stdout
    from townlet_replay.scoring import score_checkpoint

    names = scenario or []
    with bar("evaluating", 4 * max(len(names), 1)) as progress:
        found = score_checkpoint(checkpoint, names, range(first_seed, first_seed + seeds), progress)
    if as_json:
        typer.echo(json.dumps([row._asdict() for row in found], indent=1))
        return
    for name in dict.fromkeys(row.scenario for row in found):
        rows = [row for row in found if row.scenario == name]
        table = Table("per resident and episode", *(row.who for row in rows), title=name)
        table.add_row("return", *(f"{row.mean_return:.3f}" for row in rows))
        for kpi in rows[0].kpis:
            table.add_row(kpi, *(f"{row.kpis[kpi]:.3f}" for row in rows))
        stdout.print(table)
