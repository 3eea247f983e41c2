"""The commands: exit codes, JSON for programs, help with an example, and Ctrl-C."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from cli_runs import townlet
from cli_towns import SCENARIO
from town_captures import digests

import townlet_replay.training.compute as compute_module
from townlet_replay.manifest import load_capture
from townlet_replay.policy.checkpoint import load_checkpoint
from townlet_replay.training.sb3 import CaptureMaskablePPO
from townlet_replay.training.sb3_runs import load_model
from townlet_replay.training.telemetry import read_log, validate_log

LIVE = ("--steps", 60, "--num-worlds", 2, "--rollout-ticks", 15, "--minibatch-size", 32)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A network trained for a moment, and captures of it and of the script."""
    root = tmp_path_factory.mktemp("cli")
    assert townlet("train", SCENARIO, *LIVE, "--checkpoint", root / "net.json").code == 0
    assert townlet("capture", SCENARIO, "-o", root / "script", "--episodes", 2).code == 0
    played = ("--checkpoint", root / "net.json", "--episodes", 2)
    assert townlet("capture", SCENARIO, "-o", root / "policy", *played).code == 0
    return root


def test_the_same_command_writes_the_same_bytes(root, tmp_path):
    for name in ("one", "two"):
        played = ("--checkpoint", root / "net.json", "--greedy", "--ticks", 20)
        assert townlet("capture", SCENARIO, "-o", tmp_path / name, *played).code == 0
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    greedy = load_capture(tmp_path / "one").sample(0)
    assert not greedy.old_log_probs.any()


def test_a_capture_is_summed_up_and_validated(root):
    found = townlet("captures", "info", root / "policy", "--json").json
    assert found["metadata"]["scenario_name"] == SCENARIO
    assert [sample["agent_id"] for sample in found["samples"]] == ["alice", "bob"] * 2
    assert found["totals"]["timesteps"] == 240
    table = townlet("captures", "info", root / "policy").out
    assert "alice" in table
    assert "policy" in table
    sound = townlet("captures", "validate", root / "script")
    assert sound.code == 0
    assert sound.out.endswith("4 samples, 240 rows, sound\n")
    report = townlet("captures", "validate", root / "script", "--json").json
    assert report == {"ok": True, "samples": 4, "rows": 240, "damaged": [], "leftovers": []}


MODES = {
    "replay native": ("--mode replay --epochs 2 --capture-dir {policy}", "ppo", 2),
    "replay auto on a script": ("--mode replay --epochs 2 --capture-dir {script}", "bc", 2),
    "bc native": ("--mode bc --epochs 3 --capture-dir {script}", None, 3),
    "rollout native": ("--mode rollout --cycles 2 --rollout-ticks 30", None, 2),
    "mixed native": (
        "--mode mixed --cycles 2 --rollout-ticks 20 --capture-dir {policy}",
        "ppo",
        4,
    ),
    "live native": ("--mode live --steps 100 --num-worlds 2 --rollout-ticks 20", None, 2),
    "replay sb3-maskable": ("--mode replay --epochs 2 --capture-dir {policy}", "ppo", 2),
    "live sb3": ("--mode live --steps 100 --num-worlds 2 --rollout-ticks 20", None, 2),
    "live sb3-maskable": ("--mode live --steps 100 --num-worlds 2 --rollout-ticks 20", None, 2),
}


@pytest.mark.parametrize("case", MODES)
def test_every_mode_and_learner(case, root, tmp_path):
    learner = case.split()[1] if "sb3" in case else "native"
    text, objective, epochs = MODES[case]
    options = text.format(policy=root / "policy", script=root / "script").split()
    log, weights = tmp_path / "log" / "ppo.jsonl", tmp_path / "weights" / "net"
    options += ["--learner", learner, "--ppo-log", log, "--checkpoint", weights, "--seed", 3]
    ran = townlet("train", SCENARIO, *options, "--json")
    assert ran.code == 0, ran.err
    mode = next(word for word in MODES[case][0].split() if not word.startswith("-"))
    lines = ran.err.splitlines()
    assert lines
    assert all(re.fullmatch(rf"{mode}: \d+/\d+( policy loss \S+)?", line) for line in lines)
    report = ran.json
    assert (report["scenario"], report["learner"]) == (SCENARIO, learner)
    assert (report["objective"], report["biased"]) == (objective, False)
    assert report["epochs"] == epochs == len(list(read_log(log)))
    assert report["last"]["epoch"] == epochs
    assert report["steps"] == report["last"]["steps"]
    assert validate_log(log).problems == ()
    saved = Path(report["checkpoint"])
    assert saved == weights.with_name("net.json" if learner == "native" else "net.zip")
    (load_checkpoint if learner == "native" else load_model)(saved)
    scores = townlet("evaluate", saved, "--scenario", SCENARIO, "--seeds", 2, "--json")
    assert scores.code == 0
    assert [row["who"] for row in scores.json] == ["sampled", "greedy", "script", "random"]


