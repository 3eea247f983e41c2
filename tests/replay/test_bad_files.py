"""Files that strangers made: sound ones are read, everything else is one clear sentence.

Every case must end in a CaptureError that names the file, fast and without unpacking anything big.
"""

import resource
import struct
import zipfile

import numpy as np
import pytest
from forged_captures import NPZ, load_all, replace_files
from hostile_captures import GOOD, NPZ_FILES, archive, npy
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import CaptureError
from townlet_replay.npz import encode_npz
from townlet_replay.npz_reader import decode_npz


def test_the_sound_capture_loads(capture):
    assert load_all(capture) == [5, 5]


def forged(sound, change):
    with zipfile.ZipFile(sound / NPZ) as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    change(members)
    return archive(members.items())


@pytest.mark.parametrize("kind", NPZ_FILES)
def test_hostile_arrays(capture, kind, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    replace_files(capture, npz=NPZ_FILES[kind])
    with pytest.raises(CaptureError) as caught:
        load_all(capture)
    assert NPZ in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "it-ran").exists()
    with pytest.raises(CaptureError):
        ReplayDataset(ReplayDatasetConfig.from_capture_dir(capture))


@pytest.mark.parametrize("kind", ["too short", "two gigabytes in 64 bytes", "four terabytes"])
def test_sizes_are_compared_before_anything_is_read(kind):
    with pytest.raises(CaptureError, match=r"declares float32.*, \d+ bytes, but holds \d+"):
        decode_npz(NPZ_FILES[kind], "x")


def duplicate(members):
    with pytest.warns(UserWarning, match="Duplicate name"):
        return archive([*members, members[0]])


def test_a_member_twice(capture):
    replace_files(capture, npz=duplicate([GOOD]))
    with pytest.raises(CaptureError, match=r"member 'rewards.npy' appears twice"):
        load_all(capture)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("spare.npy", npy(np.zeros(5)), "the final observation"),
        ("final_spare.npy", npy(np.zeros(5)), "the final observation"),
        ("segment_start.npy", npy(np.zeros(5)), "the final observation"),
        ("rewards.npy", npy(np.zeros(5)), "rewards is float64"),
        (
            "rewards.npy",
            npy(np.zeros(4, np.float32)),
            r"rewards is float32\[4\], expected float32\[5",
        ),
        ("rewards.npy", npy(np.full(5, np.nan, np.float32)), "row 0: the reward is nan"),
        ("rewards.npy", None, "no array 'rewards'"),
        ("dones.npy", npy(np.zeros(5, bool)), "dones differ"),
        ("dones.npy", None, "no array 'dones'"),
        ("actions.npy", npy(np.full(5, 77)), "row 0: actions is 77"),
        ("actions.npy", npy(np.zeros(5, np.int64)), "action 'wait' against the mask"),
        ("actions.npy", None, "no array 'actions'"),
        ("action_mask.npy", npy(np.ones((5, 9), np.int8)), "action_mask is"),
        ("value_preds.npy", npy(np.zeros(5, np.float32)), "value_preds is"),
        ("features.npy", npy(np.zeros((5, 3), np.float32)), "final_features is"),
        ("features.npy", None, "the final observation"),
        ("final_features.npy", None, "the final observation"),
    ],
)
def test_arrays_that_contradict_each_other(sound, capture, name, content, message):
    def change(members):
        members.pop(name, None)
        if content is not None:
            members[name] = content

    replace_files(capture, npz=forged(sound, change))
    with pytest.raises(CaptureError, match=message) as caught:
        load_all(capture)
    assert NPZ in str(caught.value)


def test_a_zip_bomb_is_not_unpacked():
    zeros = npy(np.zeros(100_000_000, np.uint8))
    data = archive([(f"a{i}.npy", zeros) for i in range(4)], compression=zipfile.ZIP_DEFLATED)
    del zeros
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CaptureError, match=r"claim to hold 4000005\d\d"):
        decode_npz(data, "bomb")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_member_larger_than_it_says():
    data = bytearray(archive([GOOD], compression=zipfile.ZIP_DEFLATED))
    at = data.rindex(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    for size in (10, 1000):
        struct.pack_into("<I", data, at, size)
        with pytest.raises(CaptureError, match=r"^lies: "):
            decode_npz(bytes(data), "lies")


def test_an_encrypted_member():
    data = bytearray(archive([GOOD]))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(CaptureError, match="is encrypted"):
        decode_npz(bytes(data), "secret")


def test_what_is_written_can_always_be_read():
    """An array that packs too well would look like a bomb: it is stored instead."""
    arrays = {"a": np.zeros(20_000_000, np.uint8)}
    packed = encode_npz(arrays, compress=True)
    assert len(packed) > 20_000_000
    assert (decode_npz(packed, "zeros")["a"] == 0).all()
    with pytest.raises(CaptureError, match="the array name 'a/b'"):
        encode_npz({"a/b": np.zeros(1)}, compress=False)
    with pytest.raises(CaptureError, match="has dtype object"):
        encode_npz({"a": np.array([None])}, compress=False)


def test_fortran_order_and_big_endian_files_are_read():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for version in (np.asfortranarray(array), array.astype(">f4")):
        found = decode_npz(archive([("a.npy", npy(version))]), "x")["a"]
        assert found.dtype == np.float32
        assert found.dtype.isnative
        assert found.flags.c_contiguous
        assert found.flags.writeable
        assert found.tolist() == array.tolist()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_one_flipped_bit_never_gives_wrong_arrays(sound, data):
    """Behind a fitting digest even: the zip's CRC is the second line."""
    good = (sound / NPZ).read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= 1 << data.draw(st.integers(0, 7))
    expected = decode_npz(good, "good")
    try:
        found = decode_npz(bytes(bad), "bad")
    except CaptureError:
        return
    for name in found:  # dates and attributes of a member mean nothing
        assert found[name].tobytes() == expected[name].tobytes()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_cut_file_is_refused(sound, data):
    good = (sound / NPZ).read_bytes()
    with pytest.raises(CaptureError):
        decode_npz(good[: data.draw(st.integers(0, len(good) - 1))], "cut")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_noise(noise):
    for prefix in (b"", b"PK\x03\x04", b"PK\x05\x06"):
        with pytest.raises(CaptureError):
            decode_npz(prefix + noise, "noise")
