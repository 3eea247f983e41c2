"""Advantages and returns: a plain reference, Stable-Baselines3, and figures by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from toy_advantages import GAMMA, LAMBDA, advantages_of
from toy_rollouts import own_rollout, small_network

from townlet_replay.errors import TrainingError
from townlet_replay.training.gae import close_truncations, gae


def reference_gae(rollout, gamma, gae_lambda, dtype):
    """Schulman 2016, eq. 16, from the last row to the first."""
    count = len(rollout.rewards)
    advantages = np.zeros(count, dtype)
    following = dtype(0)
    for row in reversed(range(count)):
        if rollout.terminations[row]:
            next_value, following = dtype(0), dtype(0)
        elif rollout.truncations[row]:
            next_value, following = dtype(rollout.bootstrap_values[row]), dtype(0)
        else:
            next_value = dtype(rollout.values[row + 1])
        target = dtype(rollout.rewards[row]) + dtype(gamma) * next_value
        delta = target - dtype(rollout.values[row])
        following = delta + dtype(gamma * gae_lambda) * following
        advantages[row] = following
    return advantages


# Generalised advantage estimation
@pytest.mark.parametrize("seed", range(5))
def test_gae_equals_a_plain_reference_to_the_bit_and_double_precision_closely(seed):
    rollout = own_rollout(small_network(seed), seed=seed)
    assert rollout.terminations.any()
    assert rollout.truncations.any()
    found = advantages_of(rollout)
    np.testing.assert_array_equal(
        found.advantages, reference_gae(rollout, GAMMA, LAMBDA, np.float32)
    )
    exact = reference_gae(rollout, GAMMA, LAMBDA, np.float64)
    np.testing.assert_allclose(found.advantages, exact, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.returns, found.advantages + rollout.values)
    assert found.advantages.dtype == found.returns.dtype == np.float32


@pytest.mark.parametrize("seed", range(5))
def test_gae_equals_the_buffer_of_stable_baselines3_to_the_bit(seed):
    rollout = own_rollout(small_network(seed), seed=seed)
    ends = rollout.terminations | rollout.truncations
    count = len(ends)
    buffer = RolloutBuffer(
        count, spaces.Box(-1, 1, (1,)), spaces.Discrete(2), gae_lambda=LAMBDA, gamma=GAMMA
    )
    buffer.rewards[:, 0] = close_truncations(
        rollout.rewards,
        rollout.terminations,
        rollout.truncations,
        rollout.bootstrap_values,
        GAMMA,
    )
    buffer.values[:, 0] = rollout.values
    buffer.episode_starts[:, 0] = np.concatenate([[True], ends[:-1]])
    buffer.compute_returns_and_advantage(torch.zeros(1), ends[-1:])
    found = advantages_of(rollout)
    np.testing.assert_array_equal(found.advantages, buffer.advantages[:, 0])
    np.testing.assert_array_equal(found.returns, buffer.returns[:, 0])


def test_gae_of_three_rows_by_hand():
    """Two rows that are cut, one that dies: delta_t = r + gamma V' - V."""
    found = gae(
        np.array([1, 2, 3], np.float32),
        np.array([0.5, 1.0, 2.0], np.float32),
        np.array([False, False, True]),
        np.array([False, True, False]),
        np.array([0, 10, 99], np.float32),  # 99 follows a death and must not be read
        0.5,
        0.5,
    )
    second = 2 + 0.5 * 10 - 1.0
    first = 1 + 0.5 * 1.0 - 0.5 + 0.25 * second
    np.testing.assert_array_equal(found.advantages, np.array([first, second, 1.0], np.float32))


def test_a_row_with_both_flags_is_a_death():
    both = np.array([True])
    found = gae(
        np.ones(1, np.float32), np.zeros(1, np.float32), both, both, np.ones(1, np.float32), 0.9, 1
    )
    assert found.returns.tolist() == [1.0]


def test_lambda_one_gives_discounted_returns():
    rollout = own_rollout(small_network())
    returns = advantages_of(rollout, gae_lambda=1.0).returns
    expected = np.zeros(len(returns))
    following = 0.0
    for row in reversed(range(len(returns))):
        if rollout.terminations[row] or rollout.truncations[row]:
            following = float(rollout.bootstrap_values[row])
        following = float(rollout.rewards[row]) + GAMMA * following
        expected[row] = following
    np.testing.assert_allclose(returns, expected, rtol=1e-4, atol=1e-5)


def test_gae_refuses_an_open_last_segment_and_unequal_lengths():
    ones, no = np.ones(2, np.float32), np.zeros(2, np.bool_)
    with pytest.raises(TrainingError, match="last row to be terminated or truncated"):
        gae(ones, ones, no, no, ones, 0.9, 0.9)
    with pytest.raises(TrainingError, match=r"values: expected shape \(2,\), found \(1,\)"):
        gae(ones, ones[:1], no, ~no, ones, 0.9, 0.9)
