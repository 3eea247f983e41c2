"""Wrappers of Gymnasium and Stable-Baselines3 around the batched views."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import FlattenObservation, NormalizeObservation, NormalizeReward
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecCheckNan, VecFrameStack, VecMonitor, VecNormalize

from townlet_env.views.sb3 import make_vec_env

TICKS = 5


def batch(mode=AutoresetMode.NEXT_STEP):
    return gymnasium.make_vec(
        "Townlet-v0",
        num_envs=4,
        vectorization_mode="vector_entry_point",
        scenario="shared_flat",
        max_episode_steps=TICKS,
        autoreset_mode=mode,
    )


def test_normalized_observations():
    towns = NormalizeObservation(FlattenObservation(batch()))
    seen, _ = towns.reset(seed=0)
    for _ in range(12):
        assert seen in towns.observation_space
        seen, *_ = towns.step(np.zeros(4, np.int64))
    assert np.isfinite(seen).all()
    # Gymnasium refuses: the final observations would stay as they were.
    with pytest.raises(ValueError, match="SAME_STEP"):
        FlattenObservation(batch(AutoresetMode.SAME_STEP))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_normalized_rewards(mode):
    plain, towns = batch(mode), NormalizeReward(batch(mode))
    plain.reset(seed=0)
    towns.reset(seed=0)
    changed = False
    for _ in range(12):
        seen, rewards, *flags, _ = plain.step(np.zeros(4, np.int64))
        seen_too, scaled, *flags_too, _ = towns.step(np.zeros(4, np.int64))
        assert all(np.array_equal(seen[key], seen_too[key]) for key in seen)
        assert np.array_equal(flags, flags_too)
        changed |= not np.array_equal(rewards, scaled)
    assert changed


def test_workers_play_what_one_process_plays():
    make = {"id": "Townlet-v0", "num_envs": 2, "scenario": "shared_flat", "max_episode_steps": 4}
    here = gymnasium.make_vec(vectorization_mode="sync", **make)
    workers = gymnasium.make_vec(vectorization_mode="async", **make)
    try:
        told, again = here.reset(seed=1)[0], workers.reset(seed=1)[0]
        for _ in range(7):
            assert all(np.array_equal(told[key], again[key]) for key in told)
            told, rewards, *_ = here.step(np.ones(2, np.int64))
            again, rewards_too, *_ = workers.step(np.ones(2, np.int64))
            assert np.array_equal(rewards, rewards_too)
    finally:
        workers.close()
        here.close()


def test_stacked_frames():
    towns = VecFrameStack(make_vec_env("shared_flat", 2, seed=0, ticks=TICKS), 3)
    plain = make_vec_env("shared_flat", 2, seed=0, ticks=TICKS)
    width = plain.observation_space["features"].shape[0]
    towns.reset()
    plain.reset()
    waste = np.zeros(plain.num_envs, np.int64)
    for t in range(1, 12):
        stacked, _, dones, infos = towns.step(waste)
        latest, *_, plain_infos = plain.step(waste)
        assert np.array_equal(stacked["features"][:, -width:], latest["features"])
        assert dones.all() == (t % TICKS == 0)
        if dones.all():
            assert not stacked["features"][:, :-width].any(), "no life reaches into the next"
            ends = (infos[0]["terminal_observation"], plain_infos[0]["terminal_observation"])
            assert np.array_equal(ends[0]["features"][-width:], ends[1]["features"])


def test_training_and_evaluation_through_a_stack_of_wrappers():
    towns = VecNormalize(
        VecMonitor(VecCheckNan(make_vec_env("shared_flat", 2, ticks=TICKS), raise_exception=True)),
        norm_obs_keys=["features"],
    )
    model = MaskablePPO("MultiInputPolicy", towns, n_steps=8, batch_size=16, n_epochs=1, seed=0)
    model.learn(64)
    assert all(episode["l"] == TICKS for episode in model.ep_info_buffer)
    rewards, lengths = evaluate_policy(
        model, towns, n_eval_episodes=4, return_episode_rewards=True, warn=False
    )
    assert lengths == [TICKS] * len(rewards)
