"""The catalogue: every story does what its claims say."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from little_towns import happened, with_policy

from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.sim.ids import REWARD_COMPONENTS, ShiftState
from townlet_env.story import Story, run_story
from townlet_env.verdicts import check_story

LENGTHS = {
    "kitchen_breakfast": 60,
    "queue_conflict": 120,
    "employment_punctuality": 80,
    "rivalry_decay": 120,
    "observation_baseline": 20,
    "shared_flat": 300,
    "town_day": 1440,
    "rush_hour": 200,
    "price_spike": 300,
    "blackout_morning": 240,
    "newcomer_arrival": 300,
    "social_cafe": 200,
}
CLASSIC = list(LENGTHS)[:5]
LIVELY = [name for name in LENGTHS if name != "observation_baseline"]
CLIP = REWARD_COMPONENTS.index("clip")


@cache
def played(name: str, policy: str = "as told", seed: int | None = None) -> Story:
    """Return a run, played once for all tests here; they only read it."""
    config = load_scenario(name)
    return run_story(config if policy == "as told" else with_policy(config, policy), seed)


def test_the_catalogue_is_complete():
    assert list_scenarios() == sorted(LENGTHS)


@pytest.mark.parametrize("name", list_scenarios())
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_every_claim_holds_whatever_the_seed(name, seed):
    config = load_scenario(name)
    results = check_story(config, played(name, seed=seed))
    assert len(results) == len(config.expect) > 0
    assert [f"{r.claim}: {r.found}" for r in results if not r.held] == []


@pytest.mark.parametrize("policy", ["idle", "random"])
@pytest.mark.parametrize("name", LENGTHS)
def test_claims_prove_the_story_and_not_just_any_run(name, policy):
    results = check_story(load_scenario(name), played(name, policy))
    # In observation_baseline to be idle is the story.
    assert all(r.held for r in results) == (name == "observation_baseline" and policy == "idle")


@pytest.mark.parametrize("name", LENGTHS)
def test_every_story_has_its_length_and_nothing_illegal_is_done(name):
    story = played(name)
    assert story.ticks == LENGTHS[name]
    assert not story.illegal.any()


@pytest.mark.parametrize("policy", ["as told", "idle", "random"])
@pytest.mark.parametrize("name", LENGTHS)
def test_less_than_one_reward_in_a_hundred_is_clipped(name, policy):
    story = played(name, policy)
    clipped = story.components[:, :, CLIP] != 0.0
    assert clipped.mean() < 0.01
    if policy == "as told" and name != "newcomer_arrival":  # where somebody is made to leave
        assert not clipped.any()
    total = story.components.astype(np.float64).sum(axis=-1)
    np.testing.assert_allclose(total, story.rewards, atol=1e-6)


@pytest.mark.parametrize("name", LIVELY)
def test_rewards_differ_between_residents_ticks_and_conduct(name):
    told = played(name)
    returns = told.rewards.sum(axis=0)
    assert len(set(returns.tolist())) == len(returns)
    assert len(np.unique(told.rewards)) > 10
    for policy in ("idle", "random"):
        other = played(name, policy).rewards.sum(axis=0)
        # Who faints suffers no longer: only where nobody does can residents be compared singly.
        if name in CLASSIC:
            assert (returns > other + 0.3).all(), policy
        assert returns.mean() > other.mean() + 0.3, policy


def test_kitchen_residents_take_turns():
    story = played("kitchen_breakfast")
    spans = []
    for who in ("alice", "bob"):
        for what in ("eat_meal", "cook_meal"):
            started, finished = (
                next(
                    e.tick
                    for tick in story.events
                    for e in tick
                    if (e.event, e.by, e.affordance) == (event, who, what)
                )
                for event in ("affordance_started", "affordance_finished")
            )
            spans.append((what, started, finished))
    for what, ticks in (("eat_meal", 15), ("cook_meal", 25)):
        first, second = sorted((a, b) for w, a, b in spans if w == what)
        assert first[1] < second[0]  # never two at once
        assert [b - a + 1 for a, b in (first, second)] == [ticks, ticks]


def test_waiting_never_evicts_whoever_uses_the_shower():
    story = played("queue_conflict")
    runs = sorted(
        (started, finished)
        for who in ("anna", "ben", "cleo")
        for started, finished in zip(
            happened(story, "affordance_started", who),
            happened(story, "affordance_finished", who),
            strict=True,
        )
    )
    assert [finished - started + 1 for started, finished in runs] == [20, 20, 20]
    assert all(one[1] < other[0] for one, other in pairwise(runs))
    conflicts = happened(story, "queue_conflict")
    assert any(runs[0][0] <= tick <= runs[0][1] for tick in conflicts)  # somebody waited meanwhile
    busy = story.names.features.index("busy")
    assert all(story.features[tick, :, busy].sum() <= 1 for tick in range(story.ticks + 1))


def test_dawn_is_on_time_and_erin_late():
    story = played("employment_punctuality")
    dawn, erin = (story.names.residents.index(name) for name in ("dawn", "erin"))
    assert set(story.shift_state[21:70, dawn]) == {ShiftState.ON_TIME}
    assert set(story.shift_state[27:70, erin]) == {ShiftState.LATE}
    wage = story.components[:, :, REWARD_COMPONENTS.index("wage")]
    worked = [(wage[:, who] > 0).sum() for who in (dawn, erin)]
    assert worked[0] == 50  # from 9:00 to 9:50
    assert 30 < worked[1] < 40
    assert wage[:, dawn].sum() == pytest.approx(1.0, abs=1e-5)
    # Five ticks' wages are withheld from erin, who also came after half an hour.
    assert story.wallet[-1, erin] - 1.0 == pytest.approx(worked[1] * 0.02, abs=1e-5)
    assert story.rewards[:, dawn].sum() > story.rewards[:, erin].sum() + 0.3


def test_rivalry_rises_above_the_threshold_and_falls_below_half_its_peak():
    config, story = load_scenario("rivalry_decay"), played("rivalry_decay")
    course = story.rivalry[:, 0, 1]
    peak = int(course.argmax())
    assert course[0] == 0.0
    assert course[peak] > config.ties.avoid_threshold
    assert course[-1] < 0.5 * course[peak]
    courtesies = happened(story, "courtesy")
    assert courtesies
    assert all(course[tick] < course[tick - 1] - 0.1 for tick in courtesies)
    decays = [t for t in range(96, 121) if course[t] < course[t - 1]]
    assert len(decays) == 25  # with nobody around it just fades


def test_the_frozen_town_rewards_exactly_zero_and_shows_only_the_clock():
    story = played("observation_baseline")
    assert (story.rewards == 0.0).all()
    assert (story.components == 0.0).all()
    assert (story.maps == story.maps[0]).all()
    assert story.maps[0].any()
    moving = {
        name
        for name, column in zip(story.names.features, story.features[:, 0].T, strict=True)
        if (column != column[0]).any()
    }
    assert moving == {"time_sin", "time_cos", "episode_progress", "context_reset"}


def test_a_story_is_the_same_every_time_and_another_with_another_seed():
    one, again, other = (run_story(load_scenario("kitchen_breakfast"), seed) for seed in (3, 3, 4))
    for field in ("features", "maps", "rewards", "actions", "rivalry", "wallet"):
        assert (getattr(one, field) == getattr(again, field)).all()
    assert one.events == again.events
    config = with_policy(load_scenario("kitchen_breakfast"), "random")
    assert (run_story(config, 3).actions != run_story(config, 4).actions).any()
    assert other.ticks == one.ticks
