"""Packed arrays as earlier versions wrote them, for the tests of reading them."""

import json
import struct
import zlib

import numpy as np

MAX_BITS = 4  # of a number in the layout "bits"
SHORT = 256  # values of a column whose indices fit one byte


def pack_old(arrays, layout=None):
    """Pack arrays in the layout that deflates best, or in ``layout`` where it is possible."""
    directory, bodies = {}, []
    for name, array in arrays.items():
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
        chosen, body = best_body(native, layout)
        stored = deflate(body, 6)
        code = f"{native.dtype.kind}{native.dtype.itemsize}"
        directory[name] = (code, native.shape, chosen, len(body), len(stored))
        bodies.append(stored)
    return with_directory(directory, b"".join(bodies))


def with_directory(directory, bodies):
    text = json.dumps(directory, separators=(",", ":")).encode("ascii")
    stored = deflate(text, 6)
    header = struct.pack("<II", len(stored), len(text))
    return np.frombuffer(header + stored + bodies, np.uint8)


def deflate(body, level):
    deflater = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    return deflater.compress(body) + deflater.flush()


def best_body(array, layout=None):
    if array.size == 0:
        return "rows", b""
    rows = array.shape[0] if array.ndim else 1
    patterns = array.reshape(rows, -1).view(f"u{array.dtype.itemsize}")
    moving = (patterns != patterns[0]).any(axis=0)
    head = np.packbits(moving).tobytes() + little(patterns[0, ~moving])
    columns = np.ascontiguousarray(patterns[:, moving].T)
    if not columns.size:
        return "rows", head
    bodies = {"rows": little(columns.T), "planes": planes(columns)}
    bodies["steps"] = planes(steps(columns))
    if columns.max() < 1 << MAX_BITS:
        bodies["bits"] = bits(columns)
    if columns.itemsize > 1:
        bodies["table"] = table(columns)
    if layout in bodies:
        return layout, head + bodies[layout]
    best = min(bodies, key=lambda layout: len(deflate(bodies[layout], 1)))
    return best, head + bodies[best]


def little(patterns):
    return np.ascontiguousarray(patterns, patterns.dtype.newbyteorder("<")).tobytes()


def planes(patterns):
    octets = np.frombuffer(little(patterns), np.uint8)
    return octets.reshape(-1, patterns.itemsize).T.tobytes()


def steps(columns):
    steps = columns.copy()
    steps[:, 1:] -= columns[:, :-1]  # modulo the size of the type
    return steps


def bits(columns):
    depth = int(columns.max()).bit_length()
    octets = np.ascontiguousarray(columns.T, np.uint8)
    # Every row begins a byte, so that equal rows are equal bytes.
    planes = [np.packbits(octets >> bit & 1, axis=1).tobytes() for bit in range(depth)]
    return bytes([depth]) + b"".join(planes)


def table(columns):
    lengths = []
    tables = []
    short = []
    long = []
    for column in columns:
        values, index = np.unique(column, return_inverse=True)
        lengths.append(len(values))
        tables.append(steps(values[None])[0])
        indices, kind = (short, np.uint8) if len(values) <= SHORT else (long, np.uint32)
        indices.append(steps(index.astype(kind)[None]))
    parts = [np.array(lengths, "<u4").tobytes(), planes(np.concatenate(tables))]
    parts += [planes(np.concatenate(indices)) for indices in (short, long) if indices]
    return b"".join(parts)
