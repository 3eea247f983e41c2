"""The Gymnasium face: official checks on every scenario, variant and mask, and what is beyond."""

from __future__ import annotations

import copy
import warnings

import gymnasium
import numpy as np
import pytest
from env.mortal import MORTAL
from env.towns import HOUSE
from env.worlds import build
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from stable_baselines3.common.vec_env import DummyVecEnv

from townlet_env import ActionError, ConfigError, ResetNeeded
from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.views.gym import TownletEnv
from townlet_env.views.spaces import MASK_MODES, OBSERVATION_VARIANTS

SCENARIOS = list_scenarios()
# SB3's check takes any uint8 box of three dimensions for a picture. Its learners do not: there the
# map is flattened, as its values end at 1. Stated in docs/VIEWS.md.
SB3_WARNINGS = (
    "It seems that your observation space map is an image",
    "The minimal resolution for an image is 36x36",
    "Treating image space as channels-last, while second dimension was smallest",
)


def make(scenario="queue_conflict", **settings):
    return gymnasium.make("Townlet-v0", scenario=scenario, **settings)


@pytest.mark.parametrize("mask", MASK_MODES)
@pytest.mark.parametrize("observation", OBSERVATION_VARIANTS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_official_checks(scenario, observation, mask):
    env = make(scenario, observation=observation, mask=mask, details=True)
    check_env(env.unwrapped, skip_render_check=True)
    with warnings.catch_warnings():
        for taken_for_a_picture in SB3_WARNINGS:
            warnings.filterwarnings("ignore", taken_for_a_picture)
        check_env_for_sb3(env.unwrapped)


def test_official_checks_of_pictures(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    check_env(make("kitchen_breakfast").unwrapped)


def test_observations_stay_in_their_space_to_the_end():
    env = make("shared_flat", mask="obs", details=True)
    observation, _ = env.reset(seed=1)
    rng, over = np.random.default_rng(0), False
    while not over:
        assert observation in env.observation_space
        action = rng.choice(np.flatnonzero(observation["action_mask"]))
        observation, reward, terminated, truncated, info = env.step(action)
        assert type(reward) is float
        assert abs(info["reward_components"].sum() - reward) < 1e-6
        assert info["illegal_action"] == 0
        over = terminated or truncated


def test_an_episode_is_truncated_by_time_and_terminated_by_leaving():
    env = make("queue_conflict", resident="anna", max_ticks=5)
    env.reset(seed=1)
    ends = [env.step(0)[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]
    env = TownletEnv(load_scenario("queue_conflict", MORTAL), "anna")
    env.reset(seed=1)
    for _ in range(60):
        observation, _, terminated, truncated, info = env.step(0)
        if terminated:
            break
    assert terminated
    assert not truncated
    assert not observation["features"].any()
    assert info["action_mask"].tolist() == [1] + [0] * 30
    with pytest.raises(ResetNeeded):
        env.step(0)


def test_the_first_info_of_an_episode_knows_nothing_of_the_last():
    env = TownletEnv("queue_conflict", details=True)
    fresh = env.reset(seed=1)
    for _ in range(10):
        env.step(1)
    assert env.reset(seed=2)[1]["reward_components"].tolist() == [0.0] * 8
    assert data_equivalence(env.reset(seed=1), fresh, exact=True)


def test_who_learns_by_default():
    assert TownletEnv("queue_conflict").resident == "anna"
    config = build(HOUSE, residents=HOUSE["residents"][:3]).config
    left = config.residents[1].model_copy(update={"policy": "learner"})
    residents = (config.residents[0], left, config.residents[2])
    config = config.model_copy(update={"residents": residents})
    assert TownletEnv(config).resident == "bob"
    with pytest.raises(ConfigError, match="'bob' has no script"):
        TownletEnv(config, "ann")


def test_time_limits_and_statistics_of_gymnasium():
    env = RecordEpisodeStatistics(TimeLimit(make("queue_conflict"), 4))
    env.reset(seed=3)
    rewards = []
    for _ in range(4):
        _, reward, terminated, truncated, info = env.step(2)
        rewards.append(reward)
    assert (terminated, truncated) == (False, True)
    assert info["episode"]["l"] == 4
    assert info["episode"]["r"] == pytest.approx(sum(rewards))
    assert gymnasium.make("Townlet-v0", max_episode_steps=2).spec.max_episode_steps == 2


def test_the_spec_builds_the_same_again():
    env = make("shared_flat", resident="dan", observation="full", needs={"pace_effect": 0.1})
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.config == env.unwrapped.config
    assert (again.unwrapped.resident, again.unwrapped.map_channels[-1]) == ("dan", "path_sign")
    assert data_equivalence(env.reset(seed=4), again.reset(seed=4), exact=True)


def test_masks_as_sb3_contrib_asks_for_them():
    towns = DummyVecEnv([lambda: make("shared_flat", max_ticks=20)] * 2)
    assert is_masking_supported(towns)
    towns.reset()
    assert get_action_masks(towns).shape == (2, towns.action_space.n)
    MaskablePPO("MultiInputPolicy", towns, n_steps=8, batch_size=8, n_epochs=1, seed=0).learn(32)
    env = make("shared_flat")
    _, info = env.reset(seed=0)
    masks = get_action_masks(env)
    assert masks.dtype == np.int8
    assert np.array_equal(masks, info["action_mask"])
    assert not np.shares_memory(masks, info["action_mask"])


def test_illegal_orders_act_as_wait():
    env, other = TownletEnv("shared_flat"), TownletEnv("shared_flat")
    for town, action in ((env, 10**30), (other, 0)):
        town.reset(seed=3)
        assert town.step(action)[-1]["illegal_action"] == int(action != 0)
        town.lanes.batch.worlds["last_success"][0, 0] = 1
    assert env.state_digest() == other.state_digest()
    with pytest.raises(ActionError, match="ana: expected an action id from 0 to"):
        env.step(1.5)


def test_episodes_without_a_seed_follow_the_last_seed():
    env, other = TownletEnv("shared_flat"), TownletEnv("shared_flat")
    env.reset(seed=9)
    env.reset()
    other.reset(seed=9)
    assert env.state_digest() != other.state_digest()
    other.reset()
    assert env.state_digest() == other.state_digest()


def test_pictures(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = make("kitchen_breakfast", render_mode="ansi")
    env.reset(seed=0)
    env.step(0)
    assert "tick 1/60" in env.render()
    env = make("kitchen_breakfast", render_mode="rgb_array", render_size=500)
    env.reset(seed=0)
    first = copy.copy(env.render())
    env.step(1)
    assert first.dtype == np.uint8
    assert 400 < max(first.shape) <= 500
    assert not np.array_equal(first, env.render())
    env.close()
    assert TownletEnv("kitchen_breakfast").render() is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"observation": "hybird"}, "did you mean 'hybrid'"),
        ({"mask": "infos"}, "did you mean 'info'"),
        ({"resident": "bem"}, "did you mean 'ben'"),
        ({"render_mode": "ascii"}, "did you mean 'ansi'"),
        ({"scenario": "queue_conflct"}, "did you mean 'queue_conflict'"),
        ({"quues": {}}, "did you mean 'queues'"),
        ({"scenario": load_scenario("queue_conflict"), "max_ticks": 3}, "no further settings"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TownletEnv(**settings)
