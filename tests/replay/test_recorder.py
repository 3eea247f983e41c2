"""RecordReplay pairs what was seen with what was done on it, whatever the environment does."""

import math
import warnings

import numpy as np
import pytest
from capture_toys import OneShot, Village, drive
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from mpe2 import simple_spread_v3
from pettingzoo.utils.wrappers import BaseParallelWrapper
from recorded_village import LIVES, check_village, drive_solo, samples_of

from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.recorder import RecordReplay
from townlet_replay.rollout import pack
from townlet_replay.sidecar import Behaviour, CaptureNames

with warnings.catch_warnings():  # importing the tests of PettingZoo imports deprecated modules
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import parallel_api_test


@pytest.mark.parametrize("mask", ["obs", "info"])
def test_deaths_arrivals_and_reused_buffers(tmp_path, mask):
    env = RecordReplay(Village(mask=mask), tmp_path)
    drive(env)
    found = check_village(tmp_path)
    sample = found["cat", 0]
    assert sample.meta.action_lookup == {i: f"action_{i}" for i in range(4)}
    assert sample.meta.behaviour.kind == "unknown"
    assert np.isnan(sample.old_log_probs).all()
    assert np.isnan(sample.value_preds).all()
    assert sample.meta.capture_metadata.seed == 5
    assert set(sample.meta.capture_metadata.versions) == {
        "python",
        "townlet",
        "numpy",
        "gymnasium",
        "pettingzoo",
    }
    assert sample.meta.capture_metadata.captured_at is None
    assert sample.meta.capture_metadata.kernel_digest is None
    assert pack(list(load_capture(tmp_path))).segment_starts.tolist() == [0, 3, 9]


def test_what_the_environment_returns_is_passed_on(tmp_path):
    plain, recorded = Village(), RecordReplay(Village(), tmp_path, tags=("x",))
    assert isinstance(recorded, BaseParallelWrapper)
    assert repr(plain.reset()) == repr(recorded.reset())
    while plain.agents:
        actions = dict.fromkeys(plain.agents, plain.legal())
        assert repr(plain.step(actions)) == repr(recorded.step(actions))
    assert recorded.observation_space("ana") is recorded.env.observation_space("ana")
    assert load_capture(tmp_path).manifest.samples[0].tags == ("x",)


def test_log_probs_values_logits_intents_and_final_values(tmp_path):
    env = RecordReplay(Village(), tmp_path, behaviour=Behaviour(kind="policy", temperature=0.5))
    env.reset(seed=1)
    rng = np.random.default_rng(0)
    log_probs, values = [], []
    while env.agents:
        log_probs.append({a: np.float32(-rng.random()) for a in env.agents})
        values.append({a: np.float32(rng.random()) for a in env.agents})
        env.annotate(log_probs=log_probs[-1], values=values[-1], policy_version=4)
        env.annotate(logits=dict.fromkeys(env.agents, np.arange(4)), intents={"ben": 2})
        env.step(dict.fromkeys(env.agents, env.unwrapped.legal()))
    assert not tmp_path.joinpath("rollout_sample_manifest.json").exists()  # waits for values
    env.annotate_final(values={"ben": 8.5})
    env.annotate_final(values={"cat": 7.5, "ana": 3.0})
    found = check_village(tmp_path)
    for agent, (first, last) in LIVES.items():
        sample = found[agent, 0]
        assert sample.old_log_probs.tolist() == [log_probs[s][agent] for s in range(first, last)]
        expected = [values[s][agent] for s in range(first, last)]
        final = {"ana": 0.0, "ben": 8.5, "cat": 7.5}[agent]
        assert sample.value_preds.tolist() == [*expected, final]
        assert (sample.extras["policy_version"] == 4).all()
        assert sample.extras["behaviour_logits"].tolist() == [[0, 1, 2, 3]] * (last - first)
        assert ("intent_actions" in sample.extras) == (agent == "ben")
        assert sample.meta.behaviour == Behaviour(kind="policy", temperature=0.5)
    assert (found["ben", 0].extras["intent_actions"] == 2).all()


class SumOfPlace:
    """A critic whose value says which observation it was asked about."""

    def __init__(self):
        self.asked = []

    def values_of(self, observations):
        self.asked.append(sorted(observations))
        assert all(set(o) == {"place", "action_mask"} for o in observations.values())
        return {a: float(o["place"] @ [100, 1]) for a, o in observations.items()}


@pytest.mark.parametrize("until", [None, 4])
def test_a_policy_values_the_last_observation_of_those_cut_off(tmp_path, until):
    critic = SumOfPlace()
    env = RecordReplay(Village(), tmp_path, policy=critic)
    drive(env, until=until, annotate=True)
    env.close()
    found = check_village(tmp_path, until=until or 6)
    end = until or 6
    assert found["ben", 0].value_preds[-1] == 100 + end
    assert found["cat", 0].value_preds[-1] == 200 + end
    assert found["ana", 0].value_preds[-1] == 0
    assert critic.asked == [["ben", "cat"]]
    assert found["ben", 0].meta.behaviour.kind == "policy"


