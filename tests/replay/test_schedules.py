"""Step sizes, clip ranges and entropy bonuses over a run: the numbers, and who follows them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule
from town_captures import TINY, policy_capture, script_capture, tiny_network
from toy_rollouts import own_rollout, small_network

from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.policy.fused_net import FusedNetwork
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.course import Course
from townlet_replay.training.fused import FusedPPO
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.ppo import PPOConfig, make_optimizer, ppo_update
from townlet_replay.training.run import train
from townlet_replay.training.sb3_runs import train_live
from townlet_replay.training.schedules import Schedule

SCENARIO = "kitchen_breakfast"
PACE = {"learning_rate_schedule": "linear", "learning_rate": 1e-3, "learning_rate_end": 2e-4}
CLIP = {"clip_range_schedule": "cosine", "clip_range": 0.3, "clip_range_end": 0.1}
numbers = st.floats(1e-6, 1.0)


@given(numbers, numbers, st.integers(0, 1200))
def test_linear_has_the_bits_of_stable_baselines3(start, end, done):
    remaining = Course("live", 0, 1000).remaining(done)
    assert remaining == 1.0 - done / 1000
    assert Schedule("linear", start, end)(remaining) == LinearSchedule(start, end, 1.0)(remaining)
    assert Schedule("constant", start, end)(remaining) == start


def test_a_cosine_starts_and_ends_flat():
    cosine = Schedule("cosine", 1.0, 0.2)
    values = [cosine(1 - done / 100) for done in range(0, 121, 10)]
    assert values[0] == 1.0
    assert values[10:] == pytest.approx([0.2, 0.2, 0.2])
    assert values[5] == pytest.approx(0.6)
    falls = -np.diff(values[:11])
    assert (falls > 0).all()
    assert falls[0] == pytest.approx(falls[-1])
    assert falls[0] < falls[4] / 4


def test_a_run_that_goes_on_begins_its_schedule_where_it_began():
    course = Course("live", 500, 100)
    assert (course.goal, course.remaining(500), course.remaining(600)) == (600, 1.0, 0.0)


def test_settings_of_an_update():
    config = PPOConfig.model_validate({**PACE, **CLIP, "epochs": 3})
    half = config.at(0.5)
    assert (half.learning_rate, half.clip_range) == (pytest.approx(6e-4), pytest.approx(0.2))
    assert half.epochs == 3
    assert PPOConfig().at(0.25) == PPOConfig()
    with pytest.raises(ValidationError, match="linear"):
        PPOConfig.model_validate({"learning_rate_schedule": "stepwise"})


def config_of(**settings):
    return TrainConfig.model_validate(
        {
            "scenario": SCENARIO,
            "network": TINY.model_dump(),
            "ppo": {**PACE, **CLIP, "target_kl": None, "minibatch_size": 64},
            "bc": {**PACE, "patience": None},
            "awr": PACE,
            **settings,
        }
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    policy_capture(SCENARIO, folder, tiny_network(SCENARIO, seed=0), ticks=60)
    return folder


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    script_capture(SCENARIO, folder, episodes=1, epsilon=0.3)
    return folder


def rates(config, remaining):
    linear, cosine = config.ppo.learning_rates, config.ppo.clip_ranges
    return [(linear(left), cosine(left)) for left in remaining]


def seen(records):
    return [(record.lr, record.clip_range) for record in records]


@pytest.mark.parametrize("mode", ["fused", "autograd", "strict_sb3"])
def test_live_runs_count_agent_steps(mode):
    live = {"steps": 150, "num_worlds": 2, "rollout_ticks": 16}
    config = config_of(live=live, compute={"mode": mode})
    harness = TrainingHarness(config)
    records = harness.run_live().records
    # The last rollout reaches over the end.
    assert seen(records) == rates(config, [1 - 64 / 150, 1 - 128 / 150, 1 - 192 / 150])
    assert records[-1].lr == harness.optimizer.param_groups[0]["lr"] == 2e-4
    steady = config.ppo.model_copy(update={"learning_rate_schedule": "constant"})
    constant = TrainingHarness(config.model_copy(update={"ppo": steady}))
    assert {record.lr for record in constant.run_live().records} == {1e-3}
    assert constant.network.digest != harness.network.digest


def test_passes_over_a_capture_count_rows_and_cycles_those_that_are_over(own):
    config = config_of(epochs=3)
    dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(own))
    records = TrainingHarness(config).run_ppo(dataset).records
    assert [record.transitions for record in records] == [120] * 3
    assert seen(records) == rates(config, [1.0 - 120 / 360, 1.0 - 240 / 360, 0.0])
    cycles = TrainingHarness(config).run_rollout_ppo(cycles=2, ticks=20).records
    assert seen(cycles) == rates(config, [1.0, 0.5])


def test_cloning_counts_its_passes(noisy):
    dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(noisy))
    config = config_of(bc={**PACE, "epochs": 4, "patience": None})
    linear = Schedule("linear", 1e-3, 2e-4)
    expected = [linear(1 - done / 4) for done in range(4)]
    assert [r.lr for r in TrainingHarness(config).run_bc(dataset).records] == expected
    # The passes that fit the values alone come first.
    config = config_of(awr={**PACE, "epochs": 2, "value_epochs": 2})
    assert [r.lr for r in TrainingHarness(config).run_awr(dataset).records] == expected[2:]


def test_the_learners_of_stable_baselines3_follow_the_same(own, tmp_path):
    config = config_of(epochs=3, mode="replay", objective="ppo", capture_dir=own)
    native, theirs = [], []
    train(config, native.append)
    path = tmp_path / "model.zip"
    changes = {"learner": "sb3-maskable", "checkpoint": path}
    train(config.model_copy(update=changes), theirs.append)
    assert seen(theirs) == seen(native)
    assert len({rate for rate, _ in seen(theirs)}) == 3
    from townlet_replay.training.sb3_runs import load_model

    assert load_model(path).lr_schedule(0.5) == config.ppo.learning_rates(0.5)


def test_fused_updates_take_the_clip_range_of_the_moment():
    config = PPOConfig(minibatch_size=64, epochs=2, target_kl=None, learning_rate=3e-3)
    narrow = config.model_copy(update={"clip_range": 0.02})
    rollout = own_rollout(small_network(3), rows=400)
    trained = []
    for settings in (config, narrow):
        network = small_network(3)
        learner = FusedPPO(FusedNetwork(network), make_optimizer(network, config), config)
        learner.update(rollout, np.random.default_rng(0), settings)
        twin = small_network(3)
        ppo_update(twin, make_optimizer(twin, config), rollout, settings, np.random.default_rng(0))
        for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
            assert torch.allclose(ours, theirs, atol=2e-6)
        trained.append(network.digest)
    assert trained[0] != trained[1]


FADING = {"ent_coef": 0.04, "ent_coef_schedule": "linear", "ent_coef_end": 0.01}


@pytest.mark.parametrize("mode", ["fused", "autograd"])
def test_the_entropy_bonus_follows_its_schedule(mode):
    assert PPOConfig.model_validate(FADING).at(0.5).ent_coef == pytest.approx(0.025)
    config = config_of(
        ppo={**FADING, "target_kl": None, "minibatch_size": 64},
        live={"steps": 128, "num_worlds": 2, "rollout_ticks": 16},
        compute={"mode": mode},
    )
    harness = TrainingHarness(config)
    totals = [
        (record.loss_total - record.loss_policy - config.ppo.vf_coef * record.loss_value)
        / record.loss_entropy
        for record in harness.run_live().records
    ]
    weights = [config.ppo.ent_coefs(0.5), config.ppo.ent_coefs(0.0)]
    assert totals == pytest.approx(weights, rel=1e-3)


def test_the_entropy_bonus_of_stable_baselines3_follows_the_same():
    live = {"steps": 128, "num_worlds": 2, "rollout_ticks": 16}
    config = config_of(ppo={**FADING, "minibatch_size": 64}, live=live, learner="sb3-maskable")
    seen = []

    class Looker(BaseCallback):
        def _on_step(self):
            seen.append(self.model.ent_coef)
            return True

    model = train_live(config, callbacks=[Looker()])
    assert set(seen) == {0.04, config.ppo.ent_coefs(0.5)}
    assert model.ent_coef == config.ppo.ent_coefs(0.0) < 0.0101
