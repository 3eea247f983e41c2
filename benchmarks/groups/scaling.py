"""How the cost of an agent step changes with worlds, residents, and maps."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from benchmarks.report import Report
from benchmarks.towns import tiled_town
from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.sim.features import FULL_MAP_CHANNELS, MAP_CHANNELS
from townlet_replay.bench.measure import Arm, Rate
from townlet_replay.bench.plays import core

TOWN = "town_day"
WORLDS = (1, 4, 16, 64, 256, 1024, 4096)
MAPS = {"no map": 0, "hybrid": len(MAP_CHANNELS), "full": len(FULL_MAP_CHANNELS)}
TILES = ((1, 1), (2, 1), (2, 2), (4, 2))  # copies of a town of 8 residents
SMALL = ("rivalry_decay", "queue_conflict", "shared_flat", "social_cafe", "rush_hour", TOWN)


def medians(rates: Sequence[Sequence[Rate]]) -> list[float]:
    """Return the median speed of each arm."""
    return [statistics.median(rate.wall for rate in found) for found in rates]


def by_worlds(report: Report) -> None:
    """Measure numbers of worlds for each kind of map."""
    town = load_scenario(TOWN)
    lines = {}
    for name, channels in MAPS.items():
        arms = [Arm(f"{w} worlds, {name}", core(town, w, channels)) for w in WORLDS]
        rates = report.take_turns(arms, f"worlds, {name}")
        lines[name] = [list(WORLDS), medians(list(rates.values()))]
    report.curve("worlds", ("worlds of 8 residents", "agent steps per second"), lines)


def by_residents(report: Report) -> None:
    """Measure towns of 8 to 64 residents, as many agent steps a tick in all of them."""
    arms, residents = [], []
    for columns, rows in TILES:
        count = 8 * columns * rows
        residents.append(count)
        arms.append(Arm(f"{count} residents", core(tiled_town(columns, rows), 512 // count)))
    rates = report.take_turns(arms, "residents")
    lines = {"512 residents in all": [residents, medians(list(rates.values()))]}
    report.curve("residents", ("residents of a world", "agent steps per second"), lines)
    report.compare(rates, f"{residents[-1]} residents", f"{residents[0]} residents")


def by_scenario(report: Report) -> None:
    """Measure shipped scenarios of several sizes, 256 worlds of each."""
    arms, cells = [], []
    for name in SMALL:
        town = load_scenario(name)
        cells.append(int(compile_plan(town).grid.size))
        arms.append(Arm(f"{name}, {len(town.residents)} residents", core(town, 256)))
    rates = report.take_turns(arms, "scenarios")
    order = np.argsort(cells, kind="stable")
    speeds = medians(list(rates.values()))
    line = [[cells[i] for i in order], [speeds[i] for i in order]]
    report.curve(
        "grid", ("cells of the padded grid", "agent steps per second"), {"256 worlds": line}
    )


def measure(report: Report) -> None:
    """Take the curves one after the other."""
    for part in (by_worlds, by_residents, by_scenario):
        part(report)
