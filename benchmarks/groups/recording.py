"""What recording costs: the PettingZoo view in every mode, and Minari's collector beside it."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.peers import GYMNASIUM, MINARI, running
from benchmarks.report import Report
from townlet_env import townlet_v0
from townlet_env.config.load import load_scenario
from townlet_env.views.vector import TownletVectorEnv
from townlet_replay.batch_recorder import RecordBatch
from townlet_replay.bench.measure import Arm, Clock, Play, Rate, timed
from townlet_replay.bench.plays import SEED, script
from townlet_replay.recorder import RecordReplay
from townlet_replay.sidecar import Mode, RecordMode

TOWN = "town_day"
TICKS = 1440  # a whole day, which is how long the scenario is
WORLDS, PLAYS = 64, 16  # of the vector view: towns, and scripts that differ
MODES: tuple[RecordMode, ...] = get_args(RecordMode)
BATCH_MODES: tuple[Mode, ...] = get_args(Mode)
EPISODES = 4  # in a row, where a thread writes
THREAD = "full, writer thread"
ADDED = f"recording adds ({THREAD})"
PLAIN = "PettingZoo view, not recorded"
BATCH = "vector view, not recorded"


def recorded(mode: str) -> str:
    """Return the name of an arm."""
    return f"PettingZoo view, recorded ({mode})"


def batched(mode: str) -> str:
    """Return the name of an arm."""
    return f"vector view, recorded ({mode})"


def _town() -> Any:
    return townlet_v0.parallel_env(TOWN, max_ticks=TICKS)


def orders_of_town() -> list[dict[str, int]]:
    """Return legal actions of everybody, tick by tick."""
    names = _town().possible_agents
    told = script(load_scenario(TOWN), TICKS)[:, 0]
    return [dict(zip(names, row.tolist(), strict=True)) for row in told]


def play(env: Any, orders: Sequence[dict[str, int]]) -> None:
    """Live one episode."""
    env.reset(seed=SEED)
    for row in orders:
        env.step(row)


def dicts(record: Callable[[Any], Any] | None, episodes: int = 1) -> Play:
    """Episodes through the PettingZoo view; recording includes opening, closing and all files."""
    orders = orders_of_town()

    def act(clock: Clock) -> int:
        env = _town()
        with clock:
            env = record(env) if record else env
            for _ in range(episodes):
                play(env, orders)
            env.close()
        return episodes * sum(map(len, orders))

    return lambda seconds: timed(act, seconds)


def recorder(mode: str, folder: Path, **settings: Any) -> Callable[[Any], Any]:
    """Return what wraps an environment; every act is a capture of its own."""
    number = count()
    return lambda env: RecordReplay(env, folder / f"{mode}{next(number)}", mode=mode, **settings)


def caller_cost(folder: Path, rounds: int) -> float:
    """Return the microseconds that the caller itself pays for an agent step: a thread writes.

    By the clock of its thread, episodes with and without the recorder in turn; between them
    everything is written.
    """
    orders, env = orders_of_town(), _town()
    steps, added = sum(map(len, orders)), []
    with RecordReplay(env, folder, background=True) as recorded:
        for number in range(rounds + 1):
            spent = []
            for one in (env, recorded):
                began = time.thread_time()
                play(one, orders)
                spent.append(time.thread_time() - began)
            recorded.flush()
            if number:  # the first warms up
                added.append(spent[1] - spent[0])
    return 1e6 * statistics.median(added) / steps


def arrays(record: Callable[[TownletVectorEnv], RecordBatch] | None) -> Play:
    """Whole days through the vector view by script, recorded to the last file, all on the clock."""
    towns = TownletVectorEnv(TOWN, WORLDS, max_ticks=TICKS)
    told = script(load_scenario(TOWN), TICKS, PLAYS)
    orders = [np.tile(row.reshape(-1), WORLDS // PLAYS) for row in told]

    def act(clock: Clock) -> int:
        env = record(towns) if record else towns
        with clock:
            env.reset(seed=SEED)
            for row in orders:
                env.step(row)
            if isinstance(env, RecordBatch):
                env.seal()
        return TICKS * towns.num_envs

    return lambda seconds: timed(act, seconds)


def batch_recorder(mode: str, folder: Path) -> Callable[[TownletVectorEnv], RecordBatch]:
    """Return what wraps towns; every act is a capture of its own."""
    number = count()
    return lambda towns: RecordBatch(towns, folder / f"batch_{mode}{next(number)}", mode=mode)


def cost(recorded: Sequence[Rate], plain: Sequence[Rate]) -> float:
    """Return the microseconds that recording adds to an agent step."""
    pairs = zip(recorded, plain, strict=True)
    return statistics.median(1e6 / with_it.wall - 1e6 / without.wall for with_it, without in pairs)


def measure(report: Report) -> None:
    """Eight residents of ``town_day``, whole days, files included."""
    with tempfile.TemporaryDirectory() as folder:
        arms = [Arm(PLAIN, dicts(None))]
        arms += [Arm(recorded(mode), dicts(recorder(mode, Path(folder)))) for mode in MODES]
        threaded = recorder("full", Path(folder, "thread"), background=True)
        arms.append(Arm(recorded(THREAD), dicts(threaded, EPISODES)))
        rates = report.take_turns(arms, "recording, PettingZoo")
        paid = caller_cost(Path(folder, "caller"), report.effort.rounds * EPISODES)
    report.figure(f"recording costs the caller ({THREAD})", paid, "us per agent step")
    for mode in (*MODES, THREAD):
        report.compare(rates, recorded(mode), PLAIN)
        added = cost(rates[recorded(mode)], rates[PLAIN])
        report.figure(f"recording adds ({mode})", added, "us per agent step")
    with tempfile.TemporaryDirectory() as folder:
        arms = [Arm(BATCH, arrays(None))]
        for mode in BATCH_MODES:
            arms.append(Arm(batched(mode), arrays(batch_recorder(mode, Path(folder)))))
        rates = report.take_turns(arms, "recording, vector view")
    for mode in BATCH_MODES:
        report.compare(rates, batched(mode), BATCH)
    with running(report, (GYMNASIUM, MINARI)) as arms:
        rates = report.take_turns(arms, "recording, Minari")
    report.compare(rates, MINARI.name, GYMNASIUM.name)
    if len(rates) == 2:
        added = cost(rates[MINARI.name], rates[GYMNASIUM.name])
        report.figure("Minari's collector adds", added, "us per agent step")
