"""Learners of many worlds as lanes of one batch, with worlds reopened in the step that ends them.

Lane ``w * L + k`` is learner ``k`` of world ``w``. The views for Stable-Baselines3 and the native
live learner stand on this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError, nearest
from townlet_env.policies.crew import Crew, scripted_residents
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.plan import Plan
from townlet_env.sim.random import episode_seed

Arrays = dict[str, npt.NDArray[Any]]


class LaneStep(NamedTuple):
    """What one step gave; S lanes, arrays that no later step changes."""

    rewards: npt.NDArray[np.float32]  # (S,)
    terminated: npt.NDArray[np.bool_]  # (S,) left town for good in this step
    truncated: npt.NDArray[np.bool_]  # (S,) cut by time in this step
    done: npt.NDArray[np.bool_]  # (S,) the episode of the lane is over: one of both
    final: Arrays  # key -> (S, ...) what followed the step, before worlds were reopened


class Lanes:
    """W worlds x L learners as S = W x L lanes.

    Attributes:
        batch: The core.
        learners: Residents that the lanes decide for, in slot order; the others follow scripts.
        num_lanes: S.
    """

    def __init__(
        self,
        config: TownConfig,
        plan: Plan,
        num_worlds: int,
        learners: Sequence[str] | None = None,
    ) -> None:
        """Build the worlds.

        Args:
            config: The checked scenario.
            plan: ``compile_plan(config)``.
            num_worlds: W, at least 1.
            learners: Residents to learn; all by default.

        Raises:
            ConfigError: No worlds, or a learner who does not live here.
        """
        if num_worlds < 1:
            raise ConfigError(f"num_worlds: expected at least 1, found {num_worlds}")
        names = plan.names.residents
        wanted = list(names) if learners is None else list(learners)
        for name in wanted:
            if name not in names:
                raise ConfigError(f"learners: unknown resident {name!r}{nearest(name, names)}")
        if not wanted:
            raise ConfigError("learners: expected at least one resident, found none")
        self.learners = tuple(name for name in names if name in wanted)
        self.batch = WorldBatch(plan, num_worlds)
        self.num_lanes = num_worlds * len(self.learners)
        self._slots = np.array([names.index(name) for name in self.learners])
        scripted = scripted_residents(config, self.learners)
        for name in names:
            if name not in self.learners and name not in scripted:
                raise ConfigError(f"learners: {name!r} has no script; let them learn as well")
        self._crew = Crew(config, plan, scripted)
        self._base_seeds = [0] * num_worlds
        self._episodes = [0] * num_worlds
        self._orders = np.zeros((num_worlds, len(names)), np.int64)

    def reset(self, seed: int) -> None:
        """Open the first episodes: world ``w`` plays seed ``seed + w``, then those that follow."""
        self._base_seeds = [seed + w for w in range(self.batch.num_worlds)]
        self._episodes = [0] * self.batch.num_worlds
        self._open(range(self.batch.num_worlds))

    def observations(self) -> Arrays:
        """Return ``map``, ``features`` and ``action_mask`` of every lane now: fresh arrays."""
        views = self.batch.views
        parts: Arrays = views._asdict()
        return {key: self._by_lane(part) for key, part in parts.items()}

    def step(self, actions: npt.ArrayLike) -> LaneStep:
        """Live one tick of every world, and reopen the worlds whose episode is over.

        Args:
            actions: (S,) action ids.
        """
        worlds = self.batch.num_worlds
        self._orders[:, self._slots] = np.asarray(actions).reshape(worlds, len(self.learners))
        for w in range(worlds if self._crew.residents else 0):
            for slot, action in self._crew.act(self.batch, w).items():
                self._orders[w, slot] = action
        taken = self.batch.step(self._orders)
        final = self.observations()
        alive = self.batch.alive[:, self._slots]
        over = np.logical_or(taken.truncated.any(axis=1), ~self.batch.alive.any(axis=1))
        terminated = self._by_lane(taken.terminated)
        truncated = self._by_lane(taken.truncated)
        # A lane whose resident left earlier is idle until its world ends, and ends with it.
        idle = (over[:, None] & ~alive).reshape(-1)
        step = LaneStep(
            rewards=self._by_lane(taken.reward),
            terminated=terminated,
            truncated=truncated,
            done=terminated | truncated | idle,
            final=final,
        )
        if over.any():
            self._open(np.flatnonzero(over).tolist())
        return step

    def _open(self, worlds: Sequence[int]) -> None:
        seeds = [episode_seed(self._base_seeds[w], self._episodes[w]) for w in worlds]
        for w in worlds:
            self._episodes[w] += 1
        self.batch.reset(seeds, list(worlds))
        for w in worlds:
            self._crew.reset(w)

    def _by_lane(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return (W, N, ...) as fresh (S, ...) of the learners."""
        return values[:, self._slots].reshape(self.num_lanes, *values.shape[2:])
