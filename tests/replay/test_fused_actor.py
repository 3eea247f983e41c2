"""Acting with the fused forward pass: the distribution of the network, draws counted by lane."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_rollouts import ACTIONS, own_rollout, sharp_network

from townlet_replay.policy.fused_actor import FusedActor
from townlet_replay.policy.fused_kernels import exp, tanh
from townlet_replay.policy.fused_net import FusedNetwork
from townlet_replay.policy.masked import ILLEGAL_LOGIT, masked_log_probs
from townlet_replay.policy.runtime import PolicyRuntime


@pytest.fixture(scope="module")
def network():
    return sharp_network(2)


@pytest.fixture(scope="module")
def rollout(network):
    return own_rollout(network, rows=130)  # two blocks of rows and a bit


def rows_of(rollout, rows):
    seen = {key: part[rows] for key, part in rollout.observations.items()}
    return seen, rollout.action_mask[rows]


@pytest.mark.parametrize("masked", [True, False])
def test_it_says_what_the_network_says(network, rollout, masked):
    seen, mask = rows_of(rollout, slice(None))
    mask = mask if masked else None
    acts = FusedActor(FusedNetwork(network), 0).act_batch(seen, mask)
    with torch.no_grad():
        logits, values = network(network.spec.tensors(seen, network.device))
        expected = masked_log_probs(logits, None if mask is None else torch.tensor(mask)).numpy()
    assert np.allclose(acts.values, values.numpy(), atol=2e-6)
    chosen = expected[np.arange(len(expected)), acts.actions]
    assert np.allclose(acts.log_probs, chosen, atol=5e-6)
    legal = np.ones_like(expected, bool) if mask is None else mask.astype(bool)
    assert np.allclose(acts.logits[legal], expected[legal], atol=5e-6)
    assert (acts.logits[~legal] <= ILLEGAL_LOGIT * 0.99).all()
    assert legal[np.arange(len(legal)), acts.actions].all()


def test_actions_come_as_often_as_they_are_probable(network, rollout):
    seen, mask = rows_of(rollout, slice(0, 3))
    actor = FusedActor(FusedNetwork(network), 9)
    drawn = np.stack([actor.act_batch(seen, mask).actions for _ in range(4000)])
    probabilities = np.exp(actor.act_batch(seen, mask).logits)
    for row in range(3):
        found = np.bincount(drawn[:, row], minlength=ACTIONS) / len(drawn)
        spread = np.sqrt(probabilities[row] * (1 - probabilities[row]) / len(drawn))
        assert (np.abs(found - probabilities[row]) <= 4.5 * spread + 1e-9).all()


def test_a_lane_draws_alike_whoever_else_is_there(network, rollout):
    alone = FusedActor(FusedNetwork(network), 5)
    together = FusedActor(FusedNetwork(network), 5)
    other = FusedActor(FusedNetwork(network), 6)
    same = []
    for _ in range(20):
        few = alone.act_batch(*rows_of(rollout, slice(0, 40)))
        many = together.act_batch(*rows_of(rollout, slice(None)))
        assert np.array_equal(few.actions, many.actions[:40])
        same.append(other.act_batch(*rows_of(rollout, slice(None))).actions == many.actions)
    assert np.mean(same) < 0.9
    first, later = (together.act_batch(*rows_of(rollout, slice(None))).actions for _ in range(2))
    assert not np.array_equal(first, later)


def test_what_it_gives_is_not_overwritten(network, rollout):
    actor = FusedActor(FusedNetwork(network), 1)
    first = actor.act_batch(*rows_of(rollout, slice(None)))
    kept = [part.copy() for part in first]
    actor.act_batch(*rows_of(rollout, slice(None, None, -1)))
    assert all(np.array_equal(part, copy) for part, copy in zip(first, kept, strict=True))


def test_it_follows_the_weights_when_told(network, rollout):
    fused = FusedNetwork(sharp_network(7))
    seen, mask = rows_of(rollout, slice(None))
    fused.network.load_state_dict(network.state_dict())
    fused.refresh()
    expected = PolicyRuntime(network, seed=0).act_batch(seen, mask).values
    assert np.allclose(FusedActor(fused, 0).act_batch(seen, mask).values, expected, atol=2e-6)


def test_any_reference_map_gives_the_same_network(network, rollout):
    seen, mask = rows_of(rollout, slice(None))
    found = []
    for number in range(3):
        fused = FusedNetwork(network)
        fused.reference[:] = np.random.default_rng(number).integers(0, 2, fused.cells)
        fused.refresh()
        found.append(FusedActor(fused, 0).act_batch(seen, mask).logits)
    assert not np.array_equal(found[0], found[1])  # other roundings
    assert np.allclose(found[0], found[1], atol=1e-5)
    assert np.allclose(found[0], found[2], atol=1e-5)


def test_elementary_functions_are_those_of_the_library():
    x = np.linspace(-12, 12, 4001).astype(np.float32)
    found = np.array([tanh(value) for value in x])
    assert np.abs(found - np.tanh(x.astype(np.float64))).max() < 5e-7
    x = np.linspace(-86.9, 10, 4001).astype(np.float32)
    found = np.array([exp(value) for value in x])
    assert np.abs(found / np.exp(x.astype(np.float64)) - 1).max() < 2e-7
    assert exp(np.float32(-1e8)) == exp(np.float32(-100)) == 0
