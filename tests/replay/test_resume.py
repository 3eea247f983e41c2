"""Runs stopped in one process and resumed in another end with the bits of unbroken ones."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from resume_worker import play
from town_captures import TINY, policy_capture, script_capture, tiny_network

from townlet_replay.errors import CheckpointError
from townlet_replay.policy.checkpoint import load_checkpoint
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.interruption import Interruption

WORKER = Path(__file__).parents[1] / "resume_worker.py"
FLAT, KITCHEN = "shared_flat", "kitchen_breakfast"
FALLING = {
    "learning_rate_schedule": "linear",
    "learning_rate": 2e-3,
    "clip_range_schedule": "cosine",
    "clip_range_end": 0.05,
    "target_kl": None,
    "minibatch_size": 64,
    "epochs": 2,
}
LIVE = {"steps": 1000, "num_worlds": 2, "rollout_ticks": 40}
CASES = {
    "fused": {"scenario": FLAT, "live": LIVE},
    "autograd": {"scenario": KITCHEN, "live": LIVE, "compute": {"mode": "autograd"}},
    "strict_sb3": {"scenario": KITCHEN, "live": LIVE, "compute": {"mode": "strict_sb3"}},
    "newcomers": {"scenario": "newcomer_arrival", "live": LIVE},
    "recurrent": {
        "scenario": "newcomer_arrival",
        "live": LIVE,
        "network": TINY.model_dump() | {"recurrent": "lstm", "recurrent_width": 8},
    },
    "central": {
        "scenario": FLAT,
        "live": LIVE,
        "network": TINY.model_dump() | {"critic": "central"},
    },
    "replay": {"mode": "replay", "epochs": 4, "replay": {"batch_size": 2}, "objective": "ppo"},
    "rollout": {"mode": "rollout", "rollout": {"cycles": 4, "ticks": 40}},
    "mixed": {"mode": "mixed", "rollout": {"cycles": 4, "ticks": 40}, "bc": {"epochs": 2}},
    "ppo_bc": {
        "mode": "mixed",
        "objective": "ppo_bc",
        "rollout": {"cycles": 4, "ticks": 40},
        "demonstration": {"share": 0.9},
    },
}
# Epochs until Ctrl-C; cloning has two of its own.
STOPS = dict.fromkeys(CASES, 2) | {"mixed": 4}


def settings_of(case, folder, captures, **more):
    own, noisy = captures
    capture = {"replay": own, "mixed": noisy, "ppo_bc": noisy}.get(case)
    settings = {
        "scenario": KITCHEN,
        "seed": 5,
        "network": TINY.model_dump(),
        "ppo": FALLING,
        "checkpoint": str(folder / f"{case}.json"),
        "telemetry": {"path": str(folder / f"{case}.jsonl")},
    }
    if capture is not None:
        settings["capture_dir"] = str(capture)
    return settings | CASES[case] | more


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    own, noisy = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("noisy")
    policy_capture(KITCHEN, own, tiny_network(KITCHEN, seed=5), ticks=90)
    script_capture(KITCHEN, noisy, episodes=1, epsilon=0.3)
    return own, noisy


def in_another_process(folder, runs):
    listed = folder / "runs.json"
    listed.write_text(json.dumps(runs))
    done = subprocess.run(
        [sys.executable, WORKER, listed], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def broken(tmp_path_factory, captures):
    """Every case, stopped in one process and resumed in another."""
    folder = tmp_path_factory.mktemp("broken")
    for part in ("first", "rest"):
        runs = []
        for case in CASES:
            resume = {} if part == "first" else {"resume": str(folder / f"{case}.json")}
            stop = STOPS[case] if part == "first" else None
            out = str(folder / f"{case}.{part}")
            runs.append((settings_of(case, folder, captures, **resume), stop, out))
        in_another_process(folder, runs)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed_equals_unbroken(case, broken, captures, tmp_path):
    whole = play(settings_of(case, tmp_path, captures), None)
    first, rest = (
        json.loads((broken / f"{case}.{part}").read_text()) for part in ("first", "rest")
    )
    assert len(first) >= STOPS[case]
    assert len(rest) > 0
    differing = {
        (number, key)
        for number, (one, other) in enumerate(zip(first + rest, whole, strict=True))
        for key in one
        if one[key] != other[key]
    }
    assert differing == set()
    assert len({record["lr"] for record in whole}) > 2
    unbroken, resumed = (load_checkpoint(folder / f"{case}.json") for folder in (tmp_path, broken))
    # One digest over weights, Adam's moments and the towns.
    assert resumed.header.tensors_sha256 == unbroken.header.tensors_sha256
    assert resumed.header.rng == unbroken.header.rng
    assert resumed.header.counters == unbroken.header.counters
    assert resumed.header.position == unbroken.header.position
    lines = [(folder / f"{case}.jsonl").read_text().splitlines() for folder in (tmp_path, broken)]
    assert [len(part) for part in lines] == [len(whole)] * 2


def live_harness(resume=None, **changes):
    settings = {
        "scenario": FLAT,
        "network": TINY.model_dump(),
        "live": LIVE,
        "resume": resume,
        **changes,
    }
    return TrainingHarness(TrainConfig.model_validate(settings))


def test_a_finished_run_is_followed_by_another_in_the_same_towns(tmp_path):
    whole, part = live_harness(), live_harness()
    whole.run_live(1280)
    part.run_live(640)
    saved = part.save(tmp_path / "part")
    resumed = live_harness(saved)
    resumed.run_live(640)
    part.run_live(640)
    assert resumed.standing == whole.standing == part.standing
    assert resumed.network.digest == whole.network.digest == part.network.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"scenario": KITCHEN},
        {"live": LIVE | {"num_worlds": 3}},
        {"compute": {"mode": "autograd"}},
    ],
    ids=["scenario", "worlds", "actor"],
)
def test_towns_of_another_kind_are_opened_anew(changes, tmp_path, caplog):
    first = live_harness()
    first.run_live(100)
    saved = first.save(tmp_path / "first")
    again = live_harness(saved, **changes)
    again.run_live(100)
    assert "new ones are opened" in caplog.text
    assert again.standing.live_steps > first.standing.live_steps


def test_a_position_that_was_altered_is_refused(tmp_path):
    first = live_harness()
    first.run_live(100)
    saved = first.save(tmp_path / "first")
    text = saved.read_text()
    saved.write_text(text.replace('"draws":', '"drawn":'))
    with pytest.raises(CheckpointError, match="position"):
        live_harness(saved)
    document = json.loads(text)
    document["position"]["towns"]["episodes"] = [1]
    saved.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="go on from another checkpoint"):
        live_harness(saved)


def test_a_checkpoint_without_a_position_can_be_resumed(tmp_path):
    first = live_harness()
    first.run_live(100)
    saved = first.save(tmp_path / "first")
    document = json.loads(saved.read_text())
    del document["position"]
    saved.write_text(json.dumps(document))
    again = live_harness(saved)
    assert all(torch.equal(*pair) for pair in zip(
        again.network.parameters(), first.network.parameters(), strict=True))  # fmt: skip
    again.run_live(100)


def test_ctrl_c_waits_for_the_update_and_the_second_one_does_not():
    with Interruption() as interruption:
        interruption.check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGINT)
            interruption.check()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
