"""What is played while somebody looks at the clock: legal actions of chance, drawn beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from townlet_env.config.compile import compile_plan
from townlet_env.config.schema import TownConfig
from townlet_env.sim.batch import WorldBatch
from townlet_replay.bench.measure import Clock, Play, timed

Orders = npt.NDArray[np.int64]
SEED = 0


def legal(masks: npt.NDArray[np.int8], rng: np.random.Generator) -> Orders:
    """Draw a legal action for every row of masks, all alike."""
    orders: Orders = (rng.random(masks.shape, np.float32) * masks).argmax(axis=-1)
    return orders


def script(config: TownConfig, ticks: int, worlds: int = 1) -> Orders:
    """Return actions (T, W, N) that are legal from the first tick of seeds ``SEED + w`` on."""
    batch = WorldBatch(compile_plan(config), worlds, channels=0)
    batch.reset(range(SEED, SEED + worlds))
    rng = np.random.default_rng(1)
    orders = np.zeros((ticks, worlds, batch.num_residents), np.int64)
    for tick in range(ticks):
        orders[tick] = legal(batch.views.action_mask, rng)
        batch.step(orders[tick])
    return orders


def core(config: TownConfig, worlds: int, channels: int = 4, **settings: Any) -> Play:
    """The batch core: rules, observations, masks and rewards written; actions drawn off the clock.

    Worlds begin at different ticks of the day as they go on; an episode goes on past its end.
    """
    batch = WorldBatch(compile_plan(config), worlds, channels, **settings)
    batch.reset(range(worlds))
    rng = np.random.default_rng(2)
    ticks = max(1, 512 // worlds)

    def act(clock: Clock) -> int:
        for _ in range(ticks):
            orders = legal(batch.views.action_mask, rng)
            with clock:
                batch.step(orders)
        return ticks * orders.size

    return lambda seconds: timed(act, seconds)


def parallel(make: Callable[[], Any], config: TownConfig, ticks: int = 400) -> Play:
    """One world of any PettingZoo parallel view of a town, dicts in and out."""
    env = make()
    told = script(config, ticks)[:, 0]
    names = env.possible_agents
    orders = [dict(zip(names, row.tolist(), strict=True)) for row in told]

    def act(clock: Clock) -> int:
        env.reset(seed=SEED)
        with clock:
            for row in orders:
                env.step(row)
        return told.size

    return lambda seconds: timed(act, seconds)


def slots(
    env: Any, step: Callable[[Orders], Any], masks: Callable[[], Any], ticks: int = 8
) -> Play:
    """A view of many slots, arrays in and out; actions drawn off the clock."""
    rng = np.random.default_rng(3)
    env.reset()

    def act(clock: Clock) -> int:
        for _ in range(ticks):
            orders = legal(np.asarray(masks()), rng)
            with clock:
                step(orders)
        return ticks * len(orders)

    return lambda seconds: timed(act, seconds)
