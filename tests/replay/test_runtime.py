"""PolicyRuntime: seeded, independent of dict order, and honest about how it chose."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from toy_rollouts import ACTIONS, SMALL, SPEC, own_rollout, sharp_network
from toy_samples import script_sample

from townlet_replay.errors import TrainingError
from townlet_replay.policy.masked import masked_log_probs
from townlet_replay.policy.network import ObservationSpec, TownletNetwork
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.rollout import pack
from townlet_replay.training.ppo import PPOConfig, make_optimizer, ppo_update

NAMES = ("anna", "ben", "cleo", "dawn")


def residents(seed=0):
    rollout = own_rollout(sharp_network(), rows=len(NAMES), seed=seed)
    return {
        name: {
            "map": rollout.observations["map"][row],
            "features": rollout.observations["features"][row],
            "action_mask": rollout.action_mask[row],
        }
        for row, name in enumerate(NAMES)
    }


def test_the_order_of_the_dict_changes_nothing():
    one, other = (PolicyRuntime(sharp_network(), seed=3) for _ in range(2))
    for tick in range(20):
        observations = residents(tick)
        shuffled = {name: observations[name] for name in ("cleo", "anna", "dawn", "ben")}
        ours, theirs = one.act(observations), other.act(shuffled)
        assert ours.actions == theirs.actions
        assert list(theirs.actions) == sorted(NAMES)
        assert ours.log_probs == theirs.log_probs
        assert ours.values == theirs.values


def test_the_seed_decides_and_global_streams_do_not():
    def actions(seed, disturbance):
        np.random.seed(disturbance)  # noqa: NPY002
        torch.manual_seed(disturbance)
        runtime = PolicyRuntime(sharp_network(), seed=seed)
        return [runtime.act(residents(tick)).actions for tick in range(10)]

    assert actions(1, 0) == actions(1, 99)
    assert actions(1, 0) != actions(2, 0)


def test_only_legal_actions_with_the_log_probs_of_the_masked_softmax():
    network = sharp_network()
    rollout = own_rollout(network, rows=300)
    acts = PolicyRuntime(network, seed=0).act_batch(rollout.observations, rollout.action_mask)
    rows = np.arange(300)
    assert (rollout.action_mask[rows, acts.actions] == 1).all()
    expected = masked_log_probs(torch.tensor(acts.logits), torch.tensor(rollout.action_mask))
    np.testing.assert_array_equal(acts.log_probs, expected.numpy()[rows, acts.actions])
    np.testing.assert_array_equal(acts.values, rollout.values)
    assert acts.actions.dtype == np.int64
    assert acts.log_probs.dtype == acts.values.dtype == acts.logits.dtype == np.float32
    assert len(set(acts.actions.tolist())) == ACTIONS


def test_what_it_records_is_what_ppo_finds():
    network = sharp_network()
    rollout = own_rollout(network)
    acts = PolicyRuntime(network, seed=0).act_batch(rollout.observations, rollout.action_mask)
    own = rollout._replace(actions=acts.actions, old_log_probs=acts.log_probs, values=acts.values)
    config = PPOConfig(epochs=1, minibatch_size=1000)
    optimizer = make_optimizer(network, config)
    stats = ppo_update(network, optimizer, own, config, np.random.default_rng(0))
    assert stats.ratio_mean == pytest.approx(1.0, abs=2e-7)
    assert stats.clip_fraction == 0


def test_greedy_takes_the_best_legal_action_and_says_it_was_certain():
    network = sharp_network()
    rollout = own_rollout(network, rows=100)
    runtime = PolicyRuntime(network, seed=0, greedy=True)
    acts = runtime.act_batch(rollout.observations, rollout.action_mask)
    with torch.no_grad():
        logits = network(SPEC.tensors(rollout.observations, network.device))[0].numpy()
    best = np.where(rollout.action_mask == 1, logits, -np.inf).argmax(axis=1)
    np.testing.assert_array_equal(acts.actions, best)
    assert (acts.log_probs == 0).all()
    mu = masked_log_probs(torch.tensor(acts.logits), torch.tensor(rollout.action_mask)).exp()
    np.testing.assert_array_equal(mu.numpy(), np.eye(ACTIONS)[best])


def test_temperature_is_in_the_recorded_distribution():
    network = sharp_network()
    rollout = own_rollout(network, rows=4000)
    entropies = []
    for temperature in (0.25, 4.0):
        runtime = PolicyRuntime(network, seed=0, temperature=temperature)
        acts = runtime.act_batch(rollout.observations, rollout.action_mask)
        legal = rollout.action_mask.sum(axis=1)
        # E[1 / mu(a)] is the number of legal actions if, and only if, mu is what was sampled.
        balance = np.exp(-acts.log_probs) / legal
        error = balance.std() / len(balance) ** 0.5
        assert abs(balance.mean() - 1) < 4 * error + 0.02
        entropies.append(-acts.log_probs.mean())
    assert entropies[0] < entropies[1]
    with pytest.raises(TrainingError, match="temperature must be a positive number, got 0"):
        PolicyRuntime(network, seed=0, temperature=0.0)


def test_masks_outside_the_observation_and_bare_observations():
    spec = ObservationSpec(
        map_shape=None,
        features_dim=3,
        action_dim=2,
        features_key="observation",
        action_lookup={0: "a", 1: "b"},
    )
    runtime = PolicyRuntime(TownletNetwork(spec, SMALL, seed=0), seed=0)
    observations = {f"agent_{index}": np.full(3, index, np.float32) for index in range(6)}
    masks = {name: np.array([0, 1], np.int8) for name in observations}
    for _ in range(5):
        assert set(runtime.act(observations, masks).actions.values()) == {1}
    free = [runtime.act(observations).actions["agent_0"] for _ in range(30)]
    assert set(free) == {0, 1}


def test_nobody_left_is_fine():
    runtime = PolicyRuntime(sharp_network(), seed=0)
    assert runtime.act({}).actions == {}
    assert runtime.values_of({}) == {}


def test_values_of_final_observations():
    network = sharp_network()
    observations = residents()
    values = PolicyRuntime(network, seed=0).values_of(observations)
    stacked = {
        key: np.stack([observations[name][key] for name in NAMES]) for key in ("map", "features")
    }
    with torch.no_grad():
        expected = network(SPEC.tensors(stacked, network.device))[1]
    assert values == dict(zip(NAMES, expected.tolist(), strict=True))


def test_the_stream_goes_on_from_a_saved_state():
    runtime = PolicyRuntime(sharp_network(), seed=5)
    for tick in range(3):
        runtime.act(residents(tick))
    state = runtime.get_state()
    expected = [runtime.act(residents(tick)).actions for tick in range(10)]
    later = PolicyRuntime(sharp_network(), seed=0)
    later.set_state(state)
    assert [later.act(residents(tick)).actions for tick in range(10)] == expected


def test_a_training_step_changes_its_digest():
    network = sharp_network()
    runtime = PolicyRuntime(network, seed=0)
    before = runtime.digest
    config = PPOConfig(epochs=1)
    ppo_update(
        network,
        make_optimizer(network, config),
        own_rollout(network),
        config,
        np.random.default_rng(0),
    )
    assert runtime.digest == network.digest != before


def test_bad_masks_and_observations_are_refused():
    runtime = PolicyRuntime(sharp_network(), seed=0)
    observations = residents()
    observations["ben"]["action_mask"] = np.zeros(ACTIONS, np.int8)
    with pytest.raises(TrainingError, match="row 1 allows no action"):
        runtime.act(observations)
    observations = residents()
    with pytest.raises(TrainingError, match=r"action mask: expected shape \(4, 5\)"):
        runtime.act(observations, {name: np.ones(3, np.int8) for name in NAMES})
    del observations["ben"]["action_mask"]
    with pytest.raises(TrainingError, match="expected every observation to have the keys"):
        runtime.act(observations)


def test_annotating_a_script_adds_a_view_and_keeps_the_behaviour():
    network = sharp_network()
    runtime = PolicyRuntime(network, seed=0)
    sample = script_sample(rows=30)
    annotated = runtime.annotate(sample)
    with torch.no_grad():
        logits, values = network(SPEC.tensors(sample.observations, network.device))
    log_probs = masked_log_probs(logits, torch.tensor(sample.action_mask)).numpy()
    np.testing.assert_array_equal(
        annotated.extras["policy_log_probs"], log_probs[np.arange(30), sample.actions]
    )
    np.testing.assert_array_equal(annotated.value_preds[:-1], values.numpy())
    final = runtime.values_of({"anna": sample.final_observation})["anna"]
    assert annotated.value_preds[-1] == np.float32(final)
    assert annotated.meta.capture_metadata.policy_hash == network.digest
    assert annotated.meta.behaviour == sample.meta.behaviour
    np.testing.assert_array_equal(annotated.old_log_probs, sample.old_log_probs)
    assert np.isnan(sample.value_preds).all()  # the original is untouched
    assert pack([annotated]).bootstrap_values[-1] == np.float32(final)


def test_annotating_keeps_known_values_and_bootstraps_nothing_after_a_death():
    sample = script_sample(rows=10, dies=True)
    known = sample.value_preds.copy()
    known[4] = 7.0
    annotated = PolicyRuntime(sharp_network(), seed=0).annotate(
        dataclasses.replace(sample, value_preds=known)
    )
    assert annotated.value_preds[4] == 7.0
    assert annotated.value_preds[-1] == 0.0
    assert not np.isnan(annotated.value_preds).any()
