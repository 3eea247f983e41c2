"""What the scripted resident does, and leaves: one thing per test, in small towns."""

import numpy as np
import pytest
from little_towns import LEGEND, done, happened, little_town, scripted

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.policies import Crew
from townlet_env.policies.crew import with_policy
from townlet_env.sim.batch import WorldBatch
from townlet_env.story import run_story

HALL = """\
###################
#F...............G#
#.................#
#.................#
###################
"""
NOBODY_TIRES = {"decay": {"hunger": 0.0, "hygiene": 0.0, "energy": 0.0}}


def hall(tmp_path, residents, objects, layout=HALL, **settings):
    """A town with objects at the letters of a map, given as letter -> (kind, settings)."""
    return little_town(
        tmp_path,
        residents,
        map=layout,
        legend={letter: f"{kind}_{letter}" for letter, (kind, _) in objects.items()},
        objects=[
            {"id": f"{kind}_{letter}", "kind": kind, **more}
            for letter, (kind, more) in objects.items()
        ],
        **settings,
    )


def finished(story, who=None):
    """Return what was finished, in order."""
    told = [e for tick in story.events for e in tick if e.event == "affordance_finished"]
    return [e.affordance for e in told if who is None or e.by == who]


def where(story, event, by):
    """Return the objects at which something happened to a resident."""
    return [e.object for tick in story.events for e in tick if (e.event, e.by) == (event, by)]


@pytest.mark.parametrize("name", list_scenarios())
def test_nobody_does_what_is_illegal_or_stands_there_dying(name):
    config = with_policy(load_scenario(name), "needs_driven")
    batch = WorldBatch(compile_plan(config), 4)
    crew = Crew(config, batch.plan)
    batch.reset([1, 2, 3, 4])
    for _ in range(min(config.ticks, 500)):
        assert not batch.step(crew.decide(batch)).illegal.any()


@pytest.mark.parametrize("people", [1, 3])
def test_a_free_fridge_further_away_is_better_than_a_line(tmp_path, people):
    use = {"use": "eat_meal", "at": "fridge_F"}
    cells = ("a", (1, 2)), ("b", (2, 1)), ("c", (2, 2))
    town = hall(
        tmp_path,
        [
            *(scripted(name, cell, use) for name, cell in cells[:people]),
            {"id": "eve", "cell": [5, 2], "needs": {"hunger": 0.2}},
        ],
        {"F": ("fridge", {"stock": 9}), "G": ("fridge", {"stock": 9})},
    )
    story = run_story(town)
    assert where(story, "affordance_started", "eve")[0] == "fridge_G"
    assert not happened(story, "queue_joined", "eve")


def test_an_avoided_rival_is_not_stood_behind_if_the_need_can_wait(tmp_path):
    def day(hunger, objects):
        sits = scripted("rob", (2, 1), {"use": "eat_meal", "at": "fridge_F"}, {"wait": 99})
        eve = {"id": "eve", "cell": [5, 2], "needs": {"hunger": hunger}}
        eve["ties"] = {"rob": {"rivalry": 0.9}}
        return run_story(hall(tmp_path, [sits, eve], objects, ticks=60, needs=NOBODY_TIRES))

    one = {"F": ("fridge", {"stock": 9}), "G": ("bench", {})}
    two = {"F": ("fridge", {"stock": 9}), "G": ("fridge", {"stock": 9})}
    patient, urgent, choosy = day(0.45, one), day(0.2, one), day(0.2, two)
    # Rob has eaten at tick 17: until then Eve keeps away, unless it is urgent.
    assert not happened(patient, "queue_joined", "eve")
    assert finished(patient, "eve") == ["eat_meal"]
    assert happened(urgent, "queue_joined", "eve")
    assert where(choosy, "affordance_started", "eve")[0] == "fridge_G"