def test_what_evaluate_prints_for_people(root):
    names = ("--scenario", SCENARIO, "--scenario", "observation_baseline")
    ran = townlet("evaluate", root / "net.json", *names, "--seeds", 2)
    assert ran.code == 0
    rows = [
        [cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in ran.out.splitlines()
    ]
    heading = ["per resident and episode", "sampled", "greedy", "script", "random"]
    assert rows.count(heading) == 2
    returns = [row[1:] for row in rows if row and row[0] == "return"]
    assert returns[1] == ["0.000"] * 4
    assert float(returns[0][2]) > float(returns[0][3])
    assert ran.err.splitlines()[-1].startswith("evaluating: 8/8")


def test_what_train_prints_for_people(root, tmp_path):
    options = ("--mode", "replay", "--capture-dir", root / "policy", "--epochs", 1)
    ran = townlet("train", SCENARIO, *options, "--checkpoint", tmp_path / "net.json")
    lines = ran.out.splitlines()
    assert lines[0] == f"native on {SCENARIO}, replay: 1 epochs, 240 agent steps"
    assert lines[1] == "objective ppo"
    assert lines[2].startswith("last epoch: policy loss ")
    assert lines[3] == f"weights: {tmp_path}/net.json"
    forced = townlet(
        "train",
        SCENARIO,
        "--mode",
        "replay",
        "--capture-dir",
        root / "script",
        "--objective",
        "ppo",
        "--accept-bias",
        "--target-kl",
        1e9,
        "--epochs",
        1,
    )
    assert "objective ppo, against the reasons (biased)" in forced.out


def test_settings_of_ppo_by_name(root, tmp_path):
    options = "--learning-rate 0.01 --gamma 0.5 --gae-lambda 0.7 --clip-range 0.3 --ent-coef 0.2"
    options += " --vf-coef 1.5 --max-grad-norm 9 --ppo-epochs 2 --minibatch-size 100"
    options += " --target-kl 5 --no-normalize-advantage --adam-eps 1e-4 --clip-range-vf 0.4"
    options += " --no-normalize-value"
    options += " --learning-rate-schedule cosine --learning-rate-end 0.002"
    options += " --clip-range-schedule linear --clip-range-end 0.1"
    options += " --ent-coef-schedule cosine --ent-coef-end 0.001"
    seen = []
    original = compute_module.ppo_update

    def watched(network, optimizer, rollout, config, rng, aim):
        seen.append(config)
        return original(network, optimizer, rollout, config, rng, aim)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute_module, "ppo_update", watched)
        data = ("--mode", "replay", "--capture-dir", root / "policy", "--epochs", 1)
        ran = townlet("train", SCENARIO, *data, *options.split(), "--json")
    assert ran.code == 0
    # The one update of this run is its last.
    assert seen[0].model_dump() == {
        "learning_rate": 0.002,
        "learning_rate_schedule": "cosine",
        "learning_rate_end": 0.002,
        "gamma": 0.5,
        "gae_lambda": 0.7,
        "clip_range": pytest.approx(0.1),
        "clip_range_schedule": "linear",
        "clip_range_end": 0.1,
        "clip_range_vf": 0.4,
        "ent_coef": pytest.approx(0.001),
        "ent_coef_schedule": "cosine",
        "ent_coef_end": 0.001,
        "vf_coef": 1.5,
        "max_grad_norm": 9.0,
        "epochs": 2,
        "minibatch_size": 100,
        "target_kl": 5.0,
        "normalize_advantage": False,
        "adam_eps": 1e-4,
        "normalize_value": False,
    }
    assert ran.json["last"]["updates"] == 2 * 3


def test_logs_rotate_and_every_nth_epoch_is_written(root, tmp_path):
    log = tmp_path / "ppo.jsonl"
    options = ("--ppo-log", log, "--ppo-log-frequency", 2, "--ppo-log-max-entries", 1)
    data = ("--mode", "replay", "--capture-dir", root / "policy", "--epochs", 5)
    assert townlet("train", SCENARIO, *data, *options).code == 0
    assert [record.epoch for record in read_log(log)] == [2, 4, 5]
    assert (tmp_path / "ppo.jsonl.2").is_file()
    assert townlet("telemetry", "validate", log).code == 0
    summary = townlet("telemetry", "summary", log, "--json")
    assert summary.code == 0
    assert summary.json["records"] == 3
    plotted = townlet("telemetry", "plot", log, "-o", tmp_path / "ppo.png")
    assert plotted.code == 0
    assert (tmp_path / "ppo.png").read_bytes().startswith(b"\x89PNG")


