"""Every face of the town tells the same numbers for the same seed and actions.

The parallel face is the reference; over the runs of this file each other face is held to it for
10,000 steps and more, through many episodes of several scenarios.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from env.faces import Aec, Gym, Parallel, Sb3, Told, Vector, assert_same_seen, assert_same_told
from env.mortal import MORTAL
from env.towns import HOUSE
from env.worlds import PATIENCE, build

from townlet_env.config.load import load_scenario

MODES = ("NEXT_STEP", "SAME_STEP", "DISABLED")


def chosen(rng: np.random.Generator, masks: Any) -> list[int]:
    """Mostly legal actions; some are not, and some are none at all."""
    actions = [int(rng.choice(np.flatnonzero(mask))) for mask in masks]
    odd = rng.random(len(actions)) < 0.05
    wild = rng.integers(-2, masks.shape[1] + 3, len(actions))
    return [int(w) if o else a for a, w, o in zip(actions, wild, odd, strict=True)]


def compare(reference: Any, others: list[Any], ticks: int, seed: int) -> int:
    """Live the same in every face; return how many episodes were over."""
    rng = np.random.default_rng(seed)
    seen = reference.reset(seed)
    for face in others:
        assert_same_seen(face.reset(seed), seen, f"{type(face).__name__} at first")
    episodes = 0
    for t in range(ticks // PATIENCE):
        actions = chosen(rng, seen["action_mask"])
        expected = reference.step(actions)
        for face in others:
            assert_same_told(face.step(actions), expected, f"{type(face).__name__} in step {t}")
        seen = expected.seen
        episodes += expected.final is not None
    return episodes


def batched(config: Any, learners: Any = None, observation: str = "hybrid") -> list[Any]:
    options = {"learners": learners, "observation": observation}
    vectors = [Vector(config, mode, details=True, **options) for mode in MODES]
    return [*vectors, Sb3(config, **options)]


@pytest.mark.parametrize(
    ("scenario", "observation", "ticks"),
    [
        ("kitchen_breakfast", "hybrid", 1200),
        ("employment_punctuality", "compact", 800),
        ("queue_conflict", "full", 1200),
        ("shared_flat", "hybrid", 600),
    ],
)
def test_everybody_learns(scenario, observation, ticks):
    config = load_scenario(scenario)
    reference = Parallel(config, observation=observation)
    others = [Aec(config, observation=observation), *batched(config, observation=observation)]
    assert compare(reference, others, ticks, seed=3) == ticks // PATIENCE // config.ticks


@pytest.mark.parametrize(("batches", "ticks"), [(True, 3000), (False, 5000)])
def test_somebody_alone(batches, ticks):
    """One resident: all five faces at once, and those that play one town for longer."""
    residents = [HOUSE["residents"][0]]
    config = build(HOUSE, residents=residents, ticks=130).config
    others = [Aec(config), Gym(config), *(batched(config) if batches else [])]
    assert compare(Parallel(config), others, ticks, 5) >= 1


@pytest.mark.parametrize(
    ("scenario", "learner", "ticks"),
    [("queue_conflict", "ben", 1000), ("rivalry_decay", "gus", 1000)],
)
def test_one_learns_and_the_others_follow_their_scripts(scenario, learner, ticks):
    config = load_scenario(scenario)
    others = [Gym(config, learner), *batched(config, [learner])]
    assert compare(Parallel(config, [learner]), others, ticks, 8) >= 1


@pytest.mark.parametrize("learners", [None, ["anna", "cleo"]])
def test_people_leave_and_others_come(learners):
    config = load_scenario("queue_conflict", MORTAL)
    turns = [] if learners else [Aec(config)]
    assert compare(Parallel(config, learners), [*turns, *batched(config, learners)], 600, 2) >= 1


def test_a_learner_who_leaves_ends_the_episode():
    config = load_scenario("queue_conflict", MORTAL)
    others = [Gym(config, "anna"), *batched(config, ["anna"])]
    episodes = compare(Parallel(config, ["anna"]), others, 600, 4)
    assert episodes > 600 // PATIENCE // config.ticks


class Late:
    """A face that is one step behind."""

    def __init__(self, face: Any, part: str) -> None:
        self.face = face
        self.part = part

    def reset(self, seed: int) -> Any:
        seen = self.face.reset(seed)
        zeros = [False] * len(seen["features"])
        self._last = Told([0.0] * len(zeros), zeros, zeros, None, seen)
        return seen

    def step(self, actions: list[int]) -> Told:
        told, last = self.face.step(actions), self._last
        self._last = told
        return told._replace(**{self.part: last._asdict()[self.part]})


@pytest.mark.parametrize("part", ["rewards", "truncated", "seen"])
def test_a_face_that_is_off_by_one_is_found_out(part):
    config = load_scenario("kitchen_breakfast")
    with pytest.raises(AssertionError, match="Late in step"):
        compare(Parallel(config), [Late(Sb3(config), part)], 70 * PATIENCE, 1)
