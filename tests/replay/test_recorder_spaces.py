"""RecordReplay over any space: what can be recorded, and what is refused."""

import numpy as np
import pytest
from capture_toys import OneShot
from gymnasium import spaces
from recorded_village import drive_solo

from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.recorder import RecordReplay
from townlet_replay.rollout import pack
from townlet_replay.spaces import flatten_observation, plain_key

BOX = spaces.Box(-1, 1, (2, 2), np.float32)


@pytest.mark.parametrize(
    ("space", "action", "stored", "dtype", "dim"),
    [
        (spaces.Discrete(3, start=5), 6, 1, np.int64, 3),
        (BOX, np.full((2, 2), 0.25), [[0.25, 0.25]] * 2, np.float32, 4),
        (spaces.MultiDiscrete([3, 4]), np.array([2, 3]), [2, 3], np.int64, 2),
        (spaces.MultiBinary(3), np.array([0, 1, 1], np.int8), [0, 1, 1], np.int64, 3),
    ],
)
def test_action_spaces(tmp_path, space, action, stored, dtype, dim):
    env = RecordReplay(OneShot(space, np.zeros(2)), tmp_path)
    drive_solo(env, action)
    (sample,) = load_capture(tmp_path)
    assert sample.actions.dtype == dtype
    assert sample.actions.tolist() == [stored, stored]
    assert sample.meta.action_dim == dim
    names = {0: "action_5", 1: "action_6", 2: "action_7"}
    assert sample.meta.action_lookup == (names if isinstance(space, spaces.Discrete) else {})
    assert sample.meta.metrics.action_counts == (
        {"action_6": 2} if isinstance(space, spaces.Discrete) else None
    )
    assert len(pack([sample]).actions) == 2


def test_nested_observations_of_any_numbers(tmp_path):
    observation = {
        "rewards": np.arange(3, dtype=np.int16),
        "deep": {"a b": 1.5, "pair": (True, np.zeros((2, 0), ">f8"))},
        "final_x": 7,
        "action_mask": np.ones(5, np.float16),  # no mask: a Box has none
    }
    env = RecordReplay(OneShot(BOX, observation), tmp_path)
    drive_solo(env, np.zeros((2, 2)))
    (sample,) = load_capture(tmp_path)
    assert {k: (v.dtype.str, v.shape) for k, v in sample.observations.items()} == {
        "deep_a_b": ("<f8", (2,)),
        "deep_pair_0": ("|b1", (2,)),
        "deep_pair_1": ("<f8", (2, 2, 0)),
        "observation_action_mask": ("<f2", (2, 5)),
        "observation_final_x": ("<i8", (2,)),
        "observation_rewards": ("<i2", (2, 3)),
    }
    assert sample.action_mask is None
    assert plain_key(()) == "observation"
    with pytest.raises(CaptureError, match="would both be called 'a_b'"):
        flatten_observation({"a b": np.zeros(1), "a-b": np.zeros(1)})


@pytest.mark.parametrize(
    ("space", "observation", "message"),
    [
        (spaces.Text(3), np.zeros(2), "actions of Text.* cannot be recorded"),
        (BOX, "hello", "an observation of str"),
        (BOX, {"a": [None]}, "an observation of NoneType"),
        (BOX, {}, "an empty observation"),
        (BOX, np.zeros(2, complex), "an observation of ndarray"),
        (
            spaces.Discrete(3),
            {"x": 1, "action_mask": np.ones(4)},
            "mask has shape .4,.; expected 3",
        ),
        (
            spaces.Discrete(2),
            {"x": 1, "action_mask": np.array([0, 7])},
            "expected 2 numbers, 0 or 1",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused_at_reset(tmp_path, space, observation, message):
    env = RecordReplay(OneShot(space, observation), tmp_path)
    with pytest.raises(CaptureError, match=message):
        env.reset()


@pytest.mark.parametrize(
    ("space", "action", "message"),
    [
        (spaces.Discrete(3), 3, "action 3 cannot be recorded; expected 0 to 2"),
        (spaces.Discrete(3), -1, "action -1 cannot be recorded"),
        (BOX, np.zeros(3), "an action of shape"),
    ],
)
def test_an_action_outside_its_space_never_reaches_the_environment(
    tmp_path, space, action, message
):
    env = RecordReplay(OneShot(space, np.zeros(2)), tmp_path)
    env.reset()
    with pytest.raises(CaptureError, match=message):
        env.step({"solo": action})
    assert env.unwrapped.steps == 0


class Uneven(OneShot):
    """Two agents who cannot do the same things."""

    possible_agents = ["few", "many"]  # noqa: RUF012

    def __init__(self, few, many):
        super().__init__(None, np.zeros(2))
        self._spaces = {"few": few, "many": many}

    def action_space(self, agent):
        return self._spaces[agent]

    def reset(self, seed=None, options=None):
        seen, infos = super().reset(seed, options)
        self.agents = list(self.possible_agents)
        return tuple(dict.fromkeys(self.agents, part["solo"]) for part in (seen, infos))

    def step(self, actions):
        returned = super().step(actions)
        self.agents = list(self.possible_agents) if self.agents else []
        return tuple(dict.fromkeys(self.possible_agents, part["solo"]) for part in returned)


@pytest.mark.parametrize(
    ("few", "wrong"),
    [(spaces.Discrete(2), 4), (spaces.Discrete(5, start=1), 0), (spaces.Discrete(3, start=-1), 2)],
)
def test_agents_who_cannot_do_the_same(tmp_path, few, wrong):
    env = RecordReplay(Uneven(few, spaces.Discrete(5)), tmp_path)
    env.reset()
    with pytest.raises(CaptureError, match=f"agent 'few': action {wrong} cannot be recorded"):
        env.step({"few": wrong, "many": 4})
    for _ in range(2):
        env.step({"few": np.int64(1), "many": 4.0})
    found = {sample.meta.agent_id: sample.actions for sample in load_capture(tmp_path)}
    assert found["few"].tolist() == [1 - few.start] * 2
    assert found["many"].tolist() == [4, 4]
    assert found["many"].dtype == np.int64


def test_a_last_observation_unlike_the_others(tmp_path):
    class Odd(OneShot):
        def step(self, actions):
            _, *returned = super().step(actions)
            return {"solo": np.zeros(2, np.float32 if self.steps == 2 else np.float64)}, *returned

    env = RecordReplay(Odd(spaces.Discrete(2), np.zeros(2)), tmp_path)
    with pytest.raises(CaptureError, match="observation changes its shape or dtype between rows"):
        drive_solo(env, 1)
    assert not list(tmp_path.iterdir())
