"""Options reach their goals, last as long as they say, end for the right reason, and resume."""

import warnings

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
    happened,
    options_in,
    play,
    primitives,
    room,
    stocked,
)

with warnings.catch_warnings():
    # The checks import one of PettingZoo's own games in a way PettingZoo deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)

from townlet_env import townlet_v0
from townlet_env.policies.policy import Seat, look
from townlet_env.wrappers import OPTION_ENDS, OPTION_NAMES, OptionActions
from townlet_env.wrappers.option_errands import NO_ERRAND, Errand
from townlet_env.wrappers.options import build_options


def test_the_names_are_those_of_the_plan():
    assert OPTION_NAMES == (
        "Wait",
        "GetFed",
        "GetClean",
        "Sleep",
        "GoToWork",
        "ShopGroceries",
        "Socialise",
    )
    env = options_in("kitchen_breakfast")
    assert list(env.option_lookup.values()) == list(OPTION_NAMES)
    assert env.action_space("alice").n == len(OPTION_NAMES)


class TestGoals:
    def test_get_fed_eats_the_meal_or_at_home_where_the_one_meal_is_taken(self):
        env = options_in("kitchen_breakfast")
        played = list(play(env, always(GET_FED)))
        needs = env.unwrapped.batch.worlds[0].needs
        assert finished(played, "bob")[0] == "eat_meal"
        assert finished(played, "alice")[0] == "eat_homemade"
        assert needs[0, 0] > 0.4 + 0.2
        assert needs[1, 0] > 0.35 + 0.2

    def test_get_fed_cooks_for_the_fridge_where_nothing_else_helps(self):
        costly = {"eat_homemade": {"takes": {"ingredients": 9}}}
        env = options_in("kitchen_breakfast", affordances=costly)
        played = list(play(env, always(GET_FED)))
        assert finished(played, "alice")[:2] == ["cook_meal", "eat_meal"]

    def test_get_fed_buys_what_it_needs_once(self, tmp_path):
        town = room(tmp_path, ("ada", {"needs": {"hunger": 0.2}}), objects=stocked(fridge=0))
        played = list(play(options_in(town, commitment=100), always(GET_FED), ticks=60))
        assert finished(played, "ada") == ["buy_groceries", "eat_homemade"]

    def test_get_fed_waits_in_line_while_there_is_enough_for_everybody_before(self, tmp_path):
        hungry = {"needs": {"hunger": 0.2}}
        town = room(tmp_path, ("ada", hungry), ("bo", hungry), objects=stocked(till=0))
        played = list(play(options_in(town), always(GET_FED), ticks=60))
        for name in ("ada", "bo"):
            assert finished(played, name) == ["eat_meal"]
            assert not happened(played, "queue_left", name)
        assert [e for _, events in played for e in events if e.event == "queue_conflict"]

    def test_an_added_affordance_that_feeds_serves_get_fed(self, tmp_path):
        buffet = {"object": "buffet", "ticks": 4, "gives": {"hunger": 0.4, "energy": 0.1}}
        town = room(
            tmp_path,
            ("ada", {"needs": {"hunger": 0.3}}),
            kinds=["buffet"],
            affordances={"graze": buffet},
            objects=[{"id": "long_table", "kind": "buffet", "cell": [8, 2]}],
            map=None,
            size=[10, 5],
            legend={},
        )
        played = list(play(options_in(town), always(GET_FED), ticks=30))
        assert finished(played, "ada")[0] == "graze"
        # It feeds more than it rests: nobody sleeps at a buffet.
        assert options_in(town).reset()[0]["ada"]["action_mask"][SLEEP] == 0

    def test_get_clean_waits_for_its_turn(self):
        played = list(play(options_in("queue_conflict"), always(GET_CLEAN)))
        for name in ("anna", "ben", "cleo"):
            assert "use_shower" in finished(played, name)
            assert not happened(played, "affordance_released", name)

    def test_sleep_sleeps(self, tmp_path):
        env = options_in(room(tmp_path, ("ada", {"needs": {"energy": 0.3}})))
        assert "rest_sleep" in finished(list(play(env, always(SLEEP))), "ada")

    def test_sleep_takes_the_bench_if_little_is_missing(self, tmp_path):
        env = options_in(room(tmp_path, ("ada", {"needs": {"energy": 0.95}})))
        assert finished(list(play(env, always(SLEEP), ticks=30)), "ada")[0] == "rest_bench"

    def test_go_to_work_is_on_time_and_ends_with_the_shift(self):
        env = options_in("employment_punctuality")
        played = list(play(env, always(GO_TO_WORK)))
        for name in ("dawn", "erin"):
            assert [t for t, _ in happened(played, "shift_on_time", name)] == [21]
            assert happened(played, "affordance_finished", name) == [(71, "work_shift")]
            assert played[70][0][name]["option_end"] == "finished"
            assert played[71][0][name]["option"] == "Wait"  # the shift is over

    def test_shop_groceries_ends_with_groceries(self, tmp_path):
        env = options_in(room(tmp_path, ("ada", {})))
        for infos, _ in play(env, always(SHOP)):
            if infos["ada"]["option_over"]:
                break
        assert infos["ada"]["option_end"] == "finished"
        assert env.unwrapped.batch.worlds[0].ingredients[0] == 2

    def test_socialise_finds_somebody_and_talks(self, tmp_path):
        town = room(tmp_path, ("ada", {}), ("bo", {}))
        env = options_in(town, learners=["ada"])
        played = list(play(env, always(SOCIALISE), ticks=40))
        talks = [e for _, events in played for e in events if e.event == "chat"]
        assert {(talk.by, talk.other) for talk in talks} == {("ada", "bo")}
        # It talks until a chat goes well, and ends with that one.
        for infos, events in played:
            well = any(e.event == "chat" and e.value > 0 for e in events)
            assert well == (infos["ada"]["option_end"] == "finished")

    def test_wait_gives_up_what_is_held_and_then_idles(self, tmp_path):
        env = options_in(room(tmp_path, ("ada", {})), commitment=1)
        env.reset(seed=0)
        while "request:shower" not in primitives(env).values():
            env.step({"ada": GET_CLEAN})
        done = []
        for _ in range(3):
            env.step({"ada": WAIT})
            done.append(primitives(env)["ada"])
        assert done == ["release", "wait", "wait"]

    def test_wait_lets_what_runs_finish_and_ends_with_it(self, tmp_path):
        env = options_in(room(tmp_path, ("ada", {"needs": {"hygiene": 0.2}})), commitment=16)
        env.reset(seed=0)
        while "start:use_shower" not in primitives(env).values():
            env.step({"ada": GET_CLEAN})
        while not env.choosing:
            *_, infos = env.step({})
        ends = []
        while "finished" not in ends:
            *_, infos = env.step({"ada": WAIT})
            ends.append(infos["ada"]["option_end"])
        assert env.unwrapped.batch.worlds[0].needs[0, 1] > 0.6


