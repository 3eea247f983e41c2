"""The batched Gymnasium face: equal to single towns side by side, in every autoreset mode."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from env.mortal import MORTAL
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import ClipReward, DictInfoToList, RecordEpisodeStatistics

from townlet_env import ActionError, ConfigError, ResetNeeded
from townlet_env.config.load import list_scenarios
from townlet_env.views.gym import TownletEnv
from townlet_env.views.vector import TownletVectorEnv

MODES = tuple(AutoresetMode)


def same(found: Any, expected: Any, at: str = "") -> None:
    """Nested containers are equal; what Gymnasium has no need of may be there as well."""
    if isinstance(expected, dict):
        for key in expected:
            same(found[key], expected[key], f"{at}.{key}")
    elif isinstance(expected, tuple | list):
        assert len(found) == len(expected), at
        for k, value in enumerate(expected):
            same(found[k], value, f"{at}[{k}]")
    elif isinstance(expected, np.ndarray) and expected.dtype == object:
        same(list(found), list(expected), at)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected, err_msg=at)
        assert found.dtype == expected.dtype, at
    else:
        assert found == expected, at


def random_actions(rng: np.random.Generator, masks: Any) -> np.ndarray:
    return np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])


class TestBesideSingleTowns:
    @pytest.mark.parametrize("mask", ["obs", "info"])
    @pytest.mark.parametrize("mode", MODES)
    def test_one_learner_each(self, mode, mask):
        """Three towns of one learner do what Gymnasium makes of three single environments."""
        # In some episodes anna leaves just before time is up, in some she does not.
        options = {"mask": mask, "details": True, **MORTAL, "ticks": 27}
        single = SyncVectorEnv(
            [lambda: TownletEnv("queue_conflict", "anna", **options)] * 3, autoreset_mode=mode
        )
        batch = TownletVectorEnv(
            "queue_conflict", 3, learners=["anna"], autoreset_mode=mode, **options
        )
        assert batch.metadata["autoreset_mode"] is mode
        assert batch.observation_space == single.observation_space
        assert batch.action_space == single.action_space
        rng, ends = np.random.default_rng(3), np.zeros(2, np.int64)
        same(batch.reset(seed=5), single.reset(seed=5), "reset")
        for t in range(170):
            actions = random_actions(rng, batch.action_masks())
            actions[rng.random(3) < 0.5] = 30  # rarely legal
            found, expected = batch.step(actions), single.step(actions)
            same(found[:4], tuple(expected[:4]), f"step {t}")
            same(found[4], expected[4], f"step {t}")
            assert ("final_obs" in found[4]) == ("final_obs" in expected[4])
            over = found[2] | found[3]
            ends += found[2].sum(), found[3].sum()
            if mode is AutoresetMode.DISABLED and over.any():
                seeds = [None, 70 + t, None]
                options_given = {"reset_mask": over.copy()}
                found = batch.reset(seed=seeds, options=options_given)
                assert list(options_given) == ["reset_mask"]
                same(found, single.reset(seed=seeds, options={"reset_mask": over}), f"reset {t}")
        assert (ends > 1).all(), "both kinds of ends have been seen"

    def test_same_seeds_same_towns(self):
        towns = [TownletVectorEnv("queue_conflict", 2) for _ in range(2)]
        plans = np.random.default_rng(0).integers(0, 9, (30, 6))
        trails = []
        for town in towns:
            seen, infos = town.reset(seed=[8, 9])
            trails.append([seen, infos, *(town.step(plan) for plan in plans)])
        same(trails[0], trails[1])
        other, _ = towns[0].reset(seed=[8, 10])
        changed = [(other[k] != trails[0][0][k]).reshape(6, -1).any(axis=1) for k in other]
        assert not np.any(changed, axis=0)[:3].any()

    def test_without_a_seed_episodes_follow_each_other(self):
        town, again = (TownletVectorEnv("shared_flat", 2, max_ticks=3) for _ in range(2))
        waste = np.zeros(8, np.int64)
        town.reset(seed=4)
        for _ in range(4):
            town.step(waste)
        again.reset(seed=4)
        again.reset()
        assert town.lanes.batch.digest(1) == again.lanes.batch.digest(1)


class TestManyLearners:
    def step_to_the_first_end(self, town: TownletVectorEnv) -> Any:
        town.reset(seed=1)
        waste = np.zeros(town.num_envs, np.int64)
        for _ in range(60):
            told = town.step(waste)
            if (told[2] | told[3]).any():
                return told
        raise AssertionError("nobody left town")

    @pytest.mark.parametrize("mode", MODES)
    def test_who_left_is_idle_until_somebody_comes(self, mode):
        town = TownletVectorEnv("queue_conflict", 1, autoreset_mode=mode, **MORTAL)
        seen, _, terminated, truncated, infos = self.step_to_the_first_end(town)
        assert terminated.sum() == 1
        assert not truncated.any()
        assert infos["active"].all()
        left = int(np.flatnonzero(terminated)[0])
        waste, idle = np.full(3, 1), 0
        for _ in range(10):
            assert infos["action_mask"][left].tolist() == [1] + [0] * 30
            assert not any(part[left].any() for part in seen.values())
            seen, rewards, terminated, _, infos = town.step(waste)
            assert rewards[left] == 0.0
            assert not infos["active"][left]
            assert infos["illegal_action"][left] == 0
            idle += 1
            if terminated[left]:
                break
        # The idle stretch is a life of its own; what is seen now is the newcomer's.
        assert 1 <= idle <= 4
        assert town.lanes.batch.worlds["newcomer"][0, left] == 1
        assert seen["features"][left].any()
        assert infos["action_mask"][left].sum() > 1
        *_, infos = town.step(waste)
        assert infos["active"][left]

    def test_an_idle_stretch_ends_with_its_world(self):
        settings = {**MORTAL, "arrivals": {"enabled": False}, "ticks": 24}
        town = TownletVectorEnv("queue_conflict", 1, autoreset_mode="SAME_STEP", **settings)
        *_, infos = self.step_to_the_first_end(town)
        left = int(np.flatnonzero(infos["_final_obs"])[0])
        for _ in range(24):
            _, _, terminated, truncated, infos = town.step(np.zeros(3, np.int64))
            if truncated.any():
                break
        assert terminated[left]
        assert not truncated[left]
        assert (terminated | truncated).all()
        assert infos["_final_obs"].all()
        assert not infos["final_obs"][left]["features"].any()

    def test_a_town_without_learners_is_opened_again(self):
        settings = {**MORTAL, "arrivals": {"enabled": False}}
        town = TownletVectorEnv("queue_conflict", 1, learners=["anna"], **settings)
        _, _, terminated, _, _ = self.step_to_the_first_end(town)
        assert terminated.all()
        assert town.worlds_over.all()
        assert int(town.lanes.batch.worlds["tick"][0]) < town.config.ticks
        town.step(np.zeros(1, np.int64))
        assert int(town.lanes.batch.worlds["tick"][0]) == 0

    def test_a_reset_may_mark_empty_slots_but_not_cut_lives(self):
        town = TownletVectorEnv("queue_conflict", 2, autoreset_mode="DISABLED", **MORTAL)
        _, _, terminated, truncated, _ = self.step_to_the_first_end(town)
        before = [town.lanes.batch.digest(w) for w in range(2)]
        marked = terminated | truncated
        assert marked.sum() in (1, 2)
        _, infos = town.reset(options={"reset_mask": marked})
        assert [town.lanes.batch.digest(w) for w in range(2)] == before
        assert infos["_active"].tolist() == marked.tolist()
        living = np.zeros(6, np.bool_)
        living[np.flatnonzero(~marked)[0]] = True
        with pytest.raises(ConfigError, match="slots of a world share an episode"):
            town.reset(options={"reset_mask": living})


class TestConvention:
    @pytest.mark.parametrize("scenario", list_scenarios())
    @pytest.mark.parametrize("observation", ["hybrid", "full", "compact"])
    def test_spaces_hold_what_is_observed(self, scenario, observation):
        town = TownletVectorEnv(
            scenario, 2, observation=observation, mask="obs", autoreset_mode="SAME_STEP"
        )
        seen, _ = town.reset(seed=0)
        rng = np.random.default_rng(0)
        for _ in range(25):
            assert seen in town.observation_space
            seen, _, _, _, infos = town.step(random_actions(rng, seen["action_mask"]))
            assert not infos["illegal_action"].any()
            for final in infos.get("final_obs", ()):
                assert final is None or final in town.single_observation_space

    @pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
    def test_make_vec_gives_as_many_slots_as_asked_for(self, mode):
        envs = gymnasium.make_vec(
            "Townlet-v0", num_envs=5, vectorization_mode=mode, scenario="shared_flat"
        )
        assert envs.num_envs == 5
        seen, _ = envs.reset(seed=2)
        assert seen["features"].shape[0] == 5
        assert envs.step(envs.action_space.sample())[1].shape == (5,)
        envs.close()

    def test_make_vec_with_several_learners(self):
        make = {"id": "Townlet-v0", "vectorization_mode": "vector_entry_point"}
        make |= {"scenario": "shared_flat", "learners": ["ana", "dan"], "max_episode_steps": 7}
        envs = gymnasium.make_vec(num_envs=6, needs={"pace_effect": 0.1}, **make)
        assert (envs.num_envs, envs.num_worlds, envs.learners) == (6, 3, ("ana", "dan"))
        assert (envs.config.ticks, envs.config.needs.pace_effect) == (7, 0.1)
        assert gymnasium.make_vec(envs.spec).num_envs == 6
        with pytest.raises(ConfigError, match="multiple of the 2 learners"):
            gymnasium.make_vec(num_envs=5, **make)
        with pytest.raises(ConfigError, match="found both"):
            gymnasium.make_vec(num_envs=4, resident="ana", **make)

    @pytest.mark.parametrize("mode", MODES)
    def test_statistics_of_episodes(self, mode):
        town = TownletVectorEnv("kitchen_breakfast", 2, autoreset_mode=mode, max_ticks=6)
        envs = RecordEpisodeStatistics(town)
        rng, total, found = np.random.default_rng(1), np.zeros(4), []
        envs.reset(seed=1)
        for _ in range(20):
            _, rewards, terminated, truncated, infos = envs.step(rng.integers(0, 5, 4))
            total += rewards
            over = terminated | truncated
            if over.any():
                np.testing.assert_allclose(infos["episode"]["r"], total)
                found.append(infos["episode"]["l"].tolist())
                total[:] = 0
                if mode is AutoresetMode.DISABLED:
                    envs.reset(options={"reset_mask": over})
        assert found == [[6] * 4] * 3

    @pytest.mark.parametrize("wrapper", [DictInfoToList, lambda e: ClipReward(e, 0.0, 0.1)])
    def test_other_wrappers(self, wrapper):
        envs = wrapper(TownletVectorEnv("kitchen_breakfast", 2, max_ticks=3))
        envs.reset(seed=1)
        for _ in range(5):
            *_, infos = envs.step(np.zeros(4, np.int64))
        masks = [info["action_mask"] for info in infos] if isinstance(infos, list) else None
        assert masks is None or np.array_equal(np.stack(masks), envs.unwrapped.action_masks())

    def test_arrays_are_fresh_unless_told_otherwise(self):
        town = TownletVectorEnv("queue_conflict", 2, autoreset_mode="SAME_STEP", max_ticks=9)
        told = [town.reset(seed=0), *(town.step(np.full(6, 2)) for _ in range(12))]
        parts = [[*one[0].values(), one[-1]["action_mask"], one[-1]["active"]] for one in told]
        for k, earlier in enumerate(parts):
            for later in parts[k + 1 :]:
                assert not any(map(np.shares_memory, earlier, later))
        thrifty = TownletVectorEnv("queue_conflict", 2, copy=False)
        first, _ = thrifty.reset(seed=0)
        assert first["map"] is not None
        assert np.shares_memory(first["map"], thrifty.step(np.zeros(6, int))[0]["map"])

    def test_pictures_of_every_town(self):
        town = TownletVectorEnv("kitchen_breakfast", 2, render_mode="ansi", max_ticks=2)
        town.reset(seed=0)
        for _ in range(4):
            town.step(np.zeros(4, int))
            frames = town.render()
            assert [type(frame) for frame in frames] == [str, str]
        assert "tick 1/2" in frames[1]
        town.close()
        assert TownletVectorEnv("kitchen_breakfast").render() is None

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"autoreset_mode": "NEXTSTEP"}, "autoreset_mode: unknown value"),
            ({"observation": "hybird"}, "did you mean 'hybrid'"),
            ({"mask": "infos"}, "did you mean 'info'"),
            ({"render_mode": "human"}, "render_mode: unknown value 'human'"),
            ({"num_worlds": 0}, "expected at least 1"),
            ({"learners": ["bem"]}, "did you mean 'ben'"),
            ({"learners": []}, "expected at least one resident"),
        ],
    )
    def test_wrong_settings_are_refused(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            TownletVectorEnv("queue_conflict", **settings)

    def test_wrong_resets_and_steps_are_refused(self):
        town = TownletVectorEnv("queue_conflict", 2, autoreset_mode="DISABLED", max_ticks=1)
        waste = np.zeros(6, np.int64)
        with pytest.raises(ResetNeeded, match="call reset"):
            town.step(waste)
        with pytest.raises(ConfigError, match="expected 2, one per world, found 6"):
            town.reset(seed=[1] * 6)
        for mask in ([True] * 6, np.ones(6, int), np.ones(2, bool), np.zeros(6, bool)):
            with pytest.raises(ConfigError, match="reset_mask: expected"):
                town.reset(options={"reset_mask": mask})
        town.reset()
        with pytest.raises(ActionError, match="whole numbers"):
            town.step(waste + 0.5)
        with pytest.raises(ActionError, match="expected 6 actions"):
            town.step(waste[:2])
        town.step(waste)
        with pytest.raises(ResetNeeded, match=r"worlds \[0, 1\]"):
            town.step(waste)
