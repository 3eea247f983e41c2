"""``townlet captures audit``: what it prints, and how it ends."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
from cli_runs import townlet
from town_captures import policy_capture, script_capture, tiny_network

from townlet_replay.manifest import load_capture
from townlet_replay.writer import CaptureWriter, WriterSettings

SCENARIO = "kitchen_breakfast"


def test_an_honest_capture_passes(tmp_path):
    policy_capture(SCENARIO, tmp_path / "policy", tiny_network(SCENARIO, seed=3), ticks=90)
    ran = townlet("captures", "audit", tmp_path / "policy", "--json")
    found = json.loads(ran.out)
    assert ran.code == 0
    assert found["passed"]
    assert found["reasons"] == []
    assert 0 < found["rows"] <= 180
    assert found["calibrated"] == found["rows"]
    assert abs(found["worst"]["z"]) < 5
    script_capture(SCENARIO, tmp_path / "noisy", episodes=1, epsilon=0.3)
    ran = townlet("captures", "audit", tmp_path / "noisy")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "passed"


def test_a_forged_one_fails(tmp_path):
    policy_capture(SCENARIO, tmp_path / "policy", tiny_network(SCENARIO, seed=3), ticks=90)
    capture = load_capture(tmp_path / "policy")
    writer = CaptureWriter(
        tmp_path / "forged", WriterSettings(metadata=capture.manifest.metadata, compress=True)
    )
    for sample in capture:
        writer.write_episode([sample_with_zeros(sample)])
    ran = townlet("captures", "audit", tmp_path / "forged")
    assert ran.code == 1
    assert "cannot be true: " in ran.out
    assert "not those of the recorded distribution" in ran.out


def sample_with_zeros(sample):
    return dataclasses.replace(sample, old_log_probs=np.zeros(sample.rows, np.float32))
