"""Packings of earlier versions come back to the bit, and damaged or hostile ones are refused."""

import numpy as np
import pytest
from array_kinds import any_arrays, bits, check_whole
from hypothesis import given, settings
from hypothesis import strategies as st
from old_packing import pack_old, with_directory

from townlet_replay.errors import CaptureError
from townlet_replay.packing import read_directory, unpack

BIG = 10**9  # a file of so many bytes may claim anything
NOISE = np.random.default_rng(1).integers(0, 256, 300).astype(np.uint8)
LAYOUTS = {
    "rows": np.stack([np.roll(NOISE, 7 * row) for row in range(40)]),
    "bits": np.random.default_rng(1).integers(0, 2, (900, 30)).astype(np.uint8),
    "planes": np.random.default_rng(1).normal(size=(900, 3)).astype(np.float32),
    "steps": np.arange(5000, dtype=np.int64)[:, None] * [1, 257],
    "table": np.float32([0.1, -0.0, np.nan, 7e20])[
        np.random.default_rng(1).integers(0, 4, (900, 30))
    ],
}


@settings(max_examples=150, deadline=None)
@given(st.lists(any_arrays(), max_size=3), st.sampled_from(sorted(LAYOUTS)))
def test_every_bit_comes_back(arrays, layout):
    named = {f"a{k}": array for k, array in enumerate(arrays)}
    check_whole(unpack(pack_old(named, layout), BIG), named)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout(layout):
    packed = pack_old({"a": LAYOUTS[layout]}, layout)
    assert read_directory(packed)[0]["a"].layout == layout
    assert bits(unpack(packed, BIG)["a"]) == bits(LAYOUTS[layout])


def test_tables_beyond_one_byte():
    values = np.random.default_rng(1).normal(size=300).astype(np.float32)
    walk = np.random.default_rng(2).integers(0, 2, (8000, 2)).cumsum(axis=0)
    array = np.sort(values)[walk % 300]
    assert len(np.unique(array[:, 0])) > 256
    assert bits(unpack(pack_old({"a": array}, "table"), BIG)["a"]) == bits(array)


def forged_directory(array, **changes):
    """A packed array whose directory tells something else."""
    directory, bodies = read_directory(pack_old({"a": array}))
    entry = directory["a"]._asdict() | changes
    names = ("dtype", "shape", "layout", "body", "deflated")
    return with_directory({"a": [entry[name] for name in names]}, bodies)


FLOATS = LAYOUTS["planes"]


@pytest.mark.parametrize(
    ("array", "changes", "message"),
    [
        (FLOATS, {"shape": (901, 3)}, "packed array 'a'"),
        (FLOATS, {"shape": (899, 3)}, "packed array 'a': longer than its shape"),
        (FLOATS, {"shape": (0, 3)}, "packed array 'a'"),
        (FLOATS, {"shape": (-1, 3)}, "a.1.0: Input should be greater than or equal to 0"),
        (FLOATS, {"shape": (1,) * 9}, "at most 8"),
        (FLOATS, {"shape": (10**12, 3)}, "claim to hold 12000000000000"),
        (FLOATS, {"shape": (10**12, 0, 10**12)}, "claim to hold 40"),
        (FLOATS, {"shape": (10**9, 10**9, 10**9)}, "claim to hold 40"),
        (FLOATS, {"dtype": "O8"}, "a.0: String should match pattern"),
        (FLOATS, {"dtype": "f1"}, "a.0: String should match pattern"),
        (FLOATS, {"dtype": "f8"}, "packed array 'a': shorter than its shape"),
        (FLOATS, {"layout": "pickle"}, "a.2: Input should be"),
        (FLOATS, {"layout": "cells"}, "a.2: Input should be"),
        (FLOATS, {"layout": "steps", "body": 10}, "does not hold the 10 bytes"),
        (FLOATS, {"body": 10**9}, "claims 1000000000 bytes where at most"),
        (FLOATS, {"deflated": 10}, "does not hold"),
        (FLOATS, {"deflated": 10**9}, "packed arrays take 1000000000 bytes"),
        (FLOATS, {"layout": "bits"}, "packed array 'a': "),
        (FLOATS, {"layout": "table"}, "packed array 'a': "),
        (LAYOUTS["table"], {"layout": "rows"}, "packed array 'a': shorter than its shape"),
        (LAYOUTS["bits"], {"dtype": "b1", "layout": "rows"}, "packed array 'a': shorter"),
        (LAYOUTS["bits"], {"layout": "table"}, "packed array 'a': a table of single bytes"),
        (LAYOUTS["bits"], {"body": 31_000}, "claims 31000 bytes where at most 30646 are possible"),
        (LAYOUTS["rows"], {"dtype": "b1"}, "booleans that are neither 0 nor 1"),
    ],
)
def test_a_directory_that_lies(array, changes, message):
    with pytest.raises(CaptureError, match=message):
        unpack(forged_directory(array, **changes), BIG)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_give_an_error_or_arrays_of_the_directory(data):
    """Behind the CRC of the archive; nothing but a CaptureError may come out of damage."""
    name = data.draw(st.sampled_from(sorted(LAYOUTS)))
    packed = pack_old({"a": LAYOUTS[name]}).copy()
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    cut = packed[: data.draw(st.integers(0, len(packed)))] if data.draw(st.booleans()) else packed
    try:
        found = unpack(cut, BIG)
    except CaptureError:
        return
    assert {key: entry.shape for key, entry in read_directory(cut)[0].items()} == {
        key: array.shape for key, array in found.items()
    }
