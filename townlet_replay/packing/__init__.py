"""Arrays packed without loss: what changes from row to row, small numbers as bits, byte planes.

:func:`pack` turns the arrays of a sample into one array of bytes and :func:`unpack` turns it back,
to the bit. Arrays of single bytes are written by :mod:`townlet_replay.packing.cells`; all others,
as columns of numbers of four bytes, by :mod:`townlet_replay.packing.columns`. What these write is
deflated, except for noise, which is kept apart.

The bytes are a directory (:mod:`townlet_replay.packing.directory`) and the arrays in its order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import deflate
import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.npz import MAX_TOTAL_BYTES, looks_like_bomb
from townlet_replay.packing import old
from townlet_replay.packing.cells import MAX_BITS, PLAIN, decode_cells, encode_cells
from townlet_replay.packing.columns import BLOCK, decode_block, encode_block
from townlet_replay.packing.directory import (
    CELLS,
    COLUMNS,
    LEVEL,
    MAGIC,
    Directory,
    PackedArray,
    parse_directory,
    write_directory,
)
from townlet_replay.packing.steps import looks_random
from townlet_replay.packing.tables import Int

Bytes = NDArray[np.uint8]

_SHORT = 64  # a body of no more bytes is not deflated


def pack(arrays: Mapping[str, NDArray[Any]]) -> Bytes:
    """Return ``arrays`` packed into one array of bytes, (n,); the same arrays give the same bytes.

    Args:
        arrays: name -> array of booleans, integers or floats of at most 8 bytes.
    """
    bounds = [_most_bytes(*_table(a.shape, a.itemsize), a.itemsize) for a in arrays.values()]
    room = np.empty((2, max(bounds, default=0)), np.uint8)
    encoded = [_encode(array, room) for array in arrays.values()]
    directory: Directory = {}
    parts: list[bytes] = []
    for (name, array), (body, apart) in zip(arrays.items(), encoded, strict=True):
        deflated = _deflate(body)
        stored = deflated + apart
        directory[name] = PackedArray(
            dtype=array.dtype.str[1:],
            shape=array.shape,
            layout=CELLS if array.itemsize == 1 else COLUMNS,
            body=len(body),
            deflated=len(deflated),
            apart=len(apart),
            checksum=deflate.crc32(stored),
        )
        parts.append(stored)
    return np.frombuffer(b"".join([write_directory(directory), *parts]), np.uint8)


def _deflate(body: bytes) -> bytes:
    """Return a body, deflated if that makes it shorter.

    By libdeflate: bodies are no rows of numbers, which our own encoder is made for.
    """
    if len(body) <= _SHORT:
        return body
    deflated = deflate.deflate_compress(body, LEVEL)
    return bytes(deflated) if len(deflated) < len(body) else body


def unpack(packed: NDArray[Any], file_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the arrays packed by :func:`pack`: native byte order, writable, C-contiguous.

    Args:
        packed: (n,) uint8.
        file_bytes: size of the file it came from; what it claims to hold is compared with that
            before anything is unpacked.

    Raises:
        CaptureError: damaged, or larger than the limits of :mod:`townlet_replay.npz`.
    """
    directory, data = _split(packed)
    total = sum(entry.claim for entry in directory.values())
    if total > MAX_TOTAL_BYTES or looks_like_bomb(total, file_bytes):
        raise CaptureError(f"{file_bytes} bytes claim to hold {total} in packed arrays")
    found, at = {}, 0
    for name, entry in directory.items():
        stored = data[at : at + entry.stored]
        at += entry.stored
        unpack_array = old.unpack_array if entry.checksum is None else _unpack_array
        try:
            found[name] = unpack_array(entry, stored)
        except CaptureError as error:
            raise CaptureError(f"packed array {name!r}: {error}") from error
    if at != len(data):
        raise CaptureError(f"packed arrays take {at} bytes, found {len(data)}")
    return found


def read_directory(packed: NDArray[Any]) -> tuple[Directory, bytes]:
    """Return what is in packed bytes, by name, and the bytes that are the arrays.

    Raises:
        CaptureError: the directory is damaged.
    """
    directory, data = _split(packed)
    return directory, data.tobytes()


def _split(packed: NDArray[Any]) -> tuple[Directory, memoryview]:
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise CaptureError(f"packed arrays are bytes, found {packed.dtype}{list(packed.shape)}")
    data = np.ascontiguousarray(packed).data.toreadonly()
    is_old = data[: len(MAGIC)] != MAGIC
    return old.parse_directory(data) if is_old else parse_directory(data)


