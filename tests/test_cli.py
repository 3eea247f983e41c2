"""The command line but for training: help, scenarios, goldens, captures."""

from __future__ import annotations

import copy
import json
import re
import shlex
import subprocess
import sys

import jsonschema
import pytest
from cli_runs import refusal, townlet
from cli_towns import GOLDEN, SCENARIO
from typer.main import get_command

from townlet_env.config.load import configs_dir, list_scenarios, load_scenario
from townlet_env.config.safe_yaml import read_yaml
from townlet_env.config.template import TEMPLATE, write_scenario
from townlet_env.verdicts import check_story
from townlet_replay.cli.main import app
from townlet_replay.manifest import load_capture


def commands(group=None, path=()):
    """Every command of the tree: (words, command)."""
    group = group or get_command(app)
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


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


def test_scenarios_are_listed_shown_and_checked():
    listed = townlet("scenarios", "list", "--json").json
    assert [entry["name"] for entry in listed] == list_scenarios()
    assert all(entry["description"] and entry["ticks"] for entry in listed)
    narrow = townlet("scenarios", "list").out
    assert [name for name in list_scenarios() if name not in narrow] == []
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


def test_the_schema_takes_every_shipped_file_and_finds_misspelt_keys():
    schema = json.loads(townlet("scenarios", "schema").out)
    editor = jsonschema.Draft202012Validator(schema)
    editor.check_schema(schema)
    files = [*(configs_dir() / "scenarios").glob("*.yaml"), configs_dir() / TEMPLATE]
    for path in files:
        wrong = [error.message for error in editor.iter_errors(read_yaml(path).data)]
        assert wrong == [], path.name
    town = copy.deepcopy(dict(read_yaml(configs_dir() / TEMPLATE).data))
    town["tikcs"] = 3
    town["residents"][0]["walet"] = 2
    town["residents"][0]["schedule"].append("relaese")
    town["expect"][0]["at_leest"] = 1
    found = {".".join(map(str, error.absolute_path)) for error in editor.iter_errors(town)}
    assert found == {"", "residents.0", "residents.0.schedule.5", "expect.0"}


def test_a_claim_that_fails_is_exit_code_1(tmp_path):
    text = townlet("scenarios", "show", "observation_baseline").out
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace("field: hunger, is: 1.0", "field: hunger, is: 0.5"))
    ran = townlet("scenarios", "check", path)
    assert ran.code == 1
    assert ran.out.count("FAIL") == 1


def test_a_new_scenario_is_sound_and_proves_its_story(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert townlet("scenarios", "new", "corner_shop").out == "wrote corner_shop.yaml\n"
    text = (tmp_path / "corner_shop.yaml").read_text()
    assert "my_story" not in text
    assert townlet("scenarios", "validate", "corner_shop.yaml").code == 0
    checked = townlet("scenarios", "check", "corner_shop.yaml", "--json").json
    assert len(checked["corner_shop.yaml"]) >= 8
    assert all(claim["held"] for claim in checked["corner_shop.yaml"])
    assert load_scenario("corner_shop.yaml").name == "corner_shop"


def test_what_a_new_scenario_offers_to_take_in_is_sound(tmp_path):
    path = write_scenario("corner_shop", tmp_path)
    offered = re.compile(r"^( *)# (job: |jobs:|  shop:|needs:|perturbations:|  blackout:)", re.M)
    text, taken_in = offered.subn(r"\1\2", path.read_text())
    assert taken_in == 6
    path.write_text(text)
    config = load_scenario(path)
    assert config.jobs["shop"].object == "counter"
    assert config.perturbations.blackout.at == (70,)
    assert all(resident.job in (None, "shop") for resident in config.residents)
    assert [claim for claim in check_story(config) if not claim.held] == []


@pytest.mark.parametrize(
    ("name", "folder", "said"),
    [
        ("Corner Shop", ".", "small letters, digits and underscores), found 'Corner Shop'"),
        ("../corner", ".", "found '../corner'"),
        ("town_day", ".", "'town_day' is a shipped scenario; choose another name"),
        ("there", ".", "there.yaml is there already, and nothing was written"),
        ("corner", "nowhere", "corner.yaml could not be written: No such file or directory"),
        ("corner", "there.yaml", "corner.yaml could not be written: Not a directory"),
    ],
)
def test_a_new_scenario_never_overwrites_and_says_what_is_wrong(
    tmp_path, monkeypatch, name, folder, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.yaml").write_text("mine")
    assert said in refusal("scenarios", "new", name, "--folder", folder)
    assert [path.name for path in tmp_path.iterdir()] == ["there.yaml"]
    assert (tmp_path / "there.yaml").read_text() == "mine"


def test_a_folder_and_a_file_that_is_no_text_are_no_tracebacks(tmp_path):
    folder, binary = tmp_path / "folder.yaml", tmp_path / "binary.yaml"
    folder.mkdir()
    binary.write_bytes(b"\xff\xfename")
    for command in ("show", "validate", "check"):
        assert f"found a folder at {folder}" in refusal("scenarios", command, folder)
    assert "expected UTF-8 text" in refusal("scenarios", "validate", binary)
    assert townlet("scenarios", "show", binary).out.endswith("name")


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
