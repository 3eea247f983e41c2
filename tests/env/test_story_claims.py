"""Claims of ``expect``: each kind can hold and fail, and says what it found."""

import pytest
import yaml
from little_towns import done, little_town, scripted
from pydantic import TypeAdapter

from townlet_env.config.claims import Claim
from townlet_env.config.load import load_scenario
from townlet_env.errors import ConfigError
from townlet_env.story import run_story
from townlet_env.verdicts import ClaimResult, check_story

DIRTY = {"needs": {"hygiene": 0.5}}
WALK = scripted("ana", (1, 2), {"go": [8, 2]}, {"use": "use_shower"}, **DIRTY)
IDLER = {"id": "bo", "cell": [4, 3], "policy": "idle", "ties": {"ana": {"rivalry": 0.4}}, **DIRTY}


def judged(tmp_path, claim):
    config = little_town(tmp_path, [WALK, IDLER], expect=[claim])
    (result,) = check_story(config)
    return result


@pytest.mark.parametrize(
    ("claim", "held", "found"),
    [
        ({"event": "affordance_finished", "by": "ana", "equals": 1}, True, "1 times, at ticks"),
        ({"event": "affordance_finished", "by": "bo", "at_least": 1}, False, "0 times"),
        ({"event": "affordance_finished", "object": "bed", "at_least": 1}, False, "0 times"),
        ({"event": "affordance_finished", "less_than": 1}, False, "1 times"),
        ({"resident": "ana", "field": "x", "at": 3, "is": 4}, True, "4 at tick 3"),
        ({"resident": "ana", "field": "x", "at": 3, "is": 5}, False, "4 at tick 3"),
        ({"resident": "ana", "field": "wallet", "at_most": 4.91}, True, "4.9000 at tick 100"),
        ({"resident": "ana", "field": "wallet", "at_least": 5}, False, "4.9000"),
        ({"resident": "ana", "field": "hygiene", "more_than": "bo"}, True, "bo 0.3000"),
        ({"resident": "ana", "field": "hygiene", "less_than": "bo"}, False, "bo 0.3000"),
        (
            {"resident": "bo", "field": "hygiene", "more_than_at_start": True},
            False,
            "0.5000 at the",
        ),
        ({"resident": "bo", "field": "shift_state", "is": "off"}, True, "off at tick 100"),
        ({"resident": "bo", "field": "alive", "is": True}, True, "True"),
        ({"resident": "bo", "field": "last_wait", "at": 9, "is": 1.0}, True, "1.0000 at tick 9"),
        ({"tie": ["ana", "bo"], "field": "rivalry", "peak_at_most": 0}, True, "peak 0.000"),
        ({"tie": ["ana", "bo"], "field": "trust", "end_at_least": 0.1}, False, "end 0.000"),
        ({"tie": ["ana", "bo"], "field": "rivalry", "peak_at_least": 0.1}, False, "peak 0.000"),
        ({"tie": ["bo", "ana"], "field": "rivalry", "end_at_most_of_peak": 0.9}, True, "end 0.350"),
        (
            {"tie": ["bo", "ana"], "field": "rivalry", "end_at_most_of_peak": 0.8},
            False,
            "end 0.350",
        ),
        ({"reward": {"by": "ana"}, "more_than_of": "bo"}, True, "bo "),
        ({"reward": {"by": "bo"}, "more_than_of": "ana"}, False, "ana "),
        ({"reward": {"by": "ana", "component": "wage"}, "equals": 0}, True, "0.0000 in sum"),
        ({"reward": {"by": "ana"}, "equals": 0, "every_tick": True}, False, "per tick"),
        ({"constant": {"by": "ana", "view": "map"}}, False, "first changed at tick 1"),
        ({"constant": {"by": "bo", "view": "features"}}, False, "need_hunger"),
        (
            {
                "constant": {
                    "by": "bo",
                    "view": "features",
                    "except": ["clock", "needs", "social", "ties"],
                }
            },
            False,
            "shower_queue changed",
        ),
        (
            {
                "constant": {
                    "by": "bo",
                    "view": "features",
                    "except": ["clock", "needs", "social", "ties", "places"],
                }
            },
            True,
            "never changed",
        ),
    ],
)
def test_claims_are_held_against_the_run(tmp_path, claim, held, found):
    result = judged(tmp_path, claim)
    assert found in result.found
    assert result.held is held
    first = next(iter(claim))
    assert result.claim.startswith(f"{{{first}: ")


