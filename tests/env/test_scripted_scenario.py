"""The wrapper: scripted residents act, learners are the caller's, everybody can be seen."""

import warnings

import numpy as np
import pytest
from keeping import stored_and_read
from little_towns import little_town, scripted
from pettingzoo.utils.wrappers import BaseParallelWrapper

with warnings.catch_warnings():
    # The checks import one of PettingZoo's own games in a way PettingZoo deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import parallel_api_test

from townlet_env import townlet_v0
from townlet_env.config.load import load_scenario
from townlet_env.errors import ActionError, ConfigError, ResetNeeded
from townlet_env.story import run_story
from townlet_env.wrappers import ScriptedScenario

CLASSIC = (
    "kitchen_breakfast",
    "queue_conflict",
    "employment_punctuality",
    "rivalry_decay",
    "observation_baseline",
)


def wrapped(scenario="queue_conflict", learners=(), **settings):
    return ScriptedScenario(townlet_v0.parallel_env(scenario, **settings), learners)


@pytest.mark.parametrize("scenario", CLASSIC)
def test_a_town_without_learners_runs_by_itself_as_its_story_tells(scenario):
    env = wrapped(scenario)
    story = run_story(load_scenario(scenario), seed=7)
    env.reset(seed=7)
    names = env.possible_agents
    t = 0
    while env.agents:
        _, rewards, _, truncations, infos = env.step({})
        assert [env.last_actions[name] for name in names] == story.actions[t].tolist()
        assert [rewards[name] for name in names] == story.rewards[t].tolist()
        assert not any(info["illegal_action"] for info in infos.values())
        t += 1
    assert t == story.ticks
    assert all(truncations.values())
    assert env.controlled == ()


def test_everybody_is_seen_also_the_scripted():
    env = wrapped(learners=["anna"])
    observations, infos = env.reset(seed=0)
    assert list(observations) == list(infos) == env.agents == ["anna", "ben", "cleo"]
    for returned in env.step({"anna": 0}):
        assert list(returned) == ["anna", "ben", "cleo"]


@pytest.mark.parametrize("learner", ["anna", "ben", "cleo"])
def test_a_learner_may_replace_any_resident(learner):
    env = wrapped(learners=[learner])
    assert env.controlled == (learner,)
    alone = run_story(load_scenario("queue_conflict"), seed=3)
    slot = env.possible_agents.index(learner)
    env.reset(seed=3)
    t = 0
    while env.agents:  # what the script would have done, done by the caller
        env.step({learner: int(alone.actions[t, slot])})
        t += 1
    assert env.state_digest() == replayed(alone.actions)


def replayed(actions: np.ndarray) -> str:
    env = townlet_v0.parallel_env("queue_conflict")
    env.reset(seed=3)
    for row in actions:
        env.step(dict(zip(env.possible_agents, row.tolist(), strict=True)))
    return env.state_digest()


def test_a_learner_is_not_moved_by_its_script():
    env = wrapped(learners=["anna"])
    env.reset(seed=0)
    world = env.unwrapped.batch.worlds[0]
    before = int(world.x[0]), int(world.y[0])
    for _ in range(3):  # later the others would swap places with whoever stands in the way
        env.step({"anna": 0})
    assert (int(world.x[0]), int(world.y[0])) == before
    assert env.last_actions["anna"] == 0
    assert env.last_actions["ben"] != 0


def test_residents_whose_policy_is_learner_are_the_callers(tmp_path):
    town = little_town(
        tmp_path,
        [{"id": "ana", "cell": [4, 2], "policy": "learner"}, scripted("bo", (5, 2), {"wait": 9})],
    )
    env = wrapped(town)
    assert env.controlled == ("ana",)


def test_an_action_for_a_scripted_resident_is_ignored():
    env, other = wrapped(), wrapped()
    env.reset(seed=1)
    other.reset(seed=1)
    for _ in range(30):
        env.step({"anna": 1, "ben": 2})
        other.step({})
        assert env.last_actions == other.last_actions
    assert env.state_digest() == other.state_digest()


def test_a_learner_without_an_action_waits_and_is_told():
    env = wrapped(learners=["anna"])
    env.reset(seed=0)
    *_, infos = env.step({})
    assert {name: info["illegal_action"] for name, info in infos.items()} == {
        "anna": 1,
        "ben": 0,
        "cleo": 0,
    }
    assert "anna" not in env.last_actions


def test_what_is_wrong_is_refused():
    with pytest.raises(ConfigError, match="unknown resident 'ana'; did you mean 'anna'"):
        wrapped(learners=["ana"])
    env = wrapped(learners=["anna"])
    with pytest.raises(ResetNeeded):
        env.step({"anna": 0})
    env.reset()
    with pytest.raises(ActionError, match="unknown resident 'bne'; did you mean 'ben'"):
        env.step({"bne": 0})


def test_another_environment_is_refused():
    from mpe2 import simple_spread_v3

    with pytest.raises(ConfigError, match=r"expected an environment of townlet_v0\.parallel_env"):
        ScriptedScenario(simple_spread_v3.parallel_env())


def test_it_wraps_wrappers_and_may_be_wrapped():
    inner = BaseParallelWrapper(townlet_v0.parallel_env("queue_conflict"))
    env = BaseParallelWrapper(ScriptedScenario(inner, ["anna"]))
    env.reset(seed=0)
    env.step({"anna": 0})
    assert env.controlled == ("anna",)
    assert sorted(env.last_actions) == ["anna", "ben", "cleo"]


def test_every_episode_begins_its_scripts_anew():
    env = wrapped("kitchen_breakfast")
    seen = []
    for _ in range(2):
        env.reset(seed=5)
        assert env.last_actions == {}
        actions = []
        while env.agents:
            env.step({})
            actions.append(tuple(env.last_actions.values()))
        seen.append(actions)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("scenario", CLASSIC)
def test_scripts_resume_from_a_state_and_in_a_clone(scenario):
    env, other = wrapped(scenario), wrapped(scenario)
    env.reset(seed=2)
    half = env.config.ticks // 2 + 3
    for _ in range(half):
        env.step({})
    state = stored_and_read(env.get_state())
    twin = env.clone()
    other.reset(seed=9)
    other.set_state(state)
    while env.agents:
        env.step({})
        twin.step({})
        other.step({})
        assert env.last_actions == twin.last_actions == other.last_actions
    assert env.state_digest() == twin.state_digest() == other.state_digest()
    assert not twin.agents
    assert not other.agents


@pytest.mark.parametrize("mask", ["obs", "info", "none"])
def test_scripts_do_not_need_the_mask_in_the_observation(mask):
    env = wrapped(mask=mask, observation="compact")
    env.reset(seed=0)
    while env.agents:
        env.step({})
    assert env.state_digest() == finished_digest()


def finished_digest() -> str:
    env = wrapped()
    env.reset(seed=0)
    while env.agents:
        env.step({})
    return env.state_digest()


@pytest.mark.parametrize("learners", [(), ("anna",), ("anna", "ben", "cleo")])
def test_it_passes_the_conformance_test_of_pettingzoo(learners):
    parallel_api_test(wrapped(learners=learners), num_cycles=130)
