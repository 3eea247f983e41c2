"""Stable-Baselines3 on captures: the bits of live training, and a clear refusal otherwise."""

import copy

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_digests import Digests, digest
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import CaptureError, TrainingError
from townlet_replay.metrics import sample_metrics
from townlet_replay.rollout import Rollout
from townlet_replay.sample import ReplaySample, with_meta
from townlet_replay.sidecar import Behaviour, SampleMeta
from townlet_replay.training.sb3 import (
    CaptureMaskablePPO,
    CapturePPO,
    RolloutTap,
    TownletExtractor,
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
MOVES = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])


class Meadow(gymnasium.Env):
    """Four by four cells; energy runs out (death) unless food is reached, days end (cut)."""

    observation_space = spaces.Dict(
        {
            "features": spaces.Box(-1, 1, (4,), np.float32),
            "map": spaces.Box(0, 1, (2, 4, 4), np.uint8),
        }
    )
    action_space = spaces.Discrete(5)

    def __init__(self, day):
        self.day = day

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell, self.food = self.np_random.integers(0, 4, (2, 2))
        self.energy, self.tick = 9, 0
        return self.observe(), {}

    def action_masks(self):
        target = self.cell + MOVES
        return ((target >= 0) & (target < 4)).all(axis=1)

    def observe(self):
        town = np.zeros((2, 4, 4), np.uint8)
        town[0, *self.cell], town[1, *self.food] = 1, 1
        scalars = [self.energy / 9, self.tick / self.day, *(self.food - self.cell) / 3]
        return {"features": np.array(scalars, np.float32), "map": town}

    def step(self, action):
        if self.action_masks()[action]:
            self.cell = self.cell + MOVES[action]
        self.tick, self.energy = self.tick + 1, self.energy - 1
        reward = 0.1 * float(self.np_random.normal())
        if (self.cell == self.food).all():
            self.food, self.energy, reward = self.np_random.integers(0, 4, 2), 9, reward + 1
        dead = self.energy == 0
        return self.observe(), reward - dead, dead, not dead and self.tick >= self.day, {}


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


def rows_of(lengths=(5, 3), *, masked=True, deaths=(0,), seed=0, actions=5):
    """Hand-made segments; those in ``deaths`` end in a termination."""
    rng = np.random.default_rng(seed)
    rows = sum(lengths)
    ends = np.cumsum(lengths) - 1
    terminations, truncations = np.zeros((2, rows), np.bool_)
    for segment, end in enumerate(ends):
        (terminations if segment in deaths else truncations)[end] = True
    mask = (rng.random((rows, actions)) < 0.7).astype(np.int8)
    mask[:, 0] = 1
    return Rollout(
        observations={
            "features": rng.uniform(-1, 1, (rows, 4)).astype(np.float32),
            "map": rng.integers(0, 2, (rows, 2, 4, 4), dtype=np.uint8),
        },
        action_mask=mask if masked else None,
        actions=np.array([rng.choice(np.flatnonzero(row)) for row in mask]),
        rewards=rng.normal(size=rows).astype(np.float32),
        terminations=terminations,
        truncations=truncations,
        old_log_probs=-rng.random(rows).astype(np.float32),
        values=rng.normal(size=rows).astype(np.float32),
        bootstrap_values=np.where(truncations, 0.5, 0).astype(np.float32),
        segment_starts=np.append(0, ends[:-1] + 1),
    )


def masked_learner(dataset, **settings):
    settings = {"batch_size": 4, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}} | settings
    return CaptureMaskablePPO.from_dataset(dataset, **settings)


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


class Steps(BaseCallback):
    """Counts the rows it is shown and stops after ``limit``."""

    def __init__(self, limit=10**6):
        super().__init__()
        self.calls, self.limit, self.dones = 0, limit, []

    def _on_step(self):
        self.calls += 1
        self.dones.append(bool(self.locals["dones"][0]))
        return self.calls < self.limit


def test_a_callback_sees_every_row_and_can_stop():
    model = masked_learner([rows_of((5, 3))])
    before, steps = digest(model), Steps(limit=6)
    model.learn(100, callback=steps)
    assert steps.dones == [False, False, False, False, True, False]
    assert model.num_timesteps == 6
    assert digest(model) == before


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


def test_spaces_are_those_of_the_live_environment():
    model = masked_learner([rows_of()])
    assert model.observation_space == Meadow.observation_space
    assert model.action_space == Meadow.action_space


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
