"""Two points of each curve of docs/SCALE.md: predicted from a short run, and measured."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.groups.learners import native, settings
from benchmarks.report import Report
from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.sim.batch import WorldBatch
from townlet_replay.bench.measure import Clock, Rate, timed

POINTS = {"environment": (1_000_000, 10_000_000), "learner": (250_000, 1_000_000)}
DISK = "disk, written and flushed"
BLOCK = 64 << 20


def environment() -> Callable[[int], float]:
    """Return what plays so many agent steps of the batch core and returns the seconds."""
    batch = WorldBatch(compile_plan(load_scenario("town_day")), 256)
    batch.reset(range(256))
    rng = np.random.default_rng(4)
    told = rng.integers(0, len(batch.plan.names.actions), (64, 256, batch.num_residents))

    def run(steps: int) -> float:
        ticks = max(1, round(steps / told[0].size))
        before = time.perf_counter()
        for tick in range(ticks):
            batch.step(told[tick % len(told)])
        return (time.perf_counter() - before) * steps / (ticks * told[0].size)

    return run


def learner() -> Callable[[int], float]:
    """Return what trains for about so many agent steps and returns the seconds per that many."""
    train, rollout = native(settings())

    def run(steps: int) -> float:
        rollouts = max(1, round(steps / rollout))
        before = time.perf_counter()
        train(rollouts)
        return (time.perf_counter() - before) * steps / (rollouts * rollout)

    return run


def disk_speed(folder: Path) -> Rate:
    """Write one block, flush it to the disk, and return bytes per second."""
    block = os.urandom(BLOCK)

    def act(clock: Clock) -> int:
        with clock, (folder / "block").open("wb") as file:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return len(block)

    return timed(act, 0.2)


def measure(report: Report) -> None:
    """Predict each point from a run a twentieth as long, then run it."""
    runs = {"environment": environment(), "learner": learner()}
    small = report.effort.seconds / 0.5
    for name, points in POINTS.items():
        runs[name](int(points[0] * small / 10))  # warm
        for steps in points:
            wanted = int(steps * small)
            sample = wanted // 20
            predicted = runs[name](sample) / sample * wanted
            measured = runs[name](wanted)
            report.point(name, wanted, predicted, measured)
    with tempfile.TemporaryDirectory() as folder:
        report.figure(DISK, disk_speed(Path(folder)).wall, "bytes per second")
