"""``python -m benchmarks.scale``: what many agent steps cost, here and on many machines.

Computed from the measured figures in ``benchmarks/results``. Stages run side by side, so that the
slowest decides: the environment, the learner, the disk, the network. What is a parameter is printed
with the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.groups import core, learners, neighbour, scale
from benchmarks.report import read_results
from benchmarks.targets import figure_of, ratio_of

CAPTURE = "capture ("


class Site(NamedTuple):
    """Where it runs."""

    machines: int = 1
    cores: int = 2  # of one machine
    price: float = 0.04  # money units per core and hour
    network: float = 125e6  # bytes per second into the one machine that learns; 1 Gbit/s


class Figures(NamedTuple):
    """What was measured, on one machine."""

    environment: float  # agent steps per second, all cores
    learner: float  # agent steps per second, rollouts and updates
    disk: float  # bytes per second
    weights: dict[str, float]  # capture mode -> bytes per agent step


class Plan(NamedTuple):
    """One way to spend agent steps."""

    name: str
    seconds: dict[str, float]  # by stage
    bytes: float  # of captures

    @property
    def bottleneck(self) -> str:
        """The stage that decides."""
        return max(self.seconds, key=lambda stage: self.seconds[stage])

    @property
    def time(self) -> float:
        """Seconds of the slowest stage."""
        return max(self.seconds.values())

    def money(self, site: Site) -> float:
        """Return money units: all cores of all machines, for as long as it takes."""
        return self.time / 3600 * site.machines * site.cores * site.price


def measured(results: Mapping[str, Mapping[str, Any]]) -> Figures | None:
    """Return the figures of the results; None where a group is missing that is needed."""
    speeds = {row["arm"]: row["per_second"] for row in results.get("core", {}).get("arms", ())}
    trained = [
        row["ours_per_second"]
        for row in results.get("learners", {}).get("comparisons", ())
        if row["ours"] == learners.F32
    ]
    cores = ratio_of("neighbour", neighbour.TWO, neighbour.ONE)(results)
    disk = figure_of("scale", scale.DISK)(results)
    weights = {
        name.removeprefix(CAPTURE).removesuffix(")"): float(found["value"])
        for name, found in results.get("loading", {}).get("figures", {}).items()
        if name.startswith(CAPTURE)
    }
    if core.CORE not in speeds or not trained or cores is None or disk is None:
        return None
    return Figures(speeds[core.CORE] * cores, trained[0], disk, weights)


def plans(figures: Figures, site: Site, steps: float) -> list[Plan]:
    """Return the ways to spend ``steps`` at a site.

    Environments run on all machines and write to their own disks. One machine learns, whatever the
    others do: it reads what they captured over the network, and learns at the rate of one machine.
    """
    towns = steps / figures.environment / site.machines
    found = [Plan("simulate, keep nothing", {"environment": towns}, 0)]
    for mode, weight in figures.weights.items():
        size = steps * weight
        disk = size / figures.disk / site.machines
        kept = {"environment": towns, "disk": disk}
        found.append(Plan(f"simulate and capture ({mode})", kept, size))
        learned = {**kept, "learner": steps / figures.learner}
        if site.machines > 1:
            learned["network"] = size / site.network
        found.append(Plan(f"capture ({mode}), one machine learns", learned, size))
    apart = {"environment": towns, "learner": steps / figures.learner / site.machines}
    name = "train live" if site.machines == 1 else "train live, a learner of its own per machine"
    return [*found, Plan(name, apart, 0)]


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1000:.3g} ms"


def size(count: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit, scale_ in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= scale_:
            return f"{count / scale_:.3g} {unit}"
    return f"{count / 1e3:.3g} kB" if count else "-"


def rows(found: list[Plan], site: Site) -> list[list[str]]:
    """Return the cells of a table: time, bottleneck, bytes, money units."""
    return [
        [
            plan.name,
            duration(plan.time),
            f"{plan.bottleneck} ({', '.join(_others(plan)) or 'alone'})",
            size(plan.bytes),
            f"{plan.money(site):.3g}",
        ]
        for plan in found
    ]


def _others(plan: Plan) -> list[str]:
    return [
        f"{stage} {duration(seconds)}"
        for stage, seconds in plan.seconds.items()
        if stage != plan.bottleneck
    ]


HEAD = ("what", "takes", "bottleneck (the others)", "bytes", "money units")


def main(
    steps: Annotated[float, typer.Option(help="Agent steps.")] = 1e9,
    machines: Annotated[int, typer.Option(min=1)] = 100,
    cores: Annotated[int, typer.Option(min=1, help="Of one machine; measured with two.")] = 2,
    price: Annotated[float, typer.Option(help="Money units per core and hour.")] = 0.04,
    network: Annotated[float, typer.Option(help="Bytes per second into the learner.")] = 125e6,
) -> None:
    """Print what agent steps cost on one machine like this one and on several."""
    console = Console(width=150)
    figures = measured(read_results())
    if figures is None:
        console.print("expected results of core, learners, neighbour and scale; run make bench")
        raise typer.Exit(2)
    for site in (Site(1, cores, price, network), Site(machines, cores, price, network)):
        title = f"{steps:.3g} agent steps, machines: {site.machines}"
        table = Table(*HEAD, title=title)
        for row in rows(plans(figures, site, steps), site):
            table.add_row(*row)
        console.print(table)
    console.print(
        f"with {figures.environment:,.0f} agent steps/s of environment and "
        f"{figures.learner:,.0f} of learner a machine, {size(figures.disk)}/s of disk, "
        f"{size(network)}/s of network, {price} money units per core and hour",
        highlight=False,
    )


if __name__ == "__main__":
    typer.run(main)
