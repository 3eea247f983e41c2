"""The data set gives every selected row once an epoch, in an order that a seed decides."""

import json
from dataclasses import replace

import numpy as np
import pytest
from capture_toys import LOOKUP, life, with_metrics
from forged_captures import read_json

from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import CaptureError
from townlet_replay.rollout import pack
from townlet_replay.sample import same_sample
from townlet_replay.sidecar import CaptureNames
from townlet_replay.writer import CaptureWriter, WriterSettings

ROWS = {("anna", 0): 5, ("ben", 0): 2, ("anna", 1): 3, ("ben", 1): 7, ("cleo", 1): 1}


@pytest.fixture
def capture(tmp_path):
    writer = CaptureWriter(tmp_path / "capture")
    for episode in (0, 1):
        writer.write_episode(
            [
                life(agent, episode, rows, seed=episode, tags=("late", agent) if episode else ())
                for (agent, e), rows in ROWS.items()
                if e == episode
            ]
        )
    return tmp_path / "capture"


def dataset(path, **settings):
    return ReplayDataset(ReplayDatasetConfig.from_capture_dir(path, **settings))


def test_batches_hold_every_row_once(capture):
    data = dataset(capture, batch_size=2)
    batches = list(data)
    assert len(data) == len(batches) == 3
    assert [len(b.segment_starts) for b in batches] == [2, 2, 1]
    assert sum(len(b.rewards) for b in batches) == sum(ROWS.values())
    expected = pack([data.sample(0), data.sample(1)])
    assert np.array_equal(batches[0].rewards, expected.rewards)
    assert data.action_lookup == LOOKUP
    assert data.action_dim == 3
    assert data.feature_names == ("a", "rivalry_max", "rivalry_avoid_count", "d")


def test_streaming_gives_the_same_batches(capture):
    whole = dataset(capture, batch_size=2, shuffle=True, seed=3)
    stream = dataset(capture, batch_size=2, shuffle=True, seed=3, streaming=True)
    for epoch in range(3):
        for one, two in zip(whole.batches(epoch), stream.batches(epoch), strict=True):
            assert np.array_equal(one.rewards, two.rewards)


def test_the_order_is_of_seed_and_epoch_alone(capture):
    data = dataset(capture, shuffle=True, seed=3)
    orders = [data.order(epoch) for epoch in range(20)]
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert len({tuple(order) for order in orders}) > 5
    np.random.default_rng(0).random()
    assert [dataset(capture, shuffle=True, seed=3).order(e) for e in range(20)] == orders
    assert [dataset(capture, shuffle=True, seed=4).order(e) for e in range(20)] != orders
    assert dataset(capture).order(7) == [0, 1, 2, 3, 4]


def test_every_iteration_is_the_next_epoch(capture):
    data = dataset(capture, shuffle=True, seed=3, batch_size=5)
    first, second = [next(iter(data)).rewards for _ in range(2)]
    assert np.array_equal(first, next(data.batches(0)).rewards)
    assert np.array_equal(second, next(data.batches(1)).rewards)


def test_samples_can_be_annotated_on_their_way(capture):
    data = dataset(capture, batch_size=5)

    def value(sample):
        return replace(sample, value_preds=np.full(sample.rows + 1, 3, np.float32))

    (batch,) = data.batches(0, value)
    assert (batch.values == 3).all()
    assert not same_sample(value(data.sample(0)), data.sample(0))


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ({"agents": ("ben",)}, [("ben", 0), ("ben", 1)]),
        ({"episodes": (0,)}, [("anna", 0), ("ben", 0)]),
        ({"tags": ("late",), "agents": ("anna", "cleo")}, [("anna", 1), ("cleo", 1)]),
        ({"tags": ("late", "cleo")}, [("cleo", 1)]),
    ],
)
def test_choosing_samples(capture, choice, chosen):
    data = dataset(capture, **choice)
    assert [(m.agent_id, m.episode_id) for m in data.metas] == chosen
    assert data.baselines()["baseline_sample_count"] == len(chosen)
    assert sum(len(b.rewards) for b in data) == sum(ROWS[key] for key in chosen)


def test_baselines_are_those_of_the_rows(capture):
    data = dataset(capture)
    rewards = [data.sample(i).rewards.astype(float) for i in range(5)]
    total = sum(r.sum() for r in rewards)
    assert data.baselines() == {
        "baseline_sample_count": 5,
        "baseline_reward_mean": pytest.approx(total / 18),
        "baseline_reward_sum": pytest.approx(total),
        "baseline_reward_sum_mean": pytest.approx(total / 5),
        "baseline_log_prob_mean": -0.5,
    }


