"""Cut episodes valued in one pass: the numbers of Stable-Baselines3, fewer calls."""

from __future__ import annotations

import numpy as np
import pytest
from env.mortal import MORTAL
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from townlet_env.views.sb3 import make_vec_env
from townlet_replay.training.sb3_batched import BatchedMaskablePPO, BatchedPPO

WORLDS, STEPS = 4, 64  # an episode has 60 ticks: all slots are cut in the same step


def trained(learner, **town):
    env = make_vec_env("kitchen_breakfast", WORLDS, seed=3, **town)
    model = learner("MultiInputPolicy", env, n_steps=STEPS, batch_size=64, n_epochs=1, seed=1)
    calls = []
    original = model.policy.predict_values
    model.policy.predict_values = lambda seen: calls.append(len(seen["features"])) or original(seen)
    model.learn(STEPS * env.num_envs * 2)
    return model, calls


@pytest.mark.parametrize(
    ("plain", "batched"), [(PPO, BatchedPPO), (MaskablePPO, BatchedMaskablePPO)]
)
@pytest.mark.parametrize("town", [{}, MORTAL | {"ticks": 60}])
def test_the_rollouts_are_those_of_stable_baselines3(plain, batched, town):
    one, by_one = trained(plain, **town)
    other, together = trained(batched, **town)
    expected, found = one.rollout_buffer, other.rollout_buffer
    np.testing.assert_array_equal(found.actions, expected.actions)
    np.testing.assert_allclose(found.rewards, expected.rewards, atol=1e-5)
    np.testing.assert_allclose(found.advantages, expected.advantages, atol=1e-4)
    np.testing.assert_array_equal(found.episode_starts, expected.episode_starts)
    # Cut slots went one by one in the one, together in the other.
    assert len(by_one) > len(together)
    assert sum(by_one) == sum(together)


def test_with_the_usual_wrappers_around_the_towns():
    venv = VecNormalize(
        VecMonitor(make_vec_env("kitchen_breakfast", 2)), norm_obs_keys=["features"]
    )
    model = BatchedMaskablePPO("MultiInputPolicy", venv, n_steps=64, batch_size=64, n_epochs=1)
    model.learn(256)
    assert venv.ret_rms.count > 200
    assert [info["l"] for info in model.ep_info_buffer] == [60] * 4


def test_staggered_towns_do_not_end_together():
    def ends(stagger):
        venv = make_vec_env("kitchen_breakfast", 4, seed=5, stagger=stagger)
        seen, found, rows = venv.reset(), [], []
        for tick in range(1, 121):
            rows.append(seen["features"].tobytes())
            seen, _, dones, _ = venv.step(np.zeros(venv.num_envs, np.int64))
            found += [(tick, slot // 2) for slot in np.flatnonzero(dones)[::2].tolist()]
        return found, rows

    together, plain = ends(False)
    assert together == [(60, w) for w in range(4)] + [(120, w) for w in range(4)]
    apart, rows = ends(True)
    assert apart == [
        (15, 3), (30, 2), (45, 1), (60, 0), (75, 3), (90, 2), (105, 1), (120, 0)
    ]  # fmt: skip
    assert ends(True)[1] == rows
    assert rows[0] != plain[0]
    # The world that nobody took on is the one that it would be otherwise.
    width = len(plain[0]) // 4
    assert [row[:width] for row in rows] == [row[:width] for row in plain]
