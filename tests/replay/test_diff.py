"""Differences between captures: what is none, and the first row and field of what is one."""

import dataclasses

import numpy as np
import pytest
from capture_toys import life, replay_samples, with_metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_replay.manifest import load_capture
from townlet_replay.sample import arrays_of, same_sample, with_meta
from townlet_replay.sidecar import CaptureMetadata
from townlet_replay.tools.comparing import Difference, differences
from townlet_replay.tools.derived import write_capture
from townlet_replay.tools.differing import Life, compare_arrays, diff_captures
from townlet_replay.tools.slicing import slice_capture
from townlet_replay.writer import CaptureWriter, WriterSettings


def capture_of(path, samples, **settings):
    CaptureWriter(path, WriterSettings(**settings)).write_episode(samples)
    return load_capture(path)


@pytest.fixture
def town(tmp_path):
    return capture_of(tmp_path / "town", [life("anna"), life("ben"), life("anna", 1)])


def test_how_it_is_written_makes_no_difference(town, tmp_path):
    for mode in ("full", "packed"):
        everything = slice_capture(town)
        copy = write_capture(everything, tmp_path / mode, prefix=mode, mode=mode, compress=False)
        assert copy.manifest.samples[0].sha256 != town.manifest.samples[0].sha256
        assert diff_captures(town, copy).same
    assert diff_captures(town, town).same


@settings(max_examples=60, deadline=None)
@given(replay_samples(), replay_samples(), st.booleans())
def test_arrays_are_equal_exactly_if_all_bits_are(one, other, itself):
    other = one if itself else dataclasses.replace(other, meta=other.meta)
    found = compare_arrays(one, other)
    left, right = arrays_of(one), arrays_of(other)
    unlike = {
        name
        for name in {*left, *right}
        if name not in left
        or name not in right
        or (left[name].dtype, left[name].shape) != (right[name].dtype, right[name].shape)
        or left[name].tobytes() != right[name].tobytes()
    }
    assert {difference.array for difference in found} == unlike
    for name, row, rows in ((d.array, d.row, d.rows) for d in found if d.row is not None):
        pairs = list(zip(left[name], right[name], strict=True))
        wrong = [t for t, (a, b) in enumerate(pairs) if a.tobytes() != b.tobytes()]
        assert (wrong[0], len(wrong)) == (row, rows)
    if itself:
        assert same_sample(with_metrics(one), with_metrics(other))


def changed(name, row, value):
    sample = life()
    array = sample.observations["features"] if name == "features" else getattr(sample, name)
    array = array.copy()
    array[row] = value
    changes = {"observations": {name: array}} if name == "features" else {name: array}
    return dataclasses.replace(sample, **changes)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (changed("rewards", slice(2, 4), 7.5), ", 2 rows of rewards differ"),
        (changed("features", (3, 1), np.nan), "row 3: features[1] rivalry_max: "),
        (changed("value_preds", 5, np.nan), "row 5: value_preds: 0.75 and nan; 1 rows"),
        (changed("actions", 0, 2), "row 0: actions: 1 (move:north) and 2 (chat); "),
    ],
)
def test_the_first_row_and_field_are_named(tmp_path, other, said):
    left, right = (capture_of(tmp_path / s, [x]) for s, x in (("a", life()), ("b", other)))
    found = diff_captures(left, right)
    assert not found.same
    (sample,) = found.samples
    (difference,) = sample.arrays
    assert sample.life == Life("anna", 0)
    assert said.removeprefix(", ") in str(difference)
    assert (not said.startswith(",")) or str(difference).startswith("row 2: rewards: ")


def test_shapes_types_and_missing_arrays(tmp_path):
    plain = life()
    other = dataclasses.replace(
        plain,
        observations={"features": plain.observations["features"].astype(np.float64)},
        final_observation={"features": np.zeros(4)},
        action_mask=None,
    )
    found = [str(difference) for difference in compare_arrays(plain, other)]
    assert found == [
        "features: float32[5, 4] and float64[5, 4]",
        "action_mask: int8[5, 3] and absent",
        "final_features: float32[4] and float64[4]",
    ]


def test_minus_zero_is_another_number():
    left = life()
    zero, minus = (
        dataclasses.replace(left, rewards=np.full(5, value, np.float32)) for value in (0.0, -0.0)
    )
    (difference,) = compare_arrays(zero, minus)
    assert (difference.row, difference.left, difference.right) == (0, "0.0", "-0.0")


def test_samples_metadata_and_order(town, tmp_path):
    other = capture_of(
        tmp_path / "other",
        [
            life("ben"),
            with_meta(life("anna"), tags=("day", "late")),
            life("cat"),
            life("anna"),
        ],
        metadata=CaptureMetadata(seed=3),
    )
    found = diff_captures(town, other)
    assert found.metadata == (Difference("metadata.seed", None, 3),)
    assert found.only_left == (Life("anna", 1),)
    assert found.only_right == (Life("cat", 0), Life("anna", 0, 1))
    assert str(found.only_right[1]) == "anna, episode 0, sample 2"
    assert found.reordered
    (sample,) = found.samples
    assert [str(line) for line in sample.sidecar] == [
        "tags[0]: absent and 'day'",
        "tags[1]: absent and 'late'",
    ]
    assert not sample.arrays


plain = st.recursive(
    st.none() | st.integers(0, 3) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@given(plain, plain)
def test_documents_without_differences_are_equal(left, right):
    assert list(differences(left, left)) == []
    assert list(differences({"a": "absent"}, {})) == [Difference("a", "absent", "absent")]
    assert bool(list(differences(left, right))) == (left != right)
