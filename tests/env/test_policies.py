"""Scripted policies: the idle, the random, the needs-driven, and own ones."""

import numpy as np
import pytest
from little_towns import done, happened, little_town, scripted, with_policy

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.errors import ConfigError
from townlet_env.policies import Crew, Policy, policy_names, register_policy
from townlet_env.policies.crew import scripted_residents
from townlet_env.policies.registry import _FACTORIES
from townlet_env.sim.batch import WorldBatch
from townlet_env.story import run_story

HOME = """\
#############
#F.S..H.....#
#...........#
#...........#
####.########
#...........#
#T.........C#
#...........#
#.B..A......#
#############
"""


def household(tmp_path, **settings):
    letters = {
        "F": ("fridge", "fridge"),
        "S": ("stove", "stove"),
        "H": ("shower", "shower"),
        "T": ("till", "till"),
        "C": ("counter", "counter"),
        "B": ("bed_1", "bed"),
        "A": ("bed_2", "bed"),
    }
    stock = {"fridge": 1, "till": 90}
    return little_town(
        tmp_path,
        [
            {"id": "ana", "cell": [2, 3], "job": "clerk", "wallet": 40},
            {"id": "bo", "cell": [4, 3], "wallet": 40, "needs": {"hunger": 0.4, "energy": 0.3}},
            {"id": "cy", "cell": [6, 3], "wallet": 40, "needs": {"hygiene": 0.2}},
        ],
        map=HOME,
        legend={letter: name for letter, (name, _) in letters.items()},
        objects=[
            {"id": name, "kind": kind, "stock": stock.get(kind, 0)}
            for name, kind in letters.values()
        ],
        jobs={"clerk": {"object": "counter", "start": 540, "end": 660}},
        start_minute=480,
        ticks=720,
        **settings,
    )


def played(batch: WorldBatch, crew: Crew, ticks: int) -> list[list[str]]:
    """Live some ticks of every world; return the digests of every world."""
    digests = []
    for _ in range(ticks):
        orders = np.zeros((batch.num_worlds, batch.num_residents), np.int64)
        for w in range(batch.num_worlds):
            for slot, action in crew.act(batch, w).items():
                orders[w, slot] = action
        batch.step(orders)
        digests.append([batch.digest(w) for w in range(batch.num_worlds)])
    return digests


def test_idle_residents_wait(tmp_path):
    town = little_town(tmp_path, [{"id": "ana", "cell": [4, 2], "policy": "idle"}])
    assert set(done(run_story(town), "ana")) == {"wait"}


def test_random_residents_do_legal_things_of_every_sort(tmp_path):
    town = little_town(tmp_path, [{"id": "ana", "cell": [4, 2], "policy": "random"}], ticks=600)
    story = run_story(town)
    assert not story.illegal.any()
    verbs = {action.partition(":")[0] for action in done(story, "ana")}
    assert {"wait", "move", "approach", "request", "start", "release"} <= verbs


def test_random_draws_are_uniform_over_the_legal_actions(tmp_path):
    town = little_town(tmp_path, [{"id": "ana", "cell": [4, 2], "policy": "random"}])
    batch = WorldBatch(compile_plan(town), 1)
    crew = Crew(town, batch.plan)
    counts: dict[int, int] = {}
    for seed in range(2000):
        batch.reset([seed])
        action = crew.act(batch, 0)[0]
        counts[action] = counts.get(action, 0) + 1
    legal = np.flatnonzero(batch.views.action_mask[0, 0])
    assert sorted(counts) == legal.tolist()
    expected = 2000 / len(legal)
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < 2 * len(legal) + 10  # far beyond the 99.9% point


def test_random_residents_differ_by_tick_slot_and_seed(tmp_path):
    residents = [
        {"id": name, "cell": [4, y], "policy": "random"} for name, y in (("a", 2), ("b", 3))
    ]
    town = little_town(tmp_path, residents)
    story, other = run_story(town, 0), run_story(town, 1)
    assert (story.actions[:, 0] != story.actions[:, 1]).any()
    assert (story.actions != other.actions).any()
    assert (run_story(town, 0).actions == story.actions).all()


