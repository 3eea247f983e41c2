"""Rows drawn at random are rows of the samples, whole, and a generator alone decides which."""

from dataclasses import replace

import numpy as np
import pytest
from capture_toys import life, with_metrics

from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import CaptureError
from townlet_replay.writer import CaptureWriter

LENGTHS = (5, 2, 9, 1)
ROWS = sum(LENGTHS)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("capture")
    writer = CaptureWriter(path)
    for episode, rows in enumerate(LENGTHS):
        writer.write_episode([life("anna", episode, rows, dies=episode == 2, seed=episode)])
    writer.close()
    return path


def dataset(path, **settings):
    return ReplayDataset(ReplayDatasetConfig.from_capture_dir(path, **settings))


def rng(seed=0):
    return np.random.default_rng(seed)


def check_rows(data, batch):
    """Compare every array of a minibatch with the samples it names."""
    for row, (position, step) in enumerate(zip(batch.positions, batch.steps, strict=True)):
        sample = data.sample(position)
        for key, array in sample.observations.items():
            assert batch.observations[key][row].tobytes() == array[step].tobytes()
        if batch.action_mask is not None:
            assert batch.action_mask[row].tolist() == sample.action_mask[step].tolist()
        assert batch.actions[row] == sample.actions[step]
        assert batch.rewards[row] == sample.rewards[step]
        assert batch.terminations[row] == sample.terminations[step]
        ended = sample.truncations[step] and not sample.terminations[step]
        assert batch.truncations[row] == ended
        assert np.array_equal(batch.old_log_probs[row], sample.old_log_probs[step], equal_nan=True)
        assert np.array_equal(batch.values[row], sample.value_preds[step], equal_nan=True)


@pytest.mark.parametrize("masks", [True, False])
def test_every_row_is_a_row_of_its_sample(path, masks):
    data = dataset(path, use_masks=masks)
    batch = data.sample_rows(rng(), 300)
    check_rows(data, batch)
    assert len(batch.rewards) == 300
    assert (batch.action_mask is not None) == masks
    assert len({(p, s) for p, s in zip(batch.positions, batch.steps, strict=True)}) == ROWS
    assert batch.rewards.dtype == np.float32
    assert batch.actions.dtype == np.int64


def test_every_row_is_as_likely_as_any_other(path):
    data = dataset(path)
    batch = data.sample_rows(rng(), 17_000)
    starts = np.cumsum([0, *LENGTHS[:-1]])
    counts = np.bincount(starts[batch.positions] + batch.steps, minlength=ROWS)
    assert len(counts) == ROWS
    assert abs(counts - 1000).max() < 5 * 31  # five standard deviations


def test_the_generator_alone_decides(path):
    one, two = dataset(path, workers=1), dataset(path, workers=2, shuffle=True, seed=4)
    first = [one.sample_rows(generator, 8) for generator in [rng(3)] for _ in range(3)]
    again = [two.sample_rows(generator, 8) for generator in [rng(3)] for _ in range(3)]
    for left, right in zip(first, again, strict=True):
        assert left.steps.tolist() == right.steps.tolist()
        assert left.positions.tolist() == right.positions.tolist()
    assert first[0].steps.tolist() != first[1].steps.tolist()


@pytest.mark.parametrize("size", [1, 4, ROWS, 99])
@pytest.mark.parametrize("reuse", [False, True])
def test_minibatches_are_all_rows_once(path, size, reuse):
    data = dataset(path)
    seen, sizes = [], []
    for batch in data.minibatches(rng(), size, reuse=reuse):
        check_rows(data, batch)
        seen += zip(batch.positions.tolist(), batch.steps.tolist(), strict=True)
        sizes.append(len(batch.rewards))
    assert sorted(seen) == [(p, s) for p, rows in enumerate(LENGTHS) for s in range(rows)]
    assert all(found == min(size, ROWS) for found in sizes[:-1])
    assert sum(sizes) == ROWS


def test_arrays_are_used_again_only_when_asked(path):
    data, generator = dataset(path), rng()
    first = data.sample_rows(generator, 6)
    kept = first.rewards.copy()
    second = data.sample_rows(generator, 6)
    assert not np.shares_memory(first.rewards, second.rewards)
    assert first.rewards.tolist() == kept.tolist()
    third = data.sample_rows(generator, 6, reuse=first)
    check_rows(data, third)
    assert third.rewards is first.rewards
    assert third.observations["features"] is first.observations["features"]
    assert third.action_mask is first.action_mask
    third.rewards[:] = 777
    check_rows(data, data.sample_rows(generator, 50))


def test_what_cannot_be_drawn_from(path):
    with pytest.raises(CaptureError, match="no rows are kept to draw from with streaming=True"):
        dataset(path, streaming=True).sample_rows(rng(), 4)
    data = dataset(path)
    with pytest.raises(CaptureError, match="at least 1 row, found 0"):
        data.sample_rows(rng(), 0)
    with pytest.raises(CaptureError, match="at least 1 row, found -1"):
        next(data.minibatches(rng(), -1))
    with pytest.raises(CaptureError, match=r"reuse: \w+ is .*expected .*as many rows"):
        data.sample_rows(rng(), 4, reuse=data.sample_rows(rng(), 5))
    with pytest.raises(CaptureError, match=r"reuse: \w+ is"):
        data.sample_rows(rng(), 4, reuse=dataset(path, use_masks=False).sample_rows(rng(), 3))


def test_a_capture_of_one_sample(path):
    data = dataset(path, episodes=(2,))
    check_rows(data, data.sample_rows(rng(), 50))


def test_actions_against_their_mask_are_not_drawn(tmp_path):
    sample = life("anna", 0, 4)
    mask = np.ones((4, 3), np.int8)
    mask[2, sample.actions[2]] = 0
    illegal = np.arange(4) == 2
    writer = CaptureWriter(tmp_path)
    writer.write_episode(
        [with_metrics(replace(sample, action_mask=mask, extras={"illegal_actions": illegal}))]
    )
    with pytest.raises(CaptureError, match="1 of 4 actions were against their mask"):
        dataset(tmp_path).sample_rows(rng(), 3)
    data = dataset(tmp_path, use_masks=False)
    check_rows(data, data.sample_rows(rng(), 9))
