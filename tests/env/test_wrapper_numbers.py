"""What the field's wrappers compute around the views, computed again by hand."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from pettingzoo.utils.conversions import aec_to_parallel, parallel_to_aec
from pettingzoo.utils.wrappers import BaseParallelWrapper, MultiEpisodeParallelEnv
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecExtractDictObs,
    VecMonitor,
    VecNormalize,
)

from townlet_env import townlet_v0
from townlet_env.views.sb3 import make_vec_env

SCENARIO = "shared_flat"
LIMIT = 6
ORDERS = np.random.default_rng(5).integers(0, 6, (20, 3))


def single(**settings: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make("Townlet-v0", scenario=SCENARIO, **settings)


def flat(seen: dict[str, Any]) -> np.ndarray:
    return np.concatenate([np.ravel(seen[key]) for key in ("features", "map")]).astype(np.float32)


def scaled_by_hand(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation as the packages keep them: first a 10,000th of a row at 0 +- 1."""
    rows = rows.astype(np.float64)
    count = len(rows) + 1e-4
    mean = rows.sum(axis=0) / count
    variance = (1e-4 + (rows**2).sum(axis=0)) / count - mean**2
    return mean, np.sqrt(variance + 1e-8)


def masks_of(env: gymnasium.Env[Any, Any]) -> np.ndarray:
    masks: np.ndarray = env.get_wrapper_attr("action_masks")()
    return masks


class TestMakeVec:
    @pytest.mark.parametrize("mode", AutoresetMode)
    def test_every_form_plays_the_same_and_says_when_it_resets(self, mode):
        make = {"id": "Townlet-v0", "num_envs": 3, "scenario": SCENARIO, "max_ticks": LIMIT}
        given = {"vector_kwargs": {"autoreset_mode": mode}}
        forms = [
            gymnasium.make_vec(
                vectorization_mode="vector_entry_point", autoreset_mode=mode, **make
            ),
            gymnasium.make_vec(vectorization_mode="sync", **given, **make),
            gymnasium.make_vec(vectorization_mode="async", **given, **make),
        ]
        try:
            trails = [self.trail(RecordEpisodeStatistics(envs), mode) for envs in forms]
        finally:
            for envs in forms:
                envs.close()
        assert all(envs.metadata["autoreset_mode"] is mode for envs in forms)
        for told in zip(*trails, strict=True):
            for part in zip(*told, strict=True):
                assert all(np.array_equal(part[0], other) for other in part[1:])

    def trail(self, envs: Any, mode: AutoresetMode) -> list[tuple[Any, ...]]:
        """Play, and hold what is said of every episode against what was played."""
        seen, _ = envs.reset(seed=4)
        told, total, episodes = [], np.zeros(3), 0
        for t, orders in enumerate(ORDERS):
            last = seen
            seen, rewards, terminated, truncated, infos = envs.step(orders)
            told.append((seen["map"], seen["features"], rewards, terminated, truncated))
            total += rewards
            over = terminated | truncated
            assert ("final_obs" in infos) == (mode is AutoresetMode.SAME_STEP and over.any())
            if not over.any():
                continue
            episodes += 1
            assert not terminated.any()
            np.testing.assert_allclose(infos["episode"]["r"], total, rtol=1e-6)
            assert infos["episode"]["l"].tolist() == [LIMIT] * 3
            total[:] = 0
            if mode is AutoresetMode.SAME_STEP:
                assert infos["_final_obs"].all()
                finals = [final["features"] for final in infos["final_obs"]]
                told.append((np.stack(finals), infos["final_info"]["action_mask"], 0, 0, 0))
                assert not np.array_equal(finals[0], seen["features"][0])
            elif mode is AutoresetMode.DISABLED:
                seen, _ = envs.reset(options={"reset_mask": over})
            else:
                assert not np.array_equal(last["features"], seen["features"]), t
        assert episodes == 3
        return told