@pytest.mark.parametrize(
    "line",
    [
        "{resident: ana, field: x, at: 3, is: 4}",
        "{event: affordance_finished, affordance: use_shower, by: ana, between: [1, 9], equals: 0}",
        "{waiting: {object: shower}, at_most: 2.5}",
        "{residents: all, field: alive, share: 0.5, is: true}",
    ],
)
def test_a_claim_is_told_as_one_writes_it(tmp_path, line):
    assert judged(tmp_path, yaml.safe_load(line)).claim == line


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        (
            {"event": "exit", "by": "anna", "equals": 0},
            "unknown resident 'anna'; did you mean 'ana'",
        ),
        ({"event": "exit", "object": "bedd", "equals": 0}, "unknown object 'bedd'; did you mean"),
        ({"event": "exit", "affordance": "eat", "equals": 0}, "unknown affordance 'eat'"),
        (
            {"resident": "ana", "field": "hungr", "is": 0},
            "unknown field 'hungr'; did you mean 'hunger'",
        ),
        (
            {"resident": "ana", "field": "x", "at": 101, "is": 0},
            "expected a tick up to 100, found 101",
        ),
        ({"tie": ["ana", "boo"], "field": "trust", "end_at_most": 1}, "unknown resident 'boo'"),
        (
            {"constant": {"by": "bo", "view": "features", "except": ["clok"]}},
            "unknown feature group 'clok'; did you mean 'clock'",
        ),
    ],
)
def test_claims_about_what_is_not_there_are_refused(tmp_path, claim, sentence):
    with pytest.raises(ConfigError) as caught:
        judged(tmp_path, claim)
    assert sentence in str(caught.value)
    assert "little.yaml: line 1: expect.0." in str(caught.value)


def test_a_story_holds_states_before_and_after_every_tick(tmp_path):
    story = run_story(little_town(tmp_path, [WALK, IDLER], ticks=10))
    assert story.ticks == len(story.events) == len(story.actions) == 10
    assert len(story.x) == len(story.features) == len(story.maps) == 11
    assert done(story, "ana")[0] == "move:east"
    assert story.x[:3, 0].tolist() == [1, 2, 3]


# A busy morning: the power fails while ana showers and bo waits behind her, cy faints, a newcomer
# takes the slot, and prices are half as high again for a while.
BUSY = [
    scripted("ana", (5, 2), {"use": "use_shower"}, needs={"hygiene": 0.5}),
    scripted(
        "bo",
        (7, 2),
        {"wait": 3},
        {"use": "use_shower"},
        {"use": "eat_meal"},
        needs={"hygiene": 0.4, "hunger": 0.4},
    ),
    {"id": "cy", "cell": [2, 4], "policy": "idle", "needs": {"hunger": 0.05}},
]
HAPPENINGS = {
    "blackout": {"at": [10], "ticks": [5, 5]},
    "price_spike": {"at": [30], "ticks": [20, 20], "magnitude": [1.5, 1.5]},
}
SETTINGS = {
    "ticks": 80,
    "start_minute": 480,
    "perturbations": HAPPENINGS,
    "arrivals": {"enabled": True, "delay": [2, 2], "max_newcomers": 2, "policy": "idle"},
    "lives": {"grace_ticks": 0, "faint_after": 10},
}


@pytest.fixture(scope="module")
def busy_morning(tmp_path_factory):
    config = little_town(tmp_path_factory.mktemp("busy"), BUSY, **SETTINGS)
    story = run_story(config)

    def judge(claim) -> ClaimResult:
        read = TypeAdapter(Claim).validate_python(claim)
        (result,) = check_story(config.model_copy(update={"expect": [read]}), story)
        return result

    return judge


SHOWERED = {"event": "affordance_finished", "affordance": "use_shower"}
BLACKOUT, SPIKE = {"event": "blackout"}, {"event": "price_spike"}