def test_a_rival_who_waits_is_let_go_first_if_the_need_can_wait(tmp_path):
    def day(hunger):
        comes = scripted("rob", (3, 1), {"request": "fridge_F"}, {"use": "eat_meal"})
        eve = {"id": "eve", "cell": [3, 2], "needs": {"hunger": hunger}}
        eve["ties"] = {"rob": {"rivalry": 0.9}}
        town = hall(
            tmp_path,
            [comes, eve],
            {"F": ("fridge", {"stock": 9}), "G": ("bench", {})},
            needs=NOBODY_TIRES,
            ticks=60,
        )
        batch, crew = WorldBatch(compile_plan(town), 1), None
        batch.reset([0])
        crew = Crew(town, batch.plan)
        request = batch.plan.names.actions.index("request:fridge")
        batch.step([[0, request]])  # Eve is first
        for _ in range(40):
            batch.step(crew.decide(batch))
            for event in batch.events():
                if event.event in ("courtesy", "affordance_started"):
                    return event.event, event.by
        return None

    assert day(0.45) == ("courtesy", "eve")
    assert day(0.2) == ("affordance_started", "eve")


def test_food_is_bought_and_cooked_before_anybody_is_hungry(tmp_path):
    town = little_town(
        tmp_path,
        [{"id": "ana", "cell": [4, 2], "wallet": 20}],
        objects=[
            {"id": kind, "kind": kind, "stock": 20 if kind == "till" else 0}
            for kind in LEGEND.values()
        ],
        ticks=160,
    )
    story = run_story(town)
    did = finished(story, "ana")
    assert did.index("buy_groceries") < did.index("cook_meal")
    assert story.needs[happened(story, "affordance_started")[0], 0].min() > 0.9
    # The bag and the fridge are filled, and then it is enough.
    assert story.ingredients[-1, 0] >= 2
    assert did.count("buy_groceries") <= 3


def test_who_has_little_money_keeps_the_rent_and_cooks_at_home(tmp_path):
    def day(wallet):
        town = little_town(
            tmp_path,
            [{"id": "ana", "cell": [4, 2], "wallet": wallet, "needs": {"hunger": 0.5},
              "inventory": {"ingredients": 2}}],
            economy={"rent": 1.5},
            ticks=60,
        )  # fmt: skip
        return finished(run_story(town), "ana")

    assert day(9.0)[0] == "eat_meal"
    assert day(2.0)[0] == "eat_homemade"


def test_energy_is_slept_for_at_night_and_rested_for_by_day(tmp_path):
    def first(hour, energy, **settings):
        ana = {"id": "ana", "cell": [4, 4], "needs": {"energy": energy}}
        times = {"start_minute": 60 * hour, "ticks": 400, "needs": NOBODY_TIRES}
        did = finished(run_story(little_town(tmp_path, [ana], **times, **settings)), "ana")
        return next(name for name in did if name.startswith("rest"))

    assert first(23, 0.8) == "rest_sleep"
    assert first(3, 0.8) == "rest_sleep"
    assert first(12, 0.8) == "rest_bench"
    assert first(12, 0.2) == "rest_sleep"  # a bed is near; a bench takes too many rests
    # A whole night's sleep gives less per tick than a bench, and is for the night.
    whole_night = {"affordances": {"rest_sleep": {"ticks": 300}}}
    assert first(12, 0.2, **whole_night) == "rest_bench"
    assert first(23, 0.8, **whole_night) == "rest_sleep"


def test_a_bench_at_hand_is_better_than_a_bed_far_away(tmp_path):
    def first(distance):
        wide = "#" * (distance + 4)
        row = "#" + "." * (distance + 2) + "#"
        layout = "\n".join((wide, "#B" + "." * distance + "F#", row, wide))
        ana = {"id": "ana", "cell": [distance + 2, 2], "needs": {"energy": 0.3}}
        objects = {"B": ("bed", {}), "F": ("bench", {})}
        return finished(run_story(hall(tmp_path, [ana], objects, layout, ticks=300)), "ana")[0]

    assert first(10) == "rest_sleep"
    assert first(120) == "rest_bench"


