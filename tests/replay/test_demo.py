"""The demo: every classic scenario told, everything compared, and safe to run again."""

from __future__ import annotations

import pytest
from cli_runs import refusal, townlet

from townlet_replay import demo
from townlet_replay.compare.results import ARMS, CompareSettings
from townlet_replay.compare.run import read_results
from townlet_replay.demo import Plan, plan_demo
from townlet_replay.manifest import load_capture
from townlet_replay.training.config import load_train_config

CLASSICS = (
    "employment_punctuality",
    "kitchen_breakfast",
    "observation_baseline",
    "queue_conflict",
    "rivalry_decay",
)
TINY = {
    "network": {"map_width": 8, "features_width": 8, "trunk_widths": [8]},
    "ppo": {"epochs": 1},
    "bc": {"epochs": 2},
    "live": {"steps": 320, "num_worlds": 2},
    "rollout": {"ticks": 80},
    "epochs": 1,
}


@pytest.fixture
def tiny(monkeypatch):
    """The demo with hardly any training."""
    settings = CompareSettings(seeds=1, eval_seeds=2, points=1, capture_episodes=2)
    plan = Plan(CLASSICS, load_train_config("demo", TINY), settings, jobs=1)
    monkeypatch.setattr(demo, "plan_demo", lambda *, quick: plan)


def test_the_plan_has_all_scenarios_and_all_arms():
    for quick in (False, True):
        plan = plan_demo(quick=quick)
        assert set(CLASSICS) <= set(plan.scenarios)
        assert plan.settings.arms == ARMS
        assert plan.training.objective == "auto"
    assert plan_demo(quick=True).training.live.steps < plan_demo().training.live.steps


def test_the_demo_tells_compares_and_can_be_run_again(tiny, tmp_path):
    out = tmp_path / "demo"
    ran = townlet("demo", "--output", out)
    assert ran.code == 0
    for name in CLASSICS:
        assert name in ran.out
        capture = load_capture(out / "captures" / name)
        assert sum(sample.rows for sample in capture) > 0
    found = read_results(out / "comparison")
    assert found.complete
    assert {arm.name for arm in found.arms} == set(ARMS)
    assert all(arm.refused is None for arm in found.arms)
    said = ran.out.replace("\n", "")
    assert said.rstrip().endswith(f"report: {out / 'comparison' / 'report.html'}")
    assert "cloned" in ran.out
    (out / "captures" / "stale").mkdir()
    again = townlet("demo", "--output", out)
    assert again.code == 0
    assert not (out / "captures" / "stale").exists()
    second = read_results(out / "comparison")
    assert second.arms == found.arms


def test_claims_of_every_story_are_counted(tiny, tmp_path):
    plan = demo.plan_demo(quick=True)
    stories = demo.capture_stories(plan, tmp_path, lambda _: None)
    assert [story.scenario for story in stories] == list(CLASSICS)
    for story in stories:
        assert story.claims_held == story.claims > 0
        assert story.clip_share == 0.0


def test_a_folder_of_something_else_is_left_alone(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "expected a new folder" in refusal("demo", "--output", tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_second_demo_keeps_what_it_did_not_make(tmp_path):
    out = tmp_path / "demo"
    demo.prepare(out)
    (out / "captures").mkdir()
    (out / "captures" / "old.npz").write_bytes(b"old")
    (out / "notes.txt").write_text("mine")
    demo.prepare(out)
    assert not (out / "captures").exists()
    assert (out / "notes.txt").read_text() == "mine"
