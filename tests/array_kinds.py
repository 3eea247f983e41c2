"""Arrays of every kind that a capture may hold, for the tests of packing."""

import numpy as np
from capture_toys import DTYPES, any_bits
from hypothesis import strategies as st

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
KINDS = ["noise", "few", "small", "slow", "counting", "mixed", "constant"]


def fill(flat, kind, rng):
    """Change rows of any bits, (R, W), into rows of a kind."""
    rows, width = flat.shape
    if kind == "few":
        flat[:] = flat[rng.integers(0, min(3, rows), rows)]
    elif kind == "small":
        flat[:] = rng.integers(0, 2 if flat.dtype.kind == "b" else 12, flat.shape)
    elif kind == "slow":
        flat[:] = flat[np.arange(rows) // 4]
    elif kind == "counting" and flat.dtype.kind != "b":
        flat[:] = (np.arange(rows)[:, None] * rng.integers(0, 9, width)).astype(flat.dtype)
    elif kind == "mixed":
        for column in range(width):
            fill(flat[:, column : column + 1], KINDS[rng.integers(5)], rng)
    elif kind == "constant":
        flat[:] = flat[0]


@st.composite
def any_arrays(draw):
    """Arrays of every dtype and byte order: noise, few values, slow columns, rows without end."""
    tables = st.tuples(st.integers(1, 700), st.integers(0, 12))
    wide = st.tuples(st.integers(1, 20), st.integers(250, 530))
    shape = draw(st.one_of(shapes, tables, wide))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    array = any_bits(rng, dtype.str[1:] if dtype.kind != "b" else "bool", shape)
    kind = draw(st.sampled_from(KINDS))
    if array.size:
        fill(array.reshape(len(array) if array.ndim else 1, -1), kind, rng)
    return array.astype(dtype.newbyteorder(draw(st.sampled_from("<>"))))


def bits(array):
    """All that makes two arrays equal to the bit."""
    native = array.astype(array.dtype.newbyteorder("="))
    return native.dtype, native.shape, native.tobytes()


def check_whole(found, named):
    """Hold arrays that were unpacked against those that were packed."""
    assert list(found) == list(named)
    for name, array in named.items():
        assert bits(found[name]) == bits(array)
        assert found[name].dtype.isnative
        assert found[name].flags.writeable
        assert found[name].flags.c_contiguous
