"""The plain-Python twin of ``tests/naive.py`` as an environment: what kernels are compared with."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from townlet_env.config.compile import compile_plan
from townlet_env.config.schema import TownConfig
from townlet_env.sim.batch import WorldBatch
from townlet_replay.bench.measure import Clock, Play, timed
from townlet_replay.bench.plays import SEED, script

TESTS = Path(__file__).parents[1] / "tests"


class Twin:
    """One town of plain Python objects: the same rules, maps, features and masks."""

    def __init__(self, config: TownConfig) -> None:
        """Load the twin; the tests' folder is no package."""
        if str(TESTS) not in sys.path:
            sys.path.insert(0, str(TESTS))
        import naive
        import naive_map
        import naive_records
        import naive_town
        import naive_views

        self._live = naive.live
        self._observers = (naive_map.observe_map, naive_views.observe_features)
        self._mask_of, self._read = naive_views.observe_mask, naive_records.read_town
        self.plan = compile_plan(config)
        self.ground = naive_town.Ground(config, self.plan)
        self.reset(SEED)

    def reset(self, seed: int) -> None:
        """Open the episode of a seed."""
        batch = WorldBatch(self.plan, 1)
        batch.reset([seed])
        self.town = self._read(self.ground, batch.worlds[0])
        self.observe()

    def observe(self) -> None:
        """Write what everybody sees and may do."""
        self.seen = [look(self.town) for look in self._observers]
        self.mask = self._mask_of(self.town)

    def step(self, orders: list[int]) -> np.ndarray:
        """Live one tick and return the rewards, (N,) float32."""
        tick = self._live(self.town, orders, self.mask)
        self.observe()
        return np.array(tick.reward, np.float32)


def twin(config: TownConfig, ticks: int = 12) -> Play:
    """The twin at play, legal actions of chance."""
    env = Twin(config)
    told = script(config, ticks)[:, 0].tolist()

    def act(clock: Clock) -> int:
        env.reset(SEED)
        with clock:
            for orders in told:
                env.step(list(orders))
        return ticks * len(told[0])

    return lambda seconds: timed(act, seconds)