class TestEnds:
    def test_nothing_ends_an_option_before_its_commitment(self):
        for commitment in (1, 4, 15):
            env = options_in("observation_baseline", commitment=commitment, max_ticks=40)
            played = list(play(env, always(WAIT)))
            over = [t for t, (infos, _) in enumerate(played, 1) if infos["olga"]["option_over"]]
            assert over == [*range(commitment, 40, commitment), 40]
            assert {played[t - 1][0]["olga"]["option_end"] for t in over[:-1]} == {"commitment"}
            assert played[-1][0]["olga"]["option_end"] == "episode"
            ticks = [infos["olga"]["option_ticks"] for infos, _ in played]
            assert ticks == [t % commitment + 1 for t in range(40)]

    def test_the_default_commitment_is_fifteen_ticks(self):
        env = OptionActions(townlet_v0.parallel_env("observation_baseline"))
        assert env.commitment == 15

    def test_what_is_given_while_committed_is_ignored(self):
        one, other = options_in("queue_conflict"), options_in("queue_conflict")
        one.reset(seed=3)
        other.reset(seed=3)
        ignored = 0
        while one.agents:
            free = one.choosing
            clean = dict.fromkeys(free, GET_CLEAN)
            *_, infos = one.step({**dict.fromkeys(one.agents, WAIT), **clean})
            for name, info in infos.items():
                assert info["illegal_action"] == int(name not in free)
                ignored += name not in free
            other.step(clean)
            assert one.last_actions == other.last_actions
        assert ignored > 100
        assert one.state_digest() == other.state_digest()

    @pytest.mark.parametrize("option", range(len(OPTION_NAMES)))
    def test_an_urgent_need_breaks_what_does_not_serve_it(self, tmp_path, option):
        # Hunger falls below 0.15 in the third tick; nothing can be done within three ticks.
        town = room(
            tmp_path,
            ("ada", {"needs": {"hunger": 0.1575}, "job": "clerk"}),
            ("bo", {"cell": [8, 3]}),
            jobs={"clerk": {"object": "desk", "start": 480, "end": 700}},
        )
        env = options_in(town, learners=["ada"])
        played = list(play(env, always(option), ticks=15))
        ends = [infos["ada"]["option_end"] for infos, _ in played]
        assert {infos["ada"]["option"] for infos, _ in played[:3]} == {OPTION_NAMES[option]}
        if option == GET_FED:
            assert "urgent" not in ends
        else:
            # Only the fall below the level interrupts: what is chosen then may last.
            assert ends[:3] == ["", "", "urgent"]
            assert "urgent" not in ends[3:]

    def test_without_a_level_no_need_is_urgent(self, tmp_path):
        town = room(tmp_path, ("ada", {"needs": {"hunger": 0.16}}))
        ends = [
            infos["ada"]["option_end"]
            for infos, _ in play(options_in(town, urgent=0.0), always(WAIT), ticks=15)
        ]
        assert ends == [""] * 14 + ["commitment"]

    def test_what_becomes_impossible_ends_at_once(self, tmp_path):
        env = options_in(room(tmp_path, ("ada", {}), perturbations={"outage": {"at": [4]}}))
        ends = [infos["ada"]["option_end"] for infos, _ in play(env, always(GET_CLEAN), ticks=5)]
        assert ends[:5] == ["", "", "", "", "impossible"]

    def test_every_end_happens_and_is_known(self):
        seen = set()
        for scenario in ("queue_conflict", "kitchen_breakfast"):
            for infos, _ in play(options_in(scenario, urgent=0.5), at_random(1), seed=2):
                seen |= {info["option_end"] for info in infos.values()}
        assert seen <= {"", *OPTION_ENDS}
        assert seen >= {"", "commitment", "finished", "urgent", "episode"}

    def test_the_return_is_the_discounted_sum_of_the_ticks(self):
        env = options_in("queue_conflict", gamma=0.5)
        env.reset(seed=1)
        choose, sums, ticks = at_random(3), {}, {}
        ended = 0
        while env.agents:
            masks = env.action_masks()
            for name in env.choosing:
                sums[name], ticks[name] = 0.0, 0
            given = {name: choose(name, masks[name]) for name in env.choosing}
            _, rewards, _, _, infos = env.step(given)
            for name, info in infos.items():
                sums[name] += 0.5 ** ticks[name] * rewards[name]
                ticks[name] += 1
                assert info["option_ticks"] == ticks[name]
                assert info["option_return"] == sums[name]
                ended += info["option_over"]
        assert ended > 20


