"""Learners of many worlds as lanes of one batch.

Lane ``w * L + k`` is learner ``k`` of world ``w``. The views for Gymnasium, for Stable-Baselines3
and the native live learner stand on this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.config.schema import TownConfig
from townlet_env.errors import ActionError, ConfigError, nearest
from townlet_env.policies.crew import Crew, Recollection, scripted_residents, with_policy
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.features import MAP_CHANNELS
from townlet_env.sim.ids import Verb
from townlet_env.sim.plan import Plan
from townlet_env.sim.random import episode_seed
from townlet_env.sim.snapshot import Snapshot

Arrays = dict[str, npt.NDArray[Any]]


class LaneStep(NamedTuple):
    """What one step gave; S lanes of W worlds, arrays that no later step changes.

    A lane whose resident has left is idle until a newcomer takes the slot or its world ends: rows
    without reward, where only ``wait`` is legal. An idle stretch is a life of its own that ends
    ``terminated``, so that no return reaches from one life into the next.
    """

    rewards: npt.NDArray[np.float32]  # (S,) 0 in idle rows
    terminated: npt.NDArray[np.bool_]  # (S,) left town in this step, or the end of an idle stretch
    truncated: npt.NDArray[np.bool_]  # (S,) cut by time in this step
    done: npt.NDArray[np.bool_]  # (S,) one of both
    active: npt.NDArray[np.bool_]  # (S,) in town when the action was taken; the others are idle
    illegal: npt.NDArray[np.bool_]  # (S,) the order was not legal and became wait
    final: Arrays  # key -> (S, ...) what followed the step, unopened; {} if no lane is done


class LanesState(NamedTuple):
    """All that the future of lanes depends on, besides the actions."""

    snapshot: Snapshot
    base_seeds: tuple[int, ...]  # (W,) of each world's first episode
    episodes: tuple[int, ...]  # (W,) opened since
    over: npt.NDArray[np.bool_]  # (W,)
    memories: tuple[tuple[Recollection, ...], ...]  # (W,) of the scripted residents


class Lanes:
    """W worlds x L learners as S = W x L lanes.

    The episode of a world is over when it is cut by time, or when none of its learners is in town.

    Attributes:
        batch: The core.
        learners: Residents that the lanes decide for, in slot order; the others follow scripts.
        num_lanes: S.
        over: (W,) bool, the worlds whose episode is over; ``open`` or the next ``advance`` opens
            their next one.
    """

    def __init__(
        self,
        config: TownConfig,
        plan: Plan,
        num_worlds: int,
        learners: Sequence[str] | None = None,
        channels: int = len(MAP_CHANNELS),
        threads: int = 1,
    ) -> None:
        """Build the worlds.

        Args:
            config: The checked scenario.
            plan: ``compile_plan(config)``.
            num_worlds: W, at least 1.
            learners: Residents to learn; all by default.
            channels: Of the maps: 0, 4 or 12, as in ``WorldBatch``. Scripts may look at the first
                four, so that they are drawn wherever somebody is scripted.
            threads: That step worlds side by side, as in ``WorldBatch``.

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
        scripted = scripted_residents(config, self.learners)
        drawn = max(channels, len(MAP_CHANNELS)) if scripted else channels
        self.batch = WorldBatch(plan, num_worlds, drawn, threads)
        self.num_lanes = num_worlds * len(self.learners)
        self.over = np.zeros(num_worlds, np.bool_)
        slots = np.array([names.index(name) for name in self.learners])
        # A slice of everybody is a view; a list of some is a copy anyway.
        self._slots = slice(None) if len(slots) == len(names) else slots
        for name in names:
            if name not in self.learners and name not in scripted:
                raise ConfigError(f"learners: {name!r} has no script; let them learn as well")
        self._config = config
        self._crew = Crew(config, plan, scripted)
        self._base_seeds = [config.seed + w for w in range(num_worlds)]
        self._episodes = [0] * num_worlds

    def reset(self, seed: int) -> None:
        """Open the first episodes: world ``w`` plays seed ``seed + w``, then those that follow."""
        worlds = range(self.batch.num_worlds)
        self.open(worlds, [seed + w for w in worlds])

    def stagger(self) -> None:
        """After ``reset``: take world ``w`` to ``w / W`` of its episode.

        Everybody follows ``needs_driven`` until then, so that the towns are in the middle of
        ordinary life. Residents with a schedule begin it only now.
        """
        count, plan = self.batch.num_worlds, self.batch.plan
        crew = Crew(with_policy(self._config, "needs_driven"), plan)
        ages = [w * self._config.ticks // count for w in range(count)]
        kept = self.batch.get_state()
        for age in range(1, max(ages) + 1):
            self.batch.step(crew.decide(self.batch))
            for w in range(count):
                if ages[w] == age:
                    kept.worlds[w] = self.batch.worlds[w]
        self.batch.set_state(kept)

    def open(self, worlds: Sequence[int], seeds: Sequence[int | None] | None = None) -> None:
        """Open a new episode in each of ``worlds``.

        Args:
            worlds: Indices, each once.
            seeds: One per world: a number begins with the episode of that seed, None goes on with
                the episode that follows. All go on by default.
        """
        for w, seed in zip(worlds, seeds or [None] * len(worlds), strict=True):
            if seed is not None:
                self._base_seeds[w], self._episodes[w] = int(seed), 0
        chosen = [episode_seed(self._base_seeds[w], self._episodes[w]) for w in worlds]
        self.batch.reset(chosen, list(worlds))
        for w in worlds:
            self._episodes[w] += 1
            self._crew.reset(w)
        self.over[list(worlds)] = False

    def get_state(self) -> LanesState:
        """Return where the worlds stand; no later step changes it."""
        return LanesState(
            self.batch.get_state(),
            tuple(self._base_seeds),
            tuple(self._episodes),
            self.over.copy(),
            tuple(self._crew.get_memory(w) for w in range(self.batch.num_worlds)),
        )

    def set_state(self, state: LanesState) -> None:
        """Go on from a state, bit for bit.

        Raises:
            SnapshotError: It is of another scenario, version or number of worlds.
        """
        self.batch.set_state(state.snapshot)
        self._base_seeds, self._episodes = list(state.base_seeds), list(state.episodes)
        self.over = state.over.copy()
        for w, memory in enumerate(state.memories):
            self._crew.set_memory(memory, w)

    @property
    def in_town(self) -> npt.NDArray[np.bool_]:
        """(S,) bool: the lanes whose resident is in town now; a fresh array."""
        return self.by_lane(self.batch.alive, copy=False)

    def observations(self, *, copy: bool = True) -> Arrays:
        """Return ``map``, ``features`` and ``action_mask`` of every lane now.

        Args:
            copy: Fresh arrays; else they may be overwritten by the next step.
        """
        parts: Arrays = self.batch.views._asdict()
        return {key: self.by_lane(part, copy=copy) for key, part in parts.items()}

    def step(self, actions: npt.ArrayLike) -> LaneStep:
        """Live one tick of every world, and open the next episode where one is over.

        Args:
            actions: (S,) action ids.

        Raises:
            ActionError: The actions are no whole numbers, or not one per lane.
        """
        step = self.advance(actions)
        if self.over.any():
            self.open(np.flatnonzero(self.over).tolist())
        return step

    def advance(self, actions: npt.ArrayLike) -> LaneStep:
        """Live one tick of every world; where the episode is over already, open the next instead.

        The rows of a world that is opened are idle ones; its actions are not used.

        Args:
            actions: (S,) action ids.

        Raises:
            ActionError: The actions are no whole numbers, or not one per lane.
        """
        opened = self.over
        going = np.repeat(~opened, len(self.learners))
        active = self.in_town & going
        taken = self.batch.step(self._orders(actions))
        present = self.in_town
        ended = taken.truncated.any(axis=1)
        gone = ~present.reshape(len(opened), -1).any(axis=1)
        self.over = ~opened & (ended | gone)
        # An idle stretch is over when somebody comes, and with its world.
        over_by_lane = np.repeat(self.over, len(self.learners))
        idle_ended = going & ~active & (present | over_by_lane)
        terminated = (active & self.by_lane(taken.terminated, copy=False)) | idle_ended
        truncated = active & self.by_lane(taken.truncated, copy=False)
        rewards = self.by_lane(taken.reward, copy=False)
        step = LaneStep(
            rewards=np.where(active, rewards, np.float32(0.0)),
            terminated=terminated,
            truncated=truncated,
            done=terminated | truncated,
            active=active,
            illegal=active & self.by_lane(taken.illegal, copy=False),
            final=self._final(idle_ended) if (terminated | truncated).any() else {},
        )
        if opened.any():
            self.open(np.flatnonzero(opened).tolist())
        return step

    def by_lane(self, values: npt.NDArray[Any], *, copy: bool = True) -> npt.NDArray[Any]:
        """Return values by world and slot, (W, N, ...), as (S, ...) of the learners."""
        chosen = values[:, self._slots].reshape(self.num_lanes, *values.shape[2:])
        return chosen.copy() if copy and np.may_share_memory(chosen, values) else chosen

    def _orders(self, actions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the actions (W, N) of learners and scripts."""
        given = np.asarray(actions)
        if given.dtype.kind not in "iu":
            raise ActionError(f"expected whole numbers as action ids, found {given.dtype}")
        if given.shape != (self.num_lanes,):
            raise ActionError(
                f"expected {self.num_lanes} actions, one per lane, found shape {given.shape}"
            )
        # Wide, as huge numbers must stay out of range.
        orders = self._crew.decide(self.batch).astype(np.int64)
        orders[:, self._slots] = given.reshape(self.batch.num_worlds, -1)
        return orders

    def _final(self, empty: npt.NDArray[np.bool_]) -> Arrays:
        """Return what followed a step; ``empty`` lanes show an empty slot, whoever is there now."""
        final = self.observations()
        for part in final.values():
            part[empty] = 0
        final["action_mask"][empty, Verb.WAIT] = 1
        return final
