"""Packings made to harm: checksums fit, so that the decoders themselves have to refuse them.

Compiled code does not check the places it reads and writes. ``make test-bounds`` runs this module
with the checks, and ``make test-python`` without the compiler.
"""

import struct

import deflate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_replay.errors import CaptureError
from townlet_replay.packing import pack, read_directory, unpack
from townlet_replay.packing.directory import PackedArray, damaged_packed, write_directory

BIG = 10**9  # a file of so many bytes may claim anything
RNG = np.random.default_rng(1)
VALUES = np.float32([0.1, -0.0, np.nan, 7e20])
EXAMPLES = {
    "planes of bits": (RNG.random((90, 30)) < 0.2).cumsum(axis=0).astype(np.uint8) % 2,
    "deeper planes": RNG.integers(0, 12, (40, 19)).astype(np.int8),
    "bytes": (RNG.random((60, 40)) < 0.1).cumsum(axis=0).astype(np.uint8) * 40,
    "pictures": np.stack([np.roll(np.arange(200), 3 * k) for k in range(30)]).astype(np.uint8),
    "noise": RNG.integers(0, 256, (30, 50)).astype(np.uint8),
    "ends": np.arange(300) == 299,
    "tables": VALUES[(RNG.random((90, 30)) < 0.3).cumsum(axis=0) % 4],
    "steps": np.cumsum(RNG.normal(size=(90, 3)), axis=0),
    "counts": np.arange(500, dtype=np.int32)[:, None] * [1, 3] + [[0, 7]],
    "short": RNG.normal(size=(60, 5)).astype(np.float16),
    "wide": VALUES[(RNG.random((9, 300)) < 0.3).cumsum(axis=0) % 4],
}


def parts(array):
    """The entry of a packed array, its body before it was deflated, and what is kept apart."""
    directory, data = read_directory(pack({"a": array}))
    entry = directory["a"]
    body = data[: entry.deflated]
    if entry.deflated != entry.body:
        body = bytes(deflate.deflate_decompress(body, entry.body))
    return entry, body, data[entry.deflated :]


def forge(entry, body, apart=b"", name="a"):
    """A packing of these bytes, with everything in the directory as it should be."""
    entry = entry._replace(
        body=len(body),
        deflated=len(body),
        apart=len(apart),
        checksum=deflate.crc32(body + apart),
    )
    return np.frombuffer(write_directory({name: entry}) + body + apart, np.uint8)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_examples_are_sound(kind):
    found = unpack(forge(*parts(EXAMPLES[kind])), BIG)["a"]
    assert found.tobytes() == EXAMPLES[kind].tobytes()


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_any_bytes_give_an_error_or_an_array_of_the_shape(data):
    entry, body, apart = parts(EXAMPLES[data.draw(st.sampled_from(sorted(EXAMPLES)))])
    body, apart = bytearray(body), bytearray(apart)
    for _ in range(data.draw(st.integers(0, 3))):
        part = apart if apart and data.draw(st.booleans()) else body
        if part:
            early = data.draw(st.booleans())  # where kinds and lengths are
            at = data.draw(st.integers(0, min(len(part) - 1, 40) if early else len(part) - 1))
            part[at] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        del body[data.draw(st.integers(0, len(body))) :]
    if data.draw(st.booleans()):
        del apart[data.draw(st.integers(0, len(apart))) :]
    if data.draw(st.booleans()):
        body += data.draw(st.binary(max_size=30))
    shapes = [entry.shape, entry.shape[::-1], (entry.shape[0] + 1, *entry.shape[1:]), (7,)]
    codes = [entry.dtype, "b1", "i1", "f2", "f4", "i8"]
    entry = entry._replace(
        shape=data.draw(st.sampled_from(shapes)), dtype=data.draw(st.sampled_from(codes))
    )
    try:
        found = unpack(forge(entry, bytes(body), bytes(apart)), BIG)["a"]
    except CaptureError:
        return
    assert (found.shape, found.dtype.str[1:]) == (entry.shape, entry.dtype)
    if found.dtype == np.bool_:
        assert found.view(np.uint8).max(initial=0) <= 1


F4 = PackedArray("f4", (2, 2), "columns", 0, 0)
B1 = PackedArray("b1", (2, 2), "cells", 0, 0)
CONSTANTS, TABLES, STEPS = bytes(2), b"\1\1", b"\2\2"


