"""Copies of a view, by ``copy.deepcopy`` or in pickled form, live on exactly as the original."""

from __future__ import annotations

import copy

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from keeping import stored_and_read

from townlet_env import townlet_v0
from townlet_env.views.sb3 import make_vec_env
from townlet_env.views.vector import TownletVectorEnv

COPY = pytest.mark.parametrize("twin_of", [copy.deepcopy, stored_and_read])


def live_on(env, twin, actions):
    for t in range(30):
        told, again = env.step(actions(env, t)), twin.step(actions(twin, t))
        assert data_equivalence(tuple(told), tuple(again), exact=True), t


@COPY
def test_parallel(twin_of):
    env = townlet_v0.parallel_env("town_day")
    env.reset(seed=3)

    def walk(town, t):
        return {agent: 1 + (t + k) % 4 for k, agent in enumerate(town.agents)}

    for t in range(5):
        env.step(walk(env, t))
    twin, digest = twin_of(env), env.state_digest()
    assert twin.state_digest() == digest
    twin.step(walk(twin, 0))
    assert twin.state_digest() != digest
    assert env.state_digest() == digest, "a copy's step is its own"
    live_on(env, twin_of(env), walk)


@COPY
def test_one_learner_beside_scripts(twin_of):
    env = gymnasium.make("Townlet-v0", scenario="shared_flat", max_episode_steps=60)
    env.reset(seed=3)
    for _ in range(5):
        env.step(1)
    live_on(env, twin_of(env), lambda _, t: t % 9)


@COPY
@pytest.mark.parametrize("threads", [1, 2])
def test_vector(twin_of, threads):
    towns = TownletVectorEnv("shared_flat", 32, threads=threads, max_ticks=12)
    towns.reset(seed=3)
    walk = np.random.default_rng(0).integers(0, 9, (30, towns.num_envs))
    towns.step(walk[0])
    live_on(towns, twin_of(towns), lambda _, t: walk[t])


@COPY
def test_sb3(twin_of):
    towns = make_vec_env("shared_flat", 2, seed=3, ticks=12)
    towns.reset()
    walk = np.random.default_rng(0).integers(0, 9, (30, towns.num_envs))
    twin = twin_of(towns)
    for t, actions in enumerate(walk):
        assert data_equivalence(towns.step(actions), twin.step(actions), exact=True), t
        assert np.array_equal(towns.action_masks(), twin.action_masks()), t
