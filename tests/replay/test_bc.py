"""Behaviour cloning: imitates under the mask, fits a critic, holds whole lives out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from toy_rollouts import ACTIONS, SPEC, own_rollout, small_network
from toy_samples import script_sample

from townlet_replay.errors import TrainingError
from townlet_replay.policy.masked import masked_log_probs
from townlet_replay.policy.network import NetworkConfig, ObservationSpec, TownletNetwork
from townlet_replay.rollout import Rollout, pack
from townlet_replay.training.batches import to_batch
from townlet_replay.training.bc import BCConfig, run_bc, value_targets

CONFIG = BCConfig(minibatch_size=64, learning_rate=3e-3, epochs=12)


def script_rollout(lives=30, rows=20):
    """Lives of a script that goes by one feature and its mask."""
    rollout = pack([script_sample(rows=rows, seed=seed) for seed in range(lives)])
    wish = np.where(rollout.observations["features"][:, 2] > 0, 1, 3)
    legal = rollout.action_mask[np.arange(len(wish)), wish] == 1
    return rollout._replace(actions=np.where(legal, wish, 0).astype(np.int64))


def test_the_script_s_choices_are_learnt_and_carry_over_to_lives_held_out():
    network = small_network()
    result = run_bc(network, script_rollout(), CONFIG, np.random.default_rng(0))
    first, best = result.epochs[0], result.epochs[result.best_epoch - 1]
    assert best.agreement > 0.95
    assert best.agreement_held_out > 0.95 > first.agreement_held_out
    assert best.nll < first.nll
    assert result.rows + result.rows_held_out == 600
    assert result.rows_held_out == 60  # three of thirty lives of twenty rows


def test_noise_in_the_actions_is_not_imitated_when_the_intent_is_known():
    rollout = script_rollout()
    rng = np.random.default_rng(1)
    noisy = np.array([rng.choice(np.flatnonzero(row)) for row in rollout.action_mask])
    executed = np.where(rng.random(600) < 0.5, noisy, rollout.actions)
    network = small_network()
    result = run_bc(
        network,
        rollout._replace(actions=executed),
        CONFIG,
        np.random.default_rng(0),
        intent_actions=rollout.actions,
    )
    assert result.epochs[-1].agreement_held_out > 0.95


def test_labels_against_the_mask_are_left_out_and_counted():
    rollout = script_rollout()
    mask = rollout.action_mask.copy()
    mask[:50] = [0, 0, 1, 0, 1]  # the script never goes south or west
    network = small_network()
    result = run_bc(network, rollout._replace(action_mask=mask), CONFIG, np.random.default_rng(0))
    assert result.rows_without_label == 50
    assert all(math.isfinite(figure) for figure in result.epochs[-1])
    assert result.epochs[-1].agreement > 0.9
    nothing = np.tile(mask[0], (600, 1))
    with pytest.raises(TrainingError, match="at least one training row whose label"):
        run_bc(
            small_network(),
            rollout._replace(action_mask=nothing),
            CONFIG,
            np.random.default_rng(0),
        )


def test_rows_without_a_label_teach_the_policy_nothing():
    rollout = script_rollout()
    mask = rollout.action_mask.copy()
    mask[:50] = [0, 0, 1, 0, 1]
    config = CONFIG.model_copy(update={"vf_coef": 0.0, "ent_coef": 0.0, "epochs": 1})
    digests = set()
    for fill in (-1.0, 1.0):
        features = rollout.observations["features"].copy()
        features[:50] = fill
        observations = {**rollout.observations, "features": features}
        network = small_network()
        damaged = rollout._replace(action_mask=mask, observations=observations)
        run_bc(network, damaged, config, np.random.default_rng(0))
        digests.add(network.digest)
    assert len(digests) == 1


def test_a_large_entropy_bonus_keeps_the_policy_open():
    rollout = script_rollout()
    cautious = CONFIG.model_copy(update={"ent_coef": 20.0})
    found = run_bc(small_network(), rollout, cautious, np.random.default_rng(0)).epochs[-1].entropy
    uniform = np.log(rollout.action_mask.sum(axis=1)).mean()
    assert found == pytest.approx(uniform, abs=0.05)


def test_figures_of_an_epoch_recompute_from_the_weights():
    network = small_network()
    rollout = script_rollout()
    config = CONFIG.model_copy(update={"held_out": 0.0, "epochs": 2})
    last = run_bc(network, rollout, config, np.random.default_rng(0)).epochs[-1]
    with torch.no_grad():
        logits, _ = network(SPEC.tensors(rollout.observations, network.device))
    log_probs = masked_log_probs(logits, torch.tensor(rollout.action_mask)).double().numpy()
    chosen = log_probs[np.arange(600), rollout.actions]
    assert last.nll == pytest.approx(-chosen.mean(), rel=1e-5)
    assert last.agreement == (log_probs.argmax(axis=1) == rollout.actions).mean()
    assert math.isnan(last.nll_held_out)
    assert math.isnan(last.agreement_held_out)
    assert last.minibatches == 10


def test_held_out_lives_are_whole_and_teach_nothing():
    rollout = script_rollout(lives=4)
    ids = []
    for seed in range(6):
        shuffled = rollout.actions.copy()
        networks = [small_network(), small_network()]
        config = CONFIG.model_copy(update={"held_out": 0.25, "epochs": 1, "vf_coef": 0.0})
        run_bc(networks[0], rollout, config, np.random.default_rng(seed))
        held = np.random.default_rng(seed).permutation(4)[0]
        ids.append(int(held))
        # Other labels in the life held out must not change a single weight.
        rows = slice(20 * held, 20 * held + 20)
        shuffled[rows] = 0
        run_bc(networks[1], rollout._replace(actions=shuffled), config, np.random.default_rng(seed))
        assert networks[0].digest == networks[1].digest
    assert len(set(ids)) > 1


def test_a_single_life_is_trained_on_whole():
    result = run_bc(small_network(), pack([script_sample()]), CONFIG, np.random.default_rng(0))
    assert (result.rows, result.rows_held_out) == (20, 0)
    assert result.best_epoch == CONFIG.epochs


def test_patience_keeps_the_best_weights():
    """Labels are noise: what is learnt by heart does not carry over."""
    rollout = own_rollout(small_network(), rows=120, mean_segment=8)
    config = BCConfig(minibatch_size=16, learning_rate=0.02, epochs=60, patience=4, held_out=0.3)
    network = small_network()
    result = run_bc(network, rollout, config, np.random.default_rng(2))
    losses = [epoch.nll_held_out for epoch in result.epochs]
    assert result.stopped_early
    assert result.best_epoch == int(np.argmin(losses)) + 1 == len(losses) - 4
    again = small_network()
    shorter = config.model_copy(update={"epochs": result.best_epoch})
    run_bc(again, rollout, shorter, np.random.default_rng(2))
    assert again.digest == network.digest


def test_cloning_repeats_to_the_bit():
    digests = set()
    for _ in range(2):
        network = small_network()
        run_bc(network, script_rollout(), CONFIG, np.random.default_rng(3))
        digests.add(network.digest)
    assert len(digests) == 1


def constant_reward(*, dies, bootstrap=np.nan, horizon=10):
    rows = 4 * horizon
    ends = np.arange(1, rows + 1) % horizon == 0
    return Rollout(
        observations={"features": np.ones((rows, 1), np.float32)},
        action_mask=None,
        actions=np.zeros(rows, np.int64),
        rewards=np.ones(rows, np.float32),
        terminations=ends & dies,
        truncations=ends & (not dies),
        old_log_probs=np.zeros(rows, np.float32),
        values=np.full(rows, np.nan, np.float32),
        bootstrap_values=np.where(ends & (not dies), np.float32(bootstrap), np.float32(0)),
        segment_starts=np.arange(0, rows, horizon),
    )


def critic_network():
    spec = ObservationSpec(
        map_shape=None, features_dim=1, action_dim=2, action_lookup={0: "wait", 1: "go"}
    )
    return TownletNetwork(spec, NetworkConfig(features_width=8, trunk_widths=(8,)), seed=0)


def learnt_value(rollout):
    network = critic_network()
    config = BCConfig(gamma=0.9, epochs=40, held_out=0.0, minibatch_size=10)
    run_bc(network, rollout, config, np.random.default_rng(0))
    with torch.no_grad():
        return float(network({"features": torch.ones(1, 1)})[1])


def test_the_critic_learns_what_goes_on_after_a_cut_even_if_nobody_judged_it():
    """Reward 1 per tick, gamma 0.9: going on is worth 10, dying after ten ticks is not."""
    assert learnt_value(constant_reward(dies=False)) == pytest.approx(10.0, rel=0.03)
    mean_return = np.mean([(1 - 0.9**left) / 0.1 for left in range(1, 11)])
    assert learnt_value(constant_reward(dies=True)) == pytest.approx(mean_return, rel=0.05)


def test_known_bootstrap_values_are_taken_at_their_word():
    network = critic_network()
    rollout = constant_reward(dies=False, bootstrap=100.0)
    targets = value_targets(network, rollout, to_batch(network, rollout), 0.9)
    assert targets[9].item() == pytest.approx(1 + 0.9 * 100.0)
    assert targets[0].item() == pytest.approx((1 - 0.9**10) / 0.1 + 0.9**10 * 100.0, rel=1e-5)


def test_large_returns_do_not_drown_the_imitation():
    rollout = script_rollout()
    huge = rollout._replace(rewards=rollout.rewards * 1000 + 500)
    result = run_bc(small_network(), huge, CONFIG, np.random.default_rng(0))
    assert result.epochs[-1].agreement_held_out > 0.95


def test_bad_input_is_refused():
    with pytest.raises(ValidationError, match="epochs must be at least 1, got 0"):
        BCConfig(epochs=0)
    with pytest.raises(TrainingError, match=r"intent_actions: expected shape \(20,\)"):
        run_bc(
            small_network(),
            pack([script_sample()]),
            CONFIG,
            np.random.default_rng(0),
            intent_actions=np.zeros(3, np.int64),
        )
    with pytest.raises(TrainingError, match=f"expected actions in 0..{ACTIONS - 1}"):
        run_bc(
            small_network(),
            pack([script_sample()]),
            CONFIG,
            np.random.default_rng(0),
            intent_actions=np.full(20, ACTIONS),
        )