@pytest.mark.parametrize(
    ("claim", "held", "found"),
    [
        # Events: for each of some residents, and in a span of ticks.
        ({**SHOWERED, "each": ["ana", "bo"], "equals": 1}, True, "ana 1, bo 1"),
        ({**SHOWERED, "each": "all", "equals": 1}, False, "ana 1, bo 1, cy 0"),
        ({**SHOWERED, "between": [20, 50], "equals": 1}, True, "1 times, at ticks 37"),
        ({**SHOWERED, "between": [20, 36], "equals": 1}, False, "0 times"),
        ({**SHOWERED, "between": [37, 37], "equals": 1}, True, "1 times"),
        ({**BLACKOUT, "equals": 1}, True, "1 times, at ticks 11"),
        ({"event": "arrived", "by": "newcomer_1", "equals": 1}, True, "1 times"),
        ({"event": "arrived", "by": "newcomer_2", "equals": 1}, False, "0 times"),
        # Order: each after the one before it.
        ({"order": [BLACKOUT, {"event": "affordance_failed"}, SPIKE]}, True, "ticks 11, 11, 31"),
        ({"order": [SPIKE, BLACKOUT]}, False, "no blackout after tick 31"),
        ({"order": [{"event": "dismissed"}, BLACKOUT]}, False, "no dismissed"),
        ({"order": [BLACKOUT, BLACKOUT]}, False, "no blackout after tick 11"),
        (
            {"order": [{"event": "exit", "by": "cy"}, {"event": "arrived", "by": "newcomer_1"}]},
            True,
            "at ticks 16, 19",
        ),
        # Objects.
        ({"object": "shower", "field": "user", "at": 10, "is": "ana"}, True, "ana at tick 10"),
        ({"object": "shower", "field": "user", "at": 11, "is": "nobody"}, True, "nobody"),
        ({"object": "shower", "field": "user", "at": 11, "is": "ana"}, False, "nobody at tick 11"),
        ({"object": "shower", "field": "holder", "at": 17, "is": "bo"}, True, "bo at tick 17"),
        ({"object": "shower", "field": "holder", "at": 20, "is": "bo"}, False, "nobody"),
        ({"object": "shower", "field": "free", "at": 11, "is": True}, True, "True at tick 11"),
        ({"object": "shower", "field": "free", "at": 17, "is": True}, False, "False at tick 17"),
        ({"object": "fridge", "field": "stock", "is": 1}, True, "1 at tick 80"),
        ({"object": "fridge", "field": "stock", "always_at_least": 2}, False, "from 1 to 2"),
        ({"object": "shower", "field": "waiting", "always_at_most": 1}, True, "from 0 to 1"),
        ({"object": "shower", "field": "waiting", "at": 20, "is": 0}, False, "1 at tick 20"),
        # The town.
        ({"town": "power", "at": 12, "is": False}, True, "False at tick 12"),
        ({"town": "power", "is": False}, False, "True at tick 80"),
        ({"town": "water", "always_at_least": 1}, True, "from True to True"),
        ({"town": "price_meal", "at": 40, "is": 1.5}, True, "1.5000 at tick 40"),
        ({"town": "price_meal", "is": 1.5}, False, "1.0000 at tick 80"),
        ({"town": "price_groceries", "always_at_most": 0.5}, False, "to 0.6"),
        ({"town": "people", "always_at_least": 3}, False, "from 2 to 3"),
        ({"town": "people", "is": 3}, True, "3 at tick 80"),
        # Several residents at once, and averages.
        ({"residents": "all", "field": "alive", "is": True, "share": 0.6}, True, "2 of 3; not cy"),
        ({"residents": "all", "field": "alive", "is": True}, False, "2 of 3; not cy False"),
        ({"residents": ["bo"], "field": "hygiene", "at_least": 0.5}, True, "1 of 1"),
        ({"residents": ["ana", "bo"], "field": "hygiene", "at_most": 0.5}, False, "0 of 2"),
        ({"residents": ["ana"], "field": "mean_need", "mean_at_least": 0.7}, True, "1 of 1"),
        ({"residents": ["ana"], "field": "mean_need", "mean_at_most": 0.7}, False, "on average"),
        ({"resident": "bo", "field": "hunger", "always_at_least": 0.19}, True, "from 0.19"),
        ({"resident": "bo", "field": "hunger", "always_at_least": 0.2}, False, "from 0.19"),
        # Who is not in town has no state.
        ({"resident": "cy", "field": "hunger", "at": 15, "at_most": 0.03}, True, "at tick 15"),
        ({"resident": "cy", "field": "hunger", "at_most": 1}, False, "not in town at tick 80"),
        ({"resident": "cy", "field": "hunger", "always_at_most": 0.06}, True, "from 0.0"),
        ({"resident": "cy", "field": "alive", "is": False}, True, "False at tick 80"),
        ({"resident": "newcomer_1", "field": "wallet", "is": 3}, True, "3.0000 at tick 80"),
        ({"resident": "newcomer_1", "field": "wallet", "at": 5, "is": 3}, False, "not in town"),
        ({"resident": "newcomer_2", "field": "alive", "is": True}, False, "False at tick 80"),
        ({"resident": "newcomer_2", "field": "hunger", "at_least": 0}, False, "never in town"),
        (
            {"resident": "newcomer_1", "field": "hunger", "more_than": "cy"},
            False,
            "cy not in town",
        ),
        # Lines.
        ({"waiting": {"object": "shower", "by": "bo"}, "at_most": 8}, True, "bo waited 8 ticks"),
        ({"waiting": {"object": "shower"}, "at_most": 20}, False, "ana waited 21 ticks"),
        ({"waiting": {"object": "fridge"}, "equals": 0}, True, "nobody waited"),
        ({"waiting": {}, "more_than": 21}, False, "ana waited 21 ticks until tick 37"),
        # Rewards of each, and of who came and went.
        ({"reward": {"by": "all", "component": "clip"}, "at_least": -1}, True, "ana "),
        ({"reward": {"by": "all", "component": "terminal"}, "equals": 0}, False, "cy -1.0000"),
        ({"reward": {"by": "cy", "component": "terminal"}, "equals": -1}, True, "-1.0000 in sum"),
        ({"reward": {"by": "newcomer_1", "component": "terminal"}, "equals": 0}, True, "0.0000"),
        ({"reward": {"by": "newcomer_1", "component": "survival"}, "equals": 0}, False, "0."),
        ({"tie": ["newcomer_2", "bo"], "field": "trust", "end_at_most": 1}, False, "never in town"),
        ({"tie": ["cy", "bo"], "field": "trust", "peak_at_most": 0}, True, "peak 0.000"),
    ],
)
def test_claims_about_a_busy_morning(busy_morning, claim, held, found):
    result = busy_morning(claim)
    assert found in result.found
    assert result.held is held


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        ({"order": [BLACKOUT]}, "at least 2 items"),
        ({"event": "exit", "by": "ana", "each": "all", "equals": 0}, "either by or each"),
        ({"event": "exit", "between": [9, 3], "equals": 0}, "expected [least, most]"),
        ({"object": "shower", "field": "colour", "is": 1}, "unknown value 'colour'"),
        ({"object": "shower", "field": "user"}, "expected what it is, a bound"),
        ({"town": "powr", "is": True}, "unknown value 'powr'; did you mean 'power'"),
        ({"town": "power", "equals": 1}, "unknown key 'equals'"),
        ({"waitin": {}, "at_most": 3}, "unknown key 'waitin'; did you mean 'waiting'"),
        ({"waiting": {"object": "shwer"}, "at_most": 3}, "unknown object 'shwer'"),
        ({"event": "exit", "each": ["ana", "zoe"], "equals": 0}, "unknown resident 'zoe'"),
        ({"event": "exit", "between": [200, 201], "equals": 0}, "expected a tick up to 100"),
        ({"residents": ["zoe"], "field": "x", "is": 1}, "unknown resident 'zoe'"),
        ({"residents": "all", "field": "hungr", "is": 1}, "did you mean 'hunger'"),
        ({"order": [BLACKOUT, {"event": "exit", "by": "zoe"}]}, "expect.0.order.1.by: unknown"),
        ({"resident": "newcomer_1", "field": "x", "is": 1}, "unknown resident 'newcomer_1'"),
        ({"reward": {"by": "zoe"}, "equals": 0}, "expect.0.reward.by: unknown resident"),
        ({"object": "showr", "field": "free", "is": True}, "did you mean 'shower'"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused_when_the_file_is_read(tmp_path, claim, sentence):
    with pytest.raises(ConfigError) as caught:
        little_town(tmp_path, [WALK, IDLER], expect=[claim])
    assert sentence in str(caught.value)
    assert "little.yaml: line 1: expect.0" in str(caught.value)


def test_only_as_many_newcomers_as_can_come_may_be_named(tmp_path):
    claim = {"event": "arrived", "by": "newcomer_3", "equals": 0}
    with pytest.raises(ConfigError, match="unknown resident 'newcomer_3'"):
        little_town(tmp_path, BUSY, **SETTINGS, expect=[claim])


def test_claims_of_the_file_may_go_stale_when_a_caller_replaces_settings(tmp_path):
    claim = {"resident": "ana", "field": "x", "at": 90, "is": 4}
    little_town(tmp_path, [WALK, IDLER], expect=[claim])
    shorter = load_scenario(tmp_path / "little.yaml", {"ticks": 10})
    assert run_story(shorter).ticks == 10
    with pytest.raises(ConfigError, match=r"little: expect\.0\.at: expected a tick up to 10"):
        check_story(shorter)
