"""Whatever an environment does, the recorder keeps what the plainest one would."""

from contextlib import suppress

import numpy as np
from capture_toys import any_bits
from gymnasium import spaces
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naive_recorder import NaiveRecorder
from pettingzoo import ParallelEnv

from townlet_replay.errors import CaptureError
from townlet_replay.rerun import MemoryRecorder
from townlet_replay.sample import same_sample

ACTIONS = 3
NAMES = ("ana", "ben", "cat", "dan")
LOOKUP = {i: f"action_{i}" for i in range(ACTIONS)}
KINDS = ("array", "dict", "dict, mask inside", "dict, mask in info", "array, mask in info")


class Fate(ParallelEnv):
    """People come, go and come back by chance; what is seen is chance, in buffers used again."""

    metadata = {"name": "fate_v0", "render_modes": []}  # noqa: RUF012
    render_mode = None
    possible_agents = list(NAMES)  # noqa: RUF012

    def __init__(self, seed, kind, told):
        self.rng, self.kind, self.told = np.random.default_rng(seed), kind, told
        self.agents, self.steps = [], 0
        self._space = spaces.Discrete(ACTIONS)
        self._arrays = {
            a: {"x": np.zeros(2, np.float32), "map": np.zeros((2, 1, 3), np.uint8)} for a in NAMES
        }
        self._masks = {a: np.zeros(ACTIONS, np.int8) for a in NAMES}

    def observation_space(self, agent):
        return None

    def action_space(self, agent):
        return self._space

    def _look(self, agent):
        arrays, rng = self._arrays[agent], self.rng
        for array in arrays.values():
            array[...] = any_bits(rng, array.dtype, array.shape)
        self._masks[agent][:] = rng.integers(0, 2, ACTIONS)
        if "odd" in self.told and rng.random() < 0.03:  # unlike what was seen before
            with np.errstate(invalid="ignore"):  # some NaNs are no good to a cast
                arrays = {**arrays, "x": arrays["x"].astype(np.float64)}
        seen = arrays["x"] if self.kind.startswith("array") else dict(arrays)
        if self.kind == "dict, mask inside":
            seen["action_mask"] = self._masks[agent]
        return seen

    def _inform(self, agent):
        info, rng = {}, self.rng
        if self.kind.endswith("mask in info"):
            info["action_mask"] = self._masks[agent]
        for name in self.told:
            if name == "sometimes" and rng.random() < 0.5:
                info["illegal_action"] = int(rng.integers(2))
            elif name == "tick":
                info["tick"] = 10 * self.steps
            elif name == "illegal_action":
                info["illegal_action"] = bool(rng.integers(2))
            elif name == "events":
                event = {"event": "queue_conflict", "affordance": None, "value": rng.random()}
                info["events"] = [event] * int(rng.integers(3))
        return info

    def reset(self, seed=None, options=None):
        self.steps = 0
        self.agents = [a for a in NAMES if self.rng.random() < 0.7] or ["ana"]
        return {a: self._look(a) for a in self.agents}, {a: self._inform(a) for a in self.agents}

    def step(self, actions):
        self.steps += 1
        rng, there = self.rng, list(self.agents)
        came = [a for a in NAMES if a not in there and rng.random() < 0.2]
        everybody = [*there, *came]
        dead = {a: a in there and rng.random() < 0.1 for a in everybody}
        cut = {a: a in there and rng.random() < 0.05 for a in everybody}
        slipped_away = [a for a in there if rng.random() < 0.05]
        observations = {a: self._look(a) for a in everybody if not dead[a] or rng.random() < 0.7}
        rewards = {a: np.float32(rng.normal()) for a in everybody}
        infos = {a: self._inform(a) for a in everybody}
        self.agents = [a for a in everybody if not dead[a] and not cut[a] and a not in slipped_away]
        return observations, rewards, dead, cut, infos


def notes_for(rng, there):
    """What is attached to a step: to some, or to nobody."""

    def some(draw):
        return {a: draw() for a in there if rng.random() < 0.6} if rng.random() < 0.6 else {}

    return {
        "log_probs": some(lambda: -float(rng.random())),
        "values": some(lambda: np.float32(rng.normal())),
        "logits": some(lambda: rng.normal(size=ACTIONS).astype(np.float32)),
        "intents": some(lambda: int(rng.integers(ACTIONS))),
        "policy_version": int(rng.integers(9)) if rng.random() < 0.3 else None,
    }


def annotate(recorder, rng, notes):
    """Attach notes in one call, or kind by kind."""
    if rng.random() < 0.5:
        recorder.annotate(**notes)
        return
    for kind, table in notes.items():
        recorder.annotate(**{kind: table})


@settings(max_examples=150, deadline=None)
@example(
    seed=4880116,
    kind="array",
    told={"events", "tick", "odd", "sometimes", "illegal_action"},
    steps=16,
    all_act=False,
)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    told=st.sets(st.sampled_from(["tick", "illegal_action", "sometimes", "events", "odd"])),
    steps=st.integers(1, 30),
    all_act=st.booleans(),
)
def test_samples_are_those_of_the_plain_recorder(seed, kind, told, steps, all_act):
    env, rng = Fate(seed, kind, sorted(told)), np.random.default_rng([seed, 1])
    recorder = MemoryRecorder(env)
    returned = []
    step = env.step
    env.step = lambda actions: returned.append(step(actions)) or returned[-1]
    seen, infos = recorder.reset(seed=3)
    naive = NaiveRecorder(env.agents, seen, infos)
    for _ in range(steps):
        if not env.agents:
            break
        there = [a for a in env.agents if a in naive.seen]
        notes = notes_for(rng, there)
        annotate(recorder, rng, notes)
        actions = {a: int(rng.integers(ACTIONS)) for a in NAMES if all_act or rng.random() < 0.8}
        if rng.random() < 0.2:
            actions[NAMES[0]] = None
        with suppress(CaptureError):  # of lives that can be no samples
            recorder.step(actions)
        naive.advance(actions, notes, returned[-1], env.agents)
        if naive.rows and recorder.recording and rng.random() < 0.2:
            agent = rng.choice(sorted(naive.rows))
            naive.final_values[agent] = float(np.float32(rng.random()))
            with suppress(CaptureError):  # as above, if this was the last that was missing
                recorder.annotate_final(values={agent: naive.final_values[agent]})
    with suppress(CaptureError):
        recorder.seal()
    found = {sample.meta.agent_id: sample for sample in recorder.memory.take()}
    metadata = recorder.capture_metadata.model_copy(update={"seed": 3})
    expected = naive.samples(LOOKUP, metadata)
    assert found.keys() == expected.keys()
    for agent, sample in expected.items():
        assert same_sample(found[agent], sample), agent
