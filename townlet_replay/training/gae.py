"""Generalised advantage estimation over packed rows.

Schulman et al. 2016 (GAE), eq. 16. Time limits are closed with ``r + gamma * V(final observation)``
(Pardo et al. 2018, eq. 6): a cut is not a death. Float32 in the order of operations of
Stable-Baselines3's ``RolloutBuffer.compute_returns_and_advantage``, so that the two agree to the
last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_env.jit import kernel
from townlet_replay.errors import TrainingError

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


class Advantages(NamedTuple):
    """Per row, float32 ``(N,)``; unit of reward."""

    advantages: Floats
    returns: Floats  # lambda-returns: advantages + values


def gae(
    rewards: Floats,
    values: Floats,
    terminations: Flags,
    truncations: Flags,
    bootstrap_values: Floats,
    gamma: float,
    gae_lambda: float,
) -> Advantages:
    """Return GAE(lambda) advantages and lambda-returns of packed segments.

    Rows are ordered by segment, then by time, and the last row of every segment is terminated or
    truncated (both flags count as terminated: nothing follows a death).

    Args:
        rewards: ``(N,)`` raw rewards.
        values: ``(N,)`` V(observation).
        terminations: ``(N,)`` the segment ends here for good.
        truncations: ``(N,)`` the segment was cut here.
        bootstrap_values: ``(N,)`` V(final observation), read where truncated only.
        gamma: discount per tick, in [0, 1].
        gae_lambda: trace decay, in [0, 1]; 1 gives Monte-Carlo returns.

    Raises:
        TrainingError: shapes differ, or the last row closes no segment.
    """
    rows = {
        "rewards": rewards,
        "values": values,
        "terminations": terminations,
        "truncations": truncations,
        "bootstrap_values": bootstrap_values,
    }
    _check_rows(rows)
    advantages = np.empty(len(rewards), dtype=np.float32)
    _gae(
        close_truncations(rewards, terminations, truncations, bootstrap_values, gamma),
        np.ascontiguousarray(values, dtype=np.float32),
        np.ascontiguousarray(terminations | truncations),
        np.float32(gamma),
        np.float32(gamma * gae_lambda),
        advantages,
    )
    return Advantages(advantages, advantages + values)


def close_truncations(
    rewards: Floats,
    terminations: Flags,
    truncations: Flags,
    bootstrap_values: Floats,
    gamma: float,
) -> Floats:
    """Return rewards with ``gamma * V(final observation)`` added where an episode was cut.

    The float32 operations of Stable-Baselines3's ``collect_rollouts``.
    """
    cut = truncations & ~terminations
    closed = rewards.astype(np.float32)
    closed[cut] += np.float32(gamma) * bootstrap_values[cut].astype(np.float32)
    return closed


def _check_rows(rows: dict[str, NDArray[Any]]) -> None:
    count = len(rows["rewards"])
    for name, array in rows.items():
        if array.shape != (count,):
            raise TrainingError(f"{name}: expected shape ({count},), found {array.shape}")
    if count and not (rows["terminations"][-1] or rows["truncations"][-1]):
        raise TrainingError(
            "expected the last row to be terminated or truncated, found neither; "
            "a segment that stops early must be marked truncated with its bootstrap value"
        )


@kernel
def _gae(
    rewards: Floats,
    values: Floats,
    ends: Flags,
    gamma: np.float32,
    gamma_lambda: np.float32,
    advantages: Floats,
) -> None:
    one = np.float32(1.0)
    advantage = np.float32(0.0)
    next_value = np.float32(0.0)
    for row in range(len(rewards) - 1, -1, -1):
        # Multiplying by 0 or 1 instead of branching: the operations of the vectorised original.
        goes_on = one - np.float32(ends[row])
        delta = rewards[row] + gamma * next_value * goes_on - values[row]
        advantage = delta + gamma_lambda * goes_on * advantage
        advantages[row] = advantage
        next_value = values[row]