def test_training_goes_on_from_a_checkpoint(root, tmp_path):
    data = ("--mode", "replay", "--capture-dir", root / "policy", "--replay-batch-size", 2)
    whole, half = tmp_path / "whole.json", tmp_path / "half.json"
    assert townlet("train", SCENARIO, *data, "--epochs", 3, "--checkpoint", whole).code == 0
    assert townlet("train", SCENARIO, *data, "--epochs", 1, "--checkpoint", half).code == 0
    again = ("--resume", half, "--epochs", 2, "--checkpoint", half, "--json")
    report = townlet("train", SCENARIO, *data, *again).json
    assert report["last"]["epoch"] == 3
    assert load_checkpoint(half).network.digest == load_checkpoint(whole).network.digest


def test_rollouts_are_kept_where_asked(tmp_path):
    kept = tmp_path / "cycles"
    options = ("--mode", "rollout", "--cycles", 2, "--rollout-ticks", 10)
    assert townlet("train", SCENARIO, *options, "--rollout-save-dir", kept).code == 0
    assert sorted(path.name for path in kept.iterdir()) == ["cycle_001", "cycle_002"]
    assert [sample.rows for sample in load_capture(kept / "cycle_002")] == [10, 10]


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard():
    """A shell starts background jobs deaf to Ctrl-C, and the tests may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupting(original, at, times=1):
    """The function, with Ctrl-C pressed inside its call number ``at``."""
    calls = []

    def pressed(*arguments, **settings):
        calls.append(1)
        for _ in range(times if len(calls) == at else 0):
            signal.raise_signal(signal.SIGINT)
        return original(*arguments, **settings)

    return pressed


def test_ctrl_c_finishes_the_update_and_keeps_what_was_learnt(root, tmp_path, monkeypatch):
    monkeypatch.setattr(compute_module, "ppo_update", interrupting(compute_module.ppo_update, at=3))
    log, weights = tmp_path / "ppo.jsonl", tmp_path / "net.json"
    data = ("--mode", "replay", "--capture-dir", root / "policy", "--epochs", 9)
    ran = townlet("train", SCENARIO, *data, "--ppo-log", log, "--checkpoint", weights)
    assert ran.code == 130
    assert "Traceback" not in ran.err
    assert "interrupted" in ran.err
    assert [record.epoch for record in read_log(log)] == [1, 2, 3]
    assert validate_log(log).problems == ()
    saved = load_checkpoint(weights)
    assert saved.header.counters["epoch"] == 3
    monkeypatch.undo()
    scores = townlet("evaluate", weights, "--seeds", 1, "--json")
    assert scores.code == 0
    assert {row["scenario"] for row in scores.json} == {SCENARIO}


def test_ctrl_c_keeps_the_zip_of_stable_baselines3(root, tmp_path, monkeypatch):
    pressed = interrupting(CaptureMaskablePPO.train, at=3)
    monkeypatch.setattr(CaptureMaskablePPO, "train", pressed)
    log, weights = tmp_path / "ppo.jsonl", tmp_path / "net.zip"
    data = ("--mode", "replay", "--capture-dir", root / "policy", "--epochs", 9)
    options = ("--learner", "sb3-maskable", "--ppo-log", log, "--checkpoint", weights)
    ran = townlet("train", SCENARIO, *data, *options)
    assert ran.code == 130
    assert [record.epoch for record in read_log(log)] == [1, 2]
    assert validate_log(log).problems == ()
    assert load_model(weights).num_timesteps == 3 * 240


def test_ctrl_c_twice_stops_at_once_and_leaves_nothing_half_learnt(root, tmp_path, monkeypatch):
    pressed = interrupting(compute_module.ppo_update, at=1, times=2)
    monkeypatch.setattr(compute_module, "ppo_update", pressed)
    data = ("--mode", "replay", "--capture-dir", root / "policy")
    log, weights = tmp_path / "log" / "ppo.jsonl", tmp_path / "net.json"
    ran = townlet("train", SCENARIO, *data, "--ppo-log", log, "--checkpoint", weights)
    assert ran.code == 130
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_during_a_capture_leaves_a_sound_one(tmp_path, monkeypatch):
    import townlet_replay.capture as capture_module

    choose = interrupting(capture_module._choose, at=75)
    monkeypatch.setattr(capture_module, "_choose", choose)
    ran = townlet("capture", SCENARIO, "-o", tmp_path / "c", "--episodes", 3)
    assert ran.code == 130
    monkeypatch.undo()
    assert townlet("captures", "validate", tmp_path / "c").code == 0
    samples = list(load_capture(tmp_path / "c"))
    assert [sample.rows for sample in samples] == [60, 60, 14, 14]
    assert all(sample.truncations[-1] for sample in samples)
