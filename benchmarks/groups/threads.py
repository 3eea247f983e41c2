"""Two ways to two cores, Python's threads and Numba's: with the second core free, and with it busy.

Numba's ``prange`` hands work over in microseconds and waits for whoever is last; Python's threads
take longer to wake up and take slices from a queue.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from benchmarks.groups.neighbour import BUSY, beside_a_neighbour
from benchmarks.report import Report
from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.config.schema import TownConfig
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.state import Records, Views
from townlet_env.sim.tick import observe, tick
from townlet_env.sim.ways import Ways
from townlet_replay.bench.measure import Arm, Clock, Play, timed
from townlet_replay.bench.plays import core, legal

WORLDS, THREADS = 256, 2
ONE = "1 thread"
PYTHON = f"{THREADS} threads of Python, slices from a queue"
PRANGE = f"{THREADS} threads of Numba, prange"


@numba.njit(parallel=True, error_model="numpy", nogil=True)  # type: ignore[untyped-decorator]
def step_side_by_side(
    worlds: Records,
    outcomes: Records,
    rules: Records,
    orders: npt.NDArray[np.int32],
    grids: npt.NDArray[np.uint16],
    ways: Ways,
    views: Views,
) -> None:
    """What ``step_worlds`` does, the worlds shared out by ``prange``."""
    for w in numba.prange(worlds.shape[0]):
        mask = views.action_mask[w]
        tick(worlds[w], outcomes[w], rules[0], orders[w], mask, grids[w], ways)
        observe(worlds[w], rules[0], ways, views, w)


def prange(config: TownConfig) -> Play:
    """The batch core stepped by ``prange``; actions drawn off the clock, as in ``plays.core``."""
    batch = WorldBatch(compile_plan(config), WORLDS)
    batch.reset(range(WORLDS))
    rng = np.random.default_rng(2)
    tables = [part.view(np.ndarray) for part in (batch.worlds, batch.outcomes, batch.plan.rules)]
    numba.set_num_threads(THREADS)

    def act(clock: Clock) -> int:
        for _ in range(2):
            orders = legal(batch.views.action_mask, rng).astype(np.int32)
            with clock:
                step_side_by_side(*tables, orders, batch.grids, batch.plan.ways, batch.views)
        return 2 * orders.size

    return lambda seconds: timed(act, seconds)


def measure(report: Report) -> None:
    """256 worlds of ``town_day``; a ratio says what the second thread adds."""
    town = load_scenario("town_day")
    plays = {
        ONE: core(town, WORLDS),
        PYTHON: core(town, WORLDS, threads=THREADS),
        PRANGE: prange(town),
    }
    arms = [Arm(name, play) for name, play in plays.items()]
    arms += [Arm(name + BUSY, beside_a_neighbour(play)) for name, play in plays.items()]
    rates = report.take_turns(arms, "threads")
    for ours in (PYTHON, PRANGE):
        report.compare(rates, ours, ONE)
        report.compare(rates, ours + BUSY, ONE + BUSY)
