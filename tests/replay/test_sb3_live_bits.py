"""Stable-Baselines3 on captures: the bits of live training, in a toy town."""

import copy

import numpy as np
import pytest
import torch
from meadow import Meadow
from packed_rows import Steps, masked_learner, rows_of
from sb3_contrib import MaskablePPO
from sb3_digests import Digests, digest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import TrainingError
from townlet_replay.metrics import sample_metrics
from townlet_replay.sample import ReplaySample, with_meta
from townlet_replay.sidecar import Behaviour, SampleMeta
from townlet_replay.training.sb3 import (
    CaptureMaskablePPO,
    CapturePPO,
    RolloutTap,
    fill_rollout_buffer,
    load_update,
    save_update,
)
from townlet_replay.writer import CaptureWriter

LANES, STEPS, UPDATES = 3, 40, 3


SETTINGS = {
    "n_steps": STEPS,
    "batch_size": 24,
    "n_epochs": 2,
    "gamma": 0.97,
    "gae_lambda": 0.9,
    "ent_coef": 0.01,
    "learning_rate": lambda left: 1e-3 * left,
    "policy_kwargs": {"net_arch": [16]},
}


class BufferCopies(BaseCallback):
    """The live buffer of each update as (rows, ...) arrays, lane by lane."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.seen.append(columns(self.model.rollout_buffer))


def columns(buffer):
    # Rewards are left out: the live buffer keeps the value after its last step elsewhere.
    names = ("actions", "values", "log_probs", "advantages", "returns")
    arrays = {name: vars(buffer)[name] for name in names}
    arrays |= {"observation." + key: rows for key, rows in buffer.observations.items()}
    return {key: np.array(rows.swapaxes(0, 1)).ravel() for key, rows in arrays.items()}


class Live:
    """Three live updates of one algorithm, and everything to compare a replay with."""

    def __init__(self, algorithm):
        env = DummyVecEnv([lambda day=day: Meadow(day) for day in (11, 14, 17)])
        model = algorithm("MultiInputPolicy", env, seed=7, **SETTINGS)
        self.initial = copy.deepcopy(model.policy.state_dict())
        self.updates, digests, buffers = [], Digests(), BufferCopies()
        self.rows = LANES * STEPS * UPDATES
        model.learn(self.rows, callback=[RolloutTap(self.updates.append), digests, buffers])
        self.digests, self.buffers = digests.seen, buffers.seen


@pytest.fixture(scope="module", params=["plain", "maskable"])
def pair(request):
    live, replayed = {
        "plain": (PPO, CapturePPO),
        "maskable": (MaskablePPO, CaptureMaskablePPO),
    }[request.param]
    return Live(live), replayed


def replay(live, learner, dataset):
    """Train a model of another seed on ``dataset`` and return its digests."""
    settings = SETTINGS | {"action_space": Meadow.action_space}
    model = learner.from_dataset(dataset, seed=99, **settings)
    model.policy.load_state_dict(live.initial)
    digests = Digests()
    model.learn(live.rows, callback=digests)
    return digests.seen


def test_the_live_data_has_deaths_cuts_and_masks(pair):
    live, learner = pair
    rollouts = [update.rollout for update in live.updates]
    assert len(rollouts) == UPDATES
    for rollout in rollouts:
        assert rollout.terminations.any()
        assert rollout.truncations[:-1].any()
        assert np.unique(np.diff(rollout.segment_starts)).size > 1  # ragged
        assert (rollout.bootstrap_values[rollout.truncations] != 0).all()
        assert not rollout.bootstrap_values[~rollout.truncations].any()
    masks = [rollout.action_mask for rollout in rollouts]
    if learner is CaptureMaskablePPO:
        assert all((mask == 0).mean() > 0.15 for mask in masks)
    else:
        assert masks == [None] * UPDATES


def test_a_stored_rollout_trains_to_the_bits_of_the_live_one(pair, tmp_path):
    live, learner = pair
    dataset = []
    for number, update in enumerate(live.updates):
        save_update(tmp_path / f"{number}.npz", update)
        dataset.append(load_update(tmp_path / f"{number}.npz"))
    assert replay(live, learner, dataset) == live.digests
    assert len(set(live.digests)) == UPDATES + 1


def as_samples(rollout):
    """Cut packed rows into the samples of a capture; the final observations are not known."""
    starts = rollout.segment_starts
    for number, (start, end) in enumerate(
        zip(starts, np.append(starts[1:], len(rollout.rewards)), strict=True)
    ):
        rows = slice(start, end)
        mask = rollout.action_mask
        sample = ReplaySample(
            observations={key: array[rows] for key, array in rollout.observations.items()},
            action_mask=None if mask is None else mask[rows],
            actions=rollout.actions[rows],
            rewards=rollout.rewards[rows],
            terminations=rollout.terminations[rows],
            truncations=rollout.truncations[rows],
            old_log_probs=rollout.old_log_probs[rows],
            value_preds=np.append(rollout.values[rows], rollout.bootstrap_values[end - 1]),
            ticks=np.arange(1, end - start + 1, dtype=np.int32),
            final_observation={
                key: np.zeros_like(array[0]) for key, array in rollout.observations.items()
            },
            meta=SampleMeta(
                agent_id=f"lane_{number}",
                episode_id=0,
                action_lookup=dict(enumerate(("wait", "north", "south", "west", "east"))),
                action_dim=5,
                timesteps=int(end - start),
                value_pred_steps=int(end - start) + 1,
                behaviour=Behaviour(kind="policy"),
            ),
        )
        yield with_meta(sample, metrics=sample_metrics(sample, None, None))


def capture_of(directory, rollout, **settings):
    samples = list(as_samples(rollout))
    CaptureWriter(directory).write_episode(samples)
    settings = {"batch_size": len(samples)} | settings
    return ReplayDataset(ReplayDatasetConfig.from_capture_dir(directory, **settings))


def test_a_capture_on_disk_trains_to_the_bits_of_the_live_updates(pair, tmp_path):
    live, learner = pair
    dataset = []
    for number, update in enumerate(live.updates):
        (rollout,) = capture_of(tmp_path / str(number), update.rollout)
        dataset.append(update._replace(rollout=rollout))
    assert replay(live, learner, dataset) == live.digests


def test_learn_goes_round_a_capture(tmp_path):
    rollout = rows_of((5, 3, 4, 6))
    for streaming in (False, True):
        dataset = capture_of(
            tmp_path / str(streaming), rollout, batch_size=2, shuffle=True, streaming=streaming
        )
        model = masked_learner(dataset, seed=3)
        lengths = Steps()
        model.learn(3 * 18, callback=lengths)
        assert lengths.calls == 3 * 18
        ends = np.flatnonzero(lengths.dones).reshape(3, 4)
        orders = [np.diff(np.append(epoch * 18 - 1, row)) for epoch, row in enumerate(ends)]
        assert all(sorted(order.tolist()) == [3, 4, 5, 6] for order in orders)
        assert len({tuple(order.tolist()) for order in orders}) > 1  # shuffled anew


def test_a_capture_without_masks_knows_its_vocabulary(tmp_path):
    dataset = capture_of(tmp_path, rows_of(), use_masks=False)
    model = CapturePPO.from_dataset(dataset, batch_size=4, n_epochs=1).learn(8)
    assert model.action_space == Meadow.action_space


def test_planted_mistakes_are_noticed_in_the_first_update(pair):
    live, learner = pair
    update = live.updates[0]
    rollout = update.rollout
    cut_as_death = rollout._replace(bootstrap_values=np.zeros_like(rollout.bootstrap_values))
    rounded = rollout._replace(old_log_probs=np.round(rollout.old_log_probs, 6))
    mistakes = {
        "cut as death": update._replace(rollout=cut_as_death),
        "rounded log-probs": update._replace(rollout=rounded),
        "other minibatches": rollout,
    }
    if learner is CaptureMaskablePPO:
        all_legal = rollout._replace(action_mask=np.ones_like(rollout.action_mask))
        mistakes["mask dropped"] = update._replace(rollout=all_legal)
    for name, mistake in mistakes.items():
        seen = replay(live, learner, [mistake, *live.updates[1:]])
        assert seen[0] == live.digests[0]
        assert seen[1] != live.digests[1], name


def test_the_filled_buffer_equals_the_live_one_in_every_column(pair):
    live, learner = pair
    for update, expected in zip(live.updates, live.buffers, strict=True):
        model = learner.from_dataset([update], action_space=Meadow.action_space, **SETTINGS)
        fill_rollout_buffer(model.rollout_buffer, update.rollout, gamma=model.gamma)
        found = columns(model.rollout_buffer)
        assert found.keys() == expected.keys()
        for name in expected:
            assert found[name].tobytes() == expected[name].tobytes(), name
        # Stable-Baselines3's own computation over the packed lane says the same.
        model.rollout_buffer.compute_returns_and_advantage(torch.zeros(1), np.ones(1, bool))
        assert columns(model.rollout_buffer)["advantages"].tobytes() == (
            expected["advantages"].tobytes()
        )


def test_a_saved_model_opens_as_the_plain_algorithm_and_goes_on(tmp_path):
    dataset = [rows_of((9, 9))]
    model = masked_learner(dataset).learn(18)
    model.save(tmp_path / "capture.zip")
    env = DummyVecEnv([lambda: Meadow(9)])
    plain = MaskablePPO.load(tmp_path / "capture.zip", env=env)
    assert type(plain) is MaskablePPO
    assert not {name for name in vars(plain) if "dataset" in name or "batches" in name}
    assert digest(plain) == digest(model)
    observation = Meadow(9).reset(seed=1)[0]
    action, _ = plain.predict(observation, action_masks=np.array([0, 0, 1, 0, 0]))
    assert action == 2
    again = CaptureMaskablePPO.load(tmp_path / "capture.zip")
    again.feed(dataset).learn(18, reset_num_timesteps=False)
    assert again.num_timesteps == 36
    with pytest.raises(TrainingError, match="no batch to train on"):
        CaptureMaskablePPO.load(tmp_path / "capture.zip", env=model.get_env()).learn(18)


def test_spaces_are_those_of_the_live_environment():
    model = masked_learner([rows_of()])
    assert model.observation_space == Meadow.observation_space
    assert model.action_space == Meadow.action_space
