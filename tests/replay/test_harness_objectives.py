"""What the trainer learns from a capture besides plain PPO, and what it refuses to learn from."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
from tiny_training import SCENARIO, config_of, dataset_of
from town_captures import (
    policy_capture,
    script_capture,
    tiny_network,
)

from townlet_replay.errors import TrainingError
from townlet_replay.rollout import pack
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.judging import judge
from townlet_replay.training.objectives import initial_ess
from townlet_replay.training.run import train


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("capture")
    policy_capture(SCENARIO, folder, tiny_network(SCENARIO, seed=3), ticks=90)
    return folder


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    folder = tmp_path_factory.mktemp("script")
    script_capture(SCENARIO, folder, episodes=2, epsilon=0.3)
    return folder


@pytest.mark.parametrize("objective", ["decoupled_ppo", "vtrace_ppo"])
def test_off_policy_objectives_value_anew_and_keep_near_the_learner(capture, objective):
    """The learner is not who acted: plain ratios would begin far from 1."""
    config = config_of(
        mode="replay", objective=objective, epochs=2, ppo={"target_kl": None, "epochs": 1}
    )
    harness = TrainingHarness(config)
    data = dataset_of(capture, batch_size=99)
    taken = []
    update = harness._lessons.update
    harness._lessons.update = lambda rollout, tally, aim: (
        taken.append((rollout, aim)) or update(rollout, tally, aim)
    )
    before = harness.network.digest
    result = harness.run_ppo(data)
    assert result.objective.name == objective
    assert harness.network.digest != before
    recorded = np.concatenate([data.sample(k).old_log_probs for k in range(data.count)])
    for rollout, aim in taken:
        assert rollout.old_log_probs.tolist() == recorded.tolist()
        assert aim.anchors.tolist() != recorded.tolist()
        known = np.concatenate([data.sample(k).value_preds[:-1] for k in range(data.count)])
        assert rollout.values.tolist() != known.tolist()
    assert taken[0][1].anchors.tolist() != taken[1][1].anchors.tolist()
    assert (taken[0][1].weights is None) == (objective == "vtrace_ppo")


def after_cloning(script, **settings):
    """Left to itself on a noisy script: the run, with the weights that every pass began with."""
    harness = TrainingHarness(config_of(bc={"epochs": 40, "learning_rate": 0.01}, **settings))
    data, begun = dataset_of(script, batch_size=99), []
    over = harness._lessons.over
    harness._lessons.over = lambda *args: (
        begun.append(copy.deepcopy(harness.network)) or over(*args)
    )
    return harness, data, harness.run_ppo(data), begun


def test_the_clone_of_a_noisy_script_goes_on_with_ppo(script):
    harness, data, result, begun = after_cloning(script, epochs=3)
    cloned = len(result.cloning.epochs)
    assert [record.objective for record in result.records] == ["bc"] * cloned + ["ppo"] * 3
    assert result.objective.cloned
    assert (result.objective.requested, result.objective.biased) == ("auto", False)
    rollout = pack([data.sample(k) for k in range(data.count)])
    assert initial_ess(begun[0], rollout) > 0.3  # against the true mixture
    assert harness.standing.steps == result.cloning.rows * cloned + 3 * 240
    asked = after_cloning(script, epochs=3, objective="bc")[2]
    assert {record.objective for record in asked.records} == {"bc"}


def test_it_goes_on_while_the_effective_sample_size_allows(script):
    wild = {"target_kl": None, "learning_rate": 0.05, "epochs": 4, "clip_range": 5.0}
    _, data, result, begun = after_cloning(script, epochs=30, ppo=wild)
    rollout = pack([data.sample(k) for k in range(data.count)])
    assert 0 < len(begun) < 30
    assert all(initial_ess(network, rollout) >= 0.3 for network in begun)
    assert result.objective.ess >= 0.3


def test_a_clone_too_far_from_who_acted_does_not_go_on(tmp_path):
    script_capture(SCENARIO, tmp_path, episodes=8, epsilon=0.02)
    poor = TrainingHarness(config_of(bc={"epochs": 1, "learning_rate": 1e-6}))
    result = poor.run_ppo(dataset_of(tmp_path))
    assert (result.objective.name, len(result.records)) == ("bc", 1)


def test_awr_takes_any_capture(script):
    harness = TrainingHarness(config_of(objective="awr", awr={"epochs": 3, "value_epochs": 1}))
    result = harness.run_ppo(dataset_of(script))
    assert result.objective.name == "awr"
    assert [record.updates for record in result.records] == [1, 1, 1]
    assert [record.transitions for record in result.records] == [240] * 3
    assert result.records[-1].loss_policy < result.records[0].loss_policy
    assert harness.standing.steps == 720


def test_ppo_with_a_demonstration_belongs_to_mixed_runs(script):
    config = config_of(
        mode="mixed",
        objective="ppo_bc",
        rollout={"ticks": 30, "cycles": 4},
        demonstration={"weight": 0.8, "share": 0.5},
    )
    with pytest.raises(TrainingError, match="'ppo_bc': expected mode mixed, found replay"):
        TrainingHarness(config).run_ppo(dataset_of(script))
    harness, weights = TrainingHarness(config), []
    update = harness._lessons.update
    harness._lessons.update = lambda rollout, tally, aim: (
        weights.append(0.0 if aim is None else aim.auxiliary.weight) or update(rollout, tally, aim)
    )
    result = harness.run_mixed(dataset_of(script))
    assert weights == pytest.approx([0.8, 0.4, 0.0, 0.0])
    assert len(result.records) == 4  # the capture is imitated beside, never passed over alone


@pytest.mark.parametrize("mode", ["live", "rollout"])
def test_an_objective_for_captures_is_refused_without_one(mode):
    with pytest.raises(TrainingError, match=rf"objective 'awr': expected a mode .* found '{mode}'"):
        train(config_of(mode=mode, objective="awr"))


def test_what_is_not_fused_says_so(capture):
    config = config_of(objective="decoupled_ppo", compute={"mode": "fused"})
    with pytest.raises(TrainingError, match="compute 'fused': expected objective ppo or bc"):
        TrainingHarness(config).run_ppo(dataset_of(capture))


def test_a_forged_capture_is_not_trained_on(capture, tmp_path):
    """The log-probs say another temperature than the actor had."""
    data = dataset_of(capture)
    forged = [
        dataclasses.replace(sample, old_log_probs=(sample.old_log_probs * 1.3).astype(np.float32))
        for sample in (data.sample(position) for position in range(data.count))
    ]
    data.sample = lambda position: forged[position]
    with pytest.raises(TrainingError, match=r"the audit failed: .* not those of the recorded"):
        judge(data, "ppo")
    assert judge(data, "auto").name == "bc"
    assert judge(data, "ppo", accept_bias=True).biased
