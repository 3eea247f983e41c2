"""Options in a town: scripts beside them, arrivals and exits, states, conformance, bad input."""

import warnings

import numpy as np
import pytest
from keeping import stored_and_read
from option_towns import (
    GET_CLEAN,
    GET_FED,
    SLEEP,
    WAIT,
    at_random,
    options_in,
    room,
)
from pettingzoo.utils.wrappers import BaseParallelWrapper

with warnings.catch_warnings():
    # The checks import one of PettingZoo's own games in a way PettingZoo deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import parallel_api_test, parallel_seed_test

from townlet_env import townlet_v0
from townlet_env.errors import ActionError, ConfigError, ResetNeeded, SnapshotError
from townlet_env.wrappers import OPTION_NAMES, OptionActions, ScriptedScenario

SCENARIOS = (
    "kitchen_breakfast",
    "queue_conflict",
    "employment_punctuality",
    "rivalry_decay",
    "observation_baseline",
)


def live(env, choose, seed, trace):
    """Play an episode; keep what everybody did, saw of options, and was rewarded."""
    env.reset(seed=seed)
    go_on(env, choose, trace)


def go_on(env, choose, trace, ticks=10_000):
    while env.agents and ticks > 0:
        masks = env.action_masks()
        given = {name: choose(name, masks[name]) for name in env.choosing}
        _, rewards, _, _, infos = env.step(given)
        told = {name: tuple(info.values()) for name, info in infos.items()}
        trace.append((dict(env.last_primitive_actions), rewards, told))
        ticks -= 1


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_choices_make_the_same_episode(scenario):
    traces = ([], [])
    envs = options_in(scenario), options_in(scenario)
    for env, trace in zip(envs, traces, strict=True):
        live(env, at_random(4), 3, trace)
        live(env, at_random(5), 3, trace)
    assert traces[0] == traces[1]
    assert envs[0].state_digest() == envs[1].state_digest()


@pytest.mark.parametrize("learners", [None, ("anna", "cleo")])
def test_a_state_resumes_bit_for_bit_in_the_middle_of_options(learners):
    env, other = (options_in("queue_conflict", learners=learners) for _ in range(2))
    env.reset(seed=2)
    go_on(env, at_random(1), [], ticks=40)
    assert len(env.choosing) < len(env.agents)
    state = stored_and_read(env.get_state())
    other.reset(seed=9)
    go_on(other, at_random(2), [], ticks=13)
    other.set_state(state)
    assert other.last_actions == other.last_primitive_actions == {}
    twin = env.clone()
    assert masks_of(env) == masks_of(other) == masks_of(twin)
    traces = ([], [], [])
    for town, trace in zip((env, other, twin), traces, strict=True):
        go_on(town, at_random(6), trace)
    assert traces[0] == traces[1] == traces[2]
    assert env.state_digest() == other.state_digest() == twin.state_digest()
    assert not twin.agents


def masks_of(env):
    return {name: mask.tolist() for name, mask in env.action_masks().items()}


def test_a_clone_is_independent_and_has_the_settings():
    env = options_in("queue_conflict", commitment=4, urgent=0.5, gamma=0.9)
    env.reset(seed=0)
    twin = env.clone()
    digest = env.state_digest()
    go_on(twin, at_random(0), [], ticks=5)
    assert env.state_digest() == digest
    assert (twin.commitment, twin.urgent, twin.gamma) == (4, 0.5, 0.9)


def test_states_of_something_else_are_refused():
    env, bare = options_in("queue_conflict"), townlet_v0.parallel_env("queue_conflict")
    env.reset(seed=0)
    bare.reset(seed=0)
    with pytest.raises(SnapshotError, match="expected a state of OptionActions, found Snapshot"):
        env.set_state(bare.get_state())
    other = options_in("kitchen_breakfast")
    other.reset(seed=0)
    with pytest.raises(SnapshotError, match="another scenario"):
        env.set_state(other.get_state())


def test_beside_options_the_others_follow_their_scripts():
    env = options_in("queue_conflict", learners=["anna"])
    observations, infos = env.reset(seed=1)
    assert env.choosing == ("anna",)
    done = []
    while env.agents:
        assert observations["ben"]["action_mask"].tolist() == [1, 0, 0, 0, 0, 0, 0]
        assert infos["ben"]["option"] == ""
        observations, _, _, _, infos = env.step(dict.fromkeys(env.agents, GET_CLEAN))
        assert list(env.last_actions) == list(env.last_primitive_actions) == ["anna"]
        assert infos["ben"]["illegal_action"] == 0
        done.append(env.env.last_actions)
    alone = ScriptedScenario(townlet_v0.parallel_env("queue_conflict"), ["anna"])
    alone.reset(seed=1)
    for joint in done:
        alone.step({"anna": joint["anna"]})
        assert alone.last_actions == joint
    assert alone.state_digest() == env.state_digest()


def test_it_wraps_wrappers_and_may_be_wrapped():
    scripts = ScriptedScenario(townlet_v0.parallel_env("queue_conflict"), ["anna"])
    env = BaseParallelWrapper(OptionActions(BaseParallelWrapper(scripts)))
    env.reset(seed=0)
    env.step({"anna": GET_CLEAN})
    assert env.last_actions == {"anna": GET_CLEAN}
    assert env.action_lookup == dict(enumerate(OPTION_NAMES))


