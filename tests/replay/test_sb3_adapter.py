"""Stable-Baselines3 on captures: the bits of live training, and a clear refusal otherwise."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from meadow import Meadow
from packed_rows import Steps, masked_learner, rows_of
from sb3_digests import digest
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from townlet_replay.errors import CaptureError, TrainingError
from townlet_replay.training.sb3 import (
    CapturePPO,
    RolloutTap,
    TownletExtractor,
    fill_rollout_buffer,
    load_update,
)


def test_returns_by_hand_for_a_death_and_a_cut():
    gamma = 0.5
    rollout = rows_of((2, 2))._replace(
        rewards=np.array([1, 2, 3, 4], np.float32), values=np.zeros(4, np.float32)
    )
    model = masked_learner([rollout], gamma=gamma, gae_lambda=1.0)
    fill_rollout_buffer(model.rollout_buffer, rollout, gamma=gamma)
    expected = [1 + gamma * 2, 2, 3 + gamma * (4 + gamma * 0.5), 4 + gamma * 0.5]
    assert model.rollout_buffer.returns[:, 0].tolist() == expected
    assert model.rollout_buffer.episode_starts[:, 0].tolist() == [1, 0, 1, 0]
    assert rollout.rewards.tolist() == [1, 2, 3, 4]  # the capture is not written to


def test_learn_goes_round_batches_of_different_sizes():
    batches = [rows_of((5, 3)), rows_of((6, 7, 2), seed=1)]
    model = masked_learner(batches)
    sizes, steps = [], Steps()

    class Sizes(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_end(self):
            sizes.append(self.model.rollout_buffer.buffer_size)

    model.learn(2 * (8 + 15), callback=[Sizes(), steps])
    assert sizes == [8, 15, 8, 15]
    assert model.num_timesteps == steps.calls == 46
    last = [episode["l"] for episode in model.ep_info_buffer]
    assert last == [5, 3, 6, 7, 2] * 2
    expected = float(batches[0].rewards[:5].astype(np.float64).sum())
    assert model.ep_info_buffer[0]["r"] == pytest.approx(expected, abs=1e-12)


def test_a_callback_sees_every_row_and_can_stop():
    model = masked_learner([rows_of((5, 3))])
    before, steps = digest(model), Steps(limit=6)
    model.learn(100, callback=steps)
    assert steps.dones == [False, False, False, False, True, False]
    assert model.num_timesteps == 6
    assert digest(model) == before


def test_a_lone_observation_is_a_plain_box():
    rollout = rows_of(masked=False)
    rollout = rollout._replace(observations={"observation": rollout.observations["features"]})
    model = CapturePPO.from_dataset(
        [rollout], action_space=spaces.Discrete(5), batch_size=4, n_epochs=1
    )
    assert type(model.rollout_buffer) is RolloutBuffer
    model.learn(8)
    assert model.rollout_buffer.observations.tobytes() == (
        rollout.observations["observation"].tobytes()
    )


def test_masks_need_a_learner_with_masks():
    rollout = rows_of()
    settings = {"batch_size": 4, "n_epochs": 1}
    with pytest.raises(TrainingError, match="use CaptureMaskablePPO"):
        CapturePPO.from_dataset([rollout], **settings).learn(8)
    buffer = DictRolloutBuffer(8, Meadow.observation_space, Meadow.action_space)
    with pytest.raises(TrainingError, match="use CaptureMaskablePPO"):
        fill_rollout_buffer(buffer, rollout, gamma=0.9)
    CapturePPO.from_dataset([rollout], ignore_masks=True, **settings).learn(8)
    unmasked = masked_learner([rollout]).learn(8, use_masking=False)
    assert unmasked.rollout_buffer.action_masks.all()


def with_entry(array, row, value):
    array = array.copy()
    array[row] = value
    return array


def spoilt():
    rollout = rows_of((5, 3))
    nan = float("nan")
    mask = with_entry(rollout.action_mask, 2, 0)
    features = rollout.observations["features"]
    return {
        r"1 of 8 rows have no behaviour log-prob .* bc": rollout._replace(
            old_log_probs=with_entry(rollout.old_log_probs, 3, nan)
        ),
        r"8 of 8 rows have no value": rollout._replace(values=np.full(8, nan, np.float32)),
        r"1 of 1 rows have no bootstrap value": rollout._replace(
            bootstrap_values=with_entry(rollout.bootstrap_values, 7, nan)
        ),
        r"Row 2 took action \d, which its mask forbids": rollout._replace(action_mask=mask),
        r"masks of the capture have 4 columns": rollout._replace(
            action_mask=rollout.action_mask[:, :4]
        ),
        r"'features'.*expects float32 \(4,\).*holds float32 \(3,\)": rollout._replace(
            observations=rollout.observations | {"features": features[:, :3]}
        ),
        r"'features'.*holds float64": rollout._replace(
            observations=rollout.observations | {"features": features.astype(np.float64)}
        ),
        r"observes \['features', 'map'\].*holds \['features'\]": rollout._replace(
            observations={"features": features}
        ),
        r"Every log-prob of the capture is 0": rollout._replace(
            old_log_probs=np.zeros(8, np.float32)
        ),
        r"Every segment must end": rollout._replace(truncations=np.zeros(8, np.bool_)),
        r"A batch of one row": rows_of((1,)),
    }


@pytest.mark.parametrize("message", spoilt())
def test_rows_that_cannot_be_trained_on_are_refused(message):
    model = masked_learner([rows_of()]).feed([spoilt()[message]])
    before = digest(model)
    with pytest.raises(TrainingError, match=message):
        model.learn(8)
    assert digest(model) == before


def test_a_script_is_accepted_when_asked_for():
    rollout = rows_of()._replace(old_log_probs=np.zeros(8, np.float32))
    masked_learner([rollout], accept_bias=True).learn(8)


def test_rows_without_masks_are_all_legal():
    model = masked_learner([rows_of(masked=False)], action_space=spaces.Discrete(5))
    model.learn(8)
    assert model.rollout_buffer.action_masks.all()


@pytest.mark.parametrize(
    ("lengths", "asked", "used"),
    [((5, 4), 4, 3), ((5, 3), 4, 4), ((4, 3), 2, 4), ((9, 4), 4, 5), ((3,), 8, 3), ((5,), 2, 3)],
)
def test_no_minibatch_is_a_lone_row(lengths, asked, used):
    model = masked_learner([rows_of(lengths)], batch_size=asked)
    model.learn(1, log_interval=None)
    assert model.logger.name_to_value["train/batch_size"] == used
    assert model.batch_size == asked
    assert all(torch.isfinite(weights).all() for weights in model.policy.parameters())


def test_a_lone_row_without_normalisation_is_sound():
    model = masked_learner([rows_of((5, 4))], normalize_advantage=False)
    model.learn(9, log_interval=None)
    assert model.logger.name_to_value["train/batch_size"] == 4
    assert all(torch.isfinite(weights).all() for weights in model.policy.parameters())


def test_data_sets_that_cannot_be_gone_round():
    with pytest.raises(TrainingError, match="read only once"):
        masked_learner(iter([rows_of()]))
    with pytest.raises(TrainingError, match="no batch"):
        masked_learner([])
    with pytest.raises(TrainingError, match="pass action_space="):
        masked_learner([rows_of(masked=False)])


def test_a_capture_cannot_be_stepped():
    env = masked_learner([rows_of()]).get_env()
    assert env.reset()["map"].shape == (1, 2, 4, 4)
    with pytest.raises(TrainingError, match="cannot be stepped"):
        env.step(np.zeros(1))


def test_several_lanes_are_refused():
    buffer = DictRolloutBuffer(4, Meadow.observation_space, Meadow.action_space, n_envs=2)
    with pytest.raises(TrainingError, match="2 lanes"):
        fill_rollout_buffer(buffer, rows_of(masked=False), gamma=0.9)


def test_the_tap_wants_the_observation_behind_a_cut():
    class Forgetful(DummyVecEnv):
        def step_wait(self):
            observations, rewards, dones, infos = super().step_wait()
            for info in infos:
                info.pop("terminal_observation", None)
            return observations, rewards, dones, infos

    env = Forgetful([lambda: Meadow(5)])
    model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=8)
    with pytest.raises(TrainingError, match="without terminal_observation"):
        model.learn(8, callback=RolloutTap([].append))


def test_a_damaged_update_is_refused(tmp_path):
    path = tmp_path / "update.npz"
    path.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(CaptureError, match=r"update\.npz"):
        load_update(path)
    np.savez(path, rewards=np.zeros(3))
    with pytest.raises(CaptureError, match=r"update\.npz: not an update"):
        load_update(path)


def test_the_townlet_extractor_reads_map_and_features():
    settings = {
        "features_extractor_class": TownletExtractor,
        "features_extractor_kwargs": {"map_width": 6, "features_width": 5},
    }
    model = masked_learner([rows_of()], policy_kwargs=settings)
    before = digest(model)
    model.learn(8)
    assert digest(model) != before
    extractor = model.policy.features_extractor
    observation = {"features": torch.zeros(3, 4), "map": torch.zeros(3, 2, 4, 4)}
    assert extractor(observation).shape == (3, extractor.features_dim) == (3, 11)
    moved = observation | {"map": torch.ones(3, 2, 4, 4)}
    assert not torch.equal(extractor(moved), extractor(observation))
    with pytest.raises(TrainingError, match="reads a Dict of 'features'"):
        TownletExtractor(spaces.Box(0, 1, (3,)))
