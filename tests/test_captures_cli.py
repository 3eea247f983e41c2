"""``townlet captures``: the tools that make captures of captures, as a user runs them."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from capture_toys import life
from cli_runs import refusal, townlet

from townlet_replay import sidecar
from townlet_replay.cli.derive import By, Mode
from townlet_replay.manifest import load_capture
from townlet_replay.sample import same_sample, with_meta
from townlet_replay.tools.splitting import Unit
from townlet_replay.writer import CaptureWriter


@pytest.fixture
def days(tmp_path):
    writer = CaptureWriter(tmp_path / "days")
    for episode in range(3):
        tags = ("night",) if episode == 2 else ()
        writer.write_episode([life(a, episode, rows=6, tags=tags) for a in ("anna", "ben")])
    return tmp_path / "days"


def test_slice(days, tmp_path):
    out = tmp_path / "out"
    command = ("captures", "slice", days, "--agent", "ben", "--episode", 1, "--episode", 2)
    ran = townlet(*command, "--first-tick", 2, "--last-tick", 5, "--output", out)
    assert ran.code == 0
    assert ran.out == f"2 samples, 8 rows -> {out}/rollout_sample_manifest.json\n"
    assert [s.meta.episode_id for s in load_capture(out)] == [1, 2]
    assert "there is a capture already" in refusal(*command, "--output", out)
    ran = townlet(*command, "--tag", "night", "--output", out, "--overwrite", "--json")
    assert json.loads(ran.out) == {
        "manifest": f"{out}/rollout_sample_manifest.json",
        "samples": 1,
        "rows": 6,
    }
    assert "did you mean 'ben'" in refusal("captures", "slice", days, "--agent", "be", "-o", out)


def test_an_interrupted_command_leaves_a_sound_capture(days, tmp_path, monkeypatch):
    monkeypatch.setattr("townlet_replay.tools.derived._GROUP_BYTES", 1)
    seen = []

    def interrupt(bar, amount=1, note=""):
        seen.append(amount)
        if len(seen) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("townlet_replay.cli.console.Bar.advance", interrupt)
    ran = townlet("captures", "slice", days, "--output", tmp_path / "out")
    assert ran.code == 130
    assert ran.err == "interrupted; what was complete is on disk\n"
    monkeypatch.undo()
    ran = townlet("captures", "validate", tmp_path / "out", "--json")
    assert (ran.code, ran.json["samples"]) == (0, 4)


def test_filter(days, tmp_path):
    out = tmp_path / "out"
    where = "tags has 'night' and agent_id != 'ben'"
    ran = townlet("captures", "filter", days, "--where", where, "--output", out, "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["samples"] == 1
    (sample,) = load_capture(out)
    assert (sample.meta.agent_id, sample.meta.episode_id) == ("anna", 2)
    said = refusal("captures", "filter", days, "--where", "retrun > 0", "--output", out)
    assert said == (
        "condition 'retrun > 0', character 1: unknown name 'retrun'; did you mean 'return'?"
    )


def test_merge(days, tmp_path):
    CaptureWriter(tmp_path / "more").write_episode([life("ben", 2)])
    out = tmp_path / "out"
    ran = townlet("captures", "merge", days, tmp_path / "more", "--output", out, "--prefix", "all")
    assert ran.code == 0
    assert ran.out == f"7 samples, 41 rows -> {out}/all_manifest.json\n"
    assert [s.meta.episode_id for s in load_capture(out)] == [0, 0, 1, 1, 2, 2, 3]
    ran = townlet("captures", "merge", days, tmp_path / "more", "--output", days, "--prefix", "x")
    assert ran.code == 1
    assert "inputs are never changed" in ran.err.splitlines()[-1]


def test_split(days, tmp_path):
    out = tmp_path / "out"
    parts = ("--part", "fit=0.67", "--part", "judge=0.33")
    ran = townlet("captures", "split", days, *parts, "--output", out, "--seed", 4, "--json")
    assert ran.code == 0
    assert {name: part["samples"] for name, part in ran.json.items()} == {"fit": 4, "judge": 2}
    ran = townlet("captures", "split", days, "--by", "agent", "--each", "--output", out)
    assert ran.out.splitlines() == [
        f"3 samples, 18 rows -> {out}/{agent}/rollout_sample_manifest.json"
        for agent in ("anna", "ben")
    ]
    assert "found both" in refusal("captures", "split", days, *parts, "--each", "-o", out)
    said = refusal("captures", "split", days, "--part", "a=many", "-o", out)
    assert said == "expected --part NAME=SHARE, train=0.8 say, found 'a=many'"


def test_convert(days, tmp_path):
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    ran = townlet("captures", "convert", days, "--no-compress", "--prefix", "p", "--output", plain)
    assert ran.out == f"6 samples, 36 rows -> {plain}/p_manifest.json\n"
    townlet("captures", "convert", plain, "--mode", "packed", "--output", packed)
    sizes = [next(path.glob("*_anna_000.npz")).stat().st_size for path in (plain, days, packed)]
    assert sizes == sorted(sizes, reverse=True)
    assert {sample.meta.mode for sample in load_capture(packed)} == {"packed"}
    for path in (plain, packed):
        for sample, original in zip(load_capture(path), load_capture(days), strict=True):
            assert same_sample(with_meta(sample, source=None), original)
            assert sample.meta.source.manifest_sha256 == load_capture(days).digest


def test_diff(days, tmp_path):
    out = tmp_path / "out"
    townlet("captures", "convert", days, "--mode", "packed", "--output", out)
    ran = townlet("captures", "diff", days, out)
    assert (ran.code, ran.out) == (0, "the same: 6 samples, 36 rows\n")
    assert townlet("captures", "diff", days, out, "--json").json["same"] is True
    CaptureWriter(tmp_path / "more").write_episode([life("anna", 0, rows=6, dies=True)])
    ran = townlet("captures", "diff", days, tmp_path / "more", "--limit", 6)
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert lines[0] == "only in the first: ben, episode 0"
    assert lines[5] == (
        "anna, episode 0: row 5: terminations: False and True; 1 rows of terminations differ"
    )
    assert lines[6].endswith(" more differences (--limit)")
    found = townlet("captures", "diff", days, tmp_path / "more", "--json").json
    assert found["samples"][0]["arrays"][0]["row"] == 5
    assert len(found["only_left"]) == 5


def test_stats(days, tmp_path):
    ran = townlet("captures", "stats", days)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].endswith(": 6 samples, 36 rows, 3 episodes")
    assert lines[1].split() == [
        "metric",
        "samples",
        "mean",
        "std",
        "min",
        *("5%", "25%", "50%", "75%", "95%", "max"),
    ]
    assert lines[2].split() == ["timesteps", "6", "6", "0", *["6"] * 7]
    ran = townlet("captures", "stats", days, "--metric", "action_counts", "--by-agent")
    table = [line.split() for line in ran.out.splitlines()[2:]]
    assert [row[:2] for row in table[:2]] == [["action_counts.chat", "all"], ["anna", "3"]]
    picture = tmp_path / "days.png"
    found = townlet("captures", "stats", days, "--plot", picture, "--json").json
    assert found["metrics"]["timesteps"]["quantiles"]["50%"] == 6
    assert found["agents"]["ben"]["timesteps"]["samples"] == 3
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "exists already" in refusal("captures", "stats", days, "--plot", picture)
    assert "ends in .png" in refusal("captures", "stats", days, "--plot", tmp_path / "days.pdf")
    assert townlet("captures", "stats", days, "--plot", picture, "--overwrite").code == 0


def test_options_offer_what_the_library_knows():
    assert {mode.value for mode in Mode} == set(get_args(sidecar.Mode))
    assert {unit.value for unit in By} == set(get_args(Unit))