def test_a_policy_is_not_asked_about_agents_without_values(tmp_path):
    critic = SumOfPlace()
    env = RecordReplay(Village(), tmp_path, policy=critic)
    drive(env)
    assert critic.asked == []
    assert np.isnan(samples_of(tmp_path)["ben", 0].value_preds).all()


def test_final_values_of_an_episode_that_goes_on_are_forgotten(tmp_path):
    env = RecordReplay(Village(), tmp_path)
    drive(env, until=3, annotate=True)
    env.annotate_final(values={"ben": 99.0, "ana": 99.0})
    env.annotate(values={"ben": 1.0})
    env.step({"ben": env.unwrapped.legal()})
    env.close()
    found = samples_of(tmp_path)
    assert math.isnan(found["ben", 0].value_preds[-1])
    assert found["ana", 0].value_preds[-1] == 0


def test_who_acts(tmp_path):
    behaviour = {"ana": "script", "ben": Behaviour(kind="script_eps", epsilon=0.1)}
    env = RecordReplay(Village(), tmp_path, behaviour=behaviour)
    env.reset()
    while env.agents:
        if "cat" in env.agents:
            env.annotate(log_probs={"cat": -0.75})
        env.step(dict.fromkeys(env.agents, env.unwrapped.legal()))
    found = samples_of(tmp_path)
    assert found["ana", 0].meta.behaviour.kind == "script"
    assert (found["ana", 0].old_log_probs == 0).all()
    assert found["ben", 0].meta.behaviour.epsilon == 0.1
    assert np.isnan(found["ben", 0].old_log_probs).all()
    assert found["cat", 0].meta.behaviour.kind == "policy"
    assert (found["cat", 0].old_log_probs == -0.75).all()


@settings(max_examples=25, deadline=None)
@given(acting=st.lists(st.sets(st.sampled_from(["ana", "ben", "cat"])), min_size=6, max_size=6))
def test_only_rows_on_which_an_agent_acted(tmp_path_factory, acting):
    path = tmp_path_factory.mktemp("capture")
    env = RecordReplay(Village(), path)
    env.reset()
    expected = {agent: [] for agent in LIVES}
    for step, agents in enumerate(acting):
        actions = {a: env.unwrapped.legal() for a in sorted(agents & set(env.agents))}
        for agent in actions:
            expected[agent].append(step)
        env.step(actions)
    env.close()
    if not any(expected.values()):
        assert not list(path.iterdir())
        return
    found = samples_of(path)
    assert {agent for agent, steps in expected.items() if steps} == {agent for agent, _ in found}
    for (agent, _), sample in found.items():
        assert sample.observations["place"][:, 1].tolist() == expected[agent]
        # an agent that ends in a step in which it does not act still ends
        assert sample.final_observation["place"][1] == LIVES[agent][1]
        assert sample.terminations[-1] == (agent == "ana")


def test_only_some_agents(tmp_path):
    env = RecordReplay(Village(), tmp_path / "c", agents=("cat",))
    drive(env, until=2)
    env.reset()
    assert not (tmp_path / "c").exists()  # she has not arrived yet
    drive(env)
    assert [key[0] for key in samples_of(tmp_path / "c")] == ["cat"]


def test_the_same_run_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        with RecordReplay(Village(), tmp_path / name, behaviour="script") as env:
            drive(env)
            drive(env, until=3)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e300])
def test_a_reward_that_is_no_number(tmp_path, wrong):
    env = RecordReplay(OneShot(spaces.Discrete(2), np.zeros(2)), tmp_path)
    env.reset()
    env.step({"solo": 1})
    env.unwrapped.reward = wrong
    with pytest.raises(
        CaptureError, match=r"the reward .* for agent 'solo'; expected a finite number"
    ):
        env.step({"solo": 1})
    (sample,) = load_capture(tmp_path)
    assert sample.rows == 1


def test_an_action_against_the_mask_is_recorded_as_such(tmp_path):
    env = RecordReplay(Village(), tmp_path)
    env.reset()
    env.step({"ana": 1, "ben": 3})
    env.close()
    found = samples_of(tmp_path)
    assert found["ben", 0].extras["illegal_actions"].tolist() == [True]
    assert "illegal_actions" not in found["ana", 0].extras


