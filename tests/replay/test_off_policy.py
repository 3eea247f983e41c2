"""Objectives for rows that somebody else made: their formulas, and what they lead to."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from toy_rollouts import own_rollout, sharp_network, small_network

from townlet_replay.errors import TrainingError
from townlet_replay.training.awr import AWRConfig, advantage_weights, run_awr
from townlet_replay.training.demonstration import Demonstration, DemonstrationConfig
from townlet_replay.training.gae import gae
from townlet_replay.training.off_policy import (
    OffPolicyConfig,
    decoupled_aim,
    log_probs_of,
    vtrace,
    vtrace_aim,
)
from townlet_replay.training.ppo import Aim, PPOConfig, estimate, make_optimizer, ppo_update

LIMITS = OffPolicyConfig()


def sums_of_vtrace(rollout, rho, trace, gamma):
    """Targets by the definition: a sum over the rest of the segment, row by row."""
    values, ends = rollout.values.astype(float), rollout.terminations | rollout.truncations
    targets, following = [], []
    for s in range(len(rho)):
        target, weight, t = values[s], 1.0, s
        while True:
            after = rollout.bootstrap_values[t] if ends[t] else values[t + 1]
            after = 0.0 if rollout.terminations[t] else float(after)
            target += weight * rho[t] * (rollout.rewards[t] + gamma * after - values[t])
            weight *= gamma * trace[t]
            if ends[t]:
                break
            t += 1
        targets.append(target)
    for s in range(len(rho)):
        after = rollout.bootstrap_values[s] if ends[s] else targets[s + 1 - len(rho)]
        following.append(0.0 if rollout.terminations[s] else float(after))
    gains = rho * (rollout.rewards + gamma * np.array(following) - values)
    return gains, np.array(targets)


def test_vtrace_is_its_definition():
    rollout = own_rollout(sharp_network(), rows=150)
    rng = np.random.default_rng(0)
    rho = rng.uniform(0, 1, 150).astype(np.float32)
    trace = (rho * np.float32(0.9)).astype(np.float32)
    found = vtrace(rollout, rho, trace, 0.97)
    gains, targets = sums_of_vtrace(rollout, rho, trace, 0.97)
    np.testing.assert_allclose(found.returns, targets, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.advantages, gains, rtol=1e-5, atol=1e-5)
    assert rollout.terminations.any()
    assert rollout.truncations.sum() > 1


def test_on_policy_the_targets_of_vtrace_are_those_of_gae():
    rollout = own_rollout(sharp_network())
    ones = np.ones(len(rollout.rewards), np.float32)
    found = vtrace(rollout, ones, ones * np.float32(0.95), 0.99)
    expected = gae(*_gae_inputs(rollout), 0.99, 0.95)
    np.testing.assert_allclose(found.returns, expected.returns, rtol=1e-4, atol=1e-5)


def _gae_inputs(rollout):
    return (
        rollout.rewards,
        rollout.values,
        rollout.terminations,
        rollout.truncations,
        rollout.bootstrap_values,
    )


def test_what_decoupled_ppo_aims_at():
    network, rollout, ppo = sharp_network(1), own_rollout(sharp_network(0)), PPOConfig()
    aim = decoupled_aim(network, rollout, ppo, LIMITS)
    assert aim.anchors.tolist() == log_probs_of(network, rollout).tolist()
    ratio = np.exp(aim.anchors - rollout.old_log_probs)
    assert (ratio > 2).any()
    np.testing.assert_allclose(aim.weights, np.minimum(ratio, 2.0), rtol=1e-6)
    assert aim.estimates.returns.tolist() == estimate(rollout, ppo).returns.tolist()
    extreme = rollout._replace(old_log_probs=np.full(203, -1e8, np.float32))
    assert (decoupled_aim(network, extreme, ppo, LIMITS).weights == 2).all()


def test_what_vtrace_aims_at():
    network, rollout, ppo = sharp_network(1), own_rollout(sharp_network(0)), PPOConfig()
    aim = vtrace_aim(network, rollout, ppo, LIMITS)
    ratio = np.exp(log_probs_of(network, rollout) - rollout.old_log_probs)
    rho = np.minimum(ratio, 1).astype(np.float32)
    gains, targets = sums_of_vtrace(rollout, rho, rho * np.float32(0.95), 0.99)
    assert aim.weights is None  # rho is in the advantages already
    np.testing.assert_allclose(aim.estimates.advantages, gains, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(aim.estimates.returns, targets, rtol=1e-4, atol=1e-5)


def updated(aim_of, rows_by=0, network_seed=0, **settings):
    """The network after one update, and the update's figures."""
    network, rollout = sharp_network(network_seed), own_rollout(sharp_network(rows_by))
    ppo = PPOConfig(target_kl=None, minibatch_size=64, **settings)
    aim = None if aim_of is None else aim_of(network, rollout, ppo)
    rng = np.random.default_rng(0)
    stats = ppo_update(network, make_optimizer(network, ppo), rollout, ppo, rng, aim)
    return network, stats


def test_on_policy_decoupled_ppo_is_ppo():
    plain, _ = updated(None)
    other, _ = updated(lambda *given: decoupled_aim(*given, LIMITS))
    for left, right in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-6)


