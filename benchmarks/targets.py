"""The targets of the design, each with the measurement that judges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchmarks.groups import (
    core,
    episodes,
    learners,
    loading,
    logs,
    neighbour,
    recording,
    scaling,
    start,
    views,
)
from benchmarks.peers import METTAGRID, MPE2_3, PURSUIT, SUPERSUIT, SUPERSUIT_SB3

Results = Mapping[str, Mapping[str, Any]]
"""Documents of results by group."""

Measured = Callable[[Results], float | None]
"""Reads a figure from the results; None where it was not measured."""


class Target(NamedTuple):
    """One line of the table."""

    number: str
    what: str
    against: str
    target: float
    floor: float
    unit: str  # "x" for ratios
    measured: Measured
    low: bool = False  # less is better


def ratio_of(group: str, ours: str, peer: str, invert: bool = False) -> Measured:
    """Return what reads a ratio of two arms."""

    def read(results: Results) -> float | None:
        for row in results.get(group, {}).get("comparisons", ()):
            if (row["ours"], row["peer"]) == (ours, peer):
                return float(1 / row["ratio"] if invert else row["ratio"])
        return None

    return read


def figure_of(group: str, name: str) -> Measured:
    """Return what reads a figure."""

    def read(results: Results) -> float | None:
        found = results.get(group, {}).get("figures", {}).get(name)
        return None if found is None else float(found["value"])

    return read


def speed_of(group: str, name: str) -> Measured:
    """Return what reads the speed of an arm."""

    def read(results: Results) -> float | None:
        for row in results.get(group, {}).get("arms", ()):
            if row["arm"] == name:
                return float(row["per_second"])
        return None

    return read


def least_ratio(group: str, ours: str, peers: tuple[str, ...]) -> Measured:
    """Return what reads the ratio to the best of several peers."""

    def read(results: Results) -> float | None:
        found = [ratio_of(group, ours, peer)(results) for peer in peers]
        return min((value for value in found if value is not None), default=None)

    return read


PYTHON_PEERS = (MPE2_3.name, PURSUIT.name, SUPERSUIT.name)
RESIDENTS = f"{8 * scaling.TILES[-1][0] * scaling.TILES[-1][1]} residents", "8 residents"
ONE_CORE = "batch core, one core, 256 worlds of 8 residents"
TARGETS = (
    Target("1", ONE_CORE, "its plain-Python twin", 100, 60, "x",
           ratio_of("core", core.CORE, core.TWIN)),
    Target("2", ONE_CORE, "the best Python peer", 300, 150, "x",
           least_ratio("core", core.CORE, PYTHON_PEERS)),
    Target("3", ONE_CORE, "mettagrid (C++)", 40, 40, "x",
           ratio_of("core", core.CORE, METTAGRID.name)),
    Target("4", "two cores", "one core", 1.8, 1.5, "x",
           ratio_of("neighbour", neighbour.TWO, neighbour.ONE)),
    Target("4", "two cores beside a busy neighbour", "one core alone", 0.8, 0.8, "x",
           ratio_of("neighbour", neighbour.TWO + neighbour.BUSY, neighbour.ONE)),
    Target("5", "PettingZoo view, one world", "MPE2 simple_spread", 30, 15, "x",
           ratio_of("views", views.DICTS, MPE2_3.name)),
    Target("6", "Gymnasium vector view, 1,024 slots", "SuperSuit's route", 200, 50, "x",
           ratio_of("views", views.VECTOR, SUPERSUIT.name)),
    Target("6", "SB3 view, 1,024 slots", "SuperSuit's route", 200, 50, "x",
           ratio_of("views", views.SB3, SUPERSUIT_SB3.name)),
    Target("6", "SB3 PPO's time inside the town", "all its time", 3, 3, "%",
           figure_of("learners", learners.SHARE), low=True),
    Target("7", "an agent step among 64 residents", "among 8", 2, 3, "x",
           ratio_of("scaling", *RESIDENTS, invert=True), low=True),
    Target("8", "native PPO, float32", "SB3 PPO", 2.3, 1.8, "x",
           ratio_of("learners", learners.F32, learners.SB3)),
    Target("8", "native PPO, float32", "SB3 MaskablePPO", 2.6, 1.8, "x",
           ratio_of("learners", learners.F32, learners.MASKABLE)),
    Target("9", "native PPO, bf16", "SB3 PPO", 3.3, 2.4, "x",
           ratio_of("learners", learners.BF16, learners.SB3)),
    Target("9", "native PPO, bf16", "SB3 MaskablePPO", 4, 2.4, "x",
           ratio_of("learners", learners.BF16, learners.MASKABLE)),
    Target("10", "native PPO, float32, end to end", "SB3 PPO on Python through SuperSuit", 10, 5,
           "x", ratio_of("learners", learners.F32, learners.USUAL)),
    Target("11", "recording through the PettingZoo view adds", "nothing recorded", 4, 8,
           "us per agent step", figure_of("recording", recording.ADDED), low=True),
    Target("12", "batched recording, actions", "the same without it", 0.95, 0.95, "x",
           ratio_of("logs", logs.RECORDED, logs.PLAIN)),
    Target("12", "batched recording, packed", "-", 300_000, 300_000, "agent steps per second",
           speed_of("recording", recording.batched("packed"))),
    Target("13", "warm start to the first step", "", 1, 2, "s",
           figure_of("start", "warm first step"), low=True),
    Target("13", "cold start, everything compiled", "", 25, 45, "s",
           figure_of("start", "cold first step"), low=True),
    Target("14", "memory of a world of 8 residents", "", 64, 64, "KiB",
           figure_of("start", start.WORLD), low=True),
    Target("14", "memory grown over a million ticks", "", 1024, 4096, "KiB",
           figure_of("start", start.GROWN), low=True),
    Target("15", "captures (full) read and verified, two cores", "", 1_000_000, 500_000,
           "agent steps per second", speed_of("loading", loading.capture("full"))),
    Target("15", "captures (packed) read and verified, two cores", "", 1_000_000, 500_000,
           "agent steps per second", speed_of("loading", loading.capture("packed"))),
    Target("15", "4,096 random rows of a capture in memory", "", 5, 10, "ms",
           figure_of("loading", loading.RANDOM), low=True),
    Target("16", "an episode recorded among 10,000", "among 100", 1.25, 2, "x",
           figure_of("episodes", episodes.growth(episodes.WRITTEN)), low=True),
    Target("16", "an episode listed among 10,000", "among 100", 1.25, 2, "x",
           figure_of("episodes", episodes.growth(episodes.LISTED)), low=True),
)  # fmt: skip


def verdict(target: Target, value: float | None) -> str:
    """Return ``met``, ``above the floor``, ``missed`` or ``not measured``."""
    if value is None:
        return "not measured"
    sign = -1 if target.low else 1
    if sign * value >= sign * target.target:
        return "met"
    return "above the floor" if sign * value >= sign * target.floor else "missed"
