"""A checkpoint that does not fit, or is damaged, is one clear sentence; nothing is half written."""

from __future__ import annotations

import json
import shutil

import pytest
from cli_runs import refusal
from town_captures import tiny_checkpoint

SCENARIO = "kitchen_breakfast"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A checkpoint of a network that is smaller than the default one."""
    root = tmp_path_factory.mktemp("sound")
    tiny_checkpoint(root / "tiny.json", SCENARIO)
    return root


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty working directory, in which the outputs of a refused command must not appear."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_checkpoint_of_another_network(sound, work):
    outputs = ("--checkpoint", "out/net.json", "--ppo-log", "out/ppo.jsonl")
    sentence = refusal("train", SCENARIO, *outputs, "--resume", sound / "tiny.json")
    assert sentence.endswith("is of another network: map_width: expected 64, found 16")
    assert list(work.iterdir()) == []


def edited(sound, work, change):
    for path in sound.glob("tiny*"):
        shutil.copy(path, work)
    path = work / "tiny.json"
    header = json.loads(path.read_text())
    change(header)
    path.write_text(json.dumps(header))
    return path


def test_a_checkpoint_of_another_vocabulary(sound, work):
    def rename(header):
        header["observation"]["action_lookup"]["1"] = "fly:north"

    path = edited(sound, work, rename)
    for sentence in (
        refusal("capture", SCENARIO, "-o", "out", "--checkpoint", path),
        refusal("evaluate", path, "--scenario", SCENARIO),
    ):
        assert "action 1: expected 'move:north', found 'fly:north'" in sentence
    assert not (work / "out").exists()


def test_damaged_checkpoints(sound, work):
    path = edited(sound, work, lambda header: None)
    (weights,) = work.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-7] + b"garbage")
    sentence = refusal("evaluate", path)
    assert "altered or damaged" in sentence
    weights.unlink()
    assert weights.name in refusal("evaluate", path)
    path.write_text("{}")
    assert "schema_version" in refusal("evaluate", path)
    (work / "model.zip").write_text("no zip")
    assert "model.zip" in refusal("evaluate", "model.zip", "--scenario", SCENARIO)
    assert "found no file" in refusal("evaluate", "nowhere.zip", "--scenario", SCENARIO)


def test_a_network_and_a_script_at_once(sound, work):
    options = ("--checkpoint", sound / "tiny.json", "--policy", "random")
    sentence = refusal("capture", SCENARIO, "-o", "out", *options)
    assert sentence.startswith("expected a checkpoint or a script, found both")
    assert list(work.iterdir()) == []
