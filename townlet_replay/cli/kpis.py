"""``townlet kpis``: how well a town lives under scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def kpis(
    scenario: Annotated[str, typer.Argument(help="Name of a shipped scenario, or a YAML file.")],
    seeds: Annotated[int, typer.Option(min=1, help="Episodes per policy.")] = 20,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first.")] = 0,
    policies: Annotated[
        str, typer.Option(help="Comma-separated; 'script' is what the scenario says.")
    ] = "needs_driven,random,idle",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
    write: Annotated[
        Path | None, typer.Option(help="A page with a line <!-- kpis: SCENARIO -->.")
    ] = None,
) -> None:
    """Play whole episodes with everybody following a policy, and print key figures.

    Example: townlet kpis town_day --seeds 20
    """
    import json

    from rich.table import Table

    from townlet_env.config.load import load_scenario
    from townlet_env.kpis import KPIS, measure
    from townlet_replay.cli.console import bar, stdout
    from townlet_replay.kpi_page import check_page, finish_rows, kpi_rows, write_kpis

    config = load_scenario(scenario)
    names = [name.strip() for name in policies.split(",")]
    chosen = range(first_seed, first_seed + seeds)
    if write is not None:
        check_page(write, config.name)
    found = []
    with bar(f"{config.name}, {seeds} seeds", len(names) * config.ticks) as progress:
        for name in names:
            policy = None if name == "script" else name
            found.append(measure(config, policy, chosen, progress.advance))
    if write is not None:
        write_kpis(write, config.name, found)
    if as_json:
        figures = [
            {
                "policy": one.policy,
                "seeds": list(one.seeds),
                **{kpi.name: [_plain(value) for value in one.of(kpi).tolist()] for kpi in KPIS},
                "finishes": dict(zip(one.affordances, one.finishes.T.tolist(), strict=True)),
            }
            for one in found
        ]
        typer.echo(json.dumps(figures, indent=1))
        return
    title = f"{config.name}, {seeds} seeds: mean (lowest to highest)"
    table = Table("figure", *names, title=title)
    for figure, _, *cells in kpi_rows(found):
        table.add_row(figure, *cells)
    stdout.print(table)
    table = Table("affordance", *names, title="finished a day, in the seed with the fewest")
    for row in finish_rows(found):
        table.add_row(*row)
    stdout.print(table)


def _plain(value: float) -> float | None:
    """Return a number for JSON, which knows no nan."""
    return None if value != value else value