def test_ratios_are_taken_to_the_anchor():
    """A stale capture: plain PPO begins clipped, decoupled PPO at ratio 1."""
    _, plain = updated(None, rows_by=3, epochs=1, learning_rate=1e-12)
    for make in (decoupled_aim, vtrace_aim):
        _, other = updated(
            lambda *given, make=make: make(*given, LIMITS),
            rows_by=3,
            epochs=1,
            learning_rate=1e-12,
        )
        assert other.kl_divergence == pytest.approx(0.0, abs=1e-6)
        assert other.clip_fraction == 0.0
    assert plain.clip_fraction > 0.3


def test_a_weight_of_zero_takes_a_row_out_of_the_policys_loss():
    def without_half(network, rollout, ppo):
        weights = np.where(np.arange(203) % 2, np.float32(1), np.float32(0))
        return Aim(rollout.old_log_probs, estimate(rollout, ppo), weights)

    def one_of_them_changed(network, rollout, ppo):
        aim = without_half(network, rollout, ppo)
        advantages = aim.estimates.advantages.copy()
        advantages[::2] += 3.0
        return aim._replace(estimates=aim.estimates._replace(advantages=advantages))

    settings = {"normalize_advantage": False, "vf_coef": 0.0}
    same = [updated(aim, **settings)[0].digest for aim in (without_half, one_of_them_changed)]
    assert same[0] == same[1]
    assert same[0] != updated(None, **settings)[0].digest


def test_the_weights_of_awr():
    config = AWRConfig(beta=0.5, max_weight=4.0)
    advantages = np.array([-1.0, 0.0, 1.0, 10.0], np.float32)
    standard = (advantages - advantages.mean()) / advantages.std()
    expected = np.minimum(np.exp(standard / 0.5), 4.0)
    np.testing.assert_allclose(advantage_weights(advantages, config), expected, rtol=1e-5)
    assert advantage_weights(advantages, config)[-1] == pytest.approx(4.0)


def chosen_share(network, rollout, rows):
    return float(np.exp(log_probs_of(network, rollout))[rows].mean())


def test_awr_imitates_what_turned_out_well():
    """One legal choice is rewarded and the other is not; the actor took both alike."""
    rollout = own_rollout(small_network(), rows=2000)
    mask = np.zeros_like(rollout.action_mask)
    mask[:, 1:3] = 1
    actions = 1 + np.arange(2000) % 2
    rewards = np.where(actions == 1, 1.0, -1.0).astype(np.float32)
    rollout = rollout._replace(action_mask=mask, actions=actions, rewards=rewards)
    network = small_network(1)
    critic = copy.deepcopy(network)

    def revalued():
        with torch.no_grad():
            seen = network.spec.tensors(rollout.observations, network.device)
            return rollout._replace(values=network(seen)[1].numpy())

    good = actions == 1
    assert chosen_share(network, rollout, good) == pytest.approx(0.5, abs=0.2)
    config = AWRConfig(gamma=0.0, epochs=6)
    epochs = run_awr(network, revalued, config, np.random.default_rng(0))
    assert chosen_share(network, rollout, good) > 0.8  # a clone would stay at a half
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert {epoch.rows for epoch in epochs} == {2000}
    assert 0 < epochs[-1].weight_ess < 1
    # The first passes move the values alone.
    only_values = AWRConfig(gamma=0.0, epochs=1, value_epochs=3, learning_rate=1e-3)
    head = critic.action_head.weight.clone()
    run_awr(critic, lambda: rollout, only_values.model_copy(update={"epochs": 0}),
            np.random.default_rng(0))  # fmt: skip
    assert torch.equal(critic.action_head.weight, head)


def test_a_demonstration_fades():
    config = DemonstrationConfig(weight=0.8, share=0.5)
    assert [config.weight_at(1 - done / 8) for done in range(6)] == pytest.approx(
        [0.8, 0.6, 0.4, 0.2, 0.0, 0.0]
    )


def test_a_demonstration_pulls_towards_what_was_shown():
    network, shown = small_network(), own_rollout(sharp_network(5), rows=400, seed=9)
    shown = shown._replace(actions=4 - shown.action_mask[:, ::-1].argmax(axis=1))
    rollout = own_rollout(network)
    before = log_probs_of(network, shown).mean()
    ppo = PPOConfig(target_kl=None, minibatch_size=64, learning_rate=3e-3)
    for weight, closer in ((0.0, False), (2.0, True)):
        learner = copy.deepcopy(network)
        demonstration = Demonstration(learner, shown, 64, np.random.default_rng(1), weight)
        aim = Aim(rollout.old_log_probs, estimate(rollout, ppo), auxiliary=demonstration)
        optimizer, rng = make_optimizer(learner, ppo), np.random.default_rng(0)
        for _ in range(4):
            ppo_update(learner, optimizer, rollout, ppo, rng, aim)
        assert (log_probs_of(learner, shown).mean() > before + 0.05) == closer


def test_a_demonstration_without_a_usable_label_is_refused():
    shown = own_rollout(small_network(), rows=30)
    forbidden = shown._replace(action_mask=np.zeros_like(shown.action_mask))
    with pytest.raises(TrainingError, match="a row whose label the mask allows"):
        Demonstration(small_network(), forbidden, 8, np.random.default_rng(0), 0.5)
