"""Packed arrays come back to the bit, and a damaged or hostile packing is refused."""

import io
import json
import struct
import zipfile
import zlib

import numpy as np
import pytest
from capture_toys import DTYPES, any_bits, life, replay_samples
from forged_captures import NPZ, load_all, replace_files
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_replay import load_capture
from townlet_replay.errors import CaptureError
from townlet_replay.npz import encode_npz
from townlet_replay.npz_reader import decode_npz
from townlet_replay.packing import pack, read_directory, unpack
from townlet_replay.sample import arrays_of, decode_sample, encode_sample, same_sample
from townlet_replay.writer import CaptureWriter, WriterSettings

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
BIG = 10**9  # a file of so many bytes may claim anything


@st.composite
def any_arrays(draw):
    """Arrays of every dtype and byte order: noise, few values, slow columns, rows without end."""
    shape = draw(st.one_of(shapes, st.tuples(st.integers(1, 700), st.integers(0, 3))))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    array = any_bits(rng, dtype.str[1:] if dtype.kind != "b" else "bool", shape)
    kind = draw(st.sampled_from(["noise", "few", "small", "slow", "constant"]))
    if array.size and kind != "noise":
        flat = array.reshape(len(array) if array.ndim else 1, -1)
        if kind == "few":
            flat[:] = flat[rng.integers(0, min(3, len(flat)), len(flat))]
        elif kind == "small":
            flat[:] = rng.integers(0, 2 if dtype.kind == "b" else 12, flat.shape)
        elif kind == "slow":
            flat[:] = flat[np.arange(len(flat)) // 4]
        else:
            flat[:] = flat[0]
    return array.astype(dtype.newbyteorder(draw(st.sampled_from("<>"))))


def bits(array):
    native = array.astype(array.dtype.newbyteorder("="))
    return native.dtype, native.shape, native.tobytes()


@settings(max_examples=300, deadline=None)
@given(st.lists(any_arrays(), max_size=4))
def test_every_bit_comes_back(arrays):
    named = {f"a{k}": array for k, array in enumerate(arrays)}
    packed = pack(named)
    found = unpack(packed, BIG)
    assert list(found) == list(named)
    for name, array in named.items():
        assert bits(found[name]) == bits(array)
        assert found[name].dtype.isnative
        assert found[name].flags.writeable
        assert found[name].flags.c_contiguous
    assert pack(found).tobytes() == packed.tobytes()


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


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_chosen_for_what_it_is_for(layout):
    array = LAYOUTS[layout]
    packed = pack({"a": array})
    assert read_directory(packed)[0]["a"].layout == layout
    assert bits(unpack(packed, BIG)["a"]) == bits(array)


def test_constant_columns_are_kept_once():
    rows = np.tile(np.random.default_rng(1).normal(size=50), (2000, 1))
    assert len(pack({"a": rows})) < 600
    assert bits(unpack(pack({"a": rows}), BIG)["a"]) == bits(rows)


def test_tables_beyond_one_byte():
    values = np.random.default_rng(1).normal(size=300).astype(np.float32)
    walk = np.random.default_rng(2).integers(0, 2, (8000, 2)).cumsum(axis=0)
    array = np.sort(values)[walk % 300]
    assert len(np.unique(array[:, 0])) > 256
    packed = pack({"a": array})
    assert read_directory(packed)[0]["a"].layout == "table"
    assert bits(unpack(packed, BIG)["a"]) == bits(array)


@settings(max_examples=100, deadline=None)
@given(sample=replay_samples())
def test_a_packed_sample_is_the_sample(sample):
    data = encode_sample(sample, compress=True, mode="packed")
    assert same_sample(decode_sample(data, sample.meta, "file"), sample)
    assert encode_sample(sample, compress=True, mode="packed") == data
    with np.load(io.BytesIO(data)) as archive:  # a legal NPZ
        assert archive.files == ["packed"]
        assert archive["packed"].dtype == np.uint8


def forged_directory(array, **changes):
    """A packed array whose directory tells something else."""
    directory, bodies = read_directory(pack({"a": array}))
    entry = directory["a"]._replace(**changes)
    text = json.dumps({"a": entry}).encode()
    deflater = zlib.compressobj(wbits=-15)
    stored = deflater.compress(text) + deflater.flush()
    data = struct.pack("<II", len(stored), len(text)) + stored + bodies
    return np.frombuffer(data, np.uint8)


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
        (FLOATS, {"shape": (10**9, 10**9, 10**9)}, "claim to hold 40"),
        (FLOATS, {"dtype": "O8"}, "a.0: String should match pattern"),
        (FLOATS, {"dtype": "f1"}, "a.0: String should match pattern"),
        (FLOATS, {"dtype": "f8"}, "packed array 'a': shorter than its shape"),
        (FLOATS, {"layout": "pickle"}, "a.2: Input should be"),
        (FLOATS, {"layout": "steps", "body": 10}, "does not hold the 10 bytes"),
        (FLOATS, {"body": 10**9}, "claims 1000000000 bytes where at most"),
        (FLOATS, {"stored": 10}, "does not hold"),
        (FLOATS, {"stored": 10**9}, "packed arrays take 1000000000 bytes"),
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


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_give_an_error_or_arrays_of_the_directory(data):
    """Behind the CRC of the archive; nothing but a CaptureError may come out of damage."""
    name = data.draw(st.sampled_from(sorted(LAYOUTS)))
    packed = pack({"a": LAYOUTS[name]}).copy()
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


def test_a_bomb_is_not_unpacked():
    packed = pack({"a": np.zeros((30_000, 1000), np.uint8)})
    with pytest.raises(CaptureError, match="claim to hold 30000000 in packed arrays"):
        unpack(packed, len(packed))


@pytest.fixture
def packed_capture(tmp_path):
    writer = CaptureWriter(tmp_path, WriterSettings(mode="packed"))
    for episode in range(2):
        writer.write_episode([life(episode=episode)])
    return tmp_path


def test_a_packed_capture_loads_like_any_other(packed_capture):
    capture = load_capture(packed_capture)
    for episode, sample in enumerate(capture):
        assert sample.meta.mode == "packed"
        assert same_sample(sample, life(episode=episode))


def packed_npz(arrays, **beside):
    return encode_npz({"packed": pack(arrays), **beside}, compress=False)


def test_a_hostile_packed_file(packed_capture):
    arrays = arrays_of(life())
    del arrays["dones"]
    hostile = {
        "expected at most": packed_npz(arrays, rewards=arrays["rewards"]),
        "no array 'rewards'": packed_npz({k: v for k, v in arrays.items() if k != "rewards"}),
        "'packed' cannot name": packed_npz(
            {**arrays, "packed": arrays["features"], "final_packed": arrays["final_features"]}
        ),
        r"\['../evil'\]": packed_npz({**arrays, "../evil": arrays["features"]}),
        "no array 'truncations'": packed_npz(
            {k: v for k, v in arrays.items() if k != "truncations"}
        ),
        "packed arrays are bytes": encode_npz({"packed": np.zeros(9)}, compress=False),
        "directory of the packed arrays": encode_npz(
            {"packed": np.zeros(9, np.uint8)}, compress=False
        ),
    }
    for message, data in hostile.items():
        replace_files(packed_capture, npz=data)
        with pytest.raises(CaptureError, match=message) as caught:
            load_all(packed_capture)
        assert NPZ in str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_packs_too_well_is_written_plain(tmp_path):
    one = life(rows=3)
    still = np.zeros((3, 6_000_000), np.uint8)
    sample = type(one)(
        **{
            **vars(one),
            "observations": {**one.observations, "still": still},
            "final_observation": {**one.final_observation, "still": still[0]},
        }
    )
    data = encode_sample(sample, compress=True, mode="packed")
    assert "still" in decode_npz(data, "file")
    assert same_sample(decode_sample(data, sample.meta, "file"), sample)


def test_one_flipped_bit_in_a_packed_file_is_an_error(packed_capture):
    good = (packed_capture / NPZ).read_bytes()
    meta = load_capture(packed_capture).meta(0)
    expected = decode_sample(good, meta, "good")
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        assert archive.testzip() is None
    for at in range(0, len(good), 3):
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        try:
            found = decode_sample(bytes(bad), meta, "bad")
        except CaptureError:
            continue
        assert same_sample(found, expected)  # dates and attributes of a member mean nothing
