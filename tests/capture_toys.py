"""Samples drawn by hypothesis, and small worlds whose every number says where it belongs."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pettingzoo import ParallelEnv

from townlet_replay.frames import Ending, Frame, SampleOrigin, frames_to_replay_sample
from townlet_replay.metrics import sample_metrics
from townlet_replay.sample import RESERVED, ReplaySample, with_meta
from townlet_replay.sidecar import Behaviour, CaptureMetadata, CaptureNames, SampleMeta

DTYPES = ("bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")
LOOKUP = {0: "wait", 1: "move:north", 2: "chat"}

plain_keys = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,12}", fullmatch=True).filter(
    lambda key: key not in RESERVED and not key.startswith(("final_", "segment_"))
)
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


def floats32(shape, **limits):
    return hnp.arrays(np.float32, shape, elements=st.floats(width=32, **limits))


def any_bits(rng, dtype, shape):
    """An array of any bits, so also of every NaN; hypothesis would spend its budget on elements."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    array = np.frombuffer(bytearray(rng.bytes(size)), np.uint8)
    return (array & 1 if dtype == "bool" else array).view(dtype).reshape(shape)


@st.composite
def row_layouts(draw):
    """What rows of one capture share: observations (key -> shape, dtype), and having a mask."""
    keys = draw(st.lists(plain_keys, min_size=1, max_size=3, unique=True))
    shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
    return {key: (draw(shapes), draw(st.sampled_from(DTYPES))) for key in keys}, draw(st.booleans())


@st.composite
def replay_samples(draw, agent=None, episode=None, layout=None):
    """Any sample the format can hold, without metrics."""
    columns, masked = draw(row_layouts()) if layout is None else layout
    rows, width = draw(st.integers(1, 6)), len(LOOKUP)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    observations, final = {}, {}
    for key, (shape, dtype) in columns.items():
        observations[key] = any_bits(rng, dtype, (rows, *shape))
        final[key] = any_bits(rng, dtype, shape)
    mask = None
    actions = rng.integers(0, width, rows)
    if masked:
        mask = rng.integers(0, 2, (rows, width), np.int8)
        mask[np.arange(rows), actions] = 1
    died = draw(st.booleans())
    values = draw(floats32(rows + 1, allow_infinity=False))
    values[-1] = 0 if died else values[-1]
    last = np.arange(rows) == rows - 1
    extras = {}
    if draw(st.booleans()):
        extras["behaviour_logits"] = any_bits(rng, np.float32, (rows, width))
    if draw(st.booleans()):
        extras["policy_version"] = any_bits(rng, np.int64, rows)
    return ReplaySample(
        observations=observations,
        action_mask=mask,
        actions=actions,
        rewards=draw(floats32(rows, allow_nan=False, allow_infinity=False)),
        terminations=last & died,
        truncations=last & (not died or draw(st.booleans())),
        old_log_probs=draw(floats32(rows, max_value=0, allow_infinity=False)),
        value_preds=values,
        ticks=any_bits(rng, np.int32, rows),
        final_observation=final,
        extras=extras,
        meta=SampleMeta(
            agent_id=draw(texts) if agent is None else agent,
            episode_id=draw(st.integers(0, 99)) if episode is None else episode,
            action_lookup=LOOKUP,
            action_dim=width,
            timesteps=rows,
            value_pred_steps=rows + 1,
            behaviour=Behaviour(kind=draw(st.sampled_from(["policy", "script_eps", "unknown"]))),
            tags=tuple(draw(st.lists(texts, max_size=2))),
            capture_metadata=CaptureMetadata(seed=draw(st.integers(-(2**63), 2**63 - 1))),
        ),
    )


def with_metrics(sample):
    return with_meta(sample, metrics=sample_metrics(sample, None, None))


def life(
    agent="anna", episode=0, rows=5, *, seed=0, dies=False, names=None, tags=(), value=0.25
) -> ReplaySample:
    """A plain sample with features and a mask: what most tests need."""
    rng = np.random.default_rng([seed, rows, episode])
    frames = [
        Frame(
            observation={"features": rng.uniform(-1, 1, 4).astype(np.float32)},
            action=int(rng.integers(1, 3)),
            reward=float(np.float32(rng.normal())),
            terminated=dies and t == rows - 1,
            truncated=not dies and t == rows - 1,
            tick=t + 1,
            action_mask=np.array([0, 1, 1], np.int8),
            log_prob=-0.5,
            value=value,
        )
        for t in range(rows)
    ]
    origin = SampleOrigin(
        agent,
        episode,
        len(LOOKUP),
        names or CaptureNames(LOOKUP, ("a", "rivalry_max", "rivalry_avoid_count", "d")),
        tags=tags,
    )
    ending = Ending({"features": np.ones(4, np.float32)}, 0.75)
    return with_metrics(frames_to_replay_sample(frames, ending, origin))


