"""Columns of numbers that take few values: tables of the values, and which it is where it changes.

Written are how many values each table has, less one; all values, those of a table in ascending
order, in byte planes; for every row, a bit for each table whose index differs from the row before;
and for all that do the difference, modulo 256. The row before the first has the indices 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel

Int = int | np.int64
Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.uint32]
Index = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

MOST_VALUES = 256  # of a table

_SLOTS = 512  # in which a value is found
_HASH, _HASH_SHIFT = np.uint64(2654435769), np.uint64(23)
_LOW, _HALF, _INDEX = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(0x1FF)
_ONE, _NONE = np.uint64(1), np.uint64(0)


@kernel
def list_changes(
    numbers: Numbers,
    columns: Index,
    values: Numbers,
    sizes: Index,
    which: Bytes,
    index: Bytes,
    ends: Index,
) -> None:
    """List what changes from row to row, by the values that a column has had.

    Args:
        numbers: (R, W).
        columns: (C,) that are looked at.
        values: (C * 256,) written: the values of a column in the order in which they come.
        sizes: (C,) written: how many there are; 257 if more than 256.
        which: written: of every change, the column, of C.
        index: written: and its value, of ``values``.
        ends: (R,) written: where the changes of a row end. In the first row everything changes.
    """
    slots = np.zeros(columns.shape[0] * _SLOTS, np.uint64)  # value, and its index plus 1
    found = np.arange(columns.shape[0])
    at, number = 0, columns.shape[0]
    for r in range(numbers.shape[0]):
        row = numbers[r]
        if r > 0:
            before = numbers[r - 1]
            number = 0
            for k in range(columns.shape[0]):
                found[number] = k
                number += np.int64(row[columns[k]] != before[columns[k]])
        for i in range(number):
            k = found[i]
            value = np.uint64(row[columns[k]])
            slot = np.int64(((value * _HASH) & _LOW) >> _HASH_SHIFT)
            entry = slots[k * _SLOTS + slot]
            while entry != _NONE and entry >> _HALF != value:
                slot = (slot + 1) & (_SLOTS - 1)
                entry = slots[k * _SLOTS + slot]
            if entry == _NONE:
                size = sizes[k]
                sizes[k] = min(size + 1, MOST_VALUES + 1)
                if size >= MOST_VALUES:
                    continue
                values[k * MOST_VALUES + size] = row[columns[k]]
                entry = (value << _HALF) | np.uint64(size + 1)
                slots[k * _SLOTS + slot] = entry
            which[at] = k
            index[at] = np.uint8((entry & _INDEX) - _ONE)
            at += 1
        ends[r] = at


@kernel
def put_number(number: np.uint32, out: Bytes, at: Int, step: Int) -> None:
    """Write a number in byte planes of ``step`` numbers."""
    for plane in range(4):
        out[at + plane * step] = np.uint8(number >> np.uint32(8 * plane))


@kernel
def put_tables(
    in_table: Flags,
    values: Numbers,
    sizes: Index,
    places: Index,
    ranks: Bytes,
    out: Bytes,
    at: Int,
) -> Int:
    """Write tables and return where they end.

    Args:
        in_table: (C,) which columns have one.
        values: (C * 256,) from ``list_changes``; those of tables are sorted.
        sizes: (C,) from ``list_changes``.
        places: (C,) written: number of the table, -1 without one.
        ranks: (C * 256,) written: where sorting put a value.
        out: written from ``at`` on.
        at: where.
    """
    count, total = np.int64(0), np.int64(0)
    for k in range(places.shape[0]):
        places[k] = count if in_table[k] else -1
        if in_table[k]:
            out[at + count] = np.uint8(sizes[k] - 1)
            count += 1
            total += sizes[k]
    at += count
    place = at
    for k in range(places.shape[0]):
        if in_table[k]:
            own = slice(k * MOST_VALUES, k * MOST_VALUES + sizes[k])
            _sort(values[own], ranks[own])
            for value in values[own]:
                put_number(value, out, place, total)
                place += 1
    return at + 4 * total


@kernel
def _sort(values: Numbers, ranks: Bytes) -> None:
    """Sort at most 256 values; ``ranks`` tells where each went."""
    count = values.shape[0]
    keys = np.empty(count, np.uint64)
    for i in range(count):
        keys[i] = (np.uint64(values[i]) << np.uint64(8)) | np.uint64(i)
    gap = 1
    while gap < count:
        gap = 3 * gap + 1
    while gap > 1:
        gap //= 3
        for i in range(gap, count):
            key, j = keys[i], i
            while j >= gap and keys[j - gap] > key:
                keys[j] = keys[j - gap]
                j -= gap
            keys[j] = key
    for i in range(count):
        values[i] = np.uint32(keys[i] >> np.uint64(8))
        ranks[np.int64(keys[i] & np.uint64(255))] = i


@kernel
def put_changes(
    which: Bytes, index: Bytes, ends: Index, places: Index, ranks: Bytes, out: Bytes, at: Int
) -> Int:
    """Write which indices change in a row, and how; return where that ends.

    Args:
        which: from ``list_changes``.
        index: from ``list_changes``.
        ends: (R,) from ``list_changes``.
        places: (C,) from ``put_tables``.
        ranks: (C * 256,) from ``put_tables``.
        out: written from ``at`` on.
        at: where.
    """
    count = np.int64(0)
    for place in places:
        count += np.int64(place >= 0)
    flags = (count + 7) // 8
    flag = at
    at += ends.shape[0] * flags
    for place in range(flag, at):
        out[place] = 0
    now = np.zeros(places.shape[0], np.uint8)
    i = np.int64(0)
    for end in ends:
        while i < end:
            k = np.int64(which[i])
            rank = ranks[k * MOST_VALUES + np.int64(index[i])]
            place = places[k]
            if place >= 0 and rank != now[k]:
                out[at] = np.uint8(rank - now[k])
                at += 1
                now[k] = rank
                out[flag + (place >> 3)] |= np.uint8(1 << (place & 7))
            i += 1
        flag += flags
    return at


@kernel
def number_at(body: Bytes, at: Int, step: Int) -> np.uint32:
    """Return a number from byte planes of ``step`` numbers."""
    number = np.uint32(0)
    for plane in range(4):
        number |= np.uint32(body[at + plane * step]) << np.uint32(8 * plane)
    return np.uint32(number)


@kernel
def read_tables(
    body: Bytes, at: Int, columns: Index, numbers: Numbers, first: int, width: int
) -> Int:
    """Read tables, and the rows made of them.

    Args:
        body: (n,).
        at: where the tables begin.
        columns: (C,) that have one.
        numbers: (R, W) written: all rows of columns ``first`` to ``first + width``, of which those
            without a table are in the first row already, or follow.
        first: column.
        width: columns.

    Returns:
        Where the rows end, or -1 if they are damaged.
    """
    count = columns.shape[0]
    if at + count > body.shape[0]:
        return -1
    starts = np.empty(count + 1, np.int64)
    total = np.int64(0)
    for table in range(count):
        starts[table] = total
        total += np.int64(body[at + table]) + 1
    starts[count] = total
    at += count
    if at + 4 * total + numbers.shape[0] * ((count + 7) // 8) > body.shape[0]:
        return -1
    values = np.empty(total, np.uint32)
    for k in range(total):
        values[k] = number_at(body, at + k, total)
    for table in range(count):
        numbers[0, columns[table]] = values[starts[table]]
    return _read_changes(body, at + 4 * total, values, starts, columns, numbers, first, width)


@kernel
def _read_changes(
    body: Bytes,
    flag: Int,
    values: Numbers,
    starts: Index,
    columns: Index,
    numbers: Numbers,
    first: int,
    width: int,
) -> Int:
    count = columns.shape[0]
    flags = (count + 7) // 8
    at: Int = flag + numbers.shape[0] * flags
    index = np.zeros(count, np.uint8)
    for r in range(numbers.shape[0]):
        row, before = numbers[r], numbers[max(r - 1, 0)]
        for j in range(first, first + width):
            row[j] = before[j]
        for b in range(flags):
            bits, table = np.int64(body[flag + b]), 8 * b
            while bits != 0:
                if bits & 1:
                    if table >= count or at >= body.shape[0]:
                        return -1
                    index[table] = np.uint8(index[table] + body[at])
                    at += 1
                    place = starts[table] + np.int64(index[table])
                    if place >= starts[table + 1]:
                        return -1
                    row[columns[table]] = values[place]
                bits >>= 1
                table += 1
        flag += flags
    return at
