"""Arrays of numbers of four bytes, in blocks of columns.

A block of at most ``BLOCK`` columns is

- a byte for each column: ``CONSTANT``, ``TABLE``, or ``STEPS`` plus the order of the differences,
  and above them a bit for each byte plane of the differences that is kept apart;
- the values of the constant columns, in byte planes;
- the columns that take few values, as :mod:`townlet_replay.packing.tables` writes them;
- the others, one after the other, as :mod:`townlet_replay.packing.steps` writes them.

In byte planes means: the lowest byte of all numbers, then the next, and so on.
"""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_replay.packing.steps import (
    ORDERS,
    best_order,
    put_planes,
    read_steps,
    take_steps,
)
from townlet_replay.packing.tables import (
    MOST_VALUES,
    Bytes,
    Int,
    Numbers,
    list_changes,
    number_at,
    put_changes,
    put_number,
    put_tables,
    read_tables,
)

BLOCK = 256
CONSTANT, TABLE, STEPS = 0, 1, 2
_KIND = 15  # bits of the kind
_PLANES = 4  # and where those of the planes begin


@kernel
def encode_block(
    numbers: Numbers, first: int, out: Bytes, at: Int, apart: Bytes, apart_at: Int
) -> tuple[Int, Int]:
    """Write a block of columns.

    Args:
        numbers: (R, W).
        first: column of the block.
        out: written from ``at`` on.
        at: where.
        apart: written from ``apart_at`` on, with the planes that are kept apart.
        apart_at: where.

    Returns:
        Where the block ends in ``out`` and in ``apart``. Room for six bytes for each column, four
        for each number and one for each row is enough in both.
    """
    rows, width = numbers.shape[0], min(BLOCK, numbers.shape[1] - first)
    changes = _count_changes(numbers, first, width)
    moving = np.empty(width, np.int64)
    count, total = np.int64(0), np.int64(0)
    for j in range(width):
        moving[count] = j
        count += np.int64(changes[j] != 0)
        total += np.int64(changes[j])
    moving = moving[:count]
    values, sizes = np.empty(count * MOST_VALUES, np.uint32), np.zeros(count, np.int64)
    which, index = np.empty(count + total, np.uint8), np.empty(count + total, np.uint8)
    ends = np.empty(rows, np.int64)
    list_changes(numbers, first + moving, values, sizes, which, index, ends)
    kinds = out[at : at + width]
    for j in range(width):
        kinds[j] = CONSTANT
    in_table = np.zeros(count, np.bool_)
    for k in range(count):
        # A table costs four bytes for each value; one that is not used again is dear.
        few = 2 * sizes[k] <= np.int64(changes[moving[k]]) + rows // 8
        in_table[k] = few and sizes[k] <= MOST_VALUES
        kinds[moving[k]] = TABLE if in_table[k] else STEPS
    at = _put_constants(numbers, first, kinds, out, at + width)
    places, ranks = np.empty(count, np.int64), np.empty(count * MOST_VALUES, np.uint8)
    at = put_tables(in_table, values, sizes, places, ranks, out, at)
    at = put_changes(which, index, ends, places, ranks, out, at)
    column = np.empty(rows, np.uint32)
    for j in moving:
        if kinds[j] == STEPS:
            for r in range(rows):
                column[r] = numbers[r, first + j]
            order = best_order(column)
            take_steps(column, order)
            planes, at, apart_at = put_planes(column, out, at, apart, apart_at)
            kinds[j] = STEPS + order + (planes << _PLANES)
    return at, apart_at


@kernel
def _count_changes(numbers: Numbers, first: int, width: int) -> Numbers:
    """Return, by column, how many rows differ from the row before."""
    counts = np.zeros(width, np.uint32)
    for r in range(1, numbers.shape[0]):
        row, before = numbers[r, first : first + width], numbers[r - 1, first : first + width]
        for j in range(width):
            counts[j] += np.uint32(row[j] != before[j])
    return counts


@kernel
def _put_constants(numbers: Numbers, first: int, kinds: Bytes, out: Bytes, at: Int) -> Int:
    count = np.int64(0)
    for kind in kinds:
        count += np.int64(kind == CONSTANT)
    place = at
    for j in range(kinds.shape[0]):
        if kinds[j] == CONSTANT:
            put_number(numbers[0, first + j], out, place, count)
            place += 1
    return at + 4 * count


@kernel
def decode_block(
    body: Bytes, at: Int, apart: Bytes, apart_at: Int, numbers: Numbers, first: int
) -> tuple[Int, Int]:
    """Read what ``encode_block`` wrote.

    Args:
        body: (n,).
        at: where the block begins.
        apart: (m,).
        apart_at: where.
        numbers: (R, W) written, from column ``first`` on.
        first: column of the block.

    Returns:
        Where the block ends in ``body`` and in ``apart``; -1 and 0 if it is damaged.
    """
    width = min(BLOCK, numbers.shape[1] - first)
    if at + width > body.shape[0]:
        return -1, 0
    kinds = body[at : at + width]
    at += width
    counts = np.zeros(STEPS + 1, np.int64)
    for kind in kinds:
        if kind & _KIND >= STEPS + ORDERS or (kind > _KIND and kind & _KIND < STEPS):
            return -1, 0
        counts[min(kind & _KIND, STEPS)] += 1
    if at + 4 * counts[CONSTANT] > body.shape[0]:
        return -1, 0
    tables = np.empty(counts[TABLE], np.int64)
    place, table = at, np.int64(0)
    for j in range(width):
        if kinds[j] == CONSTANT:
            numbers[0, first + j] = number_at(body, place, counts[CONSTANT])
            place += 1
        elif kinds[j] == TABLE:
            tables[table] = first + j
            table += 1
    at = read_tables(body, at + 4 * counts[CONSTANT], tables, numbers, first, width)
    for j in range(width):
        order = np.int64(kinds[j] & _KIND) - STEPS
        if order >= 0 and at >= 0:
            planes = np.int64(kinds[j]) >> _PLANES
            column = first + j
            at, apart_at = read_steps(body, at, apart, apart_at, planes, order, numbers, column)
    return at, apart_at