class Village(ParallelEnv):
    """Ana dies in step 3, Cat arrives after step 2, Ben and Cat are cut off after step 6.

    An observation is (number of the agent, steps done), a reward 10 x number + step, and the legal
    actions are 0 and 1 + steps done modulo 3. The observation arrays are *reused* by every step.
    """

    metadata = {"name": "village_v0", "render_modes": []}  # noqa: RUF012
    render_mode = None
    possible_agents = ["ana", "ben", "cat"]  # noqa: RUF012

    def __init__(self, *, mask="obs", fails_at=None, error=RuntimeError, last=6):
        self.mask, self.fails_at, self.error, self.last = mask, fails_at, error, last
        self.agents = []
        self.closed = False
        self._places = {a: np.zeros(2, np.float32) for a in self.possible_agents}
        self._masks = {a: np.zeros(4, np.int8) for a in self.possible_agents}
        space = {"place": spaces.Box(-100, 100, (2,), np.float32)}
        if mask == "obs":
            space["action_mask"] = spaces.Box(0, 1, (4,), np.int8)
        self._observation_space = spaces.Dict(space)
        self._action_space = spaces.Discrete(4)

    def observation_space(self, agent):
        return self._observation_space

    def action_space(self, agent):
        return self._action_space

    def legal(self):
        return 1 + self.steps % 3

    def _look(self, agents):
        for number, agent in enumerate(self.possible_agents):
            self._places[agent][:] = number, self.steps
            self._masks[agent][:] = 0
            self._masks[agent][[0, self.legal()]] = 1
        if self.mask == "obs":
            return {a: {"place": self._places[a], "action_mask": self._masks[a]} for a in agents}, {
                a: {} for a in agents
            }
        return {a: {"place": self._places[a]} for a in agents}, {
            a: {"action_mask": self._masks[a]} for a in agents
        }

    def reset(self, seed=None, options=None):
        self.steps = 0
        self.agents = ["ana", "ben"]
        return self._look(self.agents)

    def step(self, actions):
        if self.fails_at == self.steps:
            raise self.error("the village burns down")
        self.steps += 1
        agents = [*self.agents, "cat"] if self.steps == 2 else self.agents
        rewards = {a: 10.0 * self.possible_agents.index(a) + self.steps for a in agents}
        dead = {a: a == "ana" and self.steps == 3 for a in agents}
        cut = {a: self.steps == self.last and not dead[a] for a in agents}
        observations, infos = self._look(agents)
        self.agents = [a for a in agents if not dead[a] and not cut[a]]
        return observations, rewards, dead, cut, infos

    def render(self):
        return None

    def close(self):
        self.closed = True


def drive(env, *, until=None, annotate=False):
    """Play an episode with the action that is legal besides 0."""
    env.reset(seed=5)
    while env.agents and (until is None or env.unwrapped.steps < until):
        if annotate:
            steps = env.unwrapped.steps
            env.annotate(
                log_probs=dict.fromkeys(env.agents, -0.125 * (steps + 1)),
                values={a: np.float32(steps) for a in env.agents},
            )
        env.step(dict.fromkeys(env.agents, env.unwrapped.legal()))


class OneShot(ParallelEnv):
    """One agent, any spaces, fixed observations; ends after two steps."""

    metadata = {"name": "one_shot_v0"}  # noqa: RUF012
    render_mode = None
    possible_agents = ["solo"]  # noqa: RUF012

    def __init__(self, action_space, observation, *, reward=1.0, info=None):
        self._action_space = action_space
        self.observation, self.reward, self.info = observation, reward, info or {}
        self.agents = []

    def observation_space(self, agent):
        return None

    def action_space(self, agent):
        return self._action_space

    def reset(self, seed=None, options=None):
        self.steps, self.agents = 0, ["solo"]
        return {"solo": self.observation}, {"solo": self.info}

    def step(self, actions):
        self.steps += 1
        done = self.steps == 2
        self.agents = [] if done else ["solo"]
        return (
            {"solo": self.observation},
            {"solo": self.reward},
            {"solo": False},
            {"solo": done},
            {"solo": self.info},
        )

    def close(self):
        pass
