"""The native learner's modes in whole runs: chosen, repeatable, resumable, torch left as it was."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

from townlet_replay.errors import TrainingError
from townlet_replay.policy.checkpoint import load_checkpoint
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.run import train

MODES = [
    {"mode": "strict_sb3"},
    {"mode": "autograd"},
    {"mode": "fused"},
    {"mode": "fused", "precision": "bf16"},
    {"mode": "fused", "threads": 2},
]
NAMES = ["strict_sb3", "autograd", "fused", "bf16", "fused_threads"]


def config_of(compute, **changes):
    return TrainConfig.model_validate(
        {
            "scenario": "queue_conflict",
            "seed": 3,
            "network": {"map_width": 16, "features_width": 16, "trunk_widths": (16,)},
            "ppo": {"minibatch_size": 128, "epochs": 2},
            "live": {"num_worlds": 2, "rollout_ticks": 40, "steps": 480},
            "compute": compute,
            **changes,
        }
    )


def run_live(compute, **changes):
    harness = TrainingHarness(config_of(compute, **changes))
    harness.run_live()
    harness.close()
    return harness


@pytest.mark.parametrize("compute", MODES, ids=NAMES)
def test_a_run_can_be_repeated(compute):
    first, again = run_live(compute), run_live(compute)
    assert first.network.digest == again.network.digest
    assert first.network.digest != run_live(compute, seed=4).network.digest
    assert [record.loss_total for record in first.result().records] == [
        record.loss_total for record in again.result().records
    ]


def test_threads_do_not_change_a_fused_run():
    assert run_live({"mode": "fused", "threads": 2}).network.digest == (
        run_live({"mode": "fused"}).network.digest
    )


def test_auto_is_fused_live_and_strict_on_captures():
    assert run_live({}).network.digest == run_live({"mode": "fused"}).network.digest
    assert TrainingHarness(config_of({}, mode="live")).computing.mode == "fused"
    for mode in ("replay", "rollout", "mixed", "bc"):
        assert TrainingHarness(config_of({}, mode=mode)).computing.mode == "strict_sb3"


def test_modes_differ_by_rounding_from_the_same_rollout():
    """Draws differ between the two samplers; the same rollout gives nearly the same weights."""
    rollout = TrainingHarness(config_of({})).capture_rollout(240).rollout()
    found = {}
    for name, compute in zip(NAMES, MODES, strict=True):
        harness = TrainingHarness(config_of(compute))
        harness.computing.update(rollout, np.random.default_rng(0))
        found[name] = torch.cat([p.detach().flatten() for p in harness.network.parameters()])
    exact = found.pop("strict_sb3")
    start = TrainingHarness(config_of({})).network
    moved = (exact - torch.cat([p.detach().flatten() for p in start.parameters()])).abs().max()
    for name, weights in found.items():
        limit = 0.2 * moved if name == "bf16" else 1e-5
        assert (weights - exact).abs().max() < limit, name


@pytest.mark.parametrize("compute", MODES, ids=NAMES)
def test_a_run_is_resumed_with_its_moments(compute, tmp_path):
    first = run_live(compute)
    saved = first.save(tmp_path / "net")
    again = TrainingHarness(config_of(compute, resume=saved))
    assert again.network.digest == first.network.digest
    expected, found = first.optimizer.state_dict(), again.optimizer.state_dict()
    for number, state in expected["state"].items():
        for key, tensor in state.items():
            assert torch.equal(tensor, found["state"][number][key])
    again.run_live()
    assert again.standing.live_steps == 960
    steps = {int(state["step"]) for state in again.optimizer.state.values()}
    assert steps == {sum(record.updates for record in again.result().records) + int(state["step"])}
    # It goes on in other episodes than those it began with.
    assert [r.loss_value for r in again.result().records] != [
        r.loss_value for r in first.result().records
    ]
    report = json.loads(saved.read_text())["training"]["compute"]
    assert report["mode"] == compute["mode"]
    assert report["threads"] == compute.get("threads", 1)


def test_a_checkpoint_goes_from_mode_to_mode(tmp_path):
    saved = run_live({"mode": "fused"}).save(tmp_path / "net")
    assert load_checkpoint(saved).header.training["compute"]["mode"] == "fused"
    other = TrainingHarness(config_of({"mode": "strict_sb3"}, resume=saved))
    other.run_live()
    assert np.isfinite(other.result().records[-1].loss_total)


def test_a_network_that_cannot_be_fused_is_trained_by_autograd(caplog):
    network = {"encoder": "conv", "map_width": 8, "conv_channels": (2, 2)}
    with caplog.at_level(logging.WARNING):
        harness = run_live({"mode": "fused"}, network=network)
    assert harness.computing.mode == "autograd"
    assert [record.message for record in caplog.records] == [
        "the network cannot be fused, its map encoder is 'conv', not 'linear'; it is trained by "
        "autograd"
    ]


@pytest.mark.parametrize("compute", MODES, ids=NAMES)
def test_torch_is_left_as_it_was(compute):
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(2)
    try:
        train(config_of(compute))
        assert torch.get_num_threads() == 2
        assert torch.get_float32_matmul_precision() == before[1]
    finally:
        torch.set_num_threads(before[0])


def test_bfloat16_needs_the_fused_path():
    for compute in ({"mode": "autograd"}, {"mode": "strict_sb3"}):
        with pytest.raises(TrainingError, match="precision 'bf16': expected compute mode fused"):
            TrainingHarness(config_of({**compute, "precision": "bf16"}))


def test_the_learners_of_stable_baselines3_refuse_other_modes():
    with pytest.raises(TrainingError, match="expected compute auto or strict_sb3 in f32"):
        train(config_of({"mode": "fused"}, learner="sb3-maskable"))
