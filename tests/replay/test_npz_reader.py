"""Archives of any maker are read alike, and checksums count in each of them."""

import io
import struct
import zipfile

import numpy as np
import pytest
from hostile_captures import archive, npy

from townlet_replay.errors import CaptureError
from townlet_replay.npz import encode_npz
from townlet_replay.npz_reader import decode_npz

RNG = np.random.default_rng(7)
ARRAYS = {
    "floats": RNG.random((50, 7), np.float32),
    "flags": RNG.random(33) < 0.5,
    "codes": RNG.integers(-9, 9, (4, 3, 2)),
    "one": np.array(2.5),
    "none": np.zeros((0, 3), np.int8),
}


class Pipe(io.BytesIO):
    """Cannot be gone back in, so that sizes follow the content of a member."""

    def seekable(self):
        return False


def written(file, **options):
    with zipfile.ZipFile(file, "w", **options) as made:
        for name, array in ARRAYS.items():
            made.writestr(f"{name}.npy", npy(array))
        made.comment = b"made elsewhere" if options else b""
    return file.getvalue()


def saved(save):
    file = io.BytesIO()
    save(file, **ARRAYS)
    return file.getvalue()


def with_extra_fields():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, array in ARRAYS.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            info.extra = struct.pack("<HH4x", 0x7777, 4)
            made.writestr(info, npy(array))
    return file.getvalue()


ARCHIVES = {
    "ours": encode_npz(ARRAYS, compress=True),
    "ours, stored": encode_npz(ARRAYS, compress=False),
    "NumPy's": saved(np.savez),
    "NumPy's, compressed": saved(np.savez_compressed),
    "from a pipe": written(Pipe()),
    "with a comment": written(io.BytesIO(), compression=zipfile.ZIP_DEFLATED),
    "behind something else": b"#!/bin/sh\n" + written(io.BytesIO()),
    "with extra fields": with_extra_fields(),
}


@pytest.mark.parametrize("maker", ARCHIVES)
def test_every_maker(maker):
    found = decode_npz(ARCHIVES[maker], maker)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags.writeable
        assert found[name].flags.aligned
        assert found[name].flags.c_contiguous


@pytest.mark.parametrize("maker", ARCHIVES)
def test_checksums_count(maker):
    data = bytearray(ARCHIVES[maker])
    at = data.index(b"PK\x01\x02") + 16  # CRC in the directory
    data[at] ^= 1
    with pytest.raises(CaptureError, match=r"member 'floats.npy' is damaged"):
        decode_npz(bytes(data), maker)


def test_arrays_at_odd_places_are_moved():
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"
    text = header.encode() + b" " * 30 + b"\n"
    body = np.arange(3.0).tobytes()
    for spaces in range(8):
        content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + spaces)
        content += text[:-1] + b" " * spaces + b"\n" + body
        found = decode_npz(archive([("a.npy", content)]), "odd")["a"]
        assert found.tolist() == [0, 1, 2]
        assert found.flags.aligned


def test_a_member_in_another_s_place():
    """The directory says where members are, and each says so itself."""
    data = bytearray(ARCHIVES["ours, stored"])
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    struct.pack_into("<I", data, second + 42, 0)
    with pytest.raises(CaptureError, match=r"'flags.npy' is not where the directory"):
        decode_npz(bytes(data), "moved")


def test_what_is_left_over_in_a_member_is_refused():
    data = archive([("a.npy", npy(np.zeros(3)) + b"!")], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CaptureError, match="24 bytes, but holds 25"):
        decode_npz(data, "longer")
