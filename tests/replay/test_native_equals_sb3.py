"""The native update and sb3-contrib's MaskablePPO move the same weights to the same bits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sb3_twin import CONFIG, differing_weights, twin_of
from toy_rollouts import ACTIONS, own_rollout, sharp_network, small_network

from townlet_replay.training.ppo import PPOConfig, make_optimizer, ppo_update
from townlet_replay.training.sb3 import fill_rollout_buffer


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_range_vf": 0.1},
        {"normalize_advantage": False},
        {"target_kl": 0.001, "learning_rate": 0.01},
        {
            "learning_rate_schedule": "linear",
            "learning_rate_end": 1e-4,
            "clip_range_schedule": "linear",
            "clip_range_end": 0.05,
        },
    ],
    ids=["plain", "clip_range_vf", "raw_advantages", "kl_stop", "linear"],
)
@pytest.mark.parametrize("make", [small_network, sharp_network])
def test_updates_equal_maskable_ppo_to_the_bit(make, changes, monkeypatch):
    config = PPOConfig.model_validate({**CONFIG.model_dump(), **changes})
    network = make(3)
    optimizer = make_optimizer(network, config)
    model = None
    stopped = False
    for update in range(3):
        rollout = own_rollout(network, rows=200, seed=update)
        assert rollout.action_mask.shape == (200, ACTIONS)
        model = model or twin_of(copy.deepcopy(network), rollout, config)
        assert differing_weights(network, model) == []
        fill_rollout_buffer(model.rollout_buffer, rollout, gamma=config.gamma)
        settings = config.at(1 - 200 * (update + 1) / 600)
        optimizer.param_groups[0]["lr"] = settings.learning_rate
        stats = ppo_update(network, optimizer, rollout, settings, np.random.default_rng(update))
        # SB3 draws its permutations from the global stream; give it ours.
        monkeypatch.setattr(np.random, "permutation", np.random.default_rng(update).permutation)
        model._update_current_progress_remaining(200 * (update + 1), 600)
        model.train()
        assert differing_weights(network, model) == []
        logged = model.logger.name_to_value
        assert stats.loss_policy == pytest.approx(logged["train/policy_gradient_loss"], abs=1e-7)
        assert stats.loss_value == pytest.approx(logged["train/value_loss"], rel=1e-6)
        assert stats.loss_entropy == pytest.approx(logged["train/entropy_loss"], rel=1e-6)
        assert stats.clip_fraction == pytest.approx(logged["train/clip_fraction"], abs=1e-7)
        assert stats.explained_variance == pytest.approx(
            logged["train/explained_variance"], abs=1e-5
        )
        stopped = stopped or stats.stopped_early
    moments = [state["exp_avg_sq"] for state in optimizer.state.values()]
    theirs = [state["exp_avg_sq"] for state in model.policy.optimizer.state.values()]
    assert len(moments) == len(theirs) == len(list(network.parameters()))
    assert all(torch.equal(ours, other) for ours, other in zip(moments, theirs, strict=True))
    assert stopped == ("target_kl" in changes)
