"""A town is recorded array by array; the files are those of a recorder that knows only dicts."""

import itertools

import numpy as np
import pytest
from env.mortal import MORTAL

from townlet_env.config.load import load_scenario
from townlet_env.policies.crew import Crew, with_policy
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.wrappers import ScriptedScenario
from townlet_replay.provenance import bare_town_of
from townlet_replay.recorder import RecordReplay
from townlet_replay.rerun import MemoryRecorder
from townlet_replay.sample import arrays_of, same_sample

VARIANTS = list(itertools.product(["hybrid", "full", "compact"], ["obs", "info", "none"]))


class OneByOne(TownletParallelEnv):
    """A town that the recorder takes for one that might show something else."""


class SumOfFeatures:
    """A critic whose value says what it was asked about, to the last key."""

    def values_of(self, observations):
        return {
            agent: sum(float(np.sum(part)) * (k + 1) for k, part in enumerate(seen.values()))
            for agent, seen in observations.items()
        }


def config():
    return load_scenario("queue_conflict", MORTAL)


def play(recorder, ticks=(90, 35)):
    """Live whole and broken episodes: somebody is idle, somebody does what is not allowed."""
    rng = np.random.default_rng(5)
    width = len(recorder.action_lookup)
    with recorder:
        for episode, length in enumerate(ticks):
            recorder.reset(seed=30 + episode)
            for tick in range(length):
                if not recorder.agents:
                    break
                there = list(recorder.agents)
                some = [a for a in there if rng.random() < 0.5]
                if rng.random() < 0.7:
                    recorder.annotate(
                        log_probs={a: -rng.random() for a in some},
                        values={a: np.float32(rng.normal()) for a in there[: rng.integers(4)]},
                        logits={a: rng.normal(size=width) for a in some},
                        intents={a: int(rng.integers(width)) for a in some},
                        policy_version=episode if rng.random() < 0.5 else None,
                    )
                actions = {a: int(rng.integers(width)) for a in there if rng.random() < 0.7}
                if rng.random() < 0.1:
                    actions[there[0]] = None
                if tick == length - 2:
                    recorder.annotate(values=dict.fromkeys(there, 0.5))
                # In the end all are idle.
                *_, infos = recorder.step(actions if tick < length - 1 else {})
                for info in infos.values():
                    info.get("reward_components", np.zeros(0))[...] = 9  # it is the caller's


def files(env, out, **settings):
    """Return what a recorder writes, by name."""
    play(RecordReplay(env, out, **settings))
    return {path.name: path.read_bytes() for path in out.iterdir()}


def samples(env, ticks=(90, 35), **settings):
    """Return what a recorder remembers."""
    recorder = MemoryRecorder(env, **settings)
    play(recorder, ticks)
    return recorder.memory.take()


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert same_sample(one, other), (one.meta.agent_id, one.meta.episode_id)


@pytest.mark.parametrize(("observation", "mask"), VARIANTS)
@pytest.mark.parametrize("details", [False, True])
def test_samples_are_the_same(observation, mask, details):
    shown = {"observation": observation, "mask": mask, "details": details}
    at_once, one_by_one = TownletParallelEnv(config(), **shown), OneByOne(config(), **shown)
    assert bare_town_of(at_once) is at_once
    assert bare_town_of(one_by_one) is None
    found = samples(at_once, policy=SumOfFeatures())
    assert_same(found, samples(one_by_one, policy=SumOfFeatures()))
    assert sum(sample.terminations[-1] for sample in found) > 3
    assert len({sample.meta.agent_id for sample in found}) > 3  # newcomers
    assert any(sample.ticks[0] > 1 for sample in found)
    assert any("illegal_actions" in sample.extras for sample in found) == (mask != "none")


@pytest.mark.parametrize("background", [False, True])
def test_scripts_around_the_town(tmp_path, background):
    def scripted(town):
        return ScriptedScenario(town(config(), details=True), learners=["anna"])

    one = scripted(TownletParallelEnv)
    assert bare_town_of(one) is one.unwrapped
    assert bare_town_of(ScriptedScenario(OneByOne(config()))) is None
    found = files(one, tmp_path / "town", background=background, agents=("anna", "ben"))
    assert found == files(scripted(OneByOne), tmp_path / "dicts", agents=("anna", "ben"))


def test_a_town_that_outgrows_the_room():
    """The first episode is short, so that the next one begins with little room."""
    longer = load_scenario("queue_conflict", {**MORTAL, "ticks": 400, "lives.exits_per_day": 0})
    found = samples(TownletParallelEnv(longer), ticks=(3, 400))
    assert_same(found, samples(OneByOne(longer), ticks=(3, 400)))
    assert max(sample.rows for sample in found) > 200


def test_events_belong_to_ticks_in_which_somebody_acted():
    """What ends while its resident is idle has no row; scripts that wait are idle half the time."""

    def live(env):
        crew = Crew(with_policy(env.config, "needs_driven"), env.plan)
        recorder, rng, idle = MemoryRecorder(env), np.random.default_rng(2), 0
        recorder.reset(seed=4)
        crew.reset(0)
        while recorder.agents:
            wanted = crew.act(env.batch, 0)
            done = {a: wanted[slot] for a, slot in env.slots.items()}
            actions = {a: x for a, x in done.items() if x or rng.random() < 0.5}
            *_, infos = recorder.step(actions)
            kinds = {a: [event["event"] for event in info["events"]] for a, info in infos.items()}
            idle += sum(kinds[a].count("affordance_finished") for a in kinds if a not in actions)
        recorder.seal()
        return recorder.memory.take(), idle

    town = load_scenario("kitchen_breakfast", {"expect": []})
    found, idle = live(TownletParallelEnv(town, details=True))
    assert idle > 0
    assert_same(found, live(OneByOne(town, details=True))[0])


@pytest.mark.parametrize("town", [TownletParallelEnv, OneByOne])
def test_what_waits_is_counted_whoever_is_wanted(town):
    """The arrays of an episode wait as a whole, also where one resident's samples are wanted."""

    def sizes(**settings):
        recorder, found = MemoryRecorder(town(config()), **settings), []
        put = recorder._out.put
        recorder._out.put = lambda job, size: (found.append(size), put(job, size))
        play(recorder)
        return found, recorder.memory.take()

    found, everybody = sizes()
    assert sizes(agents=("anna",))[0] == found
    kept = sum(array.nbytes for sample in everybody for array in arrays_of(sample).values())
    assert kept < sum(found) < 5 * kept
