"""The commands: exit codes, JSON for programs, help with an example, and Ctrl-C."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import refusal, townlet
from town_captures import digests
from typer.main import get_command

import townlet_replay.training.harness as harness_module
from townlet_env.config.load import list_scenarios
from townlet_replay.cli.main import app
from townlet_replay.manifest import load_capture
from townlet_replay.policy.checkpoint import load_checkpoint
from townlet_replay.training.sb3 import CaptureMaskablePPO
from townlet_replay.training.sb3_runs import load_model
from townlet_replay.training.telemetry import read_log, validate_log

SCENARIO = "kitchen_breakfast"
LIVE = ("--steps", 60, "--num-worlds", 2, "--rollout-ticks", 15, "--minibatch-size", 32)
GOLDEN = Path(__file__).parents[1] / "docs" / "samples" / "rollout_scenario_stats.json"


def commands(group=None, path=()):
    """Every command of the tree: (words, command)."""
    group = group or get_command(app)
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A network trained for a moment, and captures of it and of the script."""
    root = tmp_path_factory.mktemp("cli")
    assert townlet("train", SCENARIO, *LIVE, "--checkpoint", root / "net.json").code == 0
    assert townlet("capture", SCENARIO, "-o", root / "script", "--episodes", 2).code == 0
    played = ("--checkpoint", root / "net.json", "--episodes", 2)
    assert townlet("capture", SCENARIO, "-o", root / "policy", *played).code == 0
    return root


# --- help ---


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_help_shows_an_example_of_the_command(words):
    ran = townlet(*words, "--help")
    assert ran.code == 0
    assert f"Example: townlet {' '.join(words)}" in " ".join(ran.out.split())


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_options_of_the_example_exist(words):
    command = dict(commands())[words]
    lines = [line.strip() for line in (command.help or "").splitlines()]
    examples = [line for line in lines if line.startswith("Example:")]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    for example in examples:
        used = {word for word in shlex.split(example) if word.startswith("-")}
        assert used <= known