def _table(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """Return as how many rows and columns an array is looked at, columns of one byte or four."""
    rows = shape[0] if shape else 1
    width = math.prod(shape[1:]) * -(-size // 4)
    return (width, rows) if size == 1 and width == 1 else (rows, width)  # one column: one row


def _most_bytes(rows: int, width: int, size: int) -> int:
    """Return what a body can be at most, and what is kept apart."""
    if size == 1:
        longest = max(width, MAX_BITS * -(-width // 8))
        return 2 + rows * (longest + -(-longest // 8))
    return 6 * width + rows * (4 * width + -(-width // BLOCK))


def _encode(array: NDArray[Any], room: Bytes) -> tuple[bytes, bytes]:
    """Return the body of an array, to be deflated, and what is kept apart.

    Args:
        array: to be written.
        room: (2, n) for both.
    """
    if not array.size:
        return b"", b""
    size = array.itemsize
    rows, _ = _table(array.shape, size)
    encode = _encode_cells if size == 1 else _encode_columns
    return encode(np.ascontiguousarray(array).reshape(rows, -1), room)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return ``array`` as kernels take what they do not write: as one type, compiled once."""
    view = array.view()
    view.flags.writeable = False
    return view


def _encode_cells(table: NDArray[Any], room: Bytes) -> tuple[bytes, bytes]:
    body = room[0]
    size = encode_cells(_read_only(table.view(np.uint8)), body)
    if body[0] == PLAIN and looks_random(body[1:size]):
        return body[:1].tobytes(), body[1:size].tobytes()
    return body[:size].tobytes(), b""


def _encode_columns(table: NDArray[Any], room: Bytes) -> tuple[bytes, bytes]:
    little = table.astype(table.dtype.newbyteorder("<"), copy=False)
    words = little.view("<u2" if table.dtype.itemsize == 2 else "<u4")
    numbers = _read_only(words.astype(np.uint32, copy=False))
    body, apart = room
    at: Int = 0
    apart_at: Int = 0
    for first in range(0, numbers.shape[1], BLOCK):
        at, apart_at = encode_block(numbers, first, body, at, apart, apart_at)
    return body[:at].tobytes(), apart[:apart_at].tobytes()


def _unpack_array(entry: PackedArray, stored: memoryview) -> NDArray[Any]:
    if len(stored) != entry.stored or deflate.crc32(stored) != entry.checksum:
        raise CaptureError("damaged, its checksum does not fit")
    dtype = np.dtype(entry.dtype)
    rows, width = _table(entry.shape, dtype.itemsize)
    most = _most_bytes(rows, width, dtype.itemsize) if rows * width else 0
    if not bool(most) <= entry.body <= most or (entry.layout == CELLS) != (dtype.itemsize == 1):
        raise CaptureError(
            f"{entry.body} bytes of {entry.layout} cannot be {dtype}{list(entry.shape)}"
        )
    body, apart = _body(entry, stored), np.frombuffer(stored[entry.deflated :], np.uint8)
    decode = _decode_cells if entry.layout == CELLS else _decode_columns
    found = decode(body, apart, (rows, width), dtype) if most else np.empty(0, dtype)
    if found is None or (not most and len(apart)):
        raise CaptureError(f"its bytes are not those of {dtype}{list(entry.shape)}")
    return found.reshape(entry.shape)


def _body(entry: PackedArray, stored: memoryview) -> Bytes:
    data = stored[: entry.deflated]
    if entry.deflated == entry.body:
        return np.frombuffer(data, np.uint8)
    try:
        body = deflate.deflate_decompress(data, entry.body)
    except deflate.DeflateError as error:
        raise CaptureError(f"does not hold {entry.body} bytes ({error})") from error
    if len(body) != entry.body:
        raise CaptureError(f"holds {len(body)} bytes, expected {entry.body}")
    return np.frombuffer(memoryview(body).toreadonly(), np.uint8)


def _decode_cells(
    body: Bytes, apart: Bytes, table: tuple[int, int], dtype: np.dtype[Any]
) -> NDArray[Any] | None:
    """Return the table, or ``None`` if it is damaged."""
    if body[0] == PLAIN:
        cells = np.concatenate([body[1:], apart])
        if cells.size != math.prod(table):
            return None
    else:
        cells = np.empty(table, np.uint8)
        if len(apart) or not decode_cells(body, cells):
            return None
    if dtype.kind == "b" and body[0] != 1 and cells.max() > 1:
        return None
    return cells.view(dtype)


def _decode_columns(
    body: Bytes, apart: Bytes, table: tuple[int, int], dtype: np.dtype[Any]
) -> NDArray[Any] | None:
    """Return the table, or ``None`` if it is damaged."""
    numbers = np.empty(table, np.uint32)
    at: Int = 0
    apart_at: Int = 0
    for first in range(0, table[1], BLOCK):
        at, apart_at = decode_block(body, at, apart, apart_at, numbers, first)
        if at < 0:
            return None
    if at != len(body) or apart_at != len(apart):
        return None
    if dtype.itemsize == 2:
        short = numbers.astype(np.uint16)
        return short.view(dtype) if np.array_equal(short, numbers) else None
    little = numbers.astype("<u4", copy=False).view(dtype.newbyteorder("<"))
    return little.astype(dtype, copy=False)
