"""Samples read together are those read alone, whatever the threads; memory is bounded before."""

import json
from dataclasses import replace

import numpy as np
import pytest
from capture_toys import life, with_metrics
from forged_captures import MANIFEST, read_json

from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.rollout import pack
from townlet_replay.safe_files import sha256_of
from townlet_replay.sample import same_sample, with_meta
from townlet_replay.writer import CaptureWriter, WriterSettings

LENGTHS = (5, 2, 3, 7, 1, 4)


def record(path, mode="full", **last):
    writer = CaptureWriter(path, WriterSettings(mode=mode))
    for episode, rows in enumerate(LENGTHS):
        writer.write_episode([life("anna", episode, rows, seed=episode)])
    if last:
        writer.write_episode([life("ben", len(LENGTHS), **last)])
    writer.close()
    return path


@pytest.fixture(params=["full", "packed"])
def capture(request, tmp_path):
    return record(tmp_path / "capture", request.param)


def dataset(path, **settings):
    return ReplayDataset(ReplayDatasetConfig.from_capture_dir(path, **settings))


def same_batch(one, two):
    for left, right in zip(one, two, strict=True):
        if isinstance(left, dict):
            assert left.keys() == right.keys()
            assert same_batch(left.values(), right.values())
        elif isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        else:
            assert left == right
    return True


def test_bundles_are_read_in_threads(tmp_path):
    with CaptureWriter(tmp_path / "bundle", WriterSettings(bundle=True)) as writer:
        writer.write_episode([life(f"anna{n}", 0, rows, seed=n) for n, rows in enumerate(LENGTHS)])
    alone = list(load_capture(tmp_path / "bundle"))
    assert len(list((tmp_path / "bundle").glob("*.npz"))) == 0
    for _ in range(20):
        batch = next(iter(dataset(tmp_path / "bundle", workers=4, batch_size=99)))
        assert same_batch(batch, pack(alone))


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("size", [1, 4, 99])
def test_threads_change_nothing(capture, workers, streaming, size):
    alone = list(load_capture(capture))
    data = dataset(capture, workers=workers, streaming=streaming, batch_size=size)
    for position, sample in enumerate(alone):
        assert same_sample(data.sample(position), sample)
    for number, batch in enumerate(data):
        assert same_batch(batch, pack(alone[number * size : (number + 1) * size]))


def test_batches_do_not_share_memory_with_what_is_kept(capture):
    data = dataset(capture, batch_size=99)
    for batch in (next(data.batches(0)), next(data.batches(0))):
        batch.rewards[:] = 777
        batch.observations["features"][:] = 777
    assert same_sample(data.sample(3), load_capture(capture).sample(3))


def test_rows_are_kept_once(capture):
    data = dataset(capture)
    rewards = [data.sample(position).rewards for position in range(data.count)]
    assert len({id(array.base) for array in rewards}) == 1
    assert rewards[0].base is not None


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_bad_sample_is_named(capture, workers):
    for number in (4, 2, 3):
        path = capture / f"rollout_sample_anna_{number:03d}.npz"
        path.write_bytes(path.read_bytes()[:-9])
    for _ in range(10):
        with pytest.raises(CaptureError, match=r"anna_002.npz: altered"):
            dataset(capture, workers=workers)


def other_life(rows):
    """A life whose observations have other columns."""
    sample = life("ben", len(LENGTHS), rows)
    wide = {"features": np.zeros((rows, 9), np.float32)}
    final = {"features": np.zeros(9, np.float32)}
    changed = with_meta(sample, feature_names=None, metrics=None)
    return with_metrics(
        replace(
            changed,
            observations={**sample.observations, **wide},
            final_observation={**sample.final_observation, **final},
        )
    )


def test_samples_of_several_layouts_are_read_but_not_put_together(tmp_path):
    writer = CaptureWriter(tmp_path)
    samples = [with_meta(life("anna", 0, 3), feature_names=None), other_life(40)]
    writer.write_episode([with_metrics(with_meta(sample, metrics=None)) for sample in samples])
    data = dataset(tmp_path)
    alone = list(load_capture(tmp_path))
    for position in (0, 1):
        assert same_sample(data.sample(position), alone[position])
    assert [len(batch.rewards) for batch in data] == [3, 40]
    for streaming in (False, True):
        with pytest.raises(CaptureError, match="observation shapes differs"):
            list(dataset(tmp_path, batch_size=2, streaming=streaming))
    with pytest.raises(CaptureError, match=r"rows to draw from must be alike .*shapes differs"):
        data.sample_rows(np.random.default_rng(0), 4)


def test_memory_is_bounded_before_it_is_taken(capture):
    row = 4 * 4 + 3 + 8 + 4 + 1 + 1 + 4 + 4  # features, mask, action, reward, ends, log-prob, value
    rows = sum(LENGTHS)
    row += sum(
        array.nbytes // 5
        for key, array in load_capture(capture).sample(0).observations.items()
        if key != "features"
    )
    assert dataset(capture, max_bytes=rows * row).count == len(LENGTHS)
    with pytest.raises(CaptureError, match=rf"{rows} rows of {row} bytes need {rows * row} bytes"):
        dataset(capture, max_bytes=rows * row - 1)
    stream = dataset(capture, max_bytes=rows * row - 1, streaming=True, batch_size=3)
    assert sum(len(batch.rewards) for batch in stream) == rows
    for size in (1, 3):
        with pytest.raises(CaptureError, match="max_bytes allows 10"):
            next(iter(dataset(capture, max_bytes=10, streaming=True, batch_size=size)))


def test_rows_that_are_only_claimed_take_no_memory(capture):
    """Sidecar and manifest agree on a trillion rows: the size of the file is looked at first."""
    manifest = read_json(capture / MANIFEST)
    entry = manifest["samples"][3]
    sidecar = read_json(capture / entry["meta"])
    sidecar.update(timesteps=2**40, value_pred_steps=2**40 + 1)
    data = json.dumps(sidecar).encode()
    (capture / entry["meta"]).write_bytes(data)
    entry.update(rows=2**40, meta_sha256=sha256_of(data))
    (capture / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CaptureError, match=r"anna_003.npz: .*expected .*1099511627776"):
        dataset(capture, max_bytes=2**62)
