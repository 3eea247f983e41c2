"""Extras are honest: what is missing is one sentence that names the extra, and exit code 1."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli_runs import townlet

from townlet_replay.extras import EXTRAS, sentence_for

ROOT = Path(__file__).parents[1]
# Distributions that are imported by another name.
IMPORTED = {"pygame-ce": "pygame", "pillow": "PIL"}

# What is taken away, the extra that brings it, and commands that need it.
NEEDED = [
    ("typer", "cli", ["doctor"]),
    ("rich", "cli", ["doctor"]),
    ("torch", "train", ["train", "queue_conflict"]),
    ("torch", "train", ["demo", "--output", "demo"]),
    ("torch", "train", ["compare", "queue_conflict", "--output", "compared"]),
    ("torch", "train", ["evaluate", "no.json"]),
    ("torch", "train", ["capture", "queue_conflict", "-o", "x", "--checkpoint", "no.json"]),
    ("safetensors", "train", ["train", "queue_conflict"]),
    ("stable_baselines3", "sb3", ["train", "queue_conflict", "--learner", "sb3"]),
    ("sb3_contrib", "sb3", ["train", "queue_conflict", "--learner", "sb3"]),
    ("tensorboard", "tensorboard", ["train", "queue_conflict", "--tensorboard", "logs"]),
    ("matplotlib", "report", ["telemetry", "plot", "log.jsonl", "-o", "log.png"]),
    ("matplotlib", "report", ["demo", "--quick", "--output", "demo"]),
    ("plotly", "report", ["demo", "--quick", "--output", "demo"]),
    ("plotly", "report", ["compare", "queue_conflict", "--output", "compared"]),
    ("jinja2", "report", ["compare", "queue_conflict", "--output", "compared"]),
    ("jinja2", "report", ["captures", "view", "capture", "--out", "page.html"]),
    ("jinja2", "report", ["telemetry", "board", "log.jsonl", "--out", "board.html"]),
    ("pygame", "render", ["render", "queue_conflict", "--png", "town.png", "--at", "1"]),
    ("PIL", "render", ["render", "queue_conflict", "--png", "town.png", "--at", "1"]),
    ("av", "render", ["render", "queue_conflict", "--mp4", "town.mp4", "--ticks", "5"]),
    ("h5py", "minari", ["captures", "export", "capture", "--to", "minari", "-o", "made-v0"]),
    ("pyarrow", "parquet", ["captures", "export", "capture", "--to", "parquet", "-o", "made"]),
]


def without(names, commands, folder=None):
    """(exit code, stdout, stderr) of commands where some packages are not installed."""
    program = [sys.executable, ROOT / "tests" / "without.py", names, json.dumps(commands)]
    ran = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small capture and a training log."""
    made = tmp_path_factory.mktemp("extras")
    words = ["--mode", "full", "--ticks", "20", "-o", made / "capture"]
    assert townlet("capture", "queue_conflict", *words).code == 0
    shutil.copy(ROOT / "docs" / "samples" / "ppo_epoch_log.jsonl", made / "log.jsonl")
    return made


@pytest.mark.parametrize("name", sorted({name for name, _, _ in NEEDED}))
def test_what_is_missing_is_one_sentence_that_names_the_extra(folder, name):
    cases = [(extra, words) for needed, extra, words in NEEDED if needed == name]
    found = without(name, [words for _, words in cases], folder)
    for (extra, words), (code, out, err) in zip(cases, found, strict=True):
        assert code == 1, (words, code, out, err)
        told = [line for line in err.splitlines() if "error: " in line]
        assert len(told) == 1, (words, err)
        assert err.splitlines()[-1] == told[0], (words, err)
        assert f"townlet[{extra}]" in told[0], (words, err)
    assert {path.name for path in folder.iterdir()} == {"capture", "log.jsonl"}


def test_the_table_of_extras_is_that_of_the_package():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = declared["optional-dependencies"]
    for extra, names in EXTRAS.items():
        bare = [need.partition(">")[0].partition("[")[0] for need in extras[extra]]
        wanted = {IMPORTED.get(name, name.replace("-", "_")) for name in bare}
        assert set(names) == wanted - {"townlet"}, extra
    assert extras["all"] == [f"townlet[{','.join(EXTRAS)}]"]


def test_doctor_tells_present_from_missing():
    (as_json, as_text) = without("torch,pyarrow", [["doctor", "--json"], ["doctor"]])
    extras = json.loads(as_json[1])["extras"]
    assert extras["train"] == {"missing": ["torch"]}
    assert extras["parquet"] == {"missing": ["pyarrow"]}
    assert extras["report"] == {"missing": []}
    lines = [" ".join(line.split()) for line in as_text[1].splitlines()]
    assert "extra parquet missing pyarrow: pip install 'townlet[parquet]'" in lines
    assert "extra report installed" in lines


def test_a_module_of_no_extra_is_an_error_of_the_program():
    assert sentence_for(ModuleNotFoundError("gone", name="townlet_env.gone")) is None
    assert sentence_for(ModuleNotFoundError("gone")) is None
