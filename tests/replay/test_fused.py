"""The fused update: autograd's gradients to rounding, with every setting, in toys and towns."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from live_lanes import lanes_of
from town_captures import tiny_network
from toy_rollouts import SMALL, SPEC, own_rollout, sharp_network

from townlet_replay.errors import TrainingError
from townlet_replay.policy.fused_actor import FusedActor
from townlet_replay.policy.fused_net import FusedNetwork
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.training.fused import FusedPPO, chunk_rows
from townlet_replay.training.live import LiveCollector
from townlet_replay.training.ppo import PPOConfig, make_optimizer, ppo_update

PLAIN = {"target_kl": None, "ent_coef": 0.05, "epochs": 1, "max_grad_norm": 1e9}


def network_of(seed=3, mapless=False, **changes):
    spec = SPEC.model_copy(update={"map_shape": None}) if mapless else SPEC
    network = TownletNetwork(spec, SMALL.model_copy(update=changes), seed)
    with torch.no_grad():
        network.action_head.weight.mul_(100)  # near uniformity hides mistakes
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.linspace(-0.3, 0.4, len(parameter)))
    return network


def off_policy(rollout, seed=0):
    """As somebody else acted: ratios on both sides of the range, values away from the old ones."""
    rng = np.random.default_rng(seed)
    rows = len(rollout.actions)
    shift = rng.normal(0, 0.3, rows).astype(np.float32)
    moved = rng.normal(0, 0.2, rows).astype(np.float32)
    return rollout._replace(
        old_log_probs=rollout.old_log_probs + shift, values=rollout.values + moved
    )


def mapless_rollout(rollout):
    return rollout._replace(observations={"features": rollout.observations["features"]})


def both(network, rollout, config, precision="f32", threads=1):
    """Update two copies, by autograd and fused; return (network, optimizer, stats) of each."""
    found = []
    for fused in (False, True):
        model = copy.deepcopy(network)
        optimizer = make_optimizer(model, config)
        rng = np.random.default_rng(7)
        if fused:
            learner = FusedPPO(FusedNetwork(model, precision), optimizer, config, threads)
            stats = learner.update(rollout, rng)
        else:
            stats = ppo_update(model, optimizer, rollout, config, rng)
        found.append((model, optimizer, stats))
    return found


def slopes(network, optimizer):
    """The first gradient of every parameter, read off Adam's first moments."""
    beta = optimizer.param_groups[0]["betas"][0]
    return {
        name: optimizer.state[parameter]["exp_avg"] / (1 - beta)
        for name, parameter in network.named_parameters()
    }


def assert_close_slopes(theirs, ours, tolerance=1e-5):
    expected, found = slopes(*theirs[:2]), slopes(*ours[:2])
    for name, slope in expected.items():
        error = float((found[name] - slope).abs().max() / slope.abs().max())
        assert error < tolerance, (name, error)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_range_vf": 0.15},
        {"normalize_advantage": False},
        {"vf_coef": 0.01, "clip_range": 0.05},
    ],
    ids=["plain", "clip_range_vf", "raw_advantages", "policy_alone"],
)
@pytest.mark.parametrize(
    "shape",
    [
        {"activation": "tanh"},
        {"activation": "relu", "trunk_widths": (24, 17)},
        {"activation": "relu", "trunk_widths": (), "map_width": 5},
        {"activation": "tanh", "mapless": True},
    ],
    ids=["tanh", "relu_deep", "no_trunk", "no_map"],
)
@pytest.mark.parametrize("masked", [True, False], ids=["masks", "no_masks"])
def test_gradients_are_those_of_autograd(shape, changes, masked):
    network = network_of(**shape)
    full = network_of(**{**shape, "mapless": False})
    rollout = off_policy(own_rollout(full, rows=203))
    if shape.get("mapless"):
        rollout = mapless_rollout(rollout)
    if not masked:
        rollout = rollout._replace(action_mask=None)
    config = PPOConfig.model_validate({**PLAIN, "minibatch_size": 203, **changes})
    theirs, ours = both(network, rollout, config)
    assert_close_slopes(theirs, ours)
    # What was compared is a gradient of everything: clipping acted on some rows, not on all.
    assert 0.1 < theirs[2].clip_fraction < 0.99
    for name, expected, found in zip(theirs[2]._fields, theirs[2], ours[2], strict=True):
        assert found == pytest.approx(expected, rel=2e-4, abs=1e-6, nan_ok=True), name


