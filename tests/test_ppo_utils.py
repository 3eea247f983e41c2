"""The arithmetic of PPO: advantages, ratios, masks, losses, stopping, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from stable_baselines3.common.buffers import RolloutBuffer
from toy_rollouts import ACTIONS, SPEC, own_rollout, sharp_network, small_network

from townlet_replay.errors import TrainingError
from townlet_replay.policy.masked import draw_actions, entropy, evaluate, masked_log_probs
from townlet_replay.policy.network import NetworkConfig, ObservationSpec, TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.training.gae import close_truncations, gae
from townlet_replay.training.ppo import (
    PPOConfig,
    correlation,
    explained_variance,
    make_optimizer,
    ppo_update,
)

GAMMA, LAMBDA = 0.95, 0.9  # the product rounds differently in float32 and in double


def advantages_of(rollout, gamma=GAMMA, gae_lambda=LAMBDA):
    return gae(
        rollout.rewards,
        rollout.values,
        rollout.terminations,
        rollout.truncations,
        rollout.bootstrap_values,
        gamma,
        gae_lambda,
    )


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


# Masks


LOGITS = st.lists(st.floats(-30, 30, width=32), min_size=ACTIONS, max_size=ACTIONS).map(
    lambda row: torch.tensor([row], dtype=torch.float32)
)
MASKS = (
    st.lists(st.booleans(), min_size=ACTIONS, max_size=ACTIONS)
    .filter(any)
    .map(lambda row: torch.tensor([row], dtype=torch.int8))
)


@settings(max_examples=150, deadline=None)
@given(LOGITS, MASKS)
def test_masked_actions_have_no_probability_no_entropy_and_no_gradient(logits, mask):
    logits = logits.clone().requires_grad_()
    log_probs = masked_log_probs(logits, mask)
    legal = mask.bool()[0]
    probabilities = log_probs.exp()[0]
    assert (probabilities[~legal] == 0).all()
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-5)
    spread = entropy(log_probs, mask)
    assert -1e-5 <= spread.item() <= math.log(int(legal.sum())) + 1e-5
    chosen = torch.tensor([int(torch.argmax(mask[0]))])
    judged = evaluate(logits, mask, chosen)
    (judged.log_probs + judged.entropies).sum().backward()
    # Normalising twice leaves the rounding of a sum that is 0.
    assert logits.grad[0][~legal].abs().sum() <= 1e-5
    assert torch.isfinite(logits.grad).all()


@settings(max_examples=150, deadline=None)
@given(LOGITS, MASKS)
def test_masked_numbers_equal_sb3_contrib_to_the_bit(logits, mask):
    from sb3_contrib.common.maskable.distributions import MaskableCategorical

    theirs = MaskableCategorical(logits=logits, masks=mask.bool())
    for action in range(ACTIONS):
        chosen = torch.tensor([action])
        judged = evaluate(logits, mask, chosen)
        assert torch.equal(judged.log_probs, theirs.log_prob(chosen))
        assert torch.equal(judged.entropies, theirs.entropy())


@settings(max_examples=50, deadline=None)
@given(LOGITS)
def test_without_a_mask_the_numbers_are_those_of_torch(logits):
    theirs = torch.distributions.Categorical(logits=logits)
    chosen = torch.tensor([2])
    judged = evaluate(logits, None, chosen)
    assert torch.equal(judged.log_probs, theirs.log_prob(chosen))
    assert torch.equal(judged.entropies, theirs.entropy())


def test_a_mask_that_allows_nothing_stays_finite_and_uniform():
    logits = torch.randn(3, ACTIONS, generator=torch.Generator().manual_seed(0))
    log_probs = masked_log_probs(logits, torch.zeros(3, ACTIONS))
    torch.testing.assert_close(log_probs.softmax(dim=1), torch.full((3, ACTIONS), 1 / ACTIONS))
    judged = evaluate(logits, torch.zeros(3, ACTIONS), torch.zeros(3))
    assert torch.isfinite(judged.log_probs).all()
    assert (judged.entropies == 0).all()


def test_drawn_actions_follow_the_probabilities_and_never_the_mask_s_zeros():
    logits = torch.tensor([[1.0, 0.0, -1.0, 2.0, 5.0]]).repeat(20_000, 1)
    mask = torch.tensor([[1, 1, 0, 1, 0]]).repeat(20_000, 1)
    log_probs = masked_log_probs(logits, mask).numpy()
    actions = draw_actions(log_probs, np.random.default_rng(3))
    shares = np.bincount(actions, minlength=ACTIONS) / len(actions)
    assert shares[2] == shares[4] == 0
    np.testing.assert_allclose(shares, np.exp(log_probs[0]), atol=0.012)


class _LastNumber:
    """A stream that always gives the largest number below 1, or 0."""

    def __init__(self, number):
        self.number = number

    def random(self, shape):
        return np.full(shape, self.number)


@pytest.mark.parametrize(("number", "expected"), [(1.0 - 2.0**-53, 3), (0.0, 1)])
def test_the_extremes_of_a_draw_are_legal_actions(number, expected):
    mask = torch.tensor([[0, 1, 1, 1, 0]])
    rng = np.random.default_rng(0)
    for _ in range(50):
        logits = torch.tensor(rng.normal(0, 3, (1, ACTIONS)), dtype=torch.float32)
        log_probs = masked_log_probs(logits, mask).numpy()
        assert draw_actions(log_probs, _LastNumber(number)).tolist() == [expected]


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
