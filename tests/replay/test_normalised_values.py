"""Value errors counted in variances of the returns: the scale of rewards does not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_training import LIVE, config_of, dataset_of
from town_captures import policy_capture, tiny_network

from townlet_replay.errors import TrainingError
from townlet_replay.rollout import pack
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.ppo import PPOConfig, estimate
from townlet_replay.training.run import train

SCENARIO = "kitchen_breakfast"


@pytest.fixture(scope="module")
def rollout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("capture")
    policy_capture(SCENARIO, folder, tiny_network(SCENARIO, seed=0), ticks=90)
    data = dataset_of(folder)
    return pack([data.sample(position) for position in range(data.count)])


@pytest.mark.parametrize("mode", ["fused", "autograd", "strict_sb3"])
def test_the_weight_is_that_of_the_variance(mode, rollout):
    """The same weights as with the quotient written out, and others than without."""
    found = []
    spread = float(estimate(rollout, PPOConfig()).returns.astype(np.float64).var())
    for ppo in ({"normalize_value": True}, {"vf_coef": 0.5 / spread}, {}):
        config = config_of(ppo={**ppo, "minibatch_size": 64}, compute={"mode": mode})
        harness = TrainingHarness(config)
        harness.computing.update(rollout, np.random.default_rng(0))
        found.append(harness.network.digest)
    assert found[0] == found[1] != found[2]


def test_the_scale_of_rewards_does_not_matter_to_the_loss(rollout):
    """With values of 0, ten times the rewards are ten times the returns."""
    losses = []
    for scale in (1.0, 10.0):
        harness = TrainingHarness(
            config_of(
                ppo={"normalize_value": True, "epochs": 1, "minibatch_size": 10**6, "ent_coef": 0},
                compute={"mode": "autograd"},
            )
        )
        with torch.no_grad():
            harness.network.value_head.weight.zero_()
        scaled = rollout._replace(
            rewards=(rollout.rewards * scale).astype(np.float32),
            values=np.zeros_like(rollout.values),
            bootstrap_values=np.zeros_like(rollout.values),
        )
        losses.append(harness.computing.update(scaled, np.random.default_rng(0)).loss_total)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    flat = PPOConfig(normalize_value=True)
    assert flat.in_variances_of(np.ones(4, np.float32)) == flat


def test_it_is_off_by_default_and_refused_where_it_cannot_be():
    assert not PPOConfig().normalize_value
    config = config_of(live=LIVE, learner="sb3-maskable", ppo={"normalize_value": True})
    with pytest.raises(TrainingError, match=r"expected ppo\.normalize_value false, found true"):
        train(config)
