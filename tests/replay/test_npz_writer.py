"""Archives that we write are what Python's zipfile and NumPy make of the same arrays."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from capture_toys import DTYPES, any_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_samples import script_sample

from townlet_replay.digests import member_digests
from townlet_replay.errors import CaptureError
from townlet_replay.npz import MAX_MEMBERS, encode_npz, npy_header
from townlet_replay.npz_reader import decode_npz
from townlet_replay.sample import encode_sample

RNG = np.random.default_rng(8)
ARRAYS = {
    "noise": RNG.random((60, 7)),
    "rows": np.repeat(RNG.integers(0, 9, (6, 50)), 20, axis=0),
    "one": np.array(True),
    "none": np.zeros((4, 0), np.float16),
    "big": np.arange(70, dtype=">i4").reshape(2, 35),
    "turned": RNG.integers(0, 99, (30, 5), np.uint8).T,
    "picture": np.zeros((2, 200, 200, 3), np.uint8),
}


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array, order="C"), version=(1, 0))
    return file.getvalue()


def zipped(arrays):
    """The archive that zipfile makes of stored members, with the same dates and attributes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            archive.writestr(info, npy(array))
    return file.getvalue()


def test_stored_archives_are_those_of_zipfile():
    assert encode_npz(ARRAYS, compress=False) == zipped(ARRAYS)
    assert encode_npz({}, compress=False) == zipped({})


def test_numpy_and_zipfile_read_deflated_archives():
    data = encode_npz(ARRAYS, compress=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        methods = {info.filename: info.compress_type for info in archive.infolist()}
        for name, array in ARRAYS.items():
            assert archive.read(f"{name}.npy") == npy(array)
    assert methods["rows.npy"] == zipfile.ZIP_DEFLATED
    found = np.load(io.BytesIO(data), allow_pickle=False)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_what_does_not_shrink_is_stored():
    data = encode_npz({"noise": RNG.integers(0, 256, 5000, np.uint8)}, compress=True)
    (info,) = zipfile.ZipFile(io.BytesIO(data)).infolist()
    assert info.compress_size <= info.file_size == 5128
    tiny = encode_npz({"a": np.zeros(1)}, compress=True)
    assert len(tiny) < len(encode_npz({"a": np.zeros(1)}, compress=False))


@st.composite
def any_array(draw):
    """Any dtype, shape, byte order and memory layout."""
    shape = draw(st.lists(st.integers(0, 6), max_size=4).map(tuple))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    array = any_bits(rng, dtype.str[1:] if dtype.kind != "b" else "bool", shape)
    array = array.astype(array.dtype.newbyteorder(draw(st.sampled_from("<>"))))
    return draw(st.sampled_from([array, array.T, array[::-1] if array.ndim else array]))


@settings(max_examples=200, deadline=None)
@given(st.lists(any_array(), max_size=5), st.booleans())
def test_any_arrays_come_back(arrays, compress):
    named = {f"a{k}": array for k, array in enumerate(arrays)}
    found = decode_npz(encode_npz(named, compress=compress), "memory")
    assert list(found) == list(named)
    for name, array in named.items():
        native = array.astype(array.dtype.newbyteorder("="))
        assert (found[name].dtype, found[name].shape) == (native.dtype, native.shape)
        assert found[name].tobytes() == native.tobytes()


def test_the_layout_in_memory_does_not_show():
    plain = np.ascontiguousarray(ARRAYS["turned"])
    assert encode_npz({"a": plain}, compress=True) == encode_npz(
        {"a": ARRAYS["turned"]}, compress=True
    )


def test_rows_are_looked_back_to():
    """The stride that is handed on is that of a row: noise that comes row after row is small."""
    row = RNG.integers(0, 256, (1, 100, 3), np.uint8)
    data = encode_npz({"a": np.repeat(row, 100, axis=0)}, compress=True)
    assert len(data) < 1000


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_headers_are_numpys(array):
    plain = np.asarray(array, order="C")
    assert npy_header(plain) == npy(array)[: -plain.nbytes or None]


def test_no_more_members_than_are_read():
    arrays = {f"a{k}": np.zeros(1) for k in range(MAX_MEMBERS + 1)}
    with pytest.raises(CaptureError, match="129 arrays in one file; at most 128"):
        encode_npz(arrays, compress=True)
    arrays.popitem()
    assert len(decode_npz(encode_npz(arrays, compress=True), "most")) == MAX_MEMBERS


def test_digests_are_those_of_the_members():
    sample = script_sample()
    for compress in (True, False):
        data = encode_sample(sample, compress=compress)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = {
                name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()
            }
        assert found == member_digests(sample)