def test_breakfast_is_eaten_before_a_long_shift(tmp_path):
    ana = {"id": "ana", "cell": [4, 2], "needs": {"hunger": 0.7}, "wallet": 9, "job": "clerk"}
    work = {"object": "counter", "start": 540, "end": 700}
    town = little_town(tmp_path, [ana], jobs={"clerk": work}, start_minute=480, ticks=200)
    story = run_story(town)
    assert finished(story, "ana")[0] == "eat_meal"  # 0.7 would do on a free day
    assert happened(story, "shift_on_time", "ana")
    free = {**ana, "job": None}
    assert finished(run_story(little_town(tmp_path, [free], start_minute=480)))[0] != "eat_meal"


def test_who_is_free_talks_every_other_tick_but_not_to_rivals(tmp_path):
    def chats(**ties):
        residents = [
            {"id": "ana", "cell": [4, 2], "ties": {"bo": ties}},
            {"id": "bo", "cell": [5, 2], "policy": "idle"},
        ]
        town = little_town(
            tmp_path, residents, map=None, size=[9, 5], legend={}, objects=[], ticks=60
        )
        return done(run_story(town), "ana").count("chat")

    assert chats() == 30  # every other tick
    assert chats(rivalry=0.9) == 0


def test_who_needs_something_does_not_talk_instead(tmp_path):
    residents = [
        {"id": "ana", "cell": [6, 3], "needs": {"hunger": 0.3}},
        {"id": "bo", "cell": [7, 3], "policy": "idle"},
    ]
    story = run_story(little_town(tmp_path, residents))
    did = done(story, "ana")
    assert "chat" not in did[: did.index("start:eat_meal")]


def test_the_invited_meet(tmp_path):
    residents = [{"id": "ana", "cell": [1, 3]}, {"id": "bo", "cell": [17, 3]}]
    settings = {"ticks": 80, "perturbations": {"meet": {"at": [5], "ticks": [60, 60]}}}
    objects = {"F": ("bench", {}), "G": ("bench", {})}
    story = run_story(hall(tmp_path, residents, objects, **settings))
    assert happened(story, "met")
    assert not happened(story, "meet_missed")


def test_who_wants_nothing_steps_away_from_things(tmp_path):
    town = little_town(tmp_path, [{"id": "ana", "cell": [1, 2]}], needs=NOBODY_TIRES, ticks=20)
    town = town.model_copy(update={"prices": town.prices.model_copy(update={"groceries": 99.0})})
    story = run_story(town)
    plan = compile_plan(town)
    reach = (plan.distance == 0).any(axis=0)
    assert reach[story.y[0, 0], story.x[0, 0]]
    assert not reach[story.y[-1, 0], story.x[-1, 0]]
    assert (np.diff(story.x[5:, 0]) == 0).all()


def test_without_power_nobody_waits_for_the_stove(tmp_path):
    ana = {"id": "ana", "cell": [4, 2], "needs": {"hunger": 0.2}, "wallet": 0}
    dark = {"utilities": {"power": False}, "ticks": 60}
    story = run_story(little_town(tmp_path, [{**ana, "inventory": {"ingredients": 3}}], **dark))
    assert not any("stove" in action for action in done(story, "ana"))
    light = little_town(tmp_path, [{**ana, "inventory": {"ingredients": 3}}], ticks=60)
    assert finished(run_story(light), "ana")[0] == "eat_homemade"


def test_a_busy_resident_in_the_way_is_walked_around(tmp_path):
    layout = "\n".join(("#########", "#..C....#", "#......F#", "#.......#", "#########"))
    works = scripted("rob", (3, 2), {"work": {"until": 60}}, job="clerk")
    ana = {"id": "ana", "cell": [1, 2], "needs": {"hunger": 0.2}}
    objects = {"C": ("counter", {}), "F": ("fridge", {"stock": 3})}
    job = {"object": "counter_C", "start": 0, "end": 60}
    town = hall(
        tmp_path, [works, ana], objects, layout, jobs={"clerk": job}, start_minute=0, ticks=60
    )
    story = run_story(town)
    assert happened(story, "affordance_started", "ana")[0] <= 12  # straight on it would be 8
    assert len(happened(story, "move_blocked", "ana")) <= 1  # before Rob had begun
