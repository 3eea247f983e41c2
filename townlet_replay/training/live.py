"""Rollouts of a policy that steps the town itself: worlds x residents straight from the arrays."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from townlet_env.errors import SnapshotError
from townlet_env.views.lanes import Lanes, LanesState, LaneStep
from townlet_replay.policy.central import TOWN
from townlet_replay.policy.fused_actor import CountedDraws
from townlet_replay.policy.network import Observations, TownletNetwork
from townlet_replay.policy.recurrent import STATE
from townlet_replay.policy.runtime import Acts
from townlet_replay.rollout import Rollout

Arrays = dict[str, npt.NDArray[Any]]


ActorState = CountedDraws | dict[str, Any]
"""Where the draws of an actor stand: counted ones, or ``BitGenerator.state``."""


class Actor(Protocol):
    """Who acts in all lanes at once: ``PolicyRuntime``, or the fused forward pass."""

    @property
    def network(self) -> TownletNetwork:
        """The network that acts."""

    @property
    def memory(self) -> npt.NDArray[np.float32] | None:
        """What the lanes are remembered by now, ``(S, 2 H)``; None if nothing is."""

    @memory.setter
    def memory(self, memory: npt.NDArray[np.float32] | None) -> None: ...

    def act_batch(self, observations: Observations, mask: npt.NDArray[Any] | None = None) -> Acts:
        """Choose one action per row."""

    def get_state(self) -> ActorState:
        """Return where its draws stand."""

    def set_state(self, state: Any) -> None:
        """Continue from ``get_state``."""


class LiveState(NamedTuple):
    """All that the future of a :class:`LiveCollector` depends on, besides the weights."""

    lanes: LanesState
    running: npt.NDArray[np.float64]  # (S,) returns of the lives that go on
    steps: int
    actor: ActorState
    memory: npt.NDArray[np.float32] | None = None  # (S, 2 H) of a recurrent core

    def fits(self, collector: LiveCollector) -> bool:
        """Say whether a collector has towns and an actor of this kind."""
        lanes, snapshot = collector.lanes, self.lanes.snapshot
        try:
            snapshot.check(lanes.batch.plan, lanes.batch.num_worlds)
        except SnapshotError:
            return False
        width = collector.actor.network.state_width
        found = 0 if self.memory is None else self.memory.shape[1]
        return found == width and isinstance(self.actor, type(collector.actor.get_state()))


class _Columns(NamedTuple):
    """T ticks of S lanes, lane-major: (S, T, ...)."""

    seen: Arrays  # before the action
    active: npt.NDArray[np.bool_]  # in town when it acted; the others have no rows
    actions: npt.NDArray[np.int64]
    log_probs: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    rewards: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    bootstrap: npt.NDArray[np.float32]  # V(final observation) where a lane was cut
    memory: npt.NDArray[np.float32] | None = None  # (S, 2 H) before the first tick

    @classmethod
    def of(cls, seen: Arrays, ticks: int) -> _Columns:
        """Return room for ``ticks`` ticks of lanes that see ``seen``."""
        shape = (len(seen["features"]), ticks)
        flags = (np.zeros(shape, np.bool_) for _ in range(3))
        floats = (np.zeros(shape, np.float32) for _ in range(4))
        log_probs, values, rewards, bootstrap = floats
        active, terminated, truncated = flags
        return cls(
            seen={
                key: np.zeros((*shape, *part.shape[1:]), part.dtype) for key, part in seen.items()
            },
            active=active,
            actions=np.zeros(shape, np.int64),
            log_probs=log_probs,
            values=values,
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            bootstrap=bootstrap,
        )


class LiveCollector:
    """Collects rollouts from lanes; an episode may reach over several of them.

    Attributes:
        steps: Agent steps collected so far.
        episode_returns: Returns of the lives that ended in the last rollout.
    """

    def __init__(self, lanes: Lanes, actor: Actor, seed: int) -> None:
        """Open the first episodes from ``seed``."""
        self.lanes = lanes
        self.actor = actor
        self.steps = 0
        self.episode_returns: list[float] = []
        self._running = np.zeros(lanes.num_lanes, np.float64)
        self._columns: _Columns | None = None
        lanes.reset(seed)

    def collect(self, ticks: int) -> Rollout:
        """Act for ``ticks`` ticks and return what happened, lane by lane.

        Lives that still go on at the end are closed by the value of what they see then. A lane has
        no rows while its resident is not in town.

        Returns:
            Rows in buffers that the next rollout of as many ticks overwrites.
        """
        self.episode_returns = []
        columns = self._room_for(ticks)._replace(memory=self._memory())
        for t in range(ticks):
            self._live_tick(columns, t)
        self._close(columns)
        rollout = _packed(columns, self.lanes.learners)
        self.steps += len(rollout.actions)
        return rollout

    def get_state(self) -> LiveState:
        """Return where towns, lives and draws stand between two rollouts."""
        return LiveState(
            self.lanes.get_state(),
            self._running.copy(),
            self.steps,
            self.actor.get_state(),
            self._memory(),
        )

    def set_state(self, state: LiveState) -> None:
        """Go on from a state, bit for bit.

        Raises:
            SnapshotError: It is of another scenario, version or number of worlds.
        """
        self.lanes.set_state(state.lanes)
        self._running, self.steps = state.running.copy(), state.steps
        self.actor.set_state(state.actor)
        self.actor.memory = None if state.memory is None else state.memory.copy()

    def _room_for(self, ticks: int) -> _Columns:
        if self._columns is None or self._columns.active.shape[1] != ticks:
            self._columns = _Columns.of(self._with_town(self.lanes.observations(copy=False)), ticks)
        return self._columns

    def _live_tick(self, columns: _Columns, t: int) -> None:
        seen = self._with_town(self.lanes.observations(copy=False))
        for key, column in columns.seen.items():
            column[:, t] = seen[key]
        acts = self.actor.act_batch(seen, seen["action_mask"])
        step = self.lanes.step(acts.actions)
        columns.active[:, t] = step.active
        columns.actions[:, t] = acts.actions
        columns.log_probs[:, t] = acts.log_probs
        columns.values[:, t] = acts.values
        columns.rewards[:, t] = step.rewards
        columns.terminated[:, t] = step.terminated
        cut = step.truncated & ~step.terminated
        columns.truncated[:, t] = cut
        columns.bootstrap[:, t] = 0.0
        if cut.any():
            columns.bootstrap[cut, t] = self._values(step.final, cut)
        self._count_returns(step)

    def _close(self, columns: _Columns) -> None:
        """Cut the lives that go on."""
        ended = columns.terminated[:, -1] | columns.truncated[:, -1]
        going = np.flatnonzero(columns.active[:, -1] & ~ended)
        seen = self.lanes.observations(copy=False)
        columns.bootstrap[going, -1] = self._values(seen, slice(None))[going]
        columns.truncated[going, -1] = True

    @torch.no_grad()
    def _values(
        self, seen: Arrays, lanes: npt.NDArray[np.bool_] | slice
    ) -> npt.NDArray[np.float32]:
        """Return V of what some lanes see after their last action, drawing no random numbers."""
        network = self.actor.network
        rows = {key: part[lanes] for key, part in self._with_town(seen).items()}
        if self.actor.memory is not None:
            rows[STATE] = self.actor.memory[lanes]
        values: npt.NDArray[np.float32] = network(network.tensors(rows))[1].cpu().numpy()
        return values

    def _with_town(self, seen: Arrays) -> Arrays:
        """Add what a central critic reads: the features of all learners, for each of them."""
        if self.actor.network.critic is None:
            return seen
        learners = len(self.lanes.learners)
        town = seen["features"].reshape(-1, learners, seen["features"].shape[1])
        return {**seen, TOWN: np.repeat(town, learners, axis=0)}

    def _memory(self) -> npt.NDArray[np.float32] | None:
        """Return a copy of what the lanes are remembered by; zeros before anybody acted."""
        width, memory = self.actor.network.state_width, self.actor.memory
        if not width:
            return None
        return np.zeros((self.lanes.num_lanes, width), np.float32) if memory is None else memory

    def _count_returns(self, step: LaneStep) -> None:
        self._running += step.rewards
        # An idle stretch ends as well; it has no return.
        self.episode_returns.extend(self._running[step.done & step.active].tolist())
        self._running[step.done] = 0.0


def _packed(columns: _Columns, learners: tuple[str, ...]) -> Rollout:
    """Return the rows of those who acted, lane by lane; nothing is copied if all did.

    Segments bear the name of their slot, newcomers in it included.
    """
    active = columns.active.reshape(-1)
    everybody = bool(active.all())

    def rows(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        flat = column.reshape(-1, *column.shape[2:])
        return flat if everybody else flat[active]

    terminated, truncated = rows(columns.terminated), rows(columns.truncated)
    ends = np.flatnonzero(terminated | truncated)
    lanes, ticks = columns.active.shape
    lane_of = rows(np.repeat(np.arange(lanes), ticks))
    observations = {
        key: rows(column) for key, column in columns.seen.items() if key != "action_mask"
    }
    if columns.memory is not None:
        # Where a life goes on from the rollout before; the others begin with 0 by themselves.
        states = np.zeros((lanes, ticks, columns.memory.shape[1]), np.float32)
        states[:, 0] = columns.memory
        observations[STATE] = rows(states)
    return Rollout(
        observations=observations,
        action_mask=rows(columns.seen["action_mask"]),
        actions=rows(columns.actions),
        rewards=rows(columns.rewards),
        terminations=terminated,
        truncations=truncated,
        old_log_probs=rows(columns.log_probs),
        values=rows(columns.values),
        bootstrap_values=rows(columns.bootstrap),
        segment_starts=np.concatenate([[0], ends[:-1] + 1]).astype(np.int64),
        segment_agents=tuple(learners[lane % len(learners)] for lane in lane_of[ends].tolist()),
    )
