"""Masks of options are exact: held against rules told in the test, and against what happens."""

import numpy as np
import pytest
from option_towns import (
    GET_CLEAN,
    GET_FED,
    GO_TO_WORK,
    SHOP,
    SLEEP,
    SOCIALISE,
    WAIT,
    always,
    at_random,
    finished,
    options_in,
    play,
    room,
    stocked,
)

from townlet_env.sim.kernels.affordances import price
from townlet_env.sim.places import on_shift
from townlet_env.wrappers import OPTION_NAMES
from townlet_env.wrappers.option_errands import ErrandPlanner

CLERK = {"clerk": {"object": "desk", "start": 500, "end": 530}}
PARTS = {  # affordances that belong to an option: who does one can go on with it
    GET_FED: {"eat_meal", "eat_homemade", "cook_meal", "buy_groceries"},
    GET_CLEAN: {"use_shower"},
    SLEEP: {"rest_sleep", "rest_bench"},
    GO_TO_WORK: {"work_shift"},
    SHOP: {"buy_groceries"},
    SOCIALISE: set(),
}


def poor_room(folder):
    """Return three residents with little money, one of them employed."""
    return room(
        folder,
        ("ada", {"wallet": 1.5, "job": "clerk"}),
        ("bo", {"wallet": 0.95, "inventory": {"ingredients": 1}, "needs": {"hunger": 0.4}}),
        ("cy", {"wallet": 0.15, "needs": {"hygiene": 0.3}}),
        jobs=CLERK,
        objects=stocked(till=3),
        ticks=220,
        lives={"enabled": False},
        perturbations={"blackout": {"at": [60], "ticks": [30, 30]}},
    )


class Room:
    """The rules of the room, told once more: who could do what now, from the bare state."""

    def __init__(self, env, slot):
        self.world = env.unwrapped.batch.worlds[0]
        self.names = env.unwrapped.plan.names
        self.distance = env.unwrapped.plan.distance
        self.i = slot

    def ahead(self, name):
        """Return how many have their turn at an object before me."""
        world, o = self.world, self.names.objects.index(name)
        if self.i in (world.user[o], world.holder[o]):
            return 0
        line = list(world.queue[o, : world.queue_length[o]])
        if self.i in line:
            line = line[: line.index(self.i)]
        return len(line) + (world.user[o] >= 0) + (world.holder[o] >= 0)

    def stock_for_me(self, name, units):
        o = self.names.objects.index(name)
        return self.world.stock[o] >= units * (1 + self.ahead(name))

    def can_shop(self, money=0.0):
        return self.world.wallet[self.i] >= 0.8 + money and self.stock_for_me("till", 2)

    def can_eat(self):
        rich = self.world.wallet[self.i] >= 1.0 and self.stock_for_me("fridge", 1)
        has = self.world.ingredients[self.i] > 0
        return rich or bool(self.world.power and (has or self.can_shop()))

    def can_work(self):
        world, i = self.world, self.i
        if world.job_object[i] < 0:
            return False
        minute = (world.start_minute + world.tick) % 1440
        steps = self.distance[world.job_object[i], world.y[i], world.x[i]]
        return (world.job_start[i] - steps - 20 <= minute) and minute < world.job_end[i]

    def can_talk(self):
        world = self.world
        return any(world.busy_affordance[j] < 0 for j in range(world.n_residents) if j != self.i)

    def possible(self):
        """Return the options that a resident could choose, by rules of this room alone."""
        world = self.world
        clean = world.power and world.water and world.wallet[self.i] >= np.float32(0.1)
        found = {
            WAIT: True,
            GET_FED: self.can_eat(),
            GET_CLEAN: bool(clean),
            SLEEP: True,
            GO_TO_WORK: bool(self.can_work()),
            SHOP: self.can_shop(),
            SOCIALISE: self.can_talk(),
        }
        busy = int(world.busy_affordance[self.i])
        if busy >= 0:
            for option, parts in PARTS.items():
                found[option] |= self.names.affordances[busy] in parts
        return [int(found[option]) for option in range(len(OPTION_NAMES))]