class TestGymnasium:
    def test_flat_observations(self):
        plain, env = single(), wrappers.FlattenObservation(single())
        seen, _ = plain.reset(seed=2)
        row, _ = env.reset(seed=2)
        for order in ORDERS[:, 0]:
            assert row in env.observation_space
            assert np.array_equal(row, flat(seen))
            seen, reward, *_ = plain.step(order)
            row, reward_too, *_ = env.step(order)
            assert reward == reward_too

    def test_normalized_observations(self):
        plain = wrappers.FilterObservation(single(observation="compact"), ["features"])
        env = wrappers.NormalizeObservation(
            wrappers.FlattenObservation(single(observation="compact"))
        )
        rows = [plain.reset(seed=2)[0]["features"]]
        last, _ = env.reset(seed=2)
        for order in ORDERS[:, 0]:
            rows.append(plain.step(order)[0]["features"])
            last = env.step(order)[0]
        mean, deviation = scaled_by_hand(np.array(rows))
        assert (deviation > 0.01).sum() > 5
        np.testing.assert_allclose(last, (rows[-1] - mean) / deviation, rtol=1e-3, atol=1e-3)

    def test_normalized_rewards(self):
        plain, env = single(), wrappers.NormalizeReward(single(), gamma=0.9)
        plain.reset(seed=2)
        env.reset(seed=2)
        returns, running = [], 0.0
        for order in ORDERS[:, 0]:
            reward, scaled = plain.step(order)[1], env.step(order)[1]
            running = running * 0.9 + reward
            returns.append(running)
        _, deviation = scaled_by_hand(np.array(returns))
        assert reward != 0
        assert float(scaled) == pytest.approx(reward / deviation, rel=1e-3)

    def test_stacked_frames_and_the_time(self):
        env = wrappers.TimeAwareObservation(
            wrappers.FrameStackObservation(wrappers.TimeLimit(single(), 50), 3), flatten=False
        )
        plain = single()
        frames = [plain.reset(seed=2)[0]] * 3
        seen, _ = env.reset(seed=2)
        for t, order in enumerate(ORDERS[:, 0], start=1):
            stack = seen.get("obs", seen)
            padding = 3 - min(t, 3)
            for key in ("map", "features"):
                recent = np.stack([frame[key] for frame in frames[-3:]])
                assert np.array_equal(stack[key][padding:], recent[padding:])
            frames.append(plain.step(order)[0])
            seen = env.step(order)[0]
            assert int(seen["time"][0]) == t

    def test_limits_of_both_kinds(self):
        """A limit by Gymnasium truncates as the town's own does, and a reset opens the next."""
        own, given = single(max_ticks=LIMIT), wrappers.TimeLimit(single(), LIMIT)
        for seed in (3, None):
            flags = []
            for env in (own, given):
                env.reset(seed=seed)
                flags.append([env.step(0)[2:4] for _ in range(LIMIT)])
            assert flags[0] == flags[1] == [(False, False)] * (LIMIT - 1) + [(False, True)]
        assert own.unwrapped.config.ticks == LIMIT != given.unwrapped.config.ticks


