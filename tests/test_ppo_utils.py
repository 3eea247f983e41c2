"""The arithmetic of PPO: advantages, ratios, masks, losses, stopping, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from toy_advantages import advantages_of
from toy_rollouts import SPEC, own_rollout, sharp_network, small_network

from townlet_replay.errors import TrainingError
from townlet_replay.policy.masked import draw_actions, masked_log_probs
from townlet_replay.policy.network import NetworkConfig, ObservationSpec, TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.training.figures import correlation, explained_variance
from townlet_replay.training.ppo import PPOConfig, make_optimizer, ppo_update


# Settings
@pytest.mark.parametrize("name", ["epochs", "minibatch_size"])
def test_counts_must_be_at_least_one(name):
    with pytest.raises(ValidationError, match=f"{name} must be at least 1, got 0"):
        PPOConfig(**{name: 0})


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        PPOConfig(learning_rat=1e-3)


def test_the_optimizer_is_adam_with_ppo_s_epsilon():
    optimizer = make_optimizer(small_network(), PPOConfig(learning_rate=1e-3))
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["eps"] == 1e-5
    assert optimizer.param_groups[0]["lr"] == 1e-3


# Updates
def update(network, rollout, seed=0, **changes):
    config = PPOConfig(**{"minibatch_size": 64, "target_kl": None, **changes})
    optimizer = make_optimizer(network, config)
    return ppo_update(network, optimizer, rollout, config, np.random.default_rng(seed))


@pytest.mark.parametrize("network", [small_network(), sharp_network()], ids=["fresh", "sharp"])
def test_on_own_data_the_first_minibatch_has_ratio_one(network):
    stats = update(network, own_rollout(network), epochs=1, minibatch_size=1000)
    assert stats.minibatches == 1
    assert stats.ratio_mean == pytest.approx(1.0, abs=2e-7)
    assert stats.ratio_max == pytest.approx(1.0, abs=2e-6)
    assert abs(stats.kl_divergence) <= 2e-7
    assert stats.clip_fraction == 0.0
    assert stats.ess == pytest.approx(1.0, abs=2e-7)


def test_figures_of_one_minibatch_recompute_from_its_rows():
    network = sharp_network(4)
    rollout = own_rollout(sharp_network(9))  # recorded by somebody else
    with torch.no_grad():
        logits, values = network(SPEC.tensors(rollout.observations, network.device))
    log_probs = masked_log_probs(logits, torch.tensor(rollout.action_mask)).double().numpy()
    new = log_probs[np.arange(len(rollout.actions)), rollout.actions]
    ratio = np.exp(new - rollout.old_log_probs)
    probabilities = np.exp(log_probs)
    entropies = -(probabilities * np.where(probabilities > 0, log_probs, 0)).sum(axis=1)
    found = advantages_of(rollout, 0.99, 0.95)
    raw = found.advantages.astype(np.float64)
    scaled = (raw - raw.mean()) / (raw.std(ddof=1) + 1e-8)
    surrogate = np.minimum(ratio * scaled, np.clip(ratio, 0.9, 1.1) * scaled)
    error = ((found.returns - values.double().numpy()) ** 2).mean()

    stats = update(
        network, rollout, epochs=1, minibatch_size=1000, clip_range=0.1, ent_coef=0.3, vf_coef=0.7
    )
    expected = {
        "loss_policy": -surrogate.mean(),
        "loss_value": error,
        "loss_entropy": -entropies.mean(),
        "loss_total": -surrogate.mean() - 0.3 * entropies.mean() + 0.7 * error,
        "clip_fraction": (np.abs(ratio - 1) > 0.1).mean(),
        "kl_divergence": (ratio - 1 - np.log(ratio)).mean(),
        "ratio_mean": ratio.mean(),
        "ratio_max": ratio.max(),
        "ess": ratio.sum() ** 2 / (len(ratio) * (ratio**2).sum()),
        "batch_entropy_mean": entropies.mean(),
        "adv_mean": raw.mean(),
        "adv_std": raw.std(),
        "reward_advantage_corr": np.corrcoef(rollout.rewards, raw)[0, 1],
        "explained_variance": 1 - (found.returns - rollout.values).var() / found.returns.var(),
    }
    assert 0.0 < expected["clip_fraction"] < 1.0
    for name, value in expected.items():
        assert stats._asdict()[name] == pytest.approx(value, rel=2e-5, abs=1e-6), name


def test_stats_cover_every_minibatch_of_every_epoch():
    network = small_network()
    rollout = own_rollout(network)  # 203 rows: 4 minibatches, the last of 11
    stats = update(network, rollout, epochs=3)
    assert (stats.rows, stats.minibatches, stats.epochs_completed) == (203, 12, 3)
    assert not stats.stopped_early
    assert stats.grad_norm_max >= stats.grad_norm > 0
    assert stats.kl_divergence_max > stats.kl_divergence > 0
    assert stats.ess_min < stats.ess <= 1.0


def test_updates_repeat_to_the_bit_and_depend_on_the_stream():
    digests = []
    for seed in (0, 0, 1):
        network = small_network()
        update(network, own_rollout(small_network()), seed=seed)
        digests.append(network.digest)
    assert digests[0] == digests[1] != digests[2]


def test_a_minibatch_of_one_row_poisons_nothing():
    network = small_network()
    rollout = own_rollout(network, rows=65)
    stats = update(network, rollout)
    assert stats.minibatches == 8
    assert all(torch.isfinite(weight).all() for weight in network.parameters())
    assert math.isfinite(stats.loss_total)


def test_a_large_divergence_stops_before_the_step_is_taken():
    network = sharp_network(3)
    before = network.digest
    stats = update(network, own_rollout(small_network(9)), target_kl=0.01)
    assert stats.stopped_early
    assert (stats.minibatches, stats.epochs_completed) == (0, 0)
    assert stats.kl_divergence > 0.015
    assert math.isnan(stats.grad_norm)
    assert network.digest == before


def test_divergence_below_one_and_a_half_targets_goes_on():
    stats = update(small_network(), own_rollout(small_network()), learning_rate=3e-3, epochs=2)
    reached = stats.kl_divergence_max
    goes_on = update(
        small_network(),
        own_rollout(small_network()),
        learning_rate=3e-3,
        epochs=2,
        target_kl=reached / 1.49,
    )
    stops = update(
        small_network(),
        own_rollout(small_network()),
        learning_rate=3e-3,
        epochs=2,
        target_kl=reached / 1.51,
    )
    assert not goes_on.stopped_early
    assert stops.stopped_early


def test_value_clipping_uses_the_clipped_prediction_alone():
    rollout = own_rollout(small_network())
    network = small_network(5)
    with torch.no_grad():
        values = network(SPEC.tensors(rollout.observations, network.device))[1].numpy()
    returns = advantages_of(rollout, 0.99, 0.95).returns
    near = rollout.values + np.clip(values - rollout.values, -0.05, 0.05)
    stats = update(network, rollout, epochs=1, minibatch_size=1000, clip_range_vf=0.05)
    assert stats.loss_value == pytest.approx(((returns - near) ** 2).mean(), rel=1e-5)


def test_gradients_are_clipped_to_the_global_norm():
    network = small_network()
    before = [weight.detach().clone() for weight in network.parameters()]
    config = PPOConfig(epochs=1, minibatch_size=1000, max_grad_norm=1e-3, learning_rate=1.0)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)  # the step is the gradient
    stats = ppo_update(network, optimizer, own_rollout(network), config, np.random.default_rng(0))
    moved = [now.detach() - then for now, then in zip(network.parameters(), before, strict=True)]
    assert stats.grad_norm > 1e-2
    assert torch.cat([step.flatten() for step in moved]).norm().item() == pytest.approx(
        1e-3, rel=1e-2
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"old_log_probs": math.nan}, "old_log_probs: expected finite numbers, found 1 unknown"),
        ({"values": math.nan}, "values: expected finite numbers"),
        ({"rewards": math.inf}, "rewards: expected finite numbers"),
    ],
)
def test_unknown_numbers_are_refused(changes, message):
    network = small_network()
    rollout = own_rollout(network)
    for name, value in changes.items():
        array = rollout._asdict()[name].copy()
        array[7] = value
        rollout = rollout._replace(**{name: array})
    before = network.digest
    with pytest.raises(TrainingError, match=message):
        update(network, rollout)
    assert network.digest == before


def test_data_that_do_not_fit_the_network_are_refused():
    network = small_network()
    rollout = own_rollout(network)
    mask = rollout.action_mask.copy()
    mask[11, rollout.actions[11]] = 0
    wrong = {
        "row 11: action": rollout._replace(action_mask=mask),
        "another action vocabulary": rollout._replace(actions=rollout.actions + 1),
        r"action_mask: expected shape \(203, 5\)": rollout._replace(action_mask=mask[:, :4]),
        "observation 'features': expected rows of shape": rollout._replace(
            observations={**rollout.observations, "features": np.zeros((203, 7), np.float32)}
        ),
        "expected observation key 'map'": rollout._replace(
            observations={"features": rollout.observations["features"]}
        ),
    }
    for message, damaged in wrong.items():
        with pytest.raises(TrainingError, match=message):
            update(network, damaged)


def test_an_infinite_gradient_leaves_the_weights_alone():
    network = small_network()
    rollout = own_rollout(network)
    before = network.digest
    huge = rollout._replace(rewards=np.full(203, 1e30, np.float32))
    with pytest.raises(TrainingError, match="expected a finite gradient"):
        update(network, huge)
    assert network.digest == before


def test_explained_variance_and_correlation():
    returns = np.array([1.0, 2.0, 3.0], np.float32)
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(np.full(3, 2.0), returns) == 0.0
    assert explained_variance(-returns, returns) == pytest.approx(-3.0)
    assert math.isnan(explained_variance(returns, np.ones(3)))
    assert correlation(returns, -2 * returns) == pytest.approx(-1.0)
    assert math.isnan(correlation(returns, np.ones(3)))


# Learning
def test_the_rewarded_action_becomes_likely_under_its_mask():
    """A bandit of two contexts: action 3 pays in one, action 1 in the other; 4 is never legal."""
    spec = ObservationSpec(
        map_shape=None, features_dim=2, action_dim=5, action_lookup=SPEC.action_lookup
    )
    network = TownletNetwork(spec, NetworkConfig(features_width=16, trunk_widths=(16,)), seed=0)
    config = PPOConfig(learning_rate=3e-3, minibatch_size=64, epochs=4, target_kl=None)
    optimizer = make_optimizer(network, config)
    rng = np.random.default_rng(0)
    mask = np.tile(np.array([1, 1, 1, 1, 0], np.int8), (256, 1))
    context = np.arange(256) % 2
    features = np.eye(2, dtype=np.float32)[context]
    for _ in range(12):
        with torch.no_grad():
            logits, values = network({"features": torch.tensor(features)})
            log_probs = masked_log_probs(logits, torch.tensor(mask)).numpy()
        actions = draw_actions(log_probs, rng)
        over = np.ones(256, np.bool_)
        rollout = Rollout(
            observations={"features": features},
            action_mask=mask,
            actions=actions,
            rewards=(actions == np.where(context == 0, 3, 1)).astype(np.float32),
            terminations=over,
            truncations=~over,
            old_log_probs=log_probs[np.arange(256), actions],
            values=values.numpy(),
            bootstrap_values=np.zeros(256, np.float32),
            segment_starts=np.arange(256),
        )
        ppo_update(network, optimizer, rollout, config, rng)
    with torch.no_grad():
        logits, _ = network({"features": torch.eye(2)})
    probabilities = masked_log_probs(logits, torch.tensor(mask[:2])).exp().numpy()
    assert probabilities[0, 3] > 0.9
    assert probabilities[1, 1] > 0.9
    assert (probabilities[:, 4] == 0).all()


def _value_of_constant_reward(*, dies: bool, horizon: int = 10, gamma: float = 0.9) -> float:
    """The value PPO learns for reward 1 per tick, episodes of ``horizon`` ticks, one state."""
    spec = ObservationSpec(
        map_shape=None, features_dim=1, action_dim=2, action_lookup={0: "wait", 1: "go"}
    )
    network = TownletNetwork(spec, NetworkConfig(features_width=8, trunk_widths=(8,)), seed=0)
    config = PPOConfig(
        gamma=gamma, learning_rate=0.02, minibatch_size=40, target_kl=None, max_grad_norm=5.0
    )
    optimizer = make_optimizer(network, config)
    features = np.ones((4 * horizon, 1), np.float32)
    ends = np.arange(1, 4 * horizon + 1) % horizon == 0
    rng = np.random.default_rng(0)
    value = 0.0
    for _ in range(80):
        with torch.no_grad():
            logits, values = network({"features": torch.tensor(features)})
        value = float(values[0])
        rollout = Rollout(
            observations={"features": features},
            action_mask=None,
            actions=np.zeros(4 * horizon, np.int64),
            rewards=np.ones(4 * horizon, np.float32),
            terminations=ends if dies else ~ends & ends,
            truncations=~ends & ends if dies else ends,
            old_log_probs=masked_log_probs(logits, None)[:, 0].numpy(),
            values=values.numpy(),
            bootstrap_values=np.where(ends & (not dies), np.float32(value), np.float32(0)),
            segment_starts=np.arange(0, 4 * horizon, horizon),
        )
        ppo_update(network, optimizer, rollout, config, rng)
    return value


def test_a_time_limit_does_not_lower_the_value_of_going_on():
    """Pardo 2018: r / (1 - gamma) = 10 under a time limit; far less if the limit were a death."""
    assert _value_of_constant_reward(dies=False) == pytest.approx(10.0, rel=0.02)
    assert _value_of_constant_reward(dies=True) < 8.0
