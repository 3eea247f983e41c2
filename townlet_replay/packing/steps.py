"""Columns of numbers that take many values: differences of the order that makes them smallest.

Of order 0 they are the numbers themselves; of order 1 what is added from row to row; of order 2
what is added to that from row to row, and so on, where before the first row all is 0. From order 1
on the lowest bit is the sign. They are written in byte planes; planes that look like noise, which
nothing deflates, are kept apart.
"""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_replay.packing.tables import Bytes, Int, Numbers

ORDERS = 4  # 0 to 3
_SAMPLE = 512  # rows that tell which order is best, and what is noise
_NOISE = 200  # of so many pairs of bytes, less than one is equal


@kernel
def _zigzag(step: np.uint32) -> np.uint32:
    return np.uint32((step << np.uint32(1)) ^ (np.uint32(0) - (step >> np.uint32(31))))


@kernel
def best_order(column: Numbers) -> int:
    """Return of which order the differences are smallest, by their half bytes."""
    part = column[:_SAMPLE].copy()
    best, least = 0, np.int64(8 * _SAMPLE)
    for order in range(ORDERS):
        cost = np.int64(0)
        for i in range(part.shape[0]):
            step = part[i] if order == 0 else _zigzag(part[i])
            for shift in range(0, 32, 4):
                cost += np.int64((step >> np.uint32(shift)) != 0)
        if cost < least:
            best, least = order, cost
        for i in range(part.shape[0] - 1, 0, -1):
            part[i] = np.uint32(part[i] - part[i - 1])
    return best


@kernel
def take_steps(column: Numbers, order: int) -> None:
    """Replace numbers by their differences."""
    for _ in range(order):
        for r in range(column.shape[0] - 1, 0, -1):
            column[r] = np.uint32(column[r] - column[r - 1])
    if order > 0:
        for r in range(column.shape[0]):
            column[r] = _zigzag(column[r])


@kernel
def put_planes(
    column: Numbers, out: Bytes, at: Int, apart: Bytes, apart_at: Int
) -> tuple[Int, Int, Int]:
    """Write the planes of a column; return which are kept apart, and both ends."""
    rows = column.shape[0]
    planes = np.int64(0)
    for plane in range(4):
        part = out[at : at + rows]
        for r in range(rows):
            part[r] = np.uint8(column[r] >> np.uint32(8 * plane))
        if looks_random(part):
            for r in range(rows):
                apart[apart_at + r] = part[r]
            apart_at += rows
            planes |= 1 << plane
        else:
            at += rows
    return planes, at, apart_at


@kernel
def looks_random(data: Bytes) -> bool:
    """Say whether the first bytes of ``data`` are spread as evenly as those of noise."""
    size = min(data.shape[0], _SAMPLE)
    histogram = np.zeros(256, np.int64)
    for i in range(size):
        histogram[data[i]] += 1
    pairs = np.int64(0)
    for number in histogram:
        pairs += number * (number - 1)
    return bool(pairs * _NOISE < size * (size - 1))


@kernel
def read_steps(
    body: Bytes,
    at: Int,
    apart: Bytes,
    apart_at: Int,
    planes: Int,
    order: Int,
    numbers: Numbers,
    column: int,
) -> tuple[Int, Int]:
    """Read a column.

    Args:
        body: (n,).
        at: where its planes begin.
        apart: (m,).
        apart_at: where those begin that are kept apart.
        planes: a bit for each of these.
        order: of the differences.
        numbers: (R, W) of which the column is written.
        column: which.

    Returns:
        Where the planes end in ``body`` and in ``apart``; -1 and 0 if they are damaged.
    """
    rows = numbers.shape[0]
    steps = np.zeros(rows, np.uint32)
    for plane in range(4):
        if (planes >> plane) & 1:
            part = apart[apart_at : apart_at + rows]
            apart_at += rows
        else:
            part = body[at : at + rows]
            at += rows
        if part.shape[0] != rows:
            return -1, 0
        for r in range(rows):
            steps[r] |= np.uint32(part[r]) << np.uint32(8 * plane)
    first, second, third = np.uint32(0), np.uint32(0), np.uint32(0)
    for r in range(rows):
        step = steps[r]
        if order > 0:
            step = np.uint32((step >> np.uint32(1)) ^ (np.uint32(0) - (step & np.uint32(1))))
        if order > 2:
            third = np.uint32(third + step)
            step = third
        if order > 1:
            second = np.uint32(second + step)
            step = second
        if order > 0:
            first = np.uint32(first + step)
            step = first
        numbers[r, column] = step
    return at, apart_at