class TestStableBaselines:
    def test_monitors_of_one_and_of_many(self):
        town = VecMonitor(make_vec_env(SCENARIO, 2, ticks=LIMIT))
        own = Monitor(single(max_ticks=LIMIT))
        town.reset()
        own.reset(seed=1)
        total, alone, episodes = np.zeros(town.num_envs), 0.0, 0
        for t, order in enumerate(ORDERS[: 2 * LIMIT, 0], start=1):
            _, rewards, dones, infos = town.step(np.full(town.num_envs, order))
            total += rewards
            _, reward, _, truncated, info = own.step(order)
            alone += float(reward)
            assert dones.all() == truncated == (t % LIMIT == 0)
            if truncated:
                found = [told["episode"] for told in infos]
                assert [episode["l"] for episode in found] == [LIMIT] * town.num_envs
                np.testing.assert_allclose([e["r"] for e in found], total, atol=1e-5)
                assert info["episode"]["r"] == pytest.approx(alone, abs=1e-5)
                episodes += 1
                total[:], alone = 0, 0.0
                own.reset()
        assert episodes == 2

    def test_normalized_by_running_statistics(self):
        plain = make_vec_env(SCENARIO, 2, seed=0)
        town = VecNormalize(make_vec_env(SCENARIO, 2, seed=0), norm_obs_keys=["features"])
        seen, scaled = plain.reset(), town.reset()
        rows, returns = [seen["features"]], [np.zeros(plain.num_envs)]
        for order in ORDERS[:, 0]:
            orders = np.full(plain.num_envs, order)
            seen, rewards, *_ = plain.step(orders)
            scaled, scaled_rewards, *_ = town.step(orders)
            rows.append(seen["features"])
            returns.append(returns[-1] * town.gamma + rewards)
            assert np.array_equal(town.get_original_reward(), rewards)
            assert np.array_equal(town.get_original_obs()["features"], seen["features"])
            assert np.array_equal(scaled["map"], seen["map"])
        mean, deviation = scaled_by_hand(np.concatenate(rows))
        assert (deviation > 0.01).sum() > 5
        expected = np.clip((seen["features"] - mean) / deviation, -10, 10)
        np.testing.assert_allclose(scaled["features"], expected, rtol=1e-3, atol=1e-3)
        _, deviation = scaled_by_hand(np.concatenate(returns[1:]))
        np.testing.assert_allclose(scaled_rewards, rewards / deviation, rtol=1e-3)

    def test_one_part_of_the_observation(self):
        town = VecExtractDictObs(make_vec_env(SCENARIO, 2, seed=0), "features")
        plain = make_vec_env(SCENARIO, 2, seed=0)
        assert np.array_equal(town.reset(), plain.reset()["features"])
        orders = np.ones(plain.num_envs, np.int64)
        assert np.array_equal(town.step(orders)[0], plain.step(orders)[0]["features"])
        masks = np.stack(town.env_method("action_masks"))
        assert np.array_equal(masks, np.stack(plain.action_masks()))

    def test_processes_play_what_one_process_plays(self):
        makers = [lambda: Monitor(single(max_ticks=LIMIT))] * 2
        here, workers = DummyVecEnv(makers), SubprocVecEnv(makers, start_method="fork")
        try:
            told = []
            for towns in (here, workers):
                towns.seed(3)
                seen = [towns.reset()["features"]]
                ends = []
                for orders in ORDERS[:, :2]:
                    step, rewards, dones, infos = towns.step(orders)
                    seen += [step["features"], rewards]
                    ends += [info["episode"]["r"] for info in infos if dones.all()]
                    seen += [np.stack(towns.env_method("action_masks"))]
                told.append((seen, ends))
        finally:
            workers.close()
        assert told[0][1] == told[1][1]
        assert len(told[0][1]) == 2 * (len(ORDERS) // LIMIT)
        assert all(map(np.array_equal, told[0][0], told[1][0]))

    def test_evaluation_counts_what_was_played(self):
        """Masked by the wrapper or by the method: the same actions, and the rewards they earned."""
        model = MaskablePPO("MultiInputPolicy", make_vec_env(SCENARIO, 1), n_steps=8, seed=0)
        results = []
        for mask in (
            lambda env: ActionMasker(env, masks_of),
            lambda env: env,
        ):
            rewards: list[float] = []
            town = mask(single(max_ticks=LIMIT))
            town.reset(seed=7)
            watched = wrappers.TransformReward(town, lambda r, kept=rewards: kept.append(r) or r)
            watched.action_masks = town.get_wrapper_attr("action_masks")
            found, lengths = evaluate_policy(
                model, Monitor(watched), n_eval_episodes=3, return_episode_rewards=True
            )
            assert lengths == [LIMIT] * 3
            by_hand = np.reshape(rewards[: 3 * LIMIT], (3, LIMIT)).sum(axis=1)
            np.testing.assert_allclose(found, by_hand, atol=1e-5)
            results.append(found)
        assert results[0] == results[1]


class TestPettingZoo:
    def play(self, env: Any, ticks: int = 130) -> list[Any]:
        """Random legal play; everything that was told."""
        observations, _ = env.reset(seed=6)
        rng, told = np.random.default_rng(0), []
        for _ in range(ticks):
            actions = {
                agent: int(rng.choice(np.flatnonzero(observations[agent]["action_mask"])))
                for agent in env.agents
            }
            observations, *rest = env.step(actions)
            told.append((actions, *rest[:3]))
            if not env.agents:
                break
        return told

    def test_there_and_back_again(self):
        settings = {"scenario": SCENARIO, "max_ticks": 30}
        expected = self.play(townlet_v0.parallel_env(**settings))
        assert len(expected) == 30
        assert expected[-1][-1] == dict.fromkeys(expected[0][0], True)
        with warnings.catch_warnings():
            # PettingZoo says so of every town turned to turns.
            warnings.filterwarnings("ignore", "The `observation_spaces`")
            forms = [
                BaseParallelWrapper(BaseParallelWrapper(townlet_v0.parallel_env(**settings))),
                aec_to_parallel(townlet_v0.env(**settings)),
                aec_to_parallel(parallel_to_aec(townlet_v0.parallel_env(**settings))),
            ]
            for env in forms:
                assert self.play(env) == expected

    def test_turn_by_turn_earns_the_same(self):
        env = townlet_v0.env(SCENARIO, max_ticks=12)
        together = townlet_v0.parallel_env(SCENARIO, max_ticks=12)
        env.reset(seed=6)
        together.reset(seed=6)
        earned = dict.fromkeys(together.agents, 0.0)
        expected = dict.fromkeys(together.agents, 0.0)
        for t in range(12):
            for agent, reward in together.step(dict.fromkeys(together.agents, t % 5))[1].items():
                expected[agent] += reward
        turns = dict.fromkeys(earned, 0)
        for agent in env.agent_iter():
            _, reward, terminated, truncated, _ = env.last()
            earned[agent] += reward
            env.step(None if terminated or truncated else turns[agent] % 5)
            turns[agent] += 1
        assert earned == pytest.approx(expected, abs=1e-6)
        assert set(turns.values()) == {13}

    def test_episodes_in_a_row(self):
        env = MultiEpisodeParallelEnv(townlet_v0.parallel_env(SCENARIO, max_ticks=5), 3)
        env.reset(seed=6)
        ends = [env.step(dict.fromkeys(env.agents, 0))[3] for _ in range(15)]
        assert [all(end.values()) for end in ends] == [False] * 14 + [True]
        assert not env.agents
        last = townlet_v0.parallel_env(SCENARIO, max_ticks=5)
        last.reset(seed=8)
        for _ in range(5):
            last.step(dict.fromkeys(last.agents, 0))
        assert env.unwrapped.state_digest() == last.state_digest()
