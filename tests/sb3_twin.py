"""A MaskablePPO that computes what the native learner computes, weight for weight."""

from __future__ import annotations

import warnings

import torch
from gymnasium.spaces import Discrete
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule

from townlet_replay.policy.network import TownletNetwork
from townlet_replay.training.ppo import PPOConfig
from townlet_replay.training.sb3 import CaptureSpaces, observation_space_of

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

    def __init__(self, observation_space, spec, config):
        super().__init__(observation_space, config.trunk_widths[-1])
        network = TownletNetwork(spec, config, seed=0)
        self.network = network
        # The heads are SB3's; drawing ours would only leave unused parameters behind.
        del network.action_head, network.value_head

    def forward(self, observations):
        return self.network.encode(observations)


def twin_of(network, rollout, config):
    """A PPO with the weights of ``network`` and the settings of ``config``, masked as the rows."""
    learner = PPO if rollout.action_mask is None else MaskablePPO
    with warnings.catch_warnings():
        # A shorter last minibatch is what the native learner has as well.
        warnings.filterwarnings("ignore", "You have specified a mini-batch size", UserWarning)
        model = learner(
            "MultiInputPolicy",
            CaptureSpaces(observation_space_of(rollout), Discrete(network.spec.action_dim)),
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
            policy_kwargs={
                "features_extractor_class": TrunkExtractor,
                "features_extractor_kwargs": {"spec": network.spec, "config": network.config},
                "net_arch": [],
            },
            device="cpu",
        )
    model.policy.load_state_dict(as_sb3(network), strict=False)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


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