def test_an_errand_is_kept_on_the_way_while_it_can_be_done(tmp_path):
    showers = [{"id": name, "kind": "shower", "cell": [x, 1]} for name, x in (("a", 1), ("b", 8))]
    town = room(tmp_path, ("ada", {}), objects=showers, map=None, size=[10, 5], legend={})
    env = townlet_v0.parallel_env(town)
    env.reset(seed=0)
    seat, sight = Seat(env.plan, town.residents[0], 0), look(env.batch, 0, 0)
    clean = build_options(env.plan)[GET_CLEAN]
    use_shower = env.plan.names.affordances.index("use_shower")
    near, far = Errand(use_shower, 0), Errand(use_shower, 1)
    assert clean.intend(seat, sight, NO_ERRAND).errand == near
    assert clean.intend(seat, sight, far).errand == far


class TestHands:
    @pytest.mark.parametrize("first", [GET_CLEAN, SLEEP])
    def test_a_reservation_is_released_before_another_aim_is_pursued(self, tmp_path, first):
        env = options_in(room(tmp_path, ("ada", {})), commitment=1)
        world = env.unwrapped.batch.worlds[0]
        env.reset(seed=0)
        while world.reserved_object[0] == -1:
            env.step({"ada": first})
        env.step({"ada": GET_FED})
        assert primitives(env)["ada"] == "release"
        assert (world.holder == -1).all()

    def test_the_same_option_chosen_again_goes_on(self, tmp_path):
        env = options_in(room(tmp_path, ("ada", {"needs": {"energy": 0.3}})), commitment=7)
        played = list(play(env, always(SLEEP), ticks=64))
        assert not happened(played, "affordance_released", "ada")
        assert len(happened(played, "affordance_started", "ada")) == 1
        assert finished(played, "ada") == ["rest_sleep"]

    def test_what_runs_is_released_for_something_else(self, tmp_path):
        env = options_in(room(tmp_path, ("ada", {"needs": {"energy": 0.3}})), commitment=1)
        world = env.unwrapped.batch.worlds[0]
        env.reset(seed=0)
        while world.busy_affordance[0] == -1:
            env.step({"ada": SLEEP})
        env.step({"ada": GET_CLEAN})
        assert primitives(env)["ada"] == "release"
        assert (world.user == -1).all()

    def test_a_place_in_line_is_left_for_something_else(self):
        env = options_in("queue_conflict", commitment=1)
        world = env.unwrapped.batch.worlds[0]
        env.reset(seed=0)
        while not (world.queue_object != -1).any():
            env.step(dict.fromkeys(env.agents, GET_CLEAN))
        waiting = env.possible_agents[int((world.queue_object != -1).argmax())]
        env.step({name: WAIT if name == waiting else GET_CLEAN for name in env.agents})
        assert primitives(env)[waiting] == "release"
        assert (world.queue_object == -1).all()
