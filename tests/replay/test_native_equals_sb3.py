"""The native update and sb3-contrib's MaskablePPO move the same weights to the same bits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule
from toy_rollouts import ACTIONS, SMALL, own_rollout, sharp_network, small_network

from townlet_replay.policy.network import TownletNetwork
from townlet_replay.training.ppo import PPOConfig, make_optimizer, ppo_update
from townlet_replay.training.sb3 import (
    CaptureSpaces,
    action_space_of,
    fill_rollout_buffer,
    observation_space_of,
)

CONFIG = PPOConfig(
    gamma=0.97,
    gae_lambda=0.9,
    ent_coef=0.05,
    learning_rate=1e-3,
    minibatch_size=32,
    epochs=3,
    target_kl=None,
)


class TrunkExtractor(BaseFeaturesExtractor):
    """The native network up to its heads; SB3 puts its own two linear heads on top."""

    def __init__(self, observation_space):
        super().__init__(observation_space, SMALL.trunk_widths[-1])
        network = small_network()
        self.network = network
        # The heads are SB3's; drawing ours would only leave unused parameters behind.
        del network.action_head, network.value_head

    def forward(self, observations):
        return self.network.encode(observations)


def twin_of(network, rollout, config):
    """A MaskablePPO with the weights of ``network`` and the settings of ``config``."""
    model = MaskablePPO(
        "MultiInputPolicy",
        CaptureSpaces(observation_space_of(rollout), action_space_of(rollout)),
        n_steps=len(rollout.actions),
        batch_size=config.minibatch_size,
        n_epochs=config.epochs,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        clip_range=LinearSchedule(config.clip_range, config.clip_range_end, 1.0)
        if config.clip_range_schedule == "linear"
        else config.clip_range,
        clip_range_vf=config.clip_range_vf,
        ent_coef=config.ent_coef,
        vf_coef=config.vf_coef,
        max_grad_norm=config.max_grad_norm,
        target_kl=config.target_kl,
        learning_rate=LinearSchedule(config.learning_rate, config.learning_rate_end, 1.0)
        if config.learning_rate_schedule == "linear"
        else config.learning_rate,
        normalize_advantage=config.normalize_advantage,
        policy_kwargs={"features_extractor_class": TrunkExtractor, "net_arch": []},
        device="cpu",
    )
    model.policy.load_state_dict(as_sb3(network), strict=False)
    model.set_logger(_quiet_logger())
    return model


def _quiet_logger():
    from stable_baselines3.common.logger import Logger

    return Logger(folder=None, output_formats=[])


def as_sb3(network: TownletNetwork):
    """The weights of a native network under SB3's names."""
    heads = {"action_head": "action_net", "value_head": "value_net"}
    found = {}
    for name, tensor in network.state_dict().items():
        part, _, rest = name.partition(".")
        if part in heads:
            found[f"{heads[part]}.{rest}"] = tensor.clone()
        else:
            for extractor in (
                "features_extractor",
                "pi_features_extractor",
                "vf_features_extractor",
            ):
                found[f"{extractor}.network.{name}"] = tensor.clone()
    return found


def differing_weights(network, model):
    theirs = model.policy.state_dict()
    return [
        name for name, tensor in as_sb3(network).items() if not torch.equal(tensor, theirs[name])
    ]


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