def test_random_draws_of_two_residents_are_independent(tmp_path):
    residents = [
        {"id": name, "cell": cell, "policy": "random"}
        for name, cell in (("a", [3, 3]), ("b", [9, 3]))
    ]
    town = little_town(tmp_path, residents, map=None, size=[13, 7], legend={}, objects=[])
    batch = WorldBatch(compile_plan(town), 1)
    crew = Crew(town, batch.plan)
    same = 0
    for seed in range(500):
        batch.reset([seed])
        assert (batch.views.action_mask[0, 0] == batch.views.action_mask[0, 1]).all()
        first, second = crew.act(batch, 0).values()
        same += first == second
    assert 60 < same < 140  # one in five: four moves and wait


@pytest.mark.parametrize("policy", ["random", "needs_driven"])
def test_a_world_of_a_batch_is_lived_as_it_would_be_alone(tmp_path, policy):
    town = with_policy(household(tmp_path), policy)
    plan = compile_plan(town)
    many, alone = WorldBatch(plan, 4), WorldBatch(plan, 1)
    many.reset([5, 6, 7, 8])
    alone.reset([7])
    in_a_crowd = played(many, Crew(town, plan), 150)
    by_itself = played(alone, Crew(town, plan), 150)
    assert [row[2] for row in in_a_crowd] == [row[0] for row in by_itself]
    assert len({*in_a_crowd[-1]}) == 4


def test_needs_driven_residents_live_on_and_work_while_the_random_do_not(tmp_path):
    town = household(tmp_path, lives={"enabled": False})  # who is gone loses no more reward
    story = run_story(town)
    finished = {
        e.affordance for tick in story.events for e in tick if e.event == "affordance_finished"
    }
    assert finished >= {
        "eat_meal",
        "cook_meal",
        "use_shower",
        "rest_sleep",
        "buy_groceries",
        "work_shift",
    }
    assert happened(story, "shift_on_time", "ana")
    assert not story.illegal.any()
    chance = run_story(with_policy(town, "random"))
    assert (story.rewards.sum(0) > chance.rewards.sum(0) + 5.0).all()


def test_needs_driven_residents_eat_before_they_go_hungry(tmp_path):
    town = little_town(
        tmp_path,
        [{"id": "ana", "cell": [4, 2], "wallet": 30}],
        ticks=600,
        objects=[
            {"id": "fridge", "kind": "fridge", "stock": 30},
            {"id": "bed", "kind": "bed"},
            {"id": "shower", "kind": "shower"},
        ],
        legend={"F": "fridge", "B": "bed", "H": "shower"} | dict.fromkeys("STbAC", "floor"),
    )
    story = run_story(town)
    assert story.needs[:, 0].min() > 0.15


def test_needs_driven_residents_do_not_run_in_circles(tmp_path):
    """What cannot be had is not asked for again and again: no money, no stock, nothing to reach."""
    poor = household(tmp_path)
    penniless = [r.model_copy(update={"wallet": 0.0, "job": None}) for r in poor.residents]
    story = run_story(poor.model_copy(update={"residents": penniless}))
    requests = [name for r in ("ana", "bo", "cy") for name in done(story, r) if "request" in name]
    assert set(requests) <= {"request:bed"}
    assert len(requests) < 40


def test_needs_driven_residents_go_for_lunch_if_the_break_is_long_enough(tmp_path):
    def day(slack):
        town = household(tmp_path, employment={"absence_slack": slack})
        clerk = town.residents[0]
        hungry = clerk.needs.model_copy(update={"hunger": 0.5})
        alone = [clerk.model_copy(update={"needs": hungry, "cell": (10, 7)})]
        late = {"residents": alone, "start_minute": 535}  # too late for breakfast
        return run_story(town.model_copy(update=late))

    with_a_break, without = day(60), day(5)
    begun = [e for tick in with_a_break.events for e in tick if e.event == "affordance_started"]
    lunch = [e.affordance for e in begun if e.tick < 660 - 535]
    assert lunch == ["work_shift", "eat_meal", "work_shift"]
    assert not happened(with_a_break, "shift_absent")
    # Without one there is no way to be back in time: work is left only in dire need.
    assert _hunger_when_leaving(without) < 0.3 < 0.34 < _hunger_when_leaving(with_a_break)


