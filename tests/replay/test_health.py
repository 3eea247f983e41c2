"""Figures of health, worked out again from the rows and the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_rollouts import ACTIONS, own_rollout, sharp_network, small_network

from townlet_replay.rollout import concatenate
from townlet_replay.training.figures import line_through
from townlet_replay.training.health import effective_share, examine, mean_health

GAMMA = 0.9


def named(rollout, *names):
    """The rollout with segments that belong to ``names`` in turn."""
    segments = len(rollout.segment_starts)
    return rollout._replace(segment_agents=tuple(names[k % len(names)] for k in range(segments)))


def discounted_returns(rollout):
    ends = rollout.terminations | rollout.truncations
    found, later = np.zeros(len(ends)), 0.0
    for row in reversed(range(len(ends))):
        if ends[row]:
            later = float(rollout.bootstrap_values[row])
        later = found[row] = float(rollout.rewards[row]) + GAMMA * later
    return found


def probabilities(network, rollout, mask):
    """(N, A) of the network, in double precision."""
    with torch.no_grad():
        logits = network(network.spec.tensors(rollout.observations, network.device))[0]
    weights = np.exp(logits.double().numpy()) * mask
    return weights / weights.sum(axis=1, keepdims=True)


def test_every_figure_is_its_definition():
    network, rollout = sharp_network(2), named(own_rollout(sharp_network(0)), "ada", "ben", "cleo")
    health = examine(network, rollout, GAMMA)
    mask, rows = rollout.action_mask, np.arange(len(rollout.actions))
    returns, values = discounted_returns(rollout), rollout.values.astype(float)
    assert health.rows == len(rows)
    unexplained = (returns - values).var() / returns.var()
    assert health.explained_variance_mc == pytest.approx(1 - unexplained, abs=1e-6)
    assert health.value_bias == pytest.approx((values - returns).mean(), abs=1e-6)
    slope = np.polyfit(values, returns, 1)[0]
    assert health.value_slope == pytest.approx(slope, rel=1e-6)
    legal = mask.sum(axis=1)
    assert health.legal_share == pytest.approx(legal.mean() / ACTIONS, abs=1e-9)
    assert health.forced_share == pytest.approx((legal == 1).mean(), abs=1e-9)
    assert health.forced_share > 0
    free = probabilities(network, rollout, np.ones_like(mask))
    assert health.illegal_mass == pytest.approx((free * (mask == 0)).sum(axis=1).mean(), abs=1e-6)
    pi = probabilities(network, rollout, mask)
    entropies = -np.where(pi > 0, pi * np.log(np.where(pi > 0, pi, 1)), 0).sum(axis=1)
    choice = legal > 1
    normalised = (entropies[choice] / np.log(legal[choice])).mean()
    assert health.entropy_normalised == pytest.approx(normalised, abs=1e-6)
    lengths = np.diff(np.append(rollout.segment_starts, len(rows)))
    by_row = np.repeat(np.array(rollout.segment_agents), lengths)
    weights = pi[rows, rollout.actions] / np.exp(rollout.old_log_probs.astype(float))
    for name, found in health.agents.items():
        mine = by_row == name
        assert found.rows == mine.sum()
        assert found.segments == rollout.segment_agents.count(name)
        assert found.reward_sum == pytest.approx(rollout.rewards[mine].sum(dtype=float), abs=1e-6)
        assert found.entropy == pytest.approx(entropies[mine].mean(), abs=1e-6)
        size = weights[mine].sum() ** 2 / (mine.sum() * (weights[mine] ** 2).sum())
        assert found.ess == pytest.approx(size, rel=1e-4)
    assert sorted(health.agents) == ["ada", "ben", "cleo"]


def test_rows_without_masks_or_names():
    rollout = own_rollout(small_network())._replace(action_mask=None)
    health = examine(small_network(), rollout, GAMMA)
    assert (health.legal_share, health.forced_share, health.illegal_mass) == (1, 0, 0)
    assert health.agents == {}
    forced = rollout._replace(action_mask=np.eye(ACTIONS, dtype=np.int8)[rollout.actions])
    assert np.isnan(examine(small_network(), forced, GAMMA).entropy_normalised)


def test_updates_are_joined_by_their_rows():
    network = small_network()
    one, two = (
        named(own_rollout(network, rows, seed), "ada") for rows, seed in ((100, 1), (300, 2))
    )
    parts = [examine(network, rollout, GAMMA) for rollout in (one, two)]
    joined = mean_health(parts)
    assert joined.rows == joined.agents["ada"].rows == 400
    for name in ("value_bias", "legal_share", "illegal_mass"):
        expected = (getattr(parts[0], name) + 3 * getattr(parts[1], name)) / 4
        assert getattr(joined, name) == pytest.approx(expected)
    unknown = parts[0]._replace(value_slope=np.nan)
    assert mean_health([unknown, parts[1]]).value_slope == parts[1].value_slope
    assert np.isnan(mean_health([unknown]).value_slope)
    assert mean_health([]) is None
    assert concatenate([one, two]).segment_agents == one.segment_agents + two.segment_agents
    assert concatenate([one, two._replace(segment_agents=())]).segment_agents == ()


def test_shares_and_slopes_at_their_edges():
    assert effective_share(np.zeros(5)) == 1
    assert effective_share(np.array([0.0, -1e9])) == pytest.approx(0.5)
    assert np.isnan(effective_share(np.array([0.0, np.nan])))
    assert np.isnan(line_through(np.ones(4), np.arange(4)))
