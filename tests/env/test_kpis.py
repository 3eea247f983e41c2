"""Key figures: they recompute from the story of an episode, and town_day reaches its targets."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_runs import refusal, townlet
from little_towns import little_town

from townlet_env.config.load import load_scenario
from townlet_env.errors import ConfigError
from townlet_env.kpis import KPIS, measure
from townlet_env.policies.crew import with_policy
from townlet_env.story import run_story
from townlet_replay.kpi_page import with_kpis

PAGE = Path(__file__).parents[2] / "docs" / "BEHAVIOUR.md"
POLICIES = ("needs_driven", "random", "idle")


@pytest.fixture(scope="module")
def day():
    """The figures of town_day as the documents show them."""
    config = load_scenario("town_day")
    return {policy: measure(config, policy, range(20)) for policy in POLICIES}


def test_town_day_lives_up_to_its_targets(day):
    lived = day["needs_driven"]
    assert lived.stayed.mean() >= 0.95
    assert (lived.fewest_a_day >= 1.0).all(), dict(
        zip(lived.affordances, lived.fewest_a_day, strict=True)
    )
    assert lived.mean_need.min() > 0.5
    assert lived.on_time.mean() >= 0.7
    assert lived.low_need.mean() < 0.01


@pytest.mark.parametrize("policy", ["random", "idle"])
def test_chance_and_idleness_score_far_lower(day, policy):
    lived, other = day["needs_driven"], day[policy]
    for figure in ("stayed", "mean_need", "on_time", "attendance", "earned", "meals"):
        worst = getattr(lived, figure).min()
        assert worst > 1.5 * getattr(other, figure).max(), figure
    assert lived.reward.min() > other.reward.max() + 40.0
    assert lived.low_need.max() < 0.1 * other.low_need.min()
    assert (lived.finishes.min(axis=0) > other.finishes.max(axis=0)).all()


def test_the_committed_tables_are_those_of_the_code(day):
    text = PAGE.read_text(encoding="utf-8")
    fresh = with_kpis(text, "town_day", list(day.values()))
    assert fresh == text, "refresh with: townlet kpis town_day --write docs/BEHAVIOUR.md"


def test_figures_recompute_from_the_stories(tmp_path):
    config = load_scenario("shared_flat")
    seeds = (5, 6)
    found = measure(config, "needs_driven", seeds)
    for e, seed in enumerate(seeds):
        story = run_story(with_policy(config, "needs_driven"), seed)
        told = [event for tick in story.events for event in tick]
        needs = story.needs[1:].astype(np.float64)
        ends = [x.affordance for x in told if x.event == "affordance_finished"]
        assert found.finishes[e].tolist() == [ends.count(name) for name in found.affordances]
        assert found.meals[e] == (ends.count("eat_meal") + ends.count("eat_homemade")) / 4
        assert found.mean_need[e] == pytest.approx(needs.mean())
        assert found.energy[e] == pytest.approx(needs[:, :, 2].mean())
        assert found.low_need[e] == pytest.approx((needs < 0.1).any(axis=2).mean())
        assert found.reward[e] == pytest.approx(story.rewards.sum() / 4, abs=1e-4)
        assert found.spread[e] == pytest.approx(story.rewards.sum(axis=0).std(), abs=1e-4)
        assert found.earned[e] == pytest.approx(story.components[:, :, 3].sum() / 4, abs=1e-4)
        assert found.rivalry[e] == pytest.approx(story.rivalry[1:].sum() / (300 * 4 * 3), abs=1e-6)
        assert found.on_time[e] == sum(x.event == "shift_on_time" for x in told) / 4
        assert found.conflicts[e] == sum(x.event == "queue_conflict" for x in told) / 4
        held = [x for x in told if x.event == "chat" and x.value > 0.0]
        assert found.chats[e] == len(held) / 4


def test_who_leaves_counts_as_gone_and_their_time_no_longer(tmp_path):
    town = little_town(
        tmp_path,
        [
            {"id": "ana", "cell": [4, 2], "needs": {"hunger": 0.0}},
            {"id": "bo", "cell": [6, 2], "needs": {"hunger": 0.6}},
        ],
        ticks=60,
        lives={"grace_ticks": 0},
        arrivals={"enabled": True, "delay": [0, 0]},
    )
    found = measure(town, "idle", [0])
    assert found.stayed.tolist() == [0.5]  # a newcomer in the slot is somebody else
    story = run_story(with_policy(town, "idle"), 0)
    lived = story.alive[1:]
    mean = (story.needs[1:].astype(np.float64).mean(axis=2) * lived).sum() / lived.sum()
    assert not lived.all()
    assert found.mean_need[0] == pytest.approx(mean)


def test_attendance_is_the_share_of_the_shift_that_was_worked(tmp_path):
    town = little_town(
        tmp_path,
        [{"id": "ana", "cell": [2, 3], "job": "clerk", "policy": "schedule",
          "schedule": [{"work": {"until": 40}}]}],
        jobs={"clerk": {"object": "counter", "start": 485, "end": 545, "wage": 0.5}},
        start_minute=480,
        ticks=100,
    )  # fmt: skip
    found = measure(town, None, [0])
    assert found.policy == "script"
    assert found.on_time.tolist() == [1.0]
    assert found.attendance.tolist() == [(40 - 5) / 60]
    assert found.earned.tolist() == [pytest.approx(35 * 0.5)]


def test_what_a_scenario_has_none_of_is_no_number(tmp_path):
    found = measure(load_scenario("rivalry_decay"), "needs_driven", [0, 1])
    assert np.isnan(found.on_time).all()
    assert np.isnan(found.attendance).all()
    assert not np.isnan(found.mean_need).any()


def test_no_seeds_are_refused():
    with pytest.raises(ConfigError, match="at least one seed"):
        measure(load_scenario("rivalry_decay"), "idle", [])


def test_the_command_prints_json_and_writes_between_the_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- kpis: rivalry_decay -->\nold\n<!-- end of kpis -->\nafter\n")
    words = "kpis", "rivalry_decay", "--seeds", 2, "--policies", "needs_driven,script"
    ran = townlet(*words, "--json", "--write", page)
    assert ran.code == 0
    found = json.loads(ran.out)
    assert [one["policy"] for one in found] == ["needs_driven", "script"]
    assert found[1]["finishes"]["rest_bench"] == [5, 5]
    assert found[0]["on_time"] == [None, None]
    assert set(found[0]) == {"policy", "seeds", "finishes", *(kpi.name for kpi in KPIS)}
    text = page.read_text()
    assert text.startswith("before\n<!-- kpis: rivalry_decay -->\n\n2 seeds;")
    assert "old" not in text
    assert text.endswith("<!-- end of kpis -->\nafter\n")


def test_a_page_without_a_place_and_an_unknown_policy_are_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")
    words = "kpis", "rivalry_decay", "--seeds", 1
    assert "expected a line <!-- kpis: rivalry_decay -->" in refusal(*words, "--write", page)
    assert page.read_text() == "nothing here\n"
    assert "expected a page of Markdown" in refusal(*words, "--write", tmp_path / "none.md")
    assert "unknown policy 'rondam'; did you mean 'random'" in refusal(
        *words, "--policies", "rondam"
    )
