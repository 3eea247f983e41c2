"""Action logs: a batch of towns recorded without a break, and living again beside reading."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Report
from townlet_env.views.vector import TownletVectorEnv
from townlet_replay.batch_recorder import RecordBatch
from townlet_replay.bench.measure import Arm, Clock, Play, Rate, timed
from townlet_replay.bench.plays import SEED, legal
from townlet_replay.deriving import derive
from townlet_replay.manifest import load_capture
from townlet_replay.rerun_sources import LogSource, open_source
from townlet_replay.sidecar import RecordMode
from townlet_replay.verifying import verify

TOWN = "town_day"
WORLDS, TICKS, EPISODES = 256, 200, 3  # of a recording
KEPT, DAY = 16, 1440  # worlds and ticks of what is lived again and read
PLAIN = f"vector view, {WORLDS} worlds, not recorded"
RECORDED = f"vector view, {WORLDS} worlds, action log"
NOTED = f"vector view, {WORLDS} worlds, action log with log-probs and values"
VERIFIED = "action log verified: every state lived again and compared"
DERIVED = "action log lived again into samples"


def read(mode: str) -> str:
    """Return the name of an arm."""
    return f"capture ({mode}) read into samples, verified"


def stepping(folder: Path | None, *, notes: bool = False) -> Play:
    """Episodes one after the other, to the last file; actions and notes drawn off the clock."""
    towns = TownletVectorEnv(TOWN, WORLDS, max_ticks=TICKS)
    rng, number = np.random.default_rng(SEED), count()

    def act(clock: Clock) -> int:
        env: Any = towns
        if folder is not None:
            env = RecordBatch(towns, folder / f"{notes}{next(number)}", mode="actions")
        with clock:
            _, infos = env.reset(seed=SEED)
        for _ in range(EPISODES * (TICKS + 1) - 1):  # a step opens the next episode
            orders = legal(infos["action_mask"], rng)
            noted = rng.random((2, towns.num_envs), np.float32)
            with clock:
                if notes:
                    env.annotate(log_probs=-noted[0], values=noted[1])
                *_, infos = env.step(orders)
        if folder is not None:
            with clock:
                env.seal()
            env.writer.close()
        return EPISODES * TICKS * towns.num_envs

    return lambda seconds: timed(act, seconds)


def recorded(folder: Path, mode: RecordMode) -> Path:
    """Record the same day in a mode and return the folder."""
    towns = TownletVectorEnv(TOWN, KEPT, max_ticks=DAY, details=False)
    rng = np.random.default_rng(SEED)
    with RecordBatch(towns, folder / mode, mode=mode) as recorder:
        _, infos = recorder.reset(seed=SEED)
        for _ in range(DAY):
            noted = rng.random((2, towns.num_envs), np.float32)
            recorder.annotate(log_probs=-noted[0], values=noted[1])
            *_, infos = recorder.step(legal(infos["action_mask"], rng))
    return folder / mode


def passing(rows: Callable[[], int]) -> Play:
    """Go through all rows, again and again."""

    def act(clock: Clock) -> int:
        with clock:
            return rows()

    return lambda seconds: timed(act, seconds)


def log_of(folder: Path) -> LogSource:
    """Open an action log."""
    source = open_source(folder)
    assert isinstance(source, LogSource)
    return source


def measure(report: Report) -> None:
    """Eight residents of ``town_day``; files included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arms = [
            Arm(PLAIN, stepping(None)),
            Arm(RECORDED, stepping(folder)),
            Arm(NOTED, stepping(folder, notes=True)),
        ]
        rates = report.take_turns(arms, "recording, action logs")
    for arm in (RECORDED, NOTED):
        report.compare(rates, arm, PLAIN)
        report.figure(f"CPU time added: {arm}", added(rates, arm), "us per agent step")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = log_of(recorded(folder, "actions"))
        arms = [
            Arm(VERIFIED, passing(lambda: verify(source).rows)),
            Arm(DERIVED, passing(lambda: sum(sample.rows for sample in derive(source)))),
        ]
        for mode in ("full", "packed"):
            path = recorded(folder, mode)
            arms.append(Arm(read(mode), passing(partial(rows_of, path))))
        rates = report.take_turns(arms, "living again and reading")
    for arm in (VERIFIED, DERIVED):
        for mode in ("full", "packed"):
            report.compare(rates, arm, read(mode))


def rows_of(path: Path) -> int:
    """Read all samples of a capture and return how many rows they have."""
    return sum(sample.rows for sample in load_capture(path))


def added(rates: dict[str, list[Rate]], arm: str) -> float:
    """Return the microseconds of the processor that recording adds to an agent step."""
    pairs = zip(rates[arm], rates[PLAIN], strict=True)
    return float(np.median([1e6 / one.processor - 1e6 / other.processor for one, other in pairs]))