def test_help_imports_nothing_heavy():
    code = """
import sys
from townlet_replay.cli.main import run
for arguments in (["--help"], ["train", "--help"], ["capture", "--help"], ["golden", "--help"]):
    sys.argv = ["townlet", *arguments]
    try:
        run()
    except SystemExit as stopped:
        assert not stopped.code, arguments
heavy = ("torch", "stable_baselines3", "sb3_contrib", "numba", "matplotlib")
print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr.strip() == "[]"
    assert "evaluate" in found.stdout


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "townlet_replay", "scenarios", "--help"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "check" in found.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("train",),
        ("train", SCENARIO, "--mode", "sideways"),
        ("train", SCENARIO, "--seed", "-1"),
        ("train", SCENARIO, "--steps", "many"),
        ("capture", SCENARIO),
        ("capture", SCENARIO, "-o", "x", "--epsilon", "1.5"),
        ("capture", SCENARIO, "-o", "x", "--epsilon", "nan"),
        ("capture", SCENARIO, "-o", "x", "--episodes", "0"),
        ("evaluate", "x.json", "--seeds", "0"),
        ("captures", "info"),
    ],
    ids=" ".join,
)
def test_usage_errors_are_exit_code_2(arguments):
    ran = townlet(*arguments)
    assert ran.code == 2
    assert "Traceback" not in ran.err


# --- scenarios, doctor, golden ---


def test_scenarios_are_listed_shown_and_checked():
    listed = townlet("scenarios", "list", "--json").json
    assert [entry["name"] for entry in listed] == list_scenarios()
    assert all(entry["description"] and entry["ticks"] for entry in listed)
    assert SCENARIO in townlet("scenarios", "list").out
    shown = townlet("scenarios", "show", SCENARIO).out
    assert shown.startswith(f"name: {SCENARIO}")
    assert townlet("scenarios", "validate", SCENARIO).out == f"{SCENARIO}: sound\n"
    checked = townlet("scenarios", "check", SCENARIO, "--json")
    assert checked.code == 0
    assert all(claim["held"] for claim in checked.json[SCENARIO])
    assert "claims hold" in townlet("scenarios", "check", SCENARIO).out
    schema = json.loads(townlet("scenarios", "schema").out)
    assert "residents" in schema["properties"]
    assert "catalogue" not in schema["properties"]


def test_a_claim_that_fails_is_exit_code_1(tmp_path):
    text = townlet("scenarios", "show", "observation_baseline").out
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace("field: hunger, is: 1.0", "field: hunger, is: 0.5"))
    ran = townlet("scenarios", "check", path)
    assert ran.code == 1
    assert ran.out.count("FAIL") == 1


def test_doctor_names_versions_and_plays_twice():
    facts = townlet("doctor", "--json").json
    assert facts["same_seed_same_bits"] is True
    assert {"python", "numpy", "townlet"} <= facts["versions"].keys()
    assert "same seed, same bits" in townlet("doctor").out


@pytest.fixture
def one_scenario(monkeypatch, tmp_path):
    """A catalogue of one, so that goldens are quick; returns a golden file of it."""
    import townlet_env.config.load

    monkeypatch.setattr(townlet_env.config.load, "list_scenarios", lambda: [SCENARIO])
    whole = json.loads(GOLDEN.read_text())
    whole["scenarios"] = {SCENARIO: whole["scenarios"][SCENARIO]}
    path = tmp_path / "golden.json"
    path.write_text(json.dumps(whole))
    return path


def test_goldens_are_checked_and_drift_is_shown(one_scenario):
    sound = townlet("golden", "check", "--file", one_scenario)
    assert (sound.code, sound.out) == (0, "nothing moved\n")
    document = json.loads(one_scenario.read_text())
    document["scenarios"][SCENARIO]["residents"]["bob"]["rows"] = 59
    one_scenario.write_text(json.dumps(document))
    moved = townlet("golden", "check", "--file", one_scenario)
    assert moved.code == 1
    assert all(word in moved.out for word in ("bob", "rows", "59", "60"))
    drifts = townlet("golden", "check", "--file", one_scenario, "--json")
    assert drifts.code == 1
    assert drifts.json == [
        {"scenario": SCENARIO, "resident": "bob", "figure": "rows", "golden": "59", "now": "60"}
    ]


def test_goldens_are_refreshed_unless_it_is_a_dry_run(one_scenario, tmp_path):
    document = json.loads(one_scenario.read_text())
    document["scenarios"][SCENARIO]["residents"]["bob"]["rows"] = 59
    before = json.dumps(document)
    one_scenario.write_text(before)
    dry = townlet("golden", "refresh", "--dry-run", "--file", one_scenario, "--json")
    assert dry.code == 0
    assert [drift["figure"] for drift in dry.json] == ["rows"]
    assert one_scenario.read_text() == before
    assert townlet("golden", "refresh", "--file", one_scenario).code == 0
    assert townlet("golden", "check", "--file", one_scenario).code == 0
    new = tmp_path / "new" / "golden.json"
    assert townlet("golden", "refresh", "--file", new).code == 0
    assert townlet("golden", "check", "--file", new).code == 0


# --- capture and captures ---


def test_captures_of_many_scenarios_have_a_folder_each(tmp_path):
    names = ["observation_baseline", SCENARIO]
    ran = townlet("capture", *names, "-o", tmp_path / "all", "--ticks", 12, "--json")
    assert ran.code == 0
    assert [entry["scenario"] for entry in ran.json] == names
    assert [entry["rows"] for entry in ran.json] == [12, 24]
    for entry in ran.json:
        capture = load_capture(entry["manifest"])
        assert capture.directory == tmp_path / "all" / entry["scenario"]
        assert [sample.rows for sample in capture] == [12] * entry["samples"]


def test_options_of_capture_reach_the_files(tmp_path):
    out = tmp_path / "c"
    options = "--episodes 2 --seed 9 --epsilon 0.25 --agent bob --prefix evening --no-compress"
    ran = townlet("capture", SCENARIO, "-o", out, "--ticks", 10, *options.split())
    assert ran.code == 0
    assert ran.out == f"{SCENARIO}: 2 samples, 20 rows -> {out}/evening_manifest.json\n"
    capture = load_capture(out)
    assert capture.prefix == "evening"
    samples = list(capture)
    assert [(s.meta.agent_id, s.meta.episode_id) for s in samples] == [("bob", 0), ("bob", 1)]
    assert {s.meta.behaviour.epsilon for s in samples} == {0.25}
    assert samples[0].meta.capture_metadata.seed == 9
    assert refusal("capture", SCENARIO, "-o", out, "--prefix", "evening").endswith("replace it")
    again = townlet("capture", SCENARIO, "-o", out, "--prefix", "evening", "--overwrite")
    assert again.code == 0
    assert [sample.rows for sample in load_capture(out)] == [60, 60]
    more = townlet("capture", SCENARIO, "-o", tmp_path / "d", "--auto-seed-agents", 2, "--json")
    assert more.json[0]["samples"] == 4
    chance = townlet("capture", SCENARIO, "-o", tmp_path / "e", "--policy", "random", "--json")
    kinds = {s.meta.behaviour.epsilon for s in load_capture(chance.json[0]["manifest"])}
    assert kinds == {1.0}


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
    assert report == {"ok": True, "samples": 4, "rows": 240}


# --- train ---


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
    options = "--learning-rate 0.01 --gamma 0.5 --gae-lambda 0.7 --clip-range 0.3 --ent-coef 0"
    options += " --vf-coef 1.5 --max-grad-norm 9 --ppo-epochs 2 --minibatch-size 100"
    options += " --target-kl 5 --no-normalize-advantage --adam-eps 1e-4 --clip-range-vf 0.4"
    seen = []
    original = harness_module.ppo_update

    def watched(network, optimizer, rollout, config, rng):
        seen.append(config)
        return original(network, optimizer, rollout, config, rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness_module, "ppo_update", watched)
        data = ("--mode", "replay", "--capture-dir", root / "policy", "--epochs", 1)
        ran = townlet("train", SCENARIO, *data, *options.split(), "--json")
    assert ran.code == 0
    assert seen[0].model_dump() == {
        "learning_rate": 0.01,
        "gamma": 0.5,
        "gae_lambda": 0.7,
        "clip_range": 0.3,
        "clip_range_vf": 0.4,
        "ent_coef": 0.0,
        "vf_coef": 1.5,
        "max_grad_norm": 9.0,
        "epochs": 2,
        "minibatch_size": 100,
        "target_kl": 5.0,
        "normalize_advantage": False,
        "adam_eps": 1e-4,
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


# --- Ctrl-C ---


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard():
    """A shell starts background jobs deaf to Ctrl-C, and the tests may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupting(original, at):
    """The function, with Ctrl-C pressed inside its call number ``at``."""
    calls = []

    def pressed(*arguments, **settings):
        calls.append(1)
        if len(calls) == at:
            signal.raise_signal(signal.SIGINT)
        return original(*arguments, **settings)

    return pressed


def test_ctrl_c_keeps_what_was_learnt(root, tmp_path, monkeypatch):
    monkeypatch.setattr(harness_module, "ppo_update", interrupting(harness_module.ppo_update, at=3))
    log, weights = tmp_path / "ppo.jsonl", tmp_path / "net.json"
    data = ("--mode", "replay", "--capture-dir", root / "policy", "--epochs", 9)
    ran = townlet("train", SCENARIO, *data, "--ppo-log", log, "--checkpoint", weights)
    assert ran.code == 130
    assert "Traceback" not in ran.err
    assert "interrupted" in ran.err
    assert [record.epoch for record in read_log(log)] == [1, 2]
    assert validate_log(log).problems == ()
    saved = load_checkpoint(weights)
    assert saved.header.counters["epoch"] == 2
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


def test_ctrl_c_before_anything_was_learnt_leaves_nothing(root, tmp_path, monkeypatch):
    monkeypatch.setattr(harness_module, "ppo_update", interrupting(harness_module.ppo_update, at=1))
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
