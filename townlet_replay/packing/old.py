"""Packed arrays of earlier versions, read: five layouts, of which each array was in the smallest.

An array is a table of rows and columns of bit patterns. Columns that never change are kept once;
the others are

- ``rows``: as they are, row after row;
- ``bits``: numbers below 16, one plane of bits after the other;
- ``planes``: column after column, first the lowest byte of all numbers, then the next;
- ``steps``: as ``planes``, of the differences between one row and the next;
- ``table``: the different values of each column in order, and for each row which it is.

The bytes are the length of a directory, the directory, and the deflated arrays, in its order.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from townlet_replay.errors import CaptureError
from townlet_replay.npz import MAX_NDIM
from townlet_replay.packing.directory import Directory, PackedArray
from townlet_replay.safe_files import check_json, first_problem

Unsigned = NDArray[Any]  # bit patterns

_MAX_BITS = 4  # of a number in the layout "bits"
_MAX_DIRECTORY_BYTES = 2**20
_HEADER = struct.Struct("<II")  # bytes of the directory, deflated and not
_SHORT = 256  # values of a column whose indices fit one byte


class _Entry(NamedTuple):
    dtype: Annotated[str, Field(pattern="^(b1|[iu][1248]|f[248])$")]
    shape: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=MAX_NDIM)]
    layout: Literal["rows", "bits", "planes", "steps", "table"]
    body: Annotated[int, Field(ge=0)]  # bytes, not deflated
    stored: Annotated[int, Field(ge=0)]  # bytes, deflated


_DIRECTORY: TypeAdapter[dict[str, _Entry]] = TypeAdapter(dict[str, _Entry])


def parse_directory(data: memoryview) -> tuple[Directory, memoryview]:
    """Return what is in packed bytes, by name, and the bytes that are the arrays.

    Raises:
        CaptureError: the directory is damaged.
    """
    if len(data) < _HEADER.size:
        raise CaptureError(f"packed arrays of {len(data)} bytes are too short")
    stored, size = _HEADER.unpack_from(data)
    body = data[_HEADER.size :]
    try:
        text = _inflate(body[:stored], size, _MAX_DIRECTORY_BYTES)
        check_json(text, "its text")
        entries = _DIRECTORY.validate_json(text)
    except ValidationError as error:
        raise CaptureError(f"directory of the packed arrays: {first_problem(error)}") from error
    except (CaptureError, zlib.error) as error:
        raise CaptureError(f"directory of the packed arrays: {error}") from error
    return {name: PackedArray(*entry) for name, entry in entries.items()}, body[stored:]


def unpack_array(entry: PackedArray, stored: memoryview) -> NDArray[Any]:
    """Return an array of such a packing.

    Raises:
        CaptureError: damaged.
    """
    try:
        body = _inflate(stored, entry.body, _most_bytes(entry))
    except zlib.error as error:
        raise CaptureError(str(error)) from error
    return _unpack(entry, _Reader(body))


def _inflate(stored: memoryview, size: int, most: int) -> bytes:
    """Return ``size`` bytes, and never allocate more."""
    if size > most:
        raise CaptureError(f"claims {size} bytes where at most {most} are possible")
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    body = inflater.decompress(stored, size + 1)
    if len(body) != size or not inflater.eof or inflater.unused_data:
        raise CaptureError(f"does not hold the {size} bytes that its directory claims")
    return body


def _most_bytes(entry: PackedArray) -> int:
    """Return what a body can be at most."""
    count = math.prod(entry.shape)
    rows = entry.shape[0] if entry.shape else 1
    # Which columns move, at most every number once, and a row of bits begins a byte.
    most = count * int(entry.dtype[1]) + count // max(rows, 1) + _MAX_BITS * rows + 16
    if entry.layout == "table":  # and the length of each table, and an index for every number
        most += 4 * (count // max(rows, 1)) + 4 * count
    return most


class _Reader:
    """Takes a body apart."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int) -> NDArray[np.uint8]:
        """Return the next ``size`` bytes."""
        part = np.frombuffer(self._body, np.uint8)[self._at : self._at + size]
        self._at += size
        if len(part) != size:
            raise CaptureError("shorter than its shape")
        return part

    def little(self, dtype: np.dtype[Any], count: int) -> Unsigned:
        """Return the next ``count`` numbers, written one after the other."""
        patterns: Unsigned = self.take(count * dtype.itemsize).view(dtype.newbyteorder("<"))
        return patterns.astype(dtype)

    def planes(self, dtype: np.dtype[Any], count: int) -> Unsigned:
        """Return the next ``count`` numbers, written as byte planes."""
        octets = self.take(count * dtype.itemsize).reshape(dtype.itemsize, count)
        patterns: Unsigned = np.ascontiguousarray(octets.T).view(dtype.newbyteorder("<"))
        return patterns.reshape(count).astype(dtype)

    def check_end(self) -> None:
        """Refuse what is left over."""
        if self._at != len(self._body):
            raise CaptureError("longer than its shape")