def test_a_wrong_gradient_would_be_seen():
    """The comparison itself, with the smallest of mistakes: no entropy bonus."""
    network, config = network_of(), PPOConfig.model_validate({**PLAIN, "minibatch_size": 203})
    rollout = off_policy(own_rollout(network))
    theirs = both(network, rollout, config)[0]
    ours = both(network, rollout, config.model_copy(update={"ent_coef": 0.049}))[1]
    with pytest.raises(AssertionError):
        assert_close_slopes(theirs, ours)


@pytest.mark.parametrize("minibatch", [64, 50, 202, 1])
def test_weights_and_figures_after_many_steps(minibatch):
    """203 rows: ragged last minibatches, down to a single row."""
    network = network_of()
    rollout = off_policy(own_rollout(network, rows=203))
    epochs = 1 if minibatch == 1 else 3
    changes = {"epochs": epochs, "minibatch_size": minibatch, "max_grad_norm": 0.5}
    config = PPOConfig.model_validate({**PLAIN, **changes, "normalize_advantage": minibatch > 1})
    theirs, ours = both(network, rollout, config)
    for expected, found in zip(theirs[0].parameters(), ours[0].parameters(), strict=True):
        assert torch.allclose(expected, found, rtol=0, atol=2e-6)
    assert ours[2].minibatches == theirs[2].minibatches == epochs * -(-203 // minibatch)
    for name, expected, found in zip(theirs[2]._fields, theirs[2], ours[2], strict=True):
        assert found == pytest.approx(expected, rel=2e-4, abs=1e-6, nan_ok=True), name
    # Both learners leave the same optimizer behind: one can go on where the other was.
    for mine, other in zip(theirs[1].state.values(), ours[1].state.values(), strict=True):
        assert mine["step"] == other["step"]
        assert torch.allclose(mine["exp_avg_sq"], other["exp_avg_sq"], rtol=1e-3, atol=1e-9)


def test_k3_stops_both_at_the_same_minibatch():
    network = sharp_network()
    rollout = own_rollout(network)
    changes = {"epochs": 5, "minibatch_size": 32, "target_kl": 0.002, "learning_rate": 0.001}
    theirs, ours = both(network, rollout, PPOConfig.model_validate({**PLAIN, **changes}))
    assert ours[2].stopped_early
    assert ours[2].minibatches == theirs[2].minibatches > 3
    assert ours[2].epochs_completed == theirs[2].epochs_completed


@pytest.fixture(scope="module")
def town():
    """A network and a rollout of its own in the town, with masks; two chunks of rows."""
    network = tiny_network("queue_conflict", seed=4)
    collector = LiveCollector(
        lanes_of("queue_conflict", 4), FusedActor(FusedNetwork(network), 5), 5
    )
    rollout = collector.collect(130)
    assert len(rollout.actions) == 1560 == 2 * chunk_rows(1560)
    return network, rollout


def test_in_the_town_as_well(town):
    network, rollout = town
    config = PPOConfig.model_validate({**PLAIN, "minibatch_size": 1400})
    theirs, ours = both(network, off_policy(rollout), config)
    for expected, found in zip(theirs[0].parameters(), ours[0].parameters(), strict=True):
        assert torch.allclose(expected, found, rtol=0, atol=2e-6)
    single = PPOConfig.model_validate({**PLAIN, "minibatch_size": 1560})
    assert_close_slopes(*both(network, off_policy(rollout), single))


def test_bfloat16_points_the_same_way(town):
    network, rollout = town
    config = PPOConfig.model_validate({**PLAIN, "minibatch_size": 1560})
    theirs, ours = both(network, off_policy(rollout), config, precision="bf16")
    flat = [
        torch.cat([slope.flatten() for slope in slopes(*found[:2]).values()])
        for found in (theirs, ours)
    ]
    assert torch.nn.functional.cosine_similarity(*flat, dim=0) > 0.999
    assert not torch.allclose(*flat, rtol=1e-6)  # it is another precision


def test_threads_do_not_change_the_bits(town):
    network, rollout = town
    config = PPOConfig.model_validate({**PLAIN, "epochs": 2, "minibatch_size": 1400})
    digests = {
        threads: both(network, rollout, config, threads=threads)[1][0].digest
        for threads in (1, 2, 3)
    }
    assert len(set(digests.values())) == 1
    assert digests[1] != network.digest


def test_one_learner_serves_rollouts_of_different_lengths(town):
    network, rollout = town
    config = PPOConfig.model_validate({**PLAIN, "minibatch_size": 500})
    parts = [own_rows(rollout, slice(0, 390)), rollout, own_rows(rollout, slice(390, 650))]
    models = [copy.deepcopy(network) for _ in range(2)]
    optimizers = [make_optimizer(model, config) for model in models]
    learner = FusedPPO(FusedNetwork(models[1]), optimizers[1], config)
    for seed, part in enumerate(parts):
        ppo_update(models[0], optimizers[0], part, config, np.random.default_rng(seed))
        learner.update(part, np.random.default_rng(seed))
    for expected, found in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(expected, found, rtol=0, atol=5e-6)


def own_rows(rollout, rows):
    """Rows of whole lanes (130 ticks each)."""
    return rollout._replace(
        observations={key: part[rows] for key, part in rollout.observations.items()},
        **{
            name: getattr(rollout, name)[rows]
            for name in rollout._fields
            if name not in ("observations", "segment_starts")
        },
    )


def test_a_gradient_that_is_not_finite_leaves_the_weights():
    network = network_of()
    rollout = own_rollout(network)
    rollout = rollout._replace(rewards=rollout.rewards * np.float32(1e30))
    before = network.digest
    optimizer = make_optimizer(network, PPOConfig())
    learner = FusedPPO(FusedNetwork(network), optimizer, PPOConfig(normalize_advantage=False))
    with pytest.raises(TrainingError, match="expected a finite gradient"):
        learner.update(rollout, np.random.default_rng(0))
    assert network.digest == before
    assert {int(state["step"]) for state in optimizer.state.values()} == {0}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda maps: maps * 2, "expected uint8 of 0 and 1, found uint8 up to 2"),
        (lambda maps: maps.astype(np.float32), "expected uint8 of 0 and 1, found float32"),
    ],
)
def test_other_maps_are_refused(spoil, message):
    network = network_of()
    rollout = own_rollout(network)
    maps = {**rollout.observations, "map": spoil(rollout.observations["map"])}
    learner = FusedPPO(FusedNetwork(network), make_optimizer(network, PPOConfig()), PPOConfig())
    with pytest.raises(TrainingError, match=message):
        learner.update(rollout._replace(observations=maps), np.random.default_rng(0))


def test_the_checks_of_every_update_are_made():
    network = network_of()
    rollout = own_rollout(network)
    learner = FusedPPO(FusedNetwork(network), make_optimizer(network, PPOConfig()), PPOConfig())
    rng = np.random.default_rng(0)
    with pytest.raises(TrainingError, match="old_log_probs: expected finite numbers"):
        learner.update(rollout._replace(old_log_probs=rollout.old_log_probs * np.nan), rng)
    with pytest.raises(TrainingError, match="is forbidden by its mask"):
        learner.update(rollout._replace(action_mask=0 * rollout.action_mask), rng)
    with pytest.raises(TrainingError, match="expected actions in 0"):
        learner.update(rollout._replace(actions=rollout.actions + 5), rng)


def test_a_convolution_cannot_be_fused():
    with pytest.raises(TrainingError, match="its map encoder is 'conv', not 'linear'"):
        FusedNetwork(network_of(encoder="conv"))
