"""The town under Stable-Baselines3: what was captured trains to the bits of live training."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from sb3_digests import Digests, digest
from stable_baselines3 import PPO

from townlet_env import townlet_v0
from townlet_env.views.sb3 import make_vec_env
from townlet_replay.training.sb3 import (
    CaptureMaskablePPO,
    CapturePPO,
    RolloutTap,
    TownletExtractor,
    load_update,
    save_update,
)

WORLDS, TICKS, UPDATES = 2, 80, 2
ROWS = WORLDS * 2 * TICKS * UPDATES
SETTINGS = {
    "batch_size": 40,
    "n_epochs": 2,
    "gamma": 0.98,
    "gae_lambda": 0.9,
    "ent_coef": 0.01,
    "learning_rate": 1e-3,
    "policy_kwargs": {
        "features_extractor_class": TownletExtractor,
        "features_extractor_kwargs": {"map_width": 8, "features_width": 8},
        "net_arch": [16],
    },
}
ALGORITHMS = {"ppo": (PPO, CapturePPO), "maskable": (MaskablePPO, CaptureMaskablePPO)}


@pytest.fixture(scope="module", params=ALGORITHMS)
def live(request):
    """Two live updates in kitchen_breakfast: 2 worlds, 2 residents, episodes of 60 ticks."""
    algorithm, replayed = ALGORITHMS[request.param]
    env = make_vec_env("kitchen_breakfast", WORLDS)
    illegal, step = [], env.lanes.batch.step

    def watched(actions):
        taken = step(actions)
        illegal.append(int(taken.illegal.sum()))
        return taken

    env.lanes.batch.step = watched
    model = algorithm("MultiInputPolicy", env, n_steps=TICKS, seed=7, **SETTINGS)
    initial, updates, digests = copy.deepcopy(model.policy.state_dict()), [], Digests()
    model.learn(ROWS, callback=[RolloutTap(updates.append), digests])
    return replayed, initial, updates, digests.seen, sum(illegal)


def test_the_rows_are_those_of_the_town(live):
    learner, _, updates, _, illegal = live
    assert len(updates) == UPDATES
    for number, update in enumerate(updates):
        rollout = update.rollout
        closed = np.flatnonzero(rollout.truncations) % TICKS
        cut = (59 - number * TICKS) % 60  # where the clock cuts the episode, within the rollout
        assert sorted(set(closed.tolist())) == sorted(
            {cut, TICKS - 1} | ({cut + 60} & {*range(TICKS)})
        )
        assert not rollout.terminations.any()
        assert (rollout.bootstrap_values[rollout.truncations] != 0).all()
        if learner is CaptureMaskablePPO:
            assert (rollout.action_mask == 0).mean() > 0.3
            rows = np.arange(len(rollout.actions))
            assert rollout.action_mask[rows, rollout.actions].all()
        else:
            assert rollout.action_mask is None
    # Without masks most choices are illegal and act as waiting; with masks none is.
    assert (illegal == 0) if learner is CaptureMaskablePPO else (illegal > 100)


def test_a_cut_is_closed_by_the_value_of_what_followed_it(live):
    """Not by that of the next episode's first observation, which the lane shows by then."""
    learner, initial, updates, _, _ = live
    rollout = updates[0].rollout
    env = townlet_v0.parallel_env(scenario="kitchen_breakfast")
    space = make_vec_env("kitchen_breakfast").action_space
    model = learner.from_dataset(updates, action_space=space, **SETTINGS)
    model.policy.load_state_dict(initial)
    for w in range(WORLDS):
        env.reset(seed=7 + w)  # the seed of the model, which seeds its environment as well
        for t in range(60):
            rows = [(2 * w + k) * TICKS + t for k in range(2)]
            actions = dict(zip(env.possible_agents, rollout.actions[rows].tolist(), strict=True))
            seen, *_ = env.step(actions)
        assert env.agents == []
        for agent, row in zip(env.possible_agents, rows, strict=True):
            assert rollout.truncations[row]
            final = {key: seen[agent][key] for key in ("map", "features")}
            with torch.no_grad():
                value = model.policy.predict_values(model.policy.obs_to_tensor(final)[0])
            assert rollout.bootstrap_values[row] == pytest.approx(float(value), abs=1e-6)


def replay(live, updates):
    learner, initial = live[:2]
    space = make_vec_env("kitchen_breakfast").action_space
    model = learner.from_dataset(updates, seed=99, action_space=space, **SETTINGS)
    assert digest(model) != live[3][0]
    model.policy.load_state_dict(initial)
    digests = Digests()
    model.learn(ROWS, callback=digests)
    return digests.seen


def test_a_fresh_model_on_the_stored_rollouts_ends_with_the_same_bits(live, tmp_path):
    updates = live[2]
    for number, update in enumerate(updates):
        save_update(tmp_path / f"{number}.npz", update)
    stored = [load_update(tmp_path / f"{number}.npz") for number in range(UPDATES)]
    assert replay(live, stored) == live[3]
    assert len(set(live[3])) == UPDATES + 1


def test_spaces_of_a_capture_are_those_of_the_town(live):
    learner, _, updates, _, _ = live
    env = make_vec_env("kitchen_breakfast")
    model = learner.from_dataset(updates, action_space=env.action_space, **SETTINGS)
    assert model.observation_space == env.observation_space
    assert model.action_space == env.action_space


def test_mistakes_do_not_go_unnoticed(live):
    learner, _, updates, seen, _ = live
    rollout = updates[0].rollout
    wrong = {
        "a cut is a death": rollout._replace(
            terminations=rollout.truncations, truncations=rollout.terminations
        ),
        "rewards of another resident": rollout._replace(rewards=np.roll(rollout.rewards, TICKS)),
    }
    if learner is CaptureMaskablePPO:
        wrong["masks dropped"] = rollout._replace(action_mask=np.ones_like(rollout.action_mask))
    for name, mistake in wrong.items():
        found = replay(live, [updates[0]._replace(rollout=mistake), *updates[1:]])
        assert found[0] == seen[0]
        assert found[1] != seen[1], name