def _unpack(entry: PackedArray, body: _Reader) -> NDArray[Any]:
    dtype, kind = np.dtype(entry.dtype), np.dtype(f"u{entry.dtype[1]}")
    if entry.layout == "table" and kind.itemsize == 1:
        raise CaptureError("a table of single bytes")
    if 0 in entry.shape:
        body.check_end()
        return np.zeros(entry.shape, dtype)
    rows = entry.shape[0] if entry.shape else 1
    width = math.prod(entry.shape) // rows
    moving = np.unpackbits(body.take(-(-width // 8)), count=width).astype(np.bool_)
    patterns = np.empty((rows, width), kind)
    patterns[:, ~moving] = body.little(kind, width - int(moving.sum()))
    count = int(moving.sum())
    if count:
        patterns[:, moving] = _READERS[entry.layout](body, kind, count, rows).T
    body.check_end()
    if dtype.kind == "b" and (patterns > 1).any():
        raise CaptureError("booleans that are neither 0 nor 1")
    return patterns.view(dtype).reshape(entry.shape)


def _read_rows(body: _Reader, kind: np.dtype[Any], count: int, rows: int) -> Unsigned:
    return body.little(kind, count * rows).reshape(rows, count).T


def _read_planes(body: _Reader, kind: np.dtype[Any], count: int, rows: int) -> Unsigned:
    return body.planes(kind, count * rows).reshape(count, rows)


def _read_steps(body: _Reader, kind: np.dtype[Any], count: int, rows: int) -> Unsigned:
    return np.cumsum(_read_planes(body, kind, count, rows), axis=1, dtype=kind)


def _read_bits(body: _Reader, kind: np.dtype[Any], count: int, rows: int) -> Unsigned:
    depth = int(body.take(1)[0])
    if depth > _MAX_BITS:
        raise CaptureError(f"numbers of {depth} bits, expected at most {_MAX_BITS}")
    patterns = np.zeros((rows, count), kind)
    octets = -(-count // 8)
    for bit in range(depth):
        plane = body.take(rows * octets).reshape(rows, octets)
        patterns |= np.unpackbits(plane, axis=1, count=count).astype(kind) << kind.type(bit)
    return patterns.T


def _read_table(body: _Reader, kind: np.dtype[Any], count: int, rows: int) -> Unsigned:
    lengths = body.little(np.dtype(np.uint32), count).astype(np.int64)
    steps = body.planes(kind, int(lengths.sum()))
    short = lengths <= _SHORT
    indices = np.empty((count, rows), np.uint32)
    for part, dtype in ((short, np.uint8), (~short, np.uint32)):
        columns = int(part.sum())
        indices[part] = _read_steps(body, np.dtype(dtype), columns, rows)
    if (indices >= lengths[:, None]).any():
        raise CaptureError("an index beyond its table")
    patterns = np.empty((count, rows), kind)
    ends = np.cumsum(lengths)
    for k, end in enumerate(ends.tolist()):
        values = np.cumsum(steps[end - int(lengths[k]) : end], dtype=kind)
        patterns[k] = values[indices[k]]
    return patterns


_READERS: dict[str, Callable[[_Reader, np.dtype[Any], int, int], Unsigned]] = {
    "rows": _read_rows,
    "bits": _read_bits,
    "planes": _read_planes,
    "steps": _read_steps,
    "table": _read_table,
}
