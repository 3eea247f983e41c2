"""Minari data sets: read by Minari itself, combined by it, and made by it for us to read."""

import json
import shutil
import warnings

import h5py
import numpy as np
import pytest
from capture_toys import LOOKUP, life, with_metrics
from exchange_toys import as_lives
from gymnasium import spaces
from minari import (
    MinariDataset,
    combine_datasets,
    create_dataset_from_buffers,
    list_local_datasets,
    load_dataset,
)
from minari.data_collector import EpisodeBuffer
from minari.dataset._storages.hdf5_storage import encode_frame
from town_captures import script_capture

from townlet_replay.errors import CaptureError
from townlet_replay.exchange import export_capture, import_capture
from townlet_replay.exchange import minari as exchange
from townlet_replay.manifest import load_capture
from townlet_replay.sample import same_sample, with_meta


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A capture of a town and its export."""
    place = tmp_path_factory.mktemp("town")
    script_capture("queue_conflict", place / "noisy", epsilon=0.2, episodes=2)
    export_capture(place / "noisy", "minari", place / "sets" / "noisy-v0")
    return place


def test_minari_reads_what_is_exported(noisy):
    data = MinariDataset(noisy / "sets" / "noisy-v0" / "data")
    capture = load_capture(noisy / "noisy")
    first = capture.sample(0)
    assert data.total_episodes == len(capture) == len(data)
    assert data.total_steps == sum(entry.rows for entry in capture.manifest.samples)
    assert data.action_space == spaces.Discrete(first.meta.action_dim)
    assert set(data.observation_space.spaces) == {"map", "features"}
    assert data.observation_space["map"].dtype == np.uint8
    for episode, sample in zip(data, capture, strict=True):
        assert len(episode) == sample.rows
        for key in ("map", "features"):
            steps = np.concatenate([sample.observations[key], sample.final_observation[key][None]])
            assert np.array_equal(episode.observations[key], steps)
            assert data.observation_space[key].contains(episode.observations[key][0])
        for name in ("actions", "rewards", "terminations", "truncations"):
            assert np.array_equal(getattr(episode, name), getattr(sample, name))
        assert {len(array) for array in episode.infos.values()} == {sample.rows + 1}
        assert np.array_equal(episode.infos["action_mask"][:-1], sample.action_mask)
        assert np.array_equal(episode.infos["old_log_probs"][:-1], sample.old_log_probs)
        assert np.array_equal(episode.infos["ticks"][:-1], sample.ticks)
        assert np.array_equal(episode.infos["value_preds"], sample.value_preds, equal_nan=True)
        assert json.loads(episode.infos["sidecar"].tobytes())["agent_id"] == sample.meta.agent_id
    told = list(data.storage.get_episode_metadata(data.episode_indices))
    assert [(t["agent_id"], t["episode_id"], t["seed"], t["total_steps"]) for t in told] == [
        (s.meta.agent_id, s.meta.episode_id, s.meta.capture_metadata.seed, s.rows) for s in capture
    ]


def test_minari_finds_and_lists_it_by_name(noisy, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(noisy / "sets"))
    assert load_dataset("noisy-v0").id == "noisy-v0"
    assert list(list_local_datasets(compatible_minari_version=True)) == ["noisy-v0"]


def test_lives_survive_being_combined_by_minari(noisy, tmp_path, monkeypatch):
    # Minari drops seeds and the metadata of episodes when it combines.
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    sets = []
    for name in ("one-v0", "two-v0"):
        export_capture(noisy / "noisy", "minari", tmp_path / name)
        sets.append(load_dataset(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about authors and links that were not given
        combine_datasets(sets, "both-v0")
    back = list(import_capture(tmp_path / "both-v0", "minari", tmp_path / "back"))
    samples = list(load_capture(noisy / "noisy"))
    assert len(back) == 2 * len(samples)
    assert all(same_sample(a, b) for a, b in zip(samples * 2, back, strict=True))


@pytest.mark.parametrize("name", ["noisy", "noisy-v", "no isy-v0", "noisy-v0.tmp"])
def test_a_name_that_minari_would_not_take_is_refused(name, noisy, tmp_path):
    with pytest.raises(CaptureError, match=r"called <name>-v<number>, such as no_?isy.*-v0"):
        export_capture(noisy / "noisy", "minari", tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_observation_without_numbers_is_refused(tmp_path):
    empty = life()
    empty.observations["none"] = np.zeros((5, 0), np.float32)
    empty.final_observation["none"] = np.zeros(0, np.float32)
    with pytest.raises(CaptureError, match="'none' has shape \\[0\\]; Minari has no space"):
        exchange.write(as_lives([empty]), tmp_path / "empty-v0")


class Stranger:
    """A data set that Minari made of one episode of four steps."""

    def __init__(self, root, **spaces_):
        self.root = root
        self.spaces = {
            "observation_space": spaces.Box(-1, 1, (2,), np.float64),
            "action_space": spaces.Discrete(3, start=5),
            **spaces_,
        }

    def make(self, observations=None, actions=None, *, seed=7, jpeg=False, **changes):
        buffer = {
            "id": 0,
            "seed": seed,
            "observations": np.arange(10).reshape(5, 2) / 16,
            "actions": np.array([5, 6, 7, 5]),
            "rewards": np.array([0.5, 1.0, -1.0, 2.0]),
            "terminations": np.array([False, False, False, False]),
            "truncations": np.array([False, False, False, True]),
            "infos": {},
            **changes,
        }
        if observations is not None:
            buffer["observations"] = observations
        if actions is not None:
            buffer["actions"] = actions
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            create_dataset_from_buffers(
                "other/strange-v1",
                [EpisodeBuffer(**buffer)],
                jpeg_encoding=jpeg,
                description="made elsewhere",
                **self.spaces,
            )
        return self.root / "other" / "strange-v1"

    def sample(self, *arguments, **changes):
        return next(exchange.read(self.make(*arguments, **changes)).samples)


@pytest.fixture
def strange(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return lambda **spaces_: Stranger(tmp_path, **spaces_)


def test_what_a_stranger_does_not_tell_is_unknown(strange, tmp_path):
    lives = exchange.read(strange().make())
    assert lives.metadata.scenario_description == "made elsewhere"
    assert lives.metadata.versions == {"minari": "0.5.4"}
    sample = with_metrics(next(lives.samples))
    assert sample.meta.behaviour.kind == "unknown"
    assert np.isnan(sample.old_log_probs).all()
    assert np.isnan(sample.value_preds).all()
    assert (sample.meta.agent_id, sample.meta.episode_id) == ("agent_0", 0)
    assert sample.meta.capture_metadata.seed == 7
    assert sample.meta.tags == ("minari:other/strange-v1",)
    assert sample.meta.action_lookup == {0: "action_5", 1: "action_6", 2: "action_7"}
    assert sample.actions.tolist() == [0, 1, 2, 0]
    assert sample.action_mask is None
    assert sample.rewards.dtype == np.float32
    assert sample.rewards.tolist() == [0.5, 1.0, -1.0, 2.0]
    assert sample.observations["observation"].tolist() == (np.arange(8).reshape(4, 2) / 16).tolist()
    assert sample.observations["observation"].dtype == np.float64
    assert sample.final_observation["observation"].tolist() == [0.5, 0.5625]
    assert sample.ticks.tolist() == [1, 2, 3, 4]
    assert sample.truncations.tolist() == [False, False, False, True]


def test_a_stranger_that_does_not_end_is_truncated(strange):
    sample = strange().sample(truncations=np.zeros(4, bool))
    assert sample.truncations.tolist() == [False, False, False, True]


def test_a_seed_too_large_for_a_capture_becomes_a_tag(strange):
    meta = strange().sample(seed=2**64 - 1).meta
    assert meta.capture_metadata.seed is None
    assert meta.tags == ("minari:other/strange-v1", f"seed:{2**64 - 1}")


def test_nested_observations_and_masks_come_in(strange):
    nested = spaces.Dict(
        {
            "action_mask": spaces.Box(0, 1, (3,), np.int8),
            "near": spaces.Tuple((spaces.Discrete(9), spaces.MultiBinary(2))),
        }
    )
    mask = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1]], np.int8)
    observations = {
        "action_mask": mask,
        "near": (np.arange(5), np.arange(10).reshape(5, 2).astype(np.int8) % 2),
    }
    sample = strange(observation_space=nested).sample(observations)
    assert set(sample.observations) == {"near_0", "near_1"}
    assert sample.observations["near_0"].tolist() == [0, 1, 2, 3]
    assert sample.action_mask.tolist() == mask[:-1].tolist()
    assert sample.extras["final_action_mask"].tolist() == [0, 0, 1]
    assert sample.extras["illegal_actions"].tolist() == [False, False, True, False]


def test_a_mask_in_infos_comes_in(strange):
    mask = np.ones((5, 3), np.int8)
    mask[:, 2] = [1, 1, 1, 1, 0]
    sample = strange().sample(infos={"action_mask": mask, "other": np.arange(5)})
    assert sample.action_mask.tolist() == mask[:-1].tolist()
    assert sample.extras["final_action_mask"].tolist() == [1, 1, 0]
    assert "illegal_actions" not in sample.extras


def pictures(channels, *, noisy):
    """Five pictures that JPEG changes little; of one length in bytes, or of several."""
    ramp = np.linspace(0, 255, 40 * 48 * channels).reshape(1, 40, 48, channels)
    found = np.repeat(ramp, 5, axis=0)
    if noisy:
        found[2] = np.random.default_rng(1).integers(0, 255, found[2].shape)
    return found.astype(np.uint8)


@pytest.mark.parametrize("noisy", [False, True])
def test_pictures_in_jpeg_come_in(strange, noisy):
    frames = pictures(3, noisy=noisy)
    space = spaces.Dict({"eye": spaces.Box(0, 255, (40, 48, 3), np.uint8)})
    stranger = strange(observation_space=space)
    path = stranger.make({"eye": frames}, jpeg=True)
    eye = next(exchange.read(path).samples).observations["eye"]
    assert eye.dtype == np.uint8
    assert np.array_equal(eye, MinariDataset(path / "data")[0].observations["eye"][:4])
    assert abs(eye[0].astype(int) - frames[0]).mean() < 3


def test_pictures_that_are_no_jpeg_of_their_space_are_refused(strange):
    space = spaces.Dict({"eye": spaces.Box(0, 255, (40, 48, 3), np.uint8)})
    path = strange(observation_space=space).make({"eye": pictures(3, noisy=True)}, jpeg=True)
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        whole = file["episode_0/observations/eye"]
        first = whole[0]
        for content, said in (
            (first[:100], "image 0: not a sound JPEG"),
            (np.zeros(50, np.uint8), "image 0: not a sound JPEG"),
            (encode_frame(np.zeros((400, 480, 3), np.uint8)), "has shape (400, 480, 3)"),
            (encode_frame(np.zeros((40, 48), np.uint8)), "has shape (40, 48, 1)"),
        ):
            whole[0] = content
            file.flush()
            with pytest.raises(CaptureError) as caught:
                list(exchange.read(path).samples)
            assert said in str(caught.value)
            assert "episode_0/observations/eye" in str(caught.value)


@pytest.mark.parametrize(
    ("space", "actions", "dtype"),
    [
        (spaces.Box(-1, 1, (2,), np.float64), np.linspace(-1, 1, 8).reshape(4, 2), np.float32),
        (spaces.MultiDiscrete([3, 4]), np.arange(8).reshape(4, 2) % 3, np.int64),
        (spaces.MultiBinary(2), (np.arange(8).reshape(4, 2) % 2).astype(np.int8), np.int64),
    ],
)
def test_other_actions_come_in(strange, space, actions, dtype):
    sample = strange(action_space=space).sample(actions=actions)
    assert sample.actions.dtype == dtype
    assert np.array_equal(sample.actions, actions.astype(dtype))
    assert sample.meta.action_lookup == {}


@pytest.mark.parametrize(
    ("spaces_", "arrays", "said"),
    [
        ({}, {"observations": np.zeros((4, 2))}, "has 4 steps, expected 5: one more than rewards"),
        ({}, {"observations": np.zeros((5, 3))}, "shape [5, 3], but its space says [2]"),
        ({}, {"actions": np.array([5, 6, 7, 8])}, "row 3: actions is 3, expected 0 to 2"),
        ({}, {"rewards": np.array([0, 1, np.nan, 0])}, "row 2: the reward is nan"),
        ({}, {"truncations": np.ones(4, bool)}, "the last row, and no other"),
        ({"action_space": spaces.Dict(a=spaces.Discrete(2))}, None, "a space of type 'Dict'"),
        ({"observation_space": spaces.Text(5)}, None, "a space of type 'Text'"),
        ({}, {"infos": {"action_mask": np.full((5, 3), 2)}}, "expected [5, 3] of 0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused(strange, spaces_, arrays, said):
    stranger = strange(**spaces_)
    if arrays is None:  # nothing has to be in a space that is refused
        source = strange().make()
        path = source / "data" / "metadata.json"
        metadata = json.loads(path.read_text())
        from minari.serialization import serialize_space

        metadata |= {name: serialize_space(space) for name, space in spaces_.items()}
        path.write_text(json.dumps(metadata))
    else:
        source = stranger.make(**arrays)
    with pytest.raises(CaptureError) as caught:
        list(exchange.read(source).samples)
    assert said in str(caught.value)
    assert "strange-v1" in str(caught.value)


def test_a_lone_observation_is_a_lone_space(tmp_path):
    sample = life()
    for part in (sample.observations, sample.final_observation):
        part["observation"] = part.pop("features")
    sample = with_meta(sample, feature_names=None)
    exchange.write(as_lives([sample]), tmp_path / "lone-v0")
    data = MinariDataset(tmp_path / "lone-v0" / "data")
    assert data.observation_space == spaces.Box(-np.inf, np.inf, (4,), np.float32)
    assert data[0].observations.shape == (6, 4)
    assert same_sample(next(exchange.read(tmp_path / "lone-v0").samples), sample)


def test_a_data_set_of_arrow_is_refused(noisy, tmp_path):
    shutil.copytree(noisy / "sets" / "noisy-v0", tmp_path / "a")
    path = tmp_path / "a" / "data" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data_format": "arrow"}))
    with pytest.raises(CaptureError, match="data_format is 'arrow', expected 'hdf5'"):
        exchange.read(tmp_path / "a")


def test_the_names_of_ids_come_back(noisy, tmp_path):
    export = tmp_path / "plain-v0"
    exchange.write(as_lives([life()]), export)
    assert next(exchange.read(export).samples).meta.action_lookup == LOOKUP
