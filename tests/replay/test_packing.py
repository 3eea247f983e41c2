"""Packed arrays come back to the bit, and a damaged or hostile packing is refused."""

import io
import zipfile
import zlib

import numpy as np
import pytest
from array_kinds import any_arrays, check_whole
from capture_toys import life, replay_samples
from forged_captures import NPZ, load_all, replace_files
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_replay import load_capture, packing
from townlet_replay.errors import CaptureError
from townlet_replay.npz import encode_npz
from townlet_replay.npz_reader import decode_npz
from townlet_replay.packing import pack, read_directory, unpack
from townlet_replay.packing.columns import BLOCK
from townlet_replay.sample import arrays_of, decode_sample, encode_sample, same_sample
from townlet_replay.writer import CaptureWriter, WriterSettings

BIG = 10**9  # a file of so many bytes may claim anything
RNG = np.random.default_rng(1)


@settings(max_examples=300, deadline=None)
@given(st.lists(any_arrays(), max_size=4))
def test_every_bit_comes_back(arrays):
    named = {f"a{k}": array for k, array in enumerate(arrays)}
    packed = pack(named)
    found = unpack(packed, BIG)
    check_whole(found, named)
    assert pack(found).tobytes() == packed.tobytes()


def test_arrays_that_are_views_of_others_read_only_or_not_contiguous():
    table = np.arange(4000, dtype=np.float32).reshape(40, 100)
    table.flags.writeable = False
    cells = np.arange(4000).astype(np.uint8).reshape(40, 100)
    named = {"a": table[::2, 1::3], "b": table.T, "c": cells[:, ::-1], "d": cells.T[5:]}
    check_whole(unpack(pack(named), BIG), named)


def stored(array):
    return read_directory(pack({"a": array}))[0]["a"]


def walk(rows, columns):
    """Columns of few values that change in a third of the rows."""
    values = np.float32([0.1, 0.5, -0.5, 7e20, np.nan])
    return values[(RNG.random((rows, columns)) < 1 / 3).cumsum(axis=0) % 5]


@pytest.mark.parametrize(
    ("array", "most"),
    [
        (np.tile(RNG.normal(size=50), (2000, 1)), 600),  # constant columns are kept once
        (np.arange(5000, dtype=np.int64)[:, None] * [1, 257], 300),  # steady steps
        (np.cumsum(np.arange(3000)).astype(np.int32), 100),  # and steps of steps
        (walk(1000, 30), 30 * 1000 // 3),  # a byte for each change is too much
        ((RNG.random((2000, 99)) < 0.01).cumsum(axis=0).astype(np.int8) % 2, 6000),
        (np.zeros((2000, 484), np.uint8), 400),
        (np.arange(2000) % 500 == 499, 40),
        (RNG.normal(size=(1000, 4)).astype(np.float32), 4 * 1000 * 3.6),
    ],
)
def test_what_shrinks(array, most):
    assert stored(array).stored <= most
    check_whole(unpack(pack({"a": array}), BIG), {"a": array})


def test_noise_is_kept_apart_and_costs_what_it_is():
    values = RNG.normal(size=(3000, 2)).astype(np.float32)
    entry = stored(values)
    assert entry.apart >= 2 * 2 * 3000  # the two lowest planes at least
    octets = RNG.integers(0, 256, (300, 100)).astype(np.uint8)
    entry = stored(octets)
    assert (entry.body, entry.apart) == (1, 30_000)
    named = {"a": values, "b": octets}
    check_whole(unpack(pack(named), BIG), named)


def test_bodies_are_deflated_as_well_as_by_zlib():
    """They are no rows of numbers: an encoder that takes them for such writes a third more."""
    ground = RNG.random((60, 60)) < 0.3
    x, y = np.clip(RNG.integers(-1, 2, (2, 1500)).cumsum(axis=1) + 20, 0, 39)
    seen = np.stack([ground[j : j + 21, i : i + 21] for i, j in zip(x, y, strict=True)])
    entry = stored(seen)
    body, apart = packing._encode(seen, np.empty((2, seen.size), np.uint8))
    assert (len(body), apart) == (entry.body, b"")
    assert entry.stored < 1.1 * len(zlib.compress(body, 1))


@pytest.mark.parametrize("values", [255, 256, 257, 400])
def test_tables_as_large_as_they_can_be(values):
    numbers = RNG.normal(size=(values, 3)).astype(np.float32)
    array = np.stack([numbers[RNG.integers(0, values, 6000), k] for k in range(3)], axis=1)
    assert len(np.unique(array)) == 3 * values
    check_whole(unpack(pack({"a": array}), BIG), {"a": array})
    assert (stored(array).stored < 7 * 4 * values + 3.2 * 6000) == (values <= 256)


@pytest.mark.parametrize("width", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1])
def test_blocks_of_columns(width):
    named = {"a": walk(300, width), "b": walk(300, width).astype(np.float64)}
    check_whole(unpack(pack(named), BIG), named)


@settings(max_examples=100, deadline=None)
@given(sample=replay_samples())
def test_a_packed_sample_is_the_sample(sample):
    data = encode_sample(sample, compress=True, mode="packed")
    assert same_sample(decode_sample(data, sample.meta, "file"), sample)
    assert encode_sample(sample, compress=True, mode="packed") == data
    with np.load(io.BytesIO(data)) as archive:  # a legal NPZ
        assert archive.files == ["packed"]
        assert archive["packed"].dtype == np.uint8


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
