"""The directory of packed arrays: what each is, where it is, and a checksum that finds damage."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import NamedTuple

import deflate

from townlet_replay.errors import CaptureError
from townlet_replay.npz import MAX_NDIM

MAGIC = b"TPK2"
CELLS, COLUMNS = "cells", "columns"  # layouts
_HEADER = struct.Struct("<4sIII")  # and bytes of the directory, deflated and not, and their CRC-32
# Of an array: bytes of the name, dtype, layout, dimensions; bytes of the body, of the body
# deflated, of what is kept apart; CRC-32 of the last two. The name and the shape follow.
_ENTRY = struct.Struct("<BBBBIIII")
_SHAPES = [struct.Struct(f"<{ndim}Q") for ndim in range(MAX_NDIM + 1)]
_DTYPES = ("b1", "i1", "u1", "i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8")
_LAYOUTS = (CELLS, COLUMNS)
LEVEL = 1  # of deflate: a twentieth more bytes than 6, in a third of the time
_MAX_BYTES = 2**20


class PackedArray(NamedTuple):
    """What the directory says of one array."""

    dtype: str  # kind and bytes
    shape: tuple[int, ...]
    layout: str
    body: int  # bytes, before they were deflated
    deflated: int  # bytes; as many as the body has if it is not deflated
    apart: int = 0  # bytes that follow, as they are
    checksum: int | None = None  # CRC-32 of what is stored; old packings have none

    @property
    def claim(self) -> int:
        """Bytes of the array itself, or what they would be if it were not empty."""
        return math.prod(size or 1 for size in self.shape) * int(self.dtype[1])

    @property
    def stored(self) -> int:
        """Bytes of the packed array."""
        return self.deflated + self.apart


Directory = dict[str, PackedArray]


def write_directory(directory: Mapping[str, PackedArray]) -> bytes:
    """Return header and directory as they stand before the arrays."""
    text = b"".join(_entry(name, entry) for name, entry in directory.items())
    stored = deflate.deflate_compress(text, LEVEL)
    return _HEADER.pack(MAGIC, len(stored), len(text), deflate.crc32(stored)) + stored


def _entry(name: str, entry: PackedArray) -> bytes:
    word = name.encode("utf-8")
    codes = (len(word), _DTYPES.index(entry.dtype), _LAYOUTS.index(entry.layout))
    sizes = (entry.body, entry.deflated, entry.apart, entry.checksum)
    shape = struct.pack(f"<{len(entry.shape)}Q", *entry.shape)
    return _ENTRY.pack(*codes, len(entry.shape), *sizes) + word + shape


def parse_directory(data: memoryview) -> tuple[Directory, memoryview]:
    """Return what is in packed bytes, by name, and the bytes that are the arrays.

    Args:
        data: begins with ``MAGIC``.

    Raises:
        CaptureError: the directory is damaged.
    """
    if len(data) < _HEADER.size:
        raise CaptureError(f"packed arrays of {len(data)} bytes are too short")
    _, stored, size, checksum = _HEADER.unpack_from(data)
    end = _HEADER.size + stored
    packed = data[_HEADER.size : end]
    if len(packed) != stored or deflate.crc32(packed) != checksum or size > _MAX_BYTES:
        raise CaptureError("directory of the packed arrays: damaged, its checksum does not fit")
    try:
        text = bytes(deflate.deflate_decompress(packed, size))
        if len(text) != size:
            raise CaptureError(f"directory of the packed arrays: {len(text)} bytes, not {size}")
        return _entries(text), data[end:]
    except (deflate.DeflateError, struct.error, UnicodeDecodeError) as error:
        raise CaptureError(f"directory of the packed arrays: damaged ({error})") from error


def _entries(text: bytes) -> Directory:
    directory: Directory = {}
    at = 0
    while at < len(text):
        length, dtype, layout, ndim, *sizes = _ENTRY.unpack_from(text, at)
        at += _ENTRY.size
        name = text[at : at + length].decode("utf-8")
        if dtype >= len(_DTYPES) or layout >= len(_LAYOUTS) or ndim > MAX_NDIM or name in directory:
            raise CaptureError(
                f"directory of the packed arrays: {name[:80]!r} has an unknown dtype or layout, "
                f"more than {MAX_NDIM} dimensions, or a second entry"
            )
        shape = _SHAPES[ndim].unpack_from(text, at + length)
        at += length + _SHAPES[ndim].size
        directory[name] = PackedArray(_DTYPES[dtype], shape, _LAYOUTS[layout], *sizes)
    return directory


def damaged_packed(data: bytes) -> list[str]:
    """Return which packed arrays of an altered file are not as they were written.

    Args:
        data: a file with packed arrays in it, of which anything may be damaged.

    Returns:
        Their names. Empty if nothing can be said: there are no packed arrays with checksums, or the
        directory is damaged.
    """
    start = data.find(MAGIC)
    if start < 0:
        return []
    try:
        directory, rest = parse_directory(memoryview(data)[start:])
    except CaptureError:
        return []
    damaged, at = [], 0
    for name, entry in directory.items():
        if deflate.crc32(rest[at : at + entry.stored]) != entry.checksum:
            damaged.append(name)
        at += entry.stored
    return damaged