class TestLives:
    """Residents who leave forget what they were about; who comes chooses afresh."""

    @staticmethod
    def town(folder):
        weak = {"needs": {"hunger": 0.02}, "policy": "learner"}
        return room(
            folder,
            ("ada", weak),
            ("bo", {**weak, "policy": "idle"}),
            ("cy", {"policy": "learner"}),
            lives={"faint_after": 4, "exit_gap": 0, "grace_ticks": 0},
            arrivals={"enabled": True, "delay": [3, 3]},
            ticks=60,
        )

    def test_a_slot_forgets_its_option_at_the_exit(self, tmp_path):
        env = options_in(self.town(tmp_path), learners=[])
        env.reset(seed=0)
        env.step({"ada": SLEEP, "cy": WAIT})
        told = {}
        while "newcomer_2" not in env.agents:
            observations, _, terminated, _, infos = env.step({})
            for name in observations:
                told.setdefault(name, []).append((terminated[name], infos[name]))
        gone, last = told["ada"][-1]
        assert gone
        assert (last["option"], last["option_end"], last["option_over"]) == (
            "Sleep",
            "episode",
            True,
        )
        for newcomer in ("newcomer_1", "newcomer_2"):
            first = told[newcomer][0][1]
            assert (first["option"], first["option_ticks"], first["option_over"]) == ("", 0, False)

    def test_newcomers_choose_where_the_one_before_did(self, tmp_path):
        env = options_in(self.town(tmp_path), learners=[])
        env.reset(seed=0)
        slots, choosers = {}, set()
        while env.agents:
            choosers |= set(env.choosing)
            slots |= env.slots
            *_, infos = env.step(dict.fromkeys(env.choosing, GET_FED))
            assert not any(info["illegal_action"] for info in infos.values())
        assert {slots[name] for name in choosers} == {0, 2}
        assert {slots["newcomer_1"], slots["newcomer_2"]} == {0, 1}
        newcomer = next(name for name in ("newcomer_1", "newcomer_2") if slots[name] == 0)
        assert newcomer in choosers

    def test_it_conforms_with_people_coming_and_going(self, tmp_path):
        with warnings.catch_warnings():
            # It takes what a newcomer is given for something given to the dead.
            warnings.simplefilter("ignore")
            parallel_api_test(options_in(self.town(tmp_path)), num_cycles=100)


class TestBadInput:
    def test_an_option_that_is_not_possible_is_one_tick_of_waiting(self):
        for given in ({"olga": 4}, {"olga": 99}, {"olga": -1}, {"olga": None}, {}):
            env = options_in("observation_baseline")
            env.reset(seed=0)
            *_, infos = env.step(given)
            assert infos["olga"]["illegal_action"] == 1
            assert (infos["olga"]["option"], infos["olga"]["option_end"]) == ("Wait", "impossible")
            assert env.choosing == ("olga",)
            assert env.last_actions == {"olga": WAIT}

    def test_actions_for_nobody_and_of_no_number_are_refused(self):
        env = options_in("queue_conflict")
        with pytest.raises(ResetNeeded):
            env.step({"anna": 0})
        env.reset(seed=0)
        digest = env.state_digest()
        with pytest.raises(ActionError, match="unknown resident 'ana'; did you mean 'anna'"):
            env.step({"ana": 0})
        with pytest.raises(ActionError, match="anna: expected an option id from 0 to 6"):
            env.step({"anna": "GetFed"})
        assert env.state_digest() == digest
        assert env.choosing == ("anna", "ben", "cleo")

    def test_any_whole_number_will_do(self):
        env = options_in("queue_conflict")
        env.reset(seed=0)
        env.step({"anna": np.int64(GET_CLEAN), "ben": np.int32(GET_CLEAN), "cleo": True})
        assert env.last_actions["anna"] == env.last_actions["ben"] == GET_CLEAN

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"commitment": 0},
                "commitment: expected a whole number of ticks, at least 1, f",
            ),
            ({"commitment": 2.5}, "commitment: expected a whole number"),
            ({"commitment": True}, "commitment: expected a whole number"),
            ({"urgent": 1.5}, "urgent: expected a number from 0 to 1, found 1.5"),
            ({"gamma": float("nan")}, "gamma: expected a number from 0 to 1, found nan"),
        ],
    )
    def test_settings_out_of_range_are_refused(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            OptionActions(townlet_v0.parallel_env("queue_conflict"), **settings)

    def test_what_is_no_town_of_primitives_is_refused(self):
        from mpe2 import simple_spread_v3

        with pytest.raises(ConfigError, match=r"expected an environment of townlet_v0\.parallel"):
            OptionActions(simple_spread_v3.parallel_env())
        with pytest.raises(ConfigError, match=r"expected the town's own actions, .*Discrete\(7\)"):
            OptionActions(options_in("queue_conflict"))
        with pytest.raises(ConfigError, match="OptionActions goes around every other wrapper"):
            ScriptedScenario(options_in("queue_conflict"), ["anna"])


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("mask", ["obs", "info", "none"])
def test_it_passes_the_conformance_test_of_pettingzoo(scenario, mask):
    parallel_api_test(options_in(scenario, mask=mask), num_cycles=130)


@pytest.mark.parametrize("learners", [(), ("anna",), ("anna", "ben", "cleo")])
def test_it_conforms_over_scripts(learners):
    env = options_in("queue_conflict", learners=learners, observation="compact")
    parallel_api_test(env, num_cycles=130)


def test_it_passes_the_seed_test_of_pettingzoo():
    parallel_seed_test(lambda: options_in("queue_conflict"), num_cycles=100)
