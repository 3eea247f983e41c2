"""A new process: from nothing to the first step, compiled before or not, and its memory later."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.report import Report

FIRST_STEP = """
from townlet_env import townlet_v0
env = townlet_v0.parallel_env("town_day")
env.reset(seed=0)
env.step(dict.fromkeys(env.agents, 0))
"""
TICKS = 1_000_000  # over which memory must not grow
WORLD, GROWN = "memory of a world", "memory grown over them"
LIBRARIES = "import numpy, numba, gymnasium, pettingzoo, pydantic, yaml"


class Spent(NamedTuple):
    """Seconds, by the wall's and the processor's clock."""

    wall: float
    processor: float


def seconds_of(code: str, cache: str) -> Spent:
    """Run a program in a new process with a kernel cache, and return how long it took."""
    environment = {**os.environ, "TOWNLET_CACHE_DIR": cache}
    before, wall = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    after = os.times()
    used = after.children_user - before.children_user
    used += after.children_system - before.children_system
    return Spent(time.perf_counter() - wall, used)


def keep(report: Report, name: str, runs: Sequence[Spent]) -> None:
    """Keep the medians of both clocks."""
    report.figure(name, statistics.median(run.wall for run in runs), "s")
    busy = statistics.median(run.processor for run in runs)
    report.figure(f"{name}, processor time", busy, "s")


def memory(report: Report) -> None:
    """Weigh a world, and see whether a batch grows as it lives on."""
    ticks = round(TICKS * min(report.effort.seconds / 0.5, 1))
    command = [sys.executable, "-m", "benchmarks.memory", str(ticks)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    report.figure(WORLD, found["world"] / 1024, "KiB")
    report.figure("ticks lived on", found["ticks"], "ticks")
    report.figure(GROWN, found["grown"] / 1024, "KiB")


def measure(report: Report) -> None:
    """Weigh; compile into an empty cache; start warm, and start Python alone beside it."""
    memory(report)
    rounds = range(report.effort.rounds)
    with tempfile.TemporaryDirectory() as cache:
        keep(report, "cold first step", [seconds_of(FIRST_STEP, cache)])
        keep(report, "warm first step", [seconds_of(FIRST_STEP, cache) for _ in rounds])
        bare = [seconds_of(LIBRARIES, cache) for _ in rounds]
    keep(report, "import of the libraries alone", bare)
