"""What a user gets wrong is one clear sentence and exit code 1, and nothing is half written."""

from __future__ import annotations

import json
import shutil

import pytest
from cli_runs import refusal, townlet
from forged_captures import read_json
from town_captures import digests, policy_capture, script_capture, tiny_network

from townlet_env.config.load import configs_dir
from townlet_replay.safe_files import sha256_of

SCENARIO = "kitchen_breakfast"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A capture of a network with masks, and one of a script."""
    root = tmp_path_factory.mktemp("sound")
    policy_capture(SCENARIO, root / "policy", tiny_network(SCENARIO), ticks=30)
    script_capture(SCENARIO, root / "script")
    return root


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty working directory, in which the outputs of a refused command must not appear."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


OUTPUTS = ("--checkpoint", "out/net.json", "--ppo-log", "out/ppo.jsonl")


def train_refusal(*options):
    return refusal("train", SCENARIO, *OUTPUTS, *options)


def scenario_file(work, change):
    """A changed copy of the scenario, outside of what is looked for as outputs."""
    text = (configs_dir() / "scenarios" / f"{SCENARIO}.yaml").read_text()
    path = work / "town.yaml"
    path.write_text(change(text))
    return path


def everywhere(scenario):
    """Every command that reads a scenario refuses it with the same sentence; returns it."""
    sentences = {
        refusal("capture", scenario, "-o", "out/capture"),
        refusal("train", scenario, *OUTPUTS),
        refusal("scenarios", "validate", scenario),
        refusal("scenarios", "check", scenario),
    }
    (sentence,) = sentences
    return sentence


# --- scenarios ---


def test_an_unknown_scenario(work):
    sentence = everywhere("kitchen_brekfast")
    assert sentence.startswith("unknown scenario 'kitchen_brekfast'")
    assert "did you mean 'kitchen_breakfast'?" in sentence
    assert "nowhere.yaml" in refusal("capture", "nowhere.yaml", "-o", "out")
    assert list(work.iterdir()) == []


BAD_TOWNS = {
    "a misspelt key": (
        lambda text: text.replace("ticks: 60", "tikcs: 60\nticks: 60"),
        ["town.yaml", "tikcs", "unknown key", "did you mean 'ticks'"],
    ),
    "a misspelt key far down": (
        lambda text: text.replace("needs: {hunger: 0.4,", "needs: {hungre: 0.4,"),
        ["town.yaml", "hungre", "did you mean 'hunger'"],
    ),
    "an affordance with duration 0": (
        lambda text: text + "affordances:\n  eat_meal: {ticks: 0}\n",
        ["town.yaml: line", "affordances.eat_meal.ticks", "found 0"],
    ),
    "a resident inside a wall": (
        lambda text: (
            text.replace("  - id: bob #", "  - id: bob\n    cell: [0, 0] #")
            .replace("..a.b..", "..a....")
            .replace(", b: bob", "")
        ),
        ["town.yaml", "bob", "wall"],
    ),
    "two residents with one id": (
        lambda text: text.replace("id: bob", "id: alice").replace("b: bob", "b: alice"),
        ["town.yaml", "alice"],
    ),
}


@pytest.mark.parametrize("case", BAD_TOWNS)
def test_a_town_that_does_not_fit_together(case, work):
    change, words = BAD_TOWNS[case]
    path = scenario_file(work, change)
    sentence = everywhere(path)
    assert all(word in sentence for word in words), sentence
    assert list(work.iterdir()) == [path]


def test_a_file_that_is_no_yaml(work):
    path = scenario_file(work, lambda text: "residents: [" + text)
    assert "town.yaml" in everywhere(path)
    path.write_text("!!python/object/apply:os.system ['touch hacked']")
    assert "town.yaml" in everywhere(path)
    assert list(work.iterdir()) == [path]


# --- captures ---


def broken(sound, work, name="policy"):
    """A copy of a capture to break."""
    folder = work / "capture"
    shutil.copytree(sound / name, folder)
    return folder


def use(folder, *options):
    """Train on a capture, natively and with Stable-Baselines3; returns the one refusal."""
    data = ("--mode", "replay", "--capture-dir", folder, *options)
    sentences = {
        train_refusal(*data),
        train_refusal(*data, "--learner", "sb3-maskable"),
        train_refusal(*data, "--mode", "mixed"),
        train_refusal(*data, "--mode", "bc"),
    }
    (sentence,) = sentences
    return sentence


def test_a_capture_directory_without_a_manifest(work):
    (work / "capture").mkdir()
    sentence = use("capture")
    assert sentence.startswith("capture: no capture here: expected a file named <prefix>_manifest")
    assert refusal("captures", "info", "capture") == sentence
    assert refusal("captures", "validate", "capture") == sentence
    assert "expected the directory of a capture, found none" in use("nowhere")
    assert [path.name for path in work.iterdir()] == ["capture"]


def test_no_capture_at_all(work):
    for mode in ("replay", "bc", "mixed"):
        sentence = train_refusal("--mode", mode)
        assert sentence.startswith(f"mode '{mode}': expected a capture, found none")
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_a_manifest_that_names_a_missing_file(sound, work, suffix):
    folder = broken(sound, work)
    gone = folder / f"rollout_sample_bob_000.{suffix}"
    gone.unlink()
    assert use(folder).startswith(f"{gone}: missing, but ")
    ran = townlet("captures", "validate", folder)
    assert ran.code == 3  # the other sample is whole
    assert f"damaged: {gone}: the file is missing" in ran.out
    assert [path.name for path in work.iterdir()] == ["capture"]


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_a_manifest_that_names_an_altered_file(sound, work, suffix):
    folder = broken(sound, work)
    altered = folder / f"rollout_sample_bob_000.{suffix}"
    content = bytearray(altered.read_bytes())
    content[-5] ^= 1
    altered.write_bytes(content)
    sentence = use(folder)
    assert sentence.startswith(f"{altered}: altered since it was recorded")
    ran = townlet("captures", "validate", folder)
    assert ran.code == 3
    assert f"damaged: {altered}: altered since it was recorded" in ran.out
    assert [path.name for path in work.iterdir()] == ["capture"]


def resealed(folder, change):
    """Change every sidecar and make the manifest agree, as an honest tool would have written it."""
    path = folder / "rollout_sample_manifest.json"
    manifest = read_json(path)
    for entry in manifest["samples"]:
        sidecar = folder / entry["meta"]
        meta = read_json(sidecar)
        change(meta)
        sidecar.write_text(json.dumps(meta))
        entry["meta_sha256"] = sha256_of(sidecar.read_bytes())
    path.write_text(json.dumps(manifest))


def test_a_sample_of_another_action_vocabulary(sound, work):
    folder = broken(sound, work)
    resealed(folder, lambda meta: meta["action_lookup"].update({"1": "fly:north"}))
    sentence = use(folder)
    assert "another action vocabulary: action 1 is 'fly:north', expected 'move:north'" in sentence
    assert "rollout_sample_alice_000.json" in sentence
    assert townlet("captures", "validate", folder).code == 0  # sound, but of another town
    assert [path.name for path in work.iterdir()] == ["capture"]


def test_a_sample_of_another_feature_list(sound, work):
    folder = broken(sound, work)
    resealed(folder, lambda meta: meta["feature_names"].__setitem__(0, "mood"))
    sentence = use(folder)
    assert "another feature list" in sentence
    assert "column 0 is ('mood',), expected ('need_hunger',)" in sentence
    assert [path.name for path in work.iterdir()] == ["capture"]


def test_masks_and_a_learner_without_them(sound, work):
    data = ("--mode", "replay", "--capture-dir", sound / "policy")
    sentence = train_refusal(*data, "--learner", "sb3")
    assert "has action masks but the learner has none" in sentence
    assert "--learner sb3-maskable" in sentence
    assert list(work.iterdir()) == []


def test_a_script_and_a_learner_of_ratios(sound, work):
    data = ("--mode", "replay", "--capture-dir", sound / "script")
    for options in (("--objective", "ppo"), ("--learner", "sb3-maskable")):
        assert "a deterministic script acted" in train_refusal(*data, *options)
    assert list(work.iterdir()) == []


def test_a_capture_that_is_there_already(sound, work):
    before = digests(sound / "script")
    assert "there is a capture already" in refusal("capture", SCENARIO, "-o", sound / "script")
    assert digests(sound / "script") == before


# --- settings ---


@pytest.mark.parametrize("mode", ["live", "replay", "bc", "mixed"])
def test_no_epochs(sound, work, mode):
    options = ("--mode", mode, "--capture-dir", sound / "policy", "--epochs", 0)
    assert train_refusal(*options) == f"{SCENARIO}: epochs: epochs must be at least 1, got 0"
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--ppo-epochs", 0), ["ppo.epochs: epochs must be at least 1, got 0"]),
        (("--minibatch-size", -1), ["minibatch_size must be at least 1, got -1"]),
        (("--steps", 0), ["live.steps: steps must be at least 1, got 0"]),
        (("--cycles", 0), ["rollout.cycles: cycles must be at least 1, got 0"]),
        (("--gamma", 1.5), ["ppo.gamma", "less than or equal to 1", "1.5"]),
        (("--gamma", "nan"), ["ppo.gamma", "nan"]),
        (("--learning-rate", 0), ["ppo.learning_rate", "greater than 0"]),
        (("--learning-rate", "inf"), ["ppo.learning_rate", "finite"]),
        (("--ent-coef", "nan"), ["ppo.ent_coef"]),
        (("--objective", "awry"), ["objective", "'awry'"]),
        (("--device", "abacus"), ["device", "expected a device of this machine"]),
        (("--ppo-log-frequency", 0), ["telemetry.frequency", "at least 1"]),
        (("--replay-batch-size", 0), ["replay.batch_size", "at least 1"]),
        (("--replay-seed", -1), ["replay.seed"]),
        (("--resume", "nowhere.json"), ["nowhere.json", "missing"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_settings_of_training(options, words, work):
    sentence = train_refusal(*options)
    assert all(word in sentence for word in words), sentence
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--policy", "needs_drivn"), ["unknown policy", "did you mean 'needs_driven'"]),
        (("--agent", "bobb"), ["unknown resident 'bobb'", "did you mean 'bob'"]),
        (("--prefix", "../x"), ["prefix '../x'"]),
        (("--mode", "bogus"), ["bogus", "actions, full, packed"]),
        (("--seed", 2**64), ["seed"]),
        (("--ticks", 10**9), ["ticks"]),
        (("--auto-seed-agents", 500), ["free cells"]),
        (("--checkpoint", "nowhere.json"), ["nowhere.json", "missing"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_settings_of_a_capture(options, words, work):
    sentence = refusal("capture", SCENARIO, "-o", "out", *options)
    assert all(word in sentence for word in words), sentence
    assert list(work.iterdir()) == []


def test_a_training_file_with_a_misspelt_key(work):
    path = work / "run.yaml"
    path.write_text(f"scenario: {SCENARIO}\nppo:\n  gama: 0.9\n")
    sentence = refusal("train", path, *OUTPUTS)
    assert "run.yaml: line 3: ppo.gama: unknown key 'gama'; did you mean 'gamma'?" in sentence
    assert list(work.iterdir()) == [path]


def test_a_log_that_is_something_else(work):
    path = work / "notes.txt"
    path.write_text("dear diary\n")
    sentence = refusal("train", SCENARIO, "--ppo-log", path, "--checkpoint", "out/net")
    assert "notes.txt" in sentence
    assert path.read_text() == "dear diary\n"
    assert list(work.iterdir()) == [path]


# --- the rest ---


def test_goldens_and_logs_that_are_not_there(work):
    assert "nowhere.json" in refusal("golden", "check", "--file", "nowhere.json")
    (work / "bad.json").write_text('{"scenarios": 3}')
    assert "bad.json: scenarios" in refusal("golden", "check", "--file", "bad.json")
    assert "nowhere.jsonl" in refusal("telemetry", "validate", "nowhere.jsonl")
    assert "nowhere.jsonl" in refusal("telemetry", "summary", "nowhere.jsonl")


def test_names_from_files_are_not_read_as_markup_or_terminal_codes(work):
    sentence = refusal("capture", "[red]x\x1b[2J[/red]", "-o", "out")
    assert "[red]x" in sentence
    assert "\x1b" not in sentence


def last_words(*arguments):
    """The refusal of a command that had got somewhere: after its progress."""
    ran = townlet(*arguments)
    assert (ran.code, ran.out) == (1, "")
    assert "Traceback" not in ran.err
    return ran.err.splitlines()[-1]


def test_an_output_that_cannot_be_written(work):
    (work / "file").write_text("here")
    words = last_words("capture", SCENARIO, "-o", "file")
    assert words.startswith("error: file: cannot write ")
    live = ("--steps", 10, "--num-worlds", 1, "--rollout-ticks", 5, "--minibatch-size", 5)
    for learner in ("native", "sb3-maskable"):
        options = ("train", SCENARIO, *live, "--learner", learner)
        assert "error: file" in last_words(*options, "--checkpoint", "file/net")
        words = last_words(*options, "--ppo-log", "file/ppo.jsonl")
        assert "telemetry log file/ppo.jsonl cannot be written" in words
    assert (work / "file").read_text() == "here"
    assert [path.name for path in work.iterdir()] == ["file"]
