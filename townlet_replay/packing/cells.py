"""Arrays of bytes.

A row is a list of bytes: its cells as they are or, where all are below 16, planes of bits, eight
cells to a byte. After a byte that says which, there is a bit for every byte of every row that
differs from the row before, and then, for all that do, the difference; before the first row all is
zero. Cells that differ too often are written as they are.

Eight cells are handled as one word, the first of them in the lowest byte: the byte order of every
machine that Numba compiles for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel

Int = int | np.int64
Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Index = npt.NDArray[np.int64]

PLAIN = 0  # rows as they are; 1 to MAX_BITS: planes of bits
MAX_BITS = 4
WHOLE = 8  # a byte for each cell

_ONES = np.uint64(0x0101010101010101)
_GATHER = np.uint64(0x0102040810204080)  # times a word of bits: all of them in its highest byte
_SCATTER = np.uint64(0x8040201008040201)  # of a byte in every place: bit k in place k
_CARRY = np.uint64(0x7F7F7F7F7F7F7F7F)
_NONE, _TOP, _SEVEN = np.uint64(0), np.uint64(56), np.uint64(7)


@kernel
def _row_bytes(width: int, depth: Int) -> Int:
    """Return of how many bytes a row of ``width`` cells is a list."""
    return width if depth == WHOLE else depth * ((width + 7) // 8)


@kernel
def encode_cells(cells: Bytes, out: Bytes) -> Int:
    """Write rows of cells and return how many bytes that takes.

    Args:
        cells: (R, W).
        out: written; R times (9 W + 36) / 8 + 2 bytes are enough.
    """
    rows, width = cells.shape
    depth = _depth(cells)
    mask = np.uint8(255 if depth == WHOLE else (1 << depth) - 1)
    groups, flags = (width + 7) // 8, (_row_bytes(width, depth) + 7) // 8
    octets = np.zeros(groups * 8, np.uint8)
    words = octets.view(np.uint64)
    differing = np.empty(groups, np.int64)
    out[0] = depth
    at = 1 + rows * flags
    for i in range(1, at):
        out[i] = 0
    for r in range(rows):
        row, before = cells[r], cells[max(r - 1, 0)]
        if r == 0:
            for i in range(width):
                octets[i] = row[i]
        else:
            for i in range(width):
                octets[i] = np.uint8(row[i] - before[i]) & mask
        # Two passes without branches: what differs from row to row cannot be predicted.
        found = np.int64(0)
        for g in range(groups):
            differing[found] = g
            found += np.int64(words[g] != _NONE)
        flag = 1 + r * flags
        if depth == WHOLE:
            at = _put_bytes(octets, differing, found, flag, out, at)
        else:
            at = _put_planes(words, differing, found, depth, flag, out, at)
    return _put_plain(cells, out) if depth == WHOLE and 8 * at > 5 * rows * width else at


@kernel
def _depth(cells: Bytes) -> Int:
    united = np.uint8(0)
    for r in range(cells.shape[0]):
        row = cells[r]
        for i in range(cells.shape[1]):
            united |= row[i]
    for depth in range(1, MAX_BITS + 1):
        if united < 1 << depth:
            return depth
    return WHOLE


@kernel
def _put_bytes(octets: Bytes, differing: Index, found: Int, flag: Int, out: Bytes, at: Int) -> Int:
    for i in range(found):
        g = differing[i]
        bits = np.int64(0)
        for k in range(8):
            value = octets[8 * g + k]
            out[at] = value
            differs = np.int64(value != 0)
            bits |= differs << k
            at += differs
        out[flag + g] = bits
    return at


@kernel
def _put_planes(
    words: Words, differing: Index, found: Int, depth: Int, flag: Int, out: Bytes, at: Int
) -> Int:
    for plane in range(depth):
        for i in range(found):
            g = differing[i]
            bits = (words[g] >> np.uint64(plane)) & _ONES
            value = np.uint8((bits * _GATHER) >> _TOP)
            out[at] = value
            differs = np.int64(value != 0)
            place = plane * words.shape[0] + g
            out[flag + (place >> 3)] |= np.uint8(differs << (place & 7))
            at += differs
    return at


@kernel
def _put_plain(cells: Bytes, out: Bytes) -> Int:
    out[0] = PLAIN
    at = 1
    for r in range(cells.shape[0]):
        row = cells[r]
        for i in range(cells.shape[1]):
            out[at + i] = row[i]
        at += cells.shape[1]
    return at


@kernel
def decode_cells(body: Bytes, cells: Bytes) -> bool:
    """Read what ``encode_cells`` wrote, all of it; not ``PLAIN`` rows.

    Args:
        body: (n,), at least one byte.
        cells: (R, W) written.

    Returns:
        Whether it is undamaged, as far as can be told.
    """
    rows, width = cells.shape
    depth = np.int64(body[0])
    size = _row_bytes(width, depth)
    flags = (size + 7) // 8
    at = 1 + rows * flags
    if not (1 <= depth <= MAX_BITS or depth == WHOLE) or at > body.shape[0]:
        return False
    octets = np.zeros((width + 7) // 8 * 8, np.uint8)
    words = octets.view(np.uint64)
    for r in range(rows):
        at = _read_row(body, 1 + r * flags, flags, at, size, depth, octets, words)
        if at < 0:
            return False
        row = cells[r]
        for i in range(width):
            row[i] = octets[i]
    return bool(at == body.shape[0])


@kernel
def _read_row(
    body: Bytes,
    flag: Int,
    flags: Int,
    at: Int,
    size: Int,
    depth: Int,
    octets: Bytes,
    words: Words,
) -> Int:
    """Add the differences of a row; return where those of the next begin, or -1."""
    groups, mask = words.shape[0], _ONES * np.uint64((1 << depth) - 1)
    for b in range(flags):
        bits, place = np.int64(body[flag + b]), 8 * b
        while bits != 0:
            if bits & 1:
                if place >= size or at >= body.shape[0]:
                    return -1
                if depth == WHOLE:
                    octets[place] = np.uint8(octets[place] + body[at])
                else:
                    plane = place // groups
                    spread = (np.uint64(body[at]) * _ONES) & _SCATTER
                    spread = ((spread + _CARRY) >> _SEVEN) & _ONES
                    g = place - plane * groups
                    words[g] = (words[g] + (spread << np.uint64(plane))) & mask
                at += 1
            bits >>= 1
            place += 1
    return at