def test_masks_are_those_of_the_rules_told_in_this_test(tmp_path):
    env = options_in(poor_room(tmp_path), commitment=6)
    seen = set()
    for seed in range(4):
        choose = at_random(seed)
        env.reset(seed=seed)
        while env.agents:
            masks = env.action_masks()
            for name in env.choosing:
                expected = Room(env, env.possible_agents.index(name)).possible()
                assert masks[name].tolist() == expected, (name, seed)
                seen.add((name, *expected))
            env.step({name: choose(name, masks[name]) for name in env.choosing})
    by_option = np.array([mask for _, *mask in seen])
    assert by_option[:, 0].all()
    # The others were possible and were not, but for sleep: there is a bed for everybody.
    assert (by_option.any(axis=0)).all()
    assert (~by_option.astype(bool)).any(axis=0).tolist() == [
        False, True, True, False, True, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize("scenario", ["room", "kitchen_breakfast", "queue_conflict"])
def test_what_is_legal_does_something_and_nothing_else_does(tmp_path, scenario):
    town = poor_room(tmp_path) if scenario == "room" else scenario
    env, probe = options_in(town, commitment=9), options_in(town, commitment=9)
    env.reset(seed=5)
    choose = at_random(8)
    tried = {True: 0, False: 0}
    while env.agents:
        masks, state = env.action_masks(), env.get_state()
        for name in env.choosing[:1]:
            for option in range(len(OPTION_NAMES)):
                probe.set_state(state)
                check(probe, name, option, legal=bool(masks[name][option]))
                tried[bool(masks[name][option])] += 1
        env.step({name: choose(name, masks[name]) for name in env.choosing})
    assert min(tried.values()) > 10


def check(probe, name, option, *, legal):
    world, i = probe.unwrapped.batch.worlds[0], probe.possible_agents.index(name)
    waits_for_something = bool(
        world.busy_affordance[i] >= 0
        or world.queue_object[i] >= 0
        or (option == GO_TO_WORK and not on_shift(world, i))
    )
    *_, infos = probe.step({name: option})
    info, primitive = infos[name], probe.last_primitive_actions[name]
    assert info["illegal_action"] == int(not legal)
    assert info["option"] == (OPTION_NAMES[option] if legal else "Wait")
    if not legal:
        assert info["option_ticks"] == 1
        assert info["option_end"] == ("impossible" if probe.agents else "episode")
    elif option != WAIT:
        assert primitive != 0 or waits_for_something


@pytest.mark.parametrize(
    "scenario", ["room", "kitchen_breakfast", "queue_conflict", "rivalry_decay"]
)
def test_every_primitive_is_legal_and_no_tick_is_wasted(tmp_path, scenario):
    env = options_in(poor_room(tmp_path) if scenario == "room" else scenario)
    world = env.unwrapped.batch.worlds[0]
    before = [(-1, -1)] * len(env.possible_agents)
    for seed in range(3):
        choose = at_random(seed)
        env.reset(seed=seed)
        while env.agents:
            masks = env.action_masks()
            for i in range(world.n_residents):
                before[i] = int(world.busy_affordance[i]), int(world.queue_object[i])
            early = [not on_shift(world, i) for i in range(world.n_residents)]
            *_, infos = env.step({name: choose(name, masks[name]) for name in env.choosing})
            for i, (name, info) in enumerate(infos.items()):
                assert info["illegal_action"] == 0
                if env.last_primitive_actions[name] == 0 and info["option"] != "Wait":
                    at_work = info["option"] == "GoToWork" and early[i]
                    assert at_work or max(before[i]) >= 0, (name, info)


@pytest.mark.parametrize(
    ("settings", "resident", "impossible"),
    [
        ({}, {}, {GO_TO_WORK, SOCIALISE}),
        ({}, {"wallet": 0.0}, {GET_FED, GET_CLEAN, SHOP}),
        ({}, {"wallet": 0.0, "inventory": {"ingredients": 1}}, {GET_CLEAN, SHOP}),
        ({"utilities": {"power": False}}, {}, {GET_CLEAN}),
        ({"utilities": {"water": False}}, {}, {GET_CLEAN}),
        ({"objects": stocked(fridge=0)}, {"wallet": 0.7}, {GET_FED, SHOP}),
        ({"objects": stocked(fridge=0, till=1)}, {}, {GET_FED, SHOP}),
        ({"objects": stocked(fridge=0), "utilities": {"power": False}}, {}, {GET_FED, GET_CLEAN}),
    ],
)
def test_what_is_missing_makes_options_impossible(tmp_path, settings, resident, impossible):
    env = options_in(room(tmp_path, ("ada", resident), **settings))
    observations, _ = env.reset(seed=0)
    alone = {GO_TO_WORK, SOCIALISE}  # nobody to talk to, no job
    found = set(np.flatnonzero(observations["ada"]["action_mask"] == 0).tolist())
    assert found == impossible | alone


def test_costs_are_those_of_the_rules_to_the_last_bit(tmp_path):
    env = options_in(room(tmp_path, ("ada", {})))
    env.reset(seed=0)
    plan, world = env.unwrapped.plan, env.unwrapped.batch.worlds[0]
    planner, rng = ErrandPlanner(plan), np.random.default_rng(0)
    for _ in range(50):
        world.price_meal, world.price_groceries = rng.uniform(0.1, 3.0, 2)
        scene = planner.look(world, 0)
        for affordance, cost in enumerate(scene.cost):
            assert cost == price(world, plan.rules[0], affordance)


def test_what_cannot_be_reached_is_impossible(tmp_path):
    walled = "##########\n#F.S#.H.T#\n#...#....#\n#...#....#\n#C.B#.b.A#\n##########\n"
    town = room(tmp_path, ("ada", {"cell": [1, 2]}), ("bo", {"cell": [8, 3]}), map=walled)
    env = options_in(town)
    masks = {name: seen["action_mask"].tolist() for name, seen in env.reset(seed=0)[0].items()}
    assert masks["ada"] == [1, 1, 0, 1, 0, 0, 0]
    assert masks["bo"] == [1, 0, 1, 1, 0, 1, 0]


def test_go_to_work_becomes_possible_when_it_is_time_to_set_out(tmp_path):
    town = room(tmp_path, ("ada", {"job": "clerk"}), jobs=CLERK, ticks=60)
    env = options_in(town, commitment=1)
    env.reset(seed=0)
    possible = []
    while env.agents:
        possible.append(bool(env.action_masks()["ada"][GO_TO_WORK]))
        env.step({"ada": WAIT})
    # From (4, 2) it takes 5 steps to the desk: 20 + 5 minutes before the shift at minute 20.
    assert possible == [True] * 50 + [False] * 10
    late = town.model_copy(update={"start_minute": 470})
    env = options_in(late, commitment=1)
    env.reset(seed=0)
    first = 0
    while not env.action_masks()["ada"][GO_TO_WORK]:
        env.step({"ada": WAIT})
        first += 1
    assert first == 30 - 20 - 5


def test_nobody_waits_for_what_cannot_be_asked_for(tmp_path):
    # Between an empty fridge and a full one a request goes to the empty one, which comes first.
    things = [
        {"id": "empty", "kind": "fridge", "cell": [1, 1], "stock": 0},
        {"id": "full", "kind": "fridge", "cell": [3, 1], "stock": 3},
    ]
    layout = {"objects": things, "map": None, "size": [5, 4], "legend": {}}
    stuck = options_in(room(tmp_path, ("ada", {"cell": [2, 1]}), **layout))
    assert stuck.reset(seed=0)[0]["ada"]["action_mask"][GET_FED] == 0
    other = options_in(room(tmp_path, ("ada", {"cell": [3, 2]}), **layout))
    assert finished(list(play(other, always(GET_FED), ticks=20)), "ada") == ["eat_meal"]


@pytest.mark.parametrize("mask", ["obs", "info", "none"])
@pytest.mark.parametrize("observation", ["hybrid", "compact"])
def test_the_mask_is_where_the_town_puts_it(mask, observation):
    env = options_in("queue_conflict", mask=mask, observation=observation)
    observations, infos = env.reset(seed=0)
    for _ in range(25):
        masks = env.action_masks()
        for name in env.agents:
            space = env.observation_space(name)
            assert space.contains(observations[name])
            assert ("action_mask" in observations[name]) == (mask == "obs")
            assert ("action_mask" in infos[name]) == (mask == "info")
            shown = {"obs": observations, "info": infos}.get(mask)
            if shown is not None:
                np.testing.assert_array_equal(shown[name]["action_mask"], masks[name])
            assert masks[name].dtype == np.int8
        for name in set(env.agents) - set(env.choosing):
            assert masks[name].sum() == 1
            assert masks[name][env.last_actions[name]] == 1
        step = env.step({name: int(np.flatnonzero(masks[name])[-1]) for name in env.choosing})
        observations, infos = step[0], step[4]
