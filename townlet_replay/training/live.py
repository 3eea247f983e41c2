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
        self.lanes = lanes
        self.runtime = runtime
        self.steps = 0
        self.episode_returns: list[float] = []
        self._running = np.zeros(lanes.num_lanes, np.float64)
        lanes.reset(seed)
        self._seen = lanes.observations()

    def collect(self, ticks: int) -> Rollout:
        """Act for ``ticks`` ticks and return what happened, lane by lane.

        Lanes that are still alive at the end are closed by the value of what they see then.
        """
        self.episode_returns = []
        rows = [self._live_tick() for _ in range(ticks)]
        last_values = self._values(self._seen)
        self.steps += ticks * self.lanes.num_lanes
        return _packed(rows, last_values)

    def _live_tick(self) -> _Row:
        seen = self._seen
        acts = self.runtime.act_batch(seen, seen["action_mask"])
        step = self.lanes.step(acts.actions)
        after = np.zeros(self.lanes.num_lanes, np.float32)
        cut = step.truncated & ~step.terminated
        if cut.any():
            after[cut] = self._values({key: part[cut] for key, part in step.final.items()})
        self._count_returns(step)
        self._seen = self.lanes.observations()
        return _Row(seen, acts, step, after)

    @torch.no_grad()
    def _values(self, seen: Arrays) -> npt.NDArray[np.float32]:
        """Return V of rows, drawing no random numbers."""
        network = self.runtime.network
        values: npt.NDArray[np.float32] = (
            network(network.spec.tensors(seen, network.device))[1].cpu().numpy()
        )
        return values

    def _count_returns(self, step: LaneStep) -> None:
        self._running += step.rewards
        self.episode_returns.extend(self._running[step.done].tolist())
        self._running[step.done] = 0.0


def _packed(rows: list[_Row], last_values: npt.NDArray[np.float32]) -> Rollout:
    """Stack T ticks of S lanes lane-major, and close every lane that is cut by the end."""
    ticks, lanes = len(rows), len(last_values)
    terminated = _lane_major([row.step.terminated for row in rows])
    truncated = _lane_major([row.step.truncated for row in rows]) & ~terminated
    bootstrap = _lane_major([row.after for row in rows])
    last = np.arange(1, lanes + 1) * ticks - 1
    cut = last[~(terminated[last] | truncated[last])]
    bootstrap[cut] = last_values[(cut + 1) // ticks - 1]
    truncated[cut] = True
    ends = np.flatnonzero(terminated | truncated)
    return Rollout(
        observations={
            key: _lane_major([row.seen[key] for row in rows]) for key in ("map", "features")
        },
        action_mask=_lane_major([row.seen["action_mask"] for row in rows]),
        actions=_lane_major([row.acts.actions for row in rows]),
        rewards=_lane_major([row.step.rewards for row in rows]),
        terminations=terminated,
        truncations=truncated,
        old_log_probs=_lane_major([row.acts.log_probs for row in rows]),
        values=_lane_major([row.acts.values for row in rows]),
        bootstrap_values=bootstrap,
        segment_starts=np.concatenate([[0], ends[:-1] + 1]).astype(np.int64),
    )


def _lane_major(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return T arrays of (S, ...) as one (S x T, ...)."""
    stacked = np.stack(parts, axis=1)
    return stacked.reshape(-1, *stacked.shape[2:])
