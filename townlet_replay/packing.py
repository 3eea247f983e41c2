"""Arrays packed without loss: bits for small numbers, byte planes, differences, tables of values.

:func:`pack` turns the arrays of a sample into one array of bytes and :func:`unpack` turns it back,
to the bit. An array is looked at as a table of rows and columns of bit patterns. Columns that never
change are kept once; the others in the layout, of those below, that deflates best:

- ``rows``: as they are, row after row;
- ``bits``: numbers below 16, one plane of bits after the other;
- ``planes``: column after column, first the lowest byte of all numbers, then the next;
- ``steps``: as ``planes``, of the differences between one row and the next;
- ``table``: the different values of each column in order, and for each row which it is.

The bytes are the length of a directory, the directory, and the deflated arrays, in its order.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from townlet_replay.errors import CaptureError
from townlet_replay.npz import MAX_NDIM, MAX_TOTAL_BYTES, looks_like_bomb
from townlet_replay.safe_files import check_json, first_problem

Unsigned = NDArray[Any]  # bit patterns
Layout = Literal["rows", "bits", "planes", "steps", "table"]

MAX_BITS = 4  # of a number in the layout "bits"
_MAX_DIRECTORY_BYTES = 2**20
_HEADER = struct.Struct("<II")  # bytes of the directory, deflated and not
_SHORT = 256  # values of a column whose indices fit one byte
_TRIAL, _FINAL = 1, 6  # levels of deflate: to choose a layout, to write it


class PackedArray(NamedTuple):
    """What the directory says of one array."""

    dtype: Annotated[str, Field(pattern="^(b1|[iu][1248]|f[248])$")]
    shape: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=MAX_NDIM)]
    layout: Layout
    body: Annotated[int, Field(ge=0)]  # bytes, not deflated
    stored: Annotated[int, Field(ge=0)]  # bytes, deflated

    @property
    def nbytes(self) -> int:
        """Bytes of the array itself."""
        return math.prod(self.shape) * int(self.dtype[1])


_DIRECTORY: TypeAdapter[dict[str, PackedArray]] = TypeAdapter(dict[str, PackedArray])


def pack(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Return ``arrays`` packed into one array of bytes, (n,); the same arrays give the same bytes.

    Args:
        arrays: name -> array of booleans, integers or floats of at most 8 bytes.
    """
    directory: dict[str, PackedArray] = {}
    bodies = []
    for name, array in arrays.items():
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
        layout, body = _best_body(native)
        stored = _deflate(body, _FINAL)
        code = f"{native.dtype.kind}{native.dtype.itemsize}"
        directory[name] = PackedArray(code, native.shape, layout, len(body), len(stored))
        bodies.append(stored)
    text = json.dumps(directory, separators=(",", ":")).encode("ascii")
    stored = _deflate(text, _FINAL)
    data = b"".join([_HEADER.pack(len(stored), len(text)), stored, *bodies])
    return np.frombuffer(data, np.uint8)


