"""Rollouts of a policy that steps the town itself: worlds x residents straight from the arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from townlet_env.views.lanes import Lanes, LaneStep
from townlet_replay.policy.runtime import Acts, PolicyRuntime
from townlet_replay.rollout import Rollout

Arrays = dict[str, npt.NDArray[Any]]


class _Row(NamedTuple):
    """One tick of all lanes."""

    seen: Arrays  # before the action, mask included
    acted: npt.NDArray[np.bool_]  # (S,) in town before the action; the others only wait
    acts: Acts
    step: LaneStep
    after: npt.NDArray[np.float32]  # (S,) V(final observation) where a lane was truncated


class LiveCollector:
    """Collects rollouts from lanes; an episode may reach over several of them.

    Attributes:
        steps: Agent steps collected so far.
        episode_returns: Returns of the lanes' episodes that ended in the last rollout.
    """

    def __init__(self, lanes: Lanes, runtime: PolicyRuntime, seed: int) -> None:
        """Open the first episodes from ``seed``."""
        names = lanes.batch.plan.names.residents
        self._slots = [names.index(name) for name in lanes.learners]
        self.lanes = lanes
        self.runtime = runtime
        self.steps = 0
        self.episode_returns: list[float] = []
        self._running = np.zeros(lanes.num_lanes, np.float64)
        lanes.reset(seed)
        self._seen = lanes.observations()

    def collect(self, ticks: int) -> Rollout:
        """Act for ``ticks`` ticks and return what happened, lane by lane.

        Lanes that are still alive at the end are closed by the value of what they see then. Who
        has left town has no rows until their world is opened again.
        """
        self.episode_returns = []
        rows = [self._live_tick() for _ in range(ticks)]
        rollout = _packed(rows, self._values(self._seen))
        self.steps += len(rollout.actions)
        return rollout

    def _live_tick(self) -> _Row:
        seen = self._seen
        acted = self.lanes.batch.alive[:, self._slots].reshape(-1)
        acts = self.runtime.act_batch(seen, seen["action_mask"])
        step = self.lanes.step(acts.actions)
        after = np.zeros(self.lanes.num_lanes, np.float32)
        cut = step.truncated & ~step.terminated
        if cut.any():
            after[cut] = self._values({key: part[cut] for key, part in step.final.items()})
        self._count_returns(step, acted)
        self._seen = self.lanes.observations()
        return _Row(seen, acted, acts, step, after)

    @torch.no_grad()
    def _values(self, seen: Arrays) -> npt.NDArray[np.float32]:
        """Return V of rows, drawing no random numbers."""
        network = self.runtime.network
        values: npt.NDArray[np.float32] = (
            network(network.spec.tensors(seen, network.device))[1].cpu().numpy()
        )
        return values

    def _count_returns(self, step: LaneStep, acted: npt.NDArray[np.bool_]) -> None:
        self._running += step.rewards
        # A lane that was empty ends once more with its world; its return is counted already.
        ended = step.done & acted
        self.episode_returns.extend(self._running[ended].tolist())
        self._running[step.done] = 0.0


def _packed(rows: list[_Row], last_values: npt.NDArray[np.float32]) -> Rollout:
    """Stack T ticks of S lanes lane-major, and close every lane that is cut by the end."""
    ticks, lanes = len(rows), len(last_values)
    acted = np.stack([row.acted for row in rows], axis=1).reshape(-1)

    def lane_major(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """T arrays of (S, ...) -> (N, ...): the rows of those who acted."""
        stacked = np.stack(parts, axis=1)
        return stacked.reshape(-1, *stacked.shape[2:])[acted]

    terminated = lane_major([row.step.terminated for row in rows])
    truncated = lane_major([row.step.truncated for row in rows]) & ~terminated
    bootstrap = lane_major([row.after for row in rows])
    # Position of every lane's last tick among the kept rows, for those who were there then.
    last = (np.cumsum(acted) - 1).reshape(lanes, ticks)[:, -1]
    going = np.flatnonzero(rows[-1].acted & ~(terminated[last] | truncated[last]))
    bootstrap[last[going]] = last_values[going]
    truncated[last[going]] = True
    ends = np.flatnonzero(terminated | truncated)
    return Rollout(
        observations={
            key: lane_major([row.seen[key] for row in rows]) for key in ("map", "features")
        },
        action_mask=lane_major([row.seen["action_mask"] for row in rows]),
        actions=lane_major([row.acts.actions for row in rows]),
        rewards=lane_major([row.step.rewards for row in rows]),
        terminations=terminated,
        truncations=truncated,
        old_log_probs=lane_major([row.acts.log_probs for row in rows]),
        values=lane_major([row.acts.values for row in rows]),
        bootstrap_values=bootstrap,
        segment_starts=np.concatenate([[0], ends[:-1] + 1]).astype(np.int64),
    )