@pytest.mark.parametrize(
    ("entry", "body", "apart"),
    [
        (F4, b"", b""),
        (F4, b"\0", b""),  # one kind of two
        (F4, CONSTANTS + bytes(7), b""),  # values of three
        (F4, CONSTANTS + bytes(9), b""),
        (F4, CONSTANTS + bytes(8), b"x"),
        (F4, b"\6\0" + bytes(12), b""),  # no such kind
        (F4, b"\x10\0" + bytes(8), b""),  # planes of a constant
        (F4, b"\x11\0" + bytes(20), b""),  # planes of a table
        (F4, TABLES, b""),  # no lengths
        (F4, TABLES + b"\xff\xff", b""),  # no values
        (F4, TABLES + b"\0\0" + bytes(8), b""),  # no rows
        (F4, TABLES + b"\0\0" + bytes(8) + b"\0\1", b""),  # a change that does not follow
        (F4, TABLES + b"\0\0" + bytes(8) + b"\0\1\1", b""),  # to an index beyond the table
        (F4, TABLES + b"\0\0" + bytes(8) + b"\0\4\0", b""),  # of a table beyond the last
        (F4, STEPS + bytes(15), b""),
        (F4, STEPS + bytes(17), b""),
        (F4, b"\xf2\2" + bytes(8), bytes(7)),
        (F4, b"\xf2\2" + bytes(8), bytes(9)),
        (F4._replace(dtype="f2"), CONSTANTS + b"\0\0\0\0\1\0\0\0", b""),  # more than two bytes
        (F4._replace(shape=(0, 2)), b"\0", b""),
        (F4._replace(shape=(0, 2)), b"", b"x"),
        (F4._replace(layout="cells"), bytes(17), b""),
        (B1._replace(layout="columns"), bytes(2 + 8), b""),
        (B1, b"", b""),
        (B1, b"\1\0", b""),  # flags of one row
        (B1, b"\1\1\0", b""),  # a change that does not follow
        (B1, b"\1\2\0\1", b""),  # of a byte beyond the row
        (B1, b"\1\0\0\1", b""),
        (B1, b"\1\0\0", b"x"),
        (B1, b"\5\0\0\0\0\0\0", b""),  # no such depth
        (B1, b"\xff\0\0", b""),
        (B1, b"\2\2\0\1", b""),  # a boolean that is 2
        (B1, b"\x08\1\0\2", b""),
        (B1, b"\0\1\0\1", b""),  # three of four
        (B1, b"\0\1\0\1\2", b""),
        (B1, b"\0", b"\1\0\1\2"),
    ],
)
def test_a_body_that_lies(entry, body, apart):
    with pytest.raises(CaptureError, match="packed array 'a': "):
        unpack(forge(entry, body, apart), BIG)


def test_the_bodies_above_are_close_to_sound_ones():
    sound = [
        (F4, CONSTANTS + bytes(8), b""),
        (F4, TABLES + b"\0\0" + bytes(8) + b"\0\0", b""),
        (F4, TABLES + b"\1\0" + bytes(12) + b"\0\1\1", b""),
        (F4, STEPS + bytes(16), b""),
        (F4, b"\xf2\2" + bytes(8), bytes(8)),
        (F4._replace(shape=(0, 2)), b"", b""),
        (B1, b"\1\1\0\1", b""),
        (B1, b"\x08\1\0\1", b""),
        (B1, b"\0\1\0\1\1", b""),
        (B1, b"\0", b"\1\0\1\1"),
    ]
    for entry, body, apart in sound:
        assert unpack(forge(entry, body, apart), BIG)["a"].shape == entry.shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (10**12, 3)}, "claim to hold 12000000000000"),
        ({"shape": (10**9,) * 3}, "claim to hold 4000"),
        ({"shape": (2**64 - 1, 0)}, "claim to hold 7"),
        ({"shape": (1,) * 9}, "unknown dtype or layout, more than 8"),
        ({"body": 2**32 - 1}, "4294967295 bytes of columns cannot be float32"),
        ({"body": 200}, "does not hold 200 bytes"),
        ({"deflated": 2**32 - 1}, "its checksum does not fit"),
        ({"apart": 5}, "its checksum does not fit"),
        ({"checksum": 5}, "its checksum does not fit"),
    ],
)
def test_a_directory_that_lies(changes, message):
    directory, data = read_directory(pack({"a": EXAMPLES["tables"]}))
    forged = write_directory({"a": directory["a"]._replace(**changes)}) + data
    with pytest.raises(CaptureError, match=message):
        unpack(np.frombuffer(forged, np.uint8), BIG)


def with_text(text, *, size=None, magic=b"TPK2"):
    stored = bytes(deflate.deflate_compress(text))
    size = len(text) if size is None else size
    header = struct.pack("<4sIII", magic, len(stored), size, deflate.crc32(stored))
    return np.frombuffer(header + stored, np.uint8)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (np.frombuffer(b"TPK2" + bytes(9), np.uint8), "of 13 bytes are too short"),
        (with_text(b"", size=2**31), "damaged, its checksum"),
        (with_text(b"", size=9), "0 bytes, not 9"),
        (with_text(b"x"), "damaged"),
        (with_text(struct.pack("<BBBBIIII", 1, 99, 0, 0, *[0] * 4) + b"a"), "unknown dtype"),
        (with_text(struct.pack("<BBBBIIII", 1, 0, 9, 0, *[0] * 4) + b"a"), "or layout"),
        (with_text(struct.pack("<BBBBIIII", 1, 0, 0, 0, *[0] * 4) + b"\xff"), "damaged"),
        (with_text(struct.pack("<BBBBIIII", 9, 0, 0, 1, *[0] * 4) + b"a"), "damaged"),
        (with_text(2 * (struct.pack("<BBBBIIII", 1, 0, 0, 0, *[0] * 4) + b"a")), "second entry"),
    ],
)
def test_a_directory_that_is_none(packed, message):
    with pytest.raises(CaptureError, match=message):
        unpack(packed, BIG)


def test_a_flipped_bit_is_an_error_and_located():
    packed = pack({f"array_{k}": array for k, array in enumerate(EXAMPLES.values())})
    directory, data = read_directory(packed)
    assert damaged_packed(packed.tobytes()) == []
    at = len(packed) - len(data)
    for name, entry in directory.items():
        for place in {at, at + entry.stored // 2, at + entry.stored - 1}:
            bad = packed.copy()
            bad[place] ^= 4
            with pytest.raises(CaptureError, match=f"'{name}': damaged, its checksum"):
                unpack(bad, BIG)
            assert damaged_packed(b"anything" + bad.tobytes() + b"more") == [name]
        at += entry.stored
    for place in range(len(packed) - len(data)):
        bad = packed.copy()
        bad[place] ^= 4
        with pytest.raises(CaptureError):
            unpack(bad, BIG)
        assert damaged_packed(bad.tobytes()) == []
    cut = packed[: -directory["array_10"].stored]
    assert damaged_packed(cut.tobytes()) == ["array_10"]