def _hunger_when_leaving(story):
    """Return the hunger of who works first, when they do so no longer for the first time."""
    ends = [e for tick in story.events for e in tick if e.event == "affordance_finished"]
    return story.needs[next(e.tick for e in ends if e.affordance == "work_shift"), 0, 0]


def test_needs_driven_residents_release_what_they_no_longer_want(tmp_path):
    town = little_town(tmp_path, [{"id": "ana", "cell": [6, 2]}])
    batch = WorldBatch(compile_plan(town), 1)
    batch.reset([0])
    request = batch.plan.names.actions.index("request:shower")
    batch.step([[request]])
    assert batch.worlds[0].reserved_object[0] >= 0
    crew = Crew(town, batch.plan)
    played(batch, crew, 1)
    assert batch.worlds[0].reserved_object[0] == -1


class Marcher(Policy):
    """Goes east, and counts its steps."""

    steps = 0

    def act(self, sight):
        self.steps += 1
        return self.seat.action("move:east")

    def reset(self):
        self.steps = 0


@pytest.fixture
def marching():
    register_policy("marching", Marcher)
    yield
    del _FACTORIES["marching"]


def test_own_policies_are_used_by_their_name(tmp_path, marching):
    town = little_town(tmp_path, [{"id": "ana", "cell": [2, 2], "policy": "marching"}], ticks=9)
    assert "marching" in policy_names()
    story = run_story(town)
    assert story.x[-1, 0] == 8  # the last cell before the wall
    behind = little_town(tmp_path, [scripted("ana", (2, 2), {"wait": 4}, then="marching")], ticks=6)
    assert done(run_story(behind), "ana") == ["wait"] * 4 + ["move:east"] * 2


def test_the_names_of_shipped_policies_are_taken():
    for name in ("idle", "random", "needs_driven", "schedule", "learner"):
        with pytest.raises(ConfigError, match=f"found the shipped '{name}'"):
            register_policy(name, Marcher)


def test_an_unknown_policy_is_refused_with_the_nearest(tmp_path):
    town = little_town(tmp_path, [{"id": "ana", "cell": [2, 2], "policy": "idel"}])
    with pytest.raises(
        ConfigError, match=r"^little: residents\.ana: unknown policy 'idel'; did you mean 'idle'"
    ):
        run_story(town)


@pytest.mark.parametrize("then", ["schedule", "learner", "idel"])
def test_what_cannot_follow_a_schedule_is_refused(tmp_path, then):
    town = little_town(tmp_path, [scripted("ana", (2, 2), {"wait": 4}, then=then)])
    with pytest.raises(ConfigError, match=r"residents\.ana"):
        run_story(town)


def test_learners_are_no_part_of_the_crew():
    config = load_scenario("queue_conflict")
    plan = compile_plan(config)
    assert Crew(config, plan).residents == ("anna", "ben", "cleo")
    assert scripted_residents(config, ["ben"]) == ("anna", "cleo")
    asks = config.residents[0].model_copy(update={"policy": "learner", "schedule": []})
    changed = config.model_copy(update={"residents": [asks, *config.residents[1:]]})
    assert Crew(changed, plan).residents == ("ben", "cleo")
    with pytest.raises(ConfigError, match="expected a script, found policy 'learner'"):
        Crew(changed, plan, ["anna"])
    with pytest.raises(ConfigError, match="unknown resident 'bne'; did you mean 'ben'"):
        scripted_residents(config, ["bne"])


def test_a_reset_begins_every_script_anew_in_that_world_alone(tmp_path):
    town = little_town(tmp_path, [scripted("ana", (2, 2), {"wait": 3}, {"move": "east"})])
    plan = compile_plan(town)
    batch, crew = WorldBatch(plan, 2), Crew(town, plan)
    batch.reset([0, 1])
    played(batch, crew, 2)
    batch.reset([0], [1])
    crew.reset(1)
    played(batch, crew, 2)
    assert batch.worlds["x"][:, 0].tolist() == [3, 2]