def unpack(packed: NDArray[Any], file_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the arrays packed by :func:`pack`: native byte order, writable, C-contiguous.

    Args:
        packed: (n,) uint8.
        file_bytes: size of the file it came from; what it claims to hold is compared with that
            before anything is unpacked.

    Raises:
        CaptureError: damaged, or larger than the limits of :mod:`townlet_replay.npz`.
    """
    directory, data = read_directory(packed)
    total = sum(entry.nbytes for entry in directory.values())
    if total > MAX_TOTAL_BYTES or looks_like_bomb(total, file_bytes):
        raise CaptureError(f"{file_bytes} bytes claim to hold {total} in packed arrays")
    found, at = {}, 0
    for name, entry in directory.items():
        try:
            body = _inflate(data[at : at + entry.stored], entry.body, _most_bytes(entry))
            found[name] = _unpack_one(entry, _Reader(body))
        except (CaptureError, zlib.error) as error:
            raise CaptureError(f"packed array {name!r}: {error}") from error
        at += entry.stored
    if at != len(data):
        raise CaptureError(f"packed arrays take {at} bytes, found {len(data)}")
    return found


def read_directory(packed: NDArray[Any]) -> tuple[dict[str, PackedArray], bytes]:
    """Return what is in packed bytes, by name, and the deflated bodies.

    Raises:
        CaptureError: the directory is damaged.
    """
    data = packed.tobytes()
    if packed.dtype != np.uint8 or packed.ndim != 1 or len(data) < _HEADER.size:
        raise CaptureError(f"packed arrays are bytes, found {packed.dtype}{list(packed.shape)}")
    stored, size = _HEADER.unpack_from(data)
    body = data[_HEADER.size :]
    try:
        text = _inflate(body[:stored], size, _MAX_DIRECTORY_BYTES)
        check_json(text, "its text")
        return _DIRECTORY.validate_json(text), body[stored:]
    except ValidationError as error:
        raise CaptureError(f"directory of the packed arrays: {first_problem(error)}") from error
    except (CaptureError, zlib.error) as error:
        raise CaptureError(f"directory of the packed arrays: {error}") from error


def _deflate(body: bytes, level: int) -> bytes:
    deflater = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    return deflater.compress(body) + deflater.flush()


def _inflate(stored: bytes, size: int, most: int) -> bytes:
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
    most = entry.nbytes + count // max(rows, 1) + MAX_BITS * rows + 16
    if entry.layout == "table":  # and the length of each table, and an index for every number
        most += 4 * (count // max(rows, 1)) + 4 * count
    return most


def _best_body(array: NDArray[Any]) -> tuple[Layout, bytes]:
    if array.size == 0:
        return "rows", b""
    rows = array.shape[0] if array.ndim else 1
    patterns = array.reshape(rows, -1).view(f"u{array.dtype.itemsize}")
    moving = (patterns != patterns[0]).any(axis=0)
    head = np.packbits(moving).tobytes() + _little(patterns[0, ~moving])
    columns = np.ascontiguousarray(patterns[:, moving].T)
    if not columns.size:
        return "rows", head
    bodies: dict[Layout, bytes] = {"rows": _little(columns.T), "planes": _planes(columns)}
    bodies["steps"] = _planes(_steps(columns))
    if columns.max() < 1 << MAX_BITS:
        bodies["bits"] = _bits(columns)
    if columns.itemsize > 1:
        bodies["table"] = _table(columns)
    best = min(bodies, key=lambda layout: len(_deflate(bodies[layout], _TRIAL)))
    return best, head + bodies[best]


def _little(patterns: Unsigned) -> bytes:
    return np.ascontiguousarray(patterns, patterns.dtype.newbyteorder("<")).tobytes()


def _planes(patterns: Unsigned) -> bytes:
    octets = np.frombuffer(_little(patterns), np.uint8)
    return octets.reshape(-1, patterns.itemsize).T.tobytes()


def _steps(columns: Unsigned) -> Unsigned:
    steps = columns.copy()
    steps[:, 1:] -= columns[:, :-1]  # modulo the size of the type
    return steps


def _bits(columns: Unsigned) -> bytes:
    depth = int(columns.max()).bit_length()
    octets = np.ascontiguousarray(columns.T, np.uint8)
    # Every row begins a byte, so that equal rows are equal bytes.
    planes = [np.packbits(octets >> bit & 1, axis=1).tobytes() for bit in range(depth)]
    return bytes([depth]) + b"".join(planes)


def _table(columns: Unsigned) -> bytes:
    lengths: list[int] = []
    tables: list[Unsigned] = []
    short: list[Unsigned] = []
    long: list[Unsigned] = []
    for column in columns:
        values, index = np.unique(column, return_inverse=True)
        lengths.append(len(values))
        tables.append(_steps(values[None])[0])
        indices, kind = (short, np.uint8) if len(values) <= _SHORT else (long, np.uint32)
        indices.append(_steps(index.astype(kind)[None]))
    parts = [np.array(lengths, "<u4").tobytes(), _planes(np.concatenate(tables))]
    parts += [_planes(np.concatenate(indices)) for indices in (short, long) if indices]
    return b"".join(parts)


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


def _unpack_one(entry: PackedArray, body: _Reader) -> NDArray[Any]:
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
    if depth > MAX_BITS:
        raise CaptureError(f"numbers of {depth} bits, expected at most {MAX_BITS}")
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
