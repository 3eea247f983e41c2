"""The probe names the first thing that an environment does not do again."""

import itertools

import numpy as np
import pytest
from capture_toys import OneShot, Village
from gymnasium import spaces

from townlet_env.config.load import load_scenario
from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.determinism import Difference, check_repeatable, probe
from townlet_replay.errors import CaptureError


class Known(Village):
    """A village with a hash of its state, and one thing that is never the same."""

    odd = None

    def __init__(self, odd=None, at=2):
        super().__init__()
        self.odd, self.at = odd, at
        self.count = itertools.count()

    def state_digest(self):
        number = next(self.count) if self.odd == "state" and self.steps == self.at else 0
        return f"{self.steps} {number}"

    def step(self, actions):
        seen, rewards, dead, cut, infos = super().step(actions)
        if self.steps == self.at and next(self.count):
            if self.odd == "place":
                seen["ben"]["place"] = seen["ben"]["place"] + np.float32(1e-6)
            if self.odd == "reward":
                rewards["ben"] += 1e-9
            if self.odd == "termination":
                dead["ben"] = True
            if self.odd == "length":
                self.agents = []
        return seen, rewards, dead, cut, infos


def test_a_deterministic_environment_passes():
    assert probe(Known()) is None
    assert probe(TownletParallelEnv(load_scenario("queue_conflict"), mask="info")) is None


@pytest.mark.parametrize(
    ("odd", "agent"),
    [("state", None), ("place", "ben"), ("reward", "ben"), ("termination", "ben")],
)
def test_the_first_difference_is_named(odd, agent):
    assert probe(Known(odd)) == Difference(2, agent, odd)
    assert probe(Known(odd, at=1)) == Difference(1, agent, odd)


def test_an_episode_that_ends_earlier_is_a_difference():
    assert probe(Known("length")) == Difference(2, None, "agents")


def test_what_lies_beyond_the_probe_is_not_seen():
    assert probe(Known("reward", at=5), steps=4) is None


class Shot(OneShot):
    """One agent, any actions, and a record of what it was given."""

    given = ()

    def state_digest(self):
        return str(self.steps)

    def step(self, actions):
        self.given = (*self.given, np.array(actions["solo"]).tolist())
        return super().step(actions)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (3,), np.float32),
        spaces.MultiDiscrete([3, 4]),
        spaces.MultiBinary(3),
        spaces.Discrete(5, start=-2),
    ],
    ids=str,
)
def test_actions_are_drawn_from_any_space_and_the_same_twice(space):
    env = Shot(space, np.zeros(2, np.float32))
    space.seed(1)
    assert probe(env) is None
    assert len(env.given) == 4
    assert env.given[:2] == env.given[2:]
    untouched = type(space)(*_arguments(space))
    untouched.seed(1)
    assert np.array_equal(space.sample(), untouched.sample()), "its own random numbers are its own"


def _arguments(space):
    if isinstance(space, spaces.Box):
        return (-1, 1, (3,), np.float32)
    if isinstance(space, spaces.Discrete):
        return (5, None, -2)
    return ([3, 4],) if isinstance(space, spaces.MultiDiscrete) else (3,)


def test_without_a_hash_of_the_state_there_is_no_log():
    with pytest.raises(CaptureError, match=r"Village has no state_digest\(\), which an action log"):
        check_repeatable(Village())
