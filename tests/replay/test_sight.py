"""What an agent sees lands in columns as it was, by the short way and by the long one."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from townlet_replay.errors import CaptureError
from townlet_replay.sight import LEAST_ROOM, Sight
from townlet_replay.spaces import action_format, copy_observation, split_mask

ACTIONS = action_format("ana", spaces.Discrete(3), None)
FORMS = ("plain", "list", "wide mask", "other order")
NO_IDS = action_format("ana", spaces.Box(-1, 1, (2,)), None)


def observation(rng, mask="obs", dtype=np.float32):
    found = {"map": rng.integers(0, 2, (2, 3)).astype(np.uint8), "x": rng.random(4).astype(dtype)}
    info = {}
    bits = rng.integers(0, 2, 3).astype(np.int8)
    if mask == "obs":
        found["action_mask"] = bits
    elif mask == "info":
        info["action_mask"] = bits
    return found, info


def stacked(rows):
    """The long way: copies, taken apart, stacked."""
    parts = [split_mask("ana", copy_observation(o), info, ACTIONS) for o, info in rows]
    arrays = {key: np.stack([flat[key] for flat, _ in parts]) for key in parts[0][0]}
    return arrays, None if parts[0][1] is None else np.stack([mask for _, mask in parts])


def assert_same(found, expected):
    assert list(found[0]) == list(expected[0])
    for key, column in expected[0].items():
        assert found[0][key].dtype == column.dtype
        np.testing.assert_array_equal(found[0][key], column)
    if expected[1] is None:
        assert found[1] is None
    else:
        np.testing.assert_array_equal(found[1], expected[1])


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["obs", "info", "none"]),
    st.integers(1, 3 * LEAST_ROOM),
    st.lists(
        st.sampled_from(["plain", "list", "wide mask", "other order"]), min_size=1, max_size=4
    ),
)
def test_rows_are_those_of_the_long_way(seed, mask, count, forms):
    """Whatever dress an observation comes in, and though the environment uses its buffers again."""
    rng = np.random.default_rng(seed)
    sight, rows = Sight("ana", ACTIONS), []
    for row in range(count):
        seen, info = observation(rng, mask)
        rows.append((copy_observation(seen), {k: v.copy() for k, v in info.items()}))
        form = forms[row % len(forms)]
        if form == "list":
            info = {key: value.tolist() for key, value in info.items()}
        elif form == "wide mask":
            info = {key: value.astype(np.int64) for key, value in info.items()}
        elif form == "other order":
            seen = dict(reversed(seen.items()))
        assert sight.write(row, seen, info) is None
        for array in seen.values():
            array[...] = 1  # a buffer that is used again
    assert_same(sight.rows(count), stacked(rows))
    last, last_mask = sight.at(count - 1)
    assert_same(({k: v[None] for k, v in last.items()}, None), (stacked(rows[-1:])[0], None))
    if mask != "none":
        np.testing.assert_array_equal(last_mask, stacked(rows)[1][-1])
    sight.shrink(count)
    assert_same(sight.rows(count), stacked(rows))


def test_the_raw_observation_comes_back():
    rng = np.random.default_rng(1)
    for mask in ("obs", "info", "none"):
        sight = Sight("ana", ACTIONS)
        for row in range(3):
            seen, info = observation(rng, mask)
            kept = copy_observation(seen)
            sight.write(row, seen, info)
            found = sight.raw(row)
            assert found.keys() == kept.keys()
            assert all(found[key].dtype == kept[key].dtype for key in kept)
            assert all(np.array_equal(found[key], kept[key]) for key in kept)
    whole = Sight("ana", NO_IDS)
    for row in range(2):
        whole.write(row, np.full(3, row, np.float32), {})
    np.testing.assert_array_equal(whole.raw(1), np.ones(3, np.float32))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda seen, info: seen.pop("x"), "row 1 observes"),
        (lambda seen, info: seen.update(y=np.zeros(1)), "row 1 observes"),
        (lambda seen, info: seen.update(x=np.zeros(5, np.float32)), "x changes its shape"),
        (lambda seen, info: seen.update(x=np.zeros(4)), "x changes its shape or dtype"),
        (lambda seen, info: info.pop("action_mask"), "for some rows and not for others"),
    ],
)
def test_a_row_unlike_the_first_is_told_and_not_written(change, reason):
    rng = np.random.default_rng(2)
    sight = Sight("ana", ACTIONS)
    first, info = observation(rng, "info")
    sight.write(0, first, info)
    second, told = observation(rng, "info")
    sight.write(1, second, told)
    other, changed = observation(rng, "info")
    change(other, changed)
    assert reason in sight.write(1, other, changed)
    assert_same(sight.rows(2), stacked([(first, info), (second, told)]))


def test_a_mask_that_appears_later_is_told():
    rng = np.random.default_rng(2)
    sight = Sight("ana", ACTIONS)
    sight.write(0, *observation(rng, "none"))
    assert "for some rows and not for others" in sight.write(1, *observation(rng, "info"))


@pytest.mark.parametrize("mask", [np.array([0, 2, 1], np.int8), np.ones(4, np.int8)])
@pytest.mark.parametrize("place", ["obs", "info"])
def test_a_wrong_mask_is_refused_and_nothing_written(mask, place):
    rng = np.random.default_rng(3)
    sight = Sight("ana", ACTIONS)
    rows = [observation(rng, place), observation(rng, place)]
    for row, seen in enumerate(rows):
        sight.write(row, *seen)
    other, info = observation(rng, place)
    (other if place == "obs" else info)["action_mask"] = mask
    with pytest.raises(CaptureError, match="action mask has shape"):
        sight.write(1, other, info)
    assert_same(sight.rows(2), stacked(rows))


def test_before_the_first_row_anything_may_be_seen():
    """An agent that has not acted yet has no rows that others would have to fit."""
    sight = Sight("ana", NO_IDS)
    assert sight.write(0, np.zeros(3, np.float32), {}) is None
    assert sight.write(0, {"x": np.ones(2)}, {}) is None
    assert list(sight.rows(1)[0]) == ["x"]


def test_actions_that_are_no_ids_have_no_mask():
    sight = Sight("ana", NO_IDS)
    for row in range(3):
        seen, info = observation(np.random.default_rng(row), "obs")
        assert sight.write(row, seen, {**info, "action_mask": "ignored"}) is None
    columns, masks = sight.rows(3)
    assert masks is None
    assert list(columns) == ["map", "observation_action_mask", "x"]