def test_wrong_annotations(tmp_path):
    env = RecordReplay(Village(), tmp_path)
    with pytest.raises(CaptureError, match="agent 'ana' is not there"):
        env.annotate(values={"ana": 1.0})
    env.reset()
    with pytest.raises(CaptureError, match="agent 'cat' is not there"):
        env.annotate(log_probs={"cat": -1.0})
    with pytest.raises(CaptureError, match=r"log-prob 0\.5 of an action id is above 0"):
        env.annotate(log_probs={"ana": 0.5})
    with pytest.raises(CaptureError, match="the value is inf"):
        env.annotate(values={"ana": math.inf})
    with pytest.raises(CaptureError, match="action 9 cannot be recorded"):
        env.annotate(intents={"ana": 9})
    with pytest.raises(CaptureError, match="has no rows in an open episode"):
        env.annotate_final(values={"ana": 1.0})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mode": "light"}, "mode: Input should be 'full', 'packed' or 'actions', found"),
        ({"behaviour": "robot"}, "settings of the recording: behaviour"),
        ({"prefix": "../x"}, "cannot begin a file name"),
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"names": CaptureNames({0: "wait"})}, "1 action names for a space of 4 actions"),
    ],
)
def test_wrong_settings(tmp_path, wrong, message):
    with pytest.raises(CaptureError, match=message):
        RecordReplay(Village(), tmp_path, **wrong).reset()


def test_columns_and_counts_from_infos(tmp_path):
    info = {
        "tick": 40,
        "illegal_action": 1,
        "reward_components": np.array([0.5, -0.25], np.float32),
        "events": ({"event": "queue_conflict", "by": "solo", "value": 1.5},),
    }
    names = CaptureNames({0: "wait", 1: "chat"}, ("x", "y"), None, ("needs", "clip"))
    env = RecordReplay(
        OneShot(spaces.Discrete(2), {"features": np.zeros(2, np.float32)}, info=info),
        tmp_path,
        names=names,
    )
    drive_solo(env, 1)
    (sample,) = load_capture(tmp_path)
    assert sample.ticks.tolist() == [40, 40]
    assert sample.extras["reward_components"].tolist() == [[0.5, -0.25]] * 2
    assert sample.meta.action_lookup == {0: "wait", 1: "chat"}
    assert sample.meta.feature_names == ("x", "y")
    metrics = sample.meta.metrics
    assert metrics.queue_conflict_events == 2
    assert metrics.queue_conflict_intensity_sum == 3
    assert metrics.action_blocked_ratio == 1
    assert metrics.reward_component_sums == {"needs": 1, "clip": -0.5}
    assert metrics.clip_share == 1


def test_an_environment_that_forgets_the_dead(tmp_path):
    class Forgetful(Village):
        def step(self, actions):
            observations, *rest = super().step(actions)
            return {a: observations[a] for a in self.agents or observations}, *rest

    drive(RecordReplay(Forgetful(), tmp_path))
    found = samples_of(tmp_path)
    assert found["ana", 0].rows == 3
    assert found["ana", 0].terminations[-1]
    assert found["ana", 0].final_observation["place"].tolist() == [0, 2]  # the last it saw


def test_an_environment_that_keeps_the_dead_acting(tmp_path):
    class Undead(Village):
        def step(self, actions):
            living = self.agents
            returned = super().step(actions)
            self.agents = living if self.steps < 6 else []
            return returned

    env = RecordReplay(Undead(), tmp_path)
    drive(env)
    found = samples_of(tmp_path)
    assert found["ana", 0].rows == 3
    assert found["ben", 0].rows == 6


def test_an_environment_that_hides_what_followed(tmp_path):
    class Secretive(Village):
        def step(self, actions):
            observations, *rest = super().step(actions)
            return {a: observations[a] for a in self.agents}, *rest

    with pytest.raises(CaptureError, match="returned no observation for agent 'ben'"):
        drive(RecordReplay(Secretive(last=4), tmp_path))
    check_rows = {agent: s.rows for (agent, _), s in samples_of(tmp_path).items()}
    assert check_rows == {"ana": 3, "ben": 3, "cat": 1}


def test_a_foreign_environment(tmp_path):
    env = simple_spread_v3.parallel_env(N=2, max_cycles=7)
    with RecordReplay(env, tmp_path, behaviour="unknown") as recorded:
        observations, _ = recorded.reset(seed=3)
        rng, seen, done = np.random.default_rng(0), [], []
        while recorded.agents:
            actions = {a: int(rng.integers(5)) for a in recorded.agents}
            seen.append(observations)
            observations, rewards, *_ = recorded.step(actions)
            done.append((actions, rewards))
    for sample in load_capture(tmp_path):
        agent = sample.meta.agent_id
        assert sample.observations["observation"].tolist() == [o[agent].tolist() for o in seen]
        assert sample.actions.tolist() == [a[agent] for a, _ in done]
        assert sample.rewards.tolist() == [np.float32(r[agent]) for _, r in done]
        assert sample.final_observation["observation"].tolist() == observations[agent].tolist()
        assert sample.truncations.tolist() == [False] * 6 + [True]
        assert sample.meta.feature_names is None


@pytest.mark.parametrize("make", [Village, simple_spread_v3.parallel_env])
def test_the_wrapped_environment_passes_pettingzoos_test(tmp_path, make):
    env = RecordReplay(make(), tmp_path)
    with warnings.catch_warnings():
        # An arrival is new in the dicts of its first step, which the test takes for a slip.
        warnings.filterwarnings("ignore", "Agent was given")
        parallel_api_test(env, num_cycles=30)
    env.close()
    assert len(load_capture(tmp_path)) == 6