def test_baselines_come_from_the_metrics_file(capture):
    path = capture / "rollout_sample_metrics.json"
    metrics = read_json(path)
    metrics["samples"]["rollout_sample_ben_001.npz"]["reward_sum"] = 1000.0
    path.write_text(json.dumps(metrics))
    assert (
        dataset(capture, agents=("ben",), episodes=(1,)).baselines()["baseline_reward_sum"] == 1000
    )
    path.unlink()
    data = dataset(capture)
    assert len(list(data)) == 5
    with pytest.raises(CaptureError, match=r"rollout_sample_metrics.json: the file is missing"):
        data.baselines()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            CaptureNames({0: "wait", 1: "move:south", 2: "chat"}),
            "action 1 is 'move:south', expected 'm",
        ),
        (CaptureNames({**LOOKUP, 3: "sing"}), "action 3 is 'sing', expected None"),
        (
            CaptureNames(LOOKUP, ("a", "rivalry_max", "x", "d")),
            r"column 2 is \('x',\), expected \('ri",
        ),
    ],
)
def test_a_sample_of_another_vocabulary_is_named(tmp_path, names, message):
    plain = CaptureNames(LOOKUP, ("a", "rivalry_max", "rivalry_avoid_count", "d"))
    names = names if names.feature_names else names._replace(feature_names=plain.feature_names)
    width = len(names.action_lookup)
    other = life("ben", names=plain)
    mask = np.ones((5, width), np.int8)
    meta = other.meta.model_copy(
        update={
            "action_lookup": names.action_lookup,
            "action_dim": width,
            "feature_names": names.feature_names,
        }
    )
    writer = CaptureWriter(tmp_path)
    writer.write_episode([life(), with_metrics(replace(other, action_mask=mask, meta=meta))])
    with pytest.raises(CaptureError, match=message) as caught:
        dataset(tmp_path, streaming=True)
    assert "rollout_sample_ben_000.json" in str(caught.value)


def test_a_capture_of_another_vocabulary_than_expected(capture):
    assert len(dataset(capture, action_lookup=LOOKUP)) == 5
    with pytest.raises(CaptureError, match=r"anna_000.json: another action vocabulary: action 2"):
        dataset(capture, action_lookup={0: "wait", 1: "move:north", 2: "sleep"})
    with pytest.raises(CaptureError, match="another feature list: 4 names, expected 1; column 1"):
        dataset(capture, feature_names=("a",))


def test_masks_can_be_left_out(capture):
    assert next(iter(dataset(capture, use_masks=False))).action_mask is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size: .* found 0"),
        ({"batchsize": 4}, "batchsize: Extra inputs are not permitted"),
        ({"seed": -1}, "seed"),
        ({"agents": ("zoe",)}, "no sample is left"),
    ],
)
def test_wrong_settings(capture, settings, message):
    with pytest.raises(CaptureError, match=message):
        dataset(capture, **settings)


def test_choosing_among_captures_of_one_directory(capture):
    CaptureWriter(capture, WriterSettings(prefix="other")).write_episode([life(rows=9)])
    with pytest.raises(CaptureError, match=r"2 captures here .*from_manifest"):
        ReplayDatasetConfig.from_capture_dir(capture)
    config = ReplayDatasetConfig.from_manifest(capture / "other_manifest.json")
    assert ReplayDataset(config).count == 1
    with pytest.raises(CaptureError, match="expected the manifest of a capture, found no file"):
        ReplayDatasetConfig.from_manifest(capture / "third_manifest.json")


def test_a_directory_without_a_manifest(tmp_path):
    with pytest.raises(CaptureError, match=r"no capture here: .*townlet capture") as caught:
        ReplayDatasetConfig.from_capture_dir(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(CaptureError, match="expected the directory of a capture, found none"):
        ReplayDatasetConfig.from_capture_dir(tmp_path / "nowhere")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_missing_file_is_found_before_training(capture, streaming):
    (capture / "rollout_sample_ben_001.npz").unlink()
    with pytest.raises(CaptureError, match=r"rollout_sample_ben_001.npz: missing, but"):
        dataset(capture, streaming=streaming)
