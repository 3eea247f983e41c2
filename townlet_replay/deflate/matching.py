"""Bytes into tokens: literals, and copies of what came before.

A token is a number. A literal is its byte; a copy is ``COPY | symbol of the distance << 23 |
(length - 3) << 15 | distance - 1``.

The bytes are those of an array with rows of ``stride`` bytes. The longest of these is taken at
once, a nearer one rather than one hardly longer:

- what stood in the same place of the row before;
- what the last distance leads to that was another;
- the place where the same eight bytes began last;
- the place where a row parted from the one before as this one is going to.

If nothing of three bytes is found, one looks where the row agrees with the one before again. Up to
two bytes before that stay literals; otherwise the place where the same four bytes began last is
tried. What is not found stays literal to the end of its number, and further where nothing has been
found for long.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from townlet_env.jit import kernel
from townlet_replay.deflate.tables import (
    END,
    LENGTH_SYMBOL,
    LITERALS,
    U0,
    U1,
    U2,
    U3,
    U8,
    Bytes,
    Ints,
    Words,
    distance_symbol,
    low_zero_bytes,
    word,
)

COPY = np.uint64(1 << 31)
MOST_TOKENS = 32768  # of a block, which may have SLACK more: a search ends with several
SLACK = 80
LONG_BITS, SHORT_BITS = 13, 12  # of the hashes of eight, and of four, bytes
PLACES = (1 << LONG_BITS) + (1 << SHORT_BITS)

_MOST = np.uint64(MOST_TOKENS)
_AT_ONCE = np.uint64(258 * 64)  # bytes that one search goes on for
_PAST = np.uint64(5)  # bytes that are looked at beyond the place where rows part
_TAIL = np.uint64(16)  # bytes at the end, where only the row before is looked at
_ENOUGH = np.uint64(512)  # bytes like the row before, after which nothing better is looked for
_FEW = np.uint64(2)
_MISSES = np.uint64(32)  # literals in a row, for each further number that then is not looked up
_LONGEST, _WINDOW = np.uint64(258), np.uint64(32768)
_LENGTHS, _DISTANCES = np.uint64(END + 1), np.uint64(LITERALS)  # where these symbols are counted
_COST, _LAST_COST = np.uint64(30), np.uint64(6)  # of a copy, in eighths of a byte; of a repetition
_S15, _S16, _S23, _S32 = (np.uint64(n) for n in (15, 16, 23, 32))
_LOW3, _LOW4 = np.uint64(0xFFFFFF), np.uint64(0xFFFFFFFF)
_LOW7_OF_EACH = np.uint64(0x7F7F7F7F7F7F7F7F)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_LONG_SHIFT, _SHORT_SHIFT = np.uint64(64 - LONG_BITS), np.uint64(64 - SHORT_BITS)
_SHORT_PLACES = np.uint64(1 << LONG_BITS)


class Rows(NamedTuple):
    """Where the bytes of one array are."""

    start: np.uint64
    end: np.uint64
    stride: np.uint64  # bytes per row, 1 to 32768
    width: np.uint64  # bytes per number: 1, 2 or 4


class Work(NamedTuple):
    """Memory of the search, the same for all arrays."""

    places: Words  # (PLACES,) uint32: where eight, then four, bytes with this hash began last
    tokens: Words  # (MOST_TOKENS + SLACK,) uint32
    counts: Ints  # (318,) how often the symbols of literals and lengths, then distances, are used


@kernel
def tokenise(data: Bytes, rows: Rows, at: np.uint64, work: Work) -> tuple[np.uint64, np.uint64]:
    """Turn bytes into tokens until the end, or until a block is full.

    Args:
        data: (n,).
        rows: Which of the bytes are one array; nothing before them is copied.
        at: Where to begin.
        work: Its places are read and written; tokens and counts are written.

    Returns:
        Where it ended, and the number of tokens.
    """
    start, end, stride, width = rows
    count, misses, last = U0, U0, stride
    while at + _TAIL <= end and count < _MOST:
        here, stop = word(data, at), min(end, at + _AT_ONCE)
        apart = here ^ word(data, at - stride) if at >= start + stride else _ALL
        length = _agree(data, at, stride, apart, stop) if apart & _LOW3 == U0 else U0
        distance, alone = stride, U0
        if length < _ENOUGH:
            gain = length * U8 + _COST
            far = last if last != stride and at >= start + last else U0
            other = here ^ word(data, at - far)
            if other & _LOW3 == U0 and far != U0:
                found = _agree(data, at, far, other, stop)
                better = found * U8 + _COST - _LAST_COST
                length, distance, gain = (
                    (found, far, better) if better > gain else (length, distance, gain)
                )
            far = _long_place(data, at, start, work.places)
            if word(data, at - far) == here and far != U0:
                found = _agree(data, at, far, U0, stop)
                better = found * U8 + _COST - distance_symbol(far)
                length, distance, gain = (
                    (found, far, better) if better > gain else (length, distance, gain)
                )
            if length > U3:
                # Where the rows part: what began there like this before, and is it like all of it?
                parting = min(at + length, end - _PAST) - U3
                far = _long_place(data, parting, start + (parting - at), work.places)
                found = _alike(data, at, far, here, stop)
                better = found * U8 + _COST - distance_symbol(max(far, U1))
                length, distance = (found, far) if better > gain else (length, distance)
            alone = _bytes_apart(apart) if length < U3 else U0
            if alone > _FEW:
                far = _short_place(here, start, at, work.places)
                found = _alike(data, at, far, here, stop)
                worth = found if found >= U8 else min(found, alone)
                pays = found > U3 and worth * U8 >= distance_symbol(max(far, U1))
                length, distance = (found, far) if pays else (U0, stride)
        if length >= U3:
            count = _put_copy(length, distance, count, work.tokens, work.counts)
            at += length
            before = min(at - U2, end - U8)
            work.places[(word(data, before) * _MIX) >> _LONG_SHIFT] = before
            misses = U0
            last = last if distance == stride else distance
        else:
            left = width - ((at - start) & (width - U1))  # of the number
            run = min(alone, left + misses // _MISSES * width)
            count = _put_literals(data, at, run, count, work.tokens, work.counts)
            at += run
            misses += run
    if at + _TAIL > end:
        return end, _finish(data, rows, at, count, work)
    return at, count


@kernel
def _finish(data: Bytes, rows: Rows, at: np.uint64, count: np.uint64, work: Work) -> np.uint64:
    """Write the last bytes, looking at the row before only; return the number of all tokens."""
    while at < rows.end:
        near = at >= rows.start + rows.stride
        length = _agree_further(data, at, rows.stride, rows.end) if near else U0
        if length >= U3:
            count = _put_copy(length, rows.stride, count, work.tokens, work.counts)
            at += length
        else:
            count = _put_literals(data, at, U1, count, work.tokens, work.counts)
            at += U1
    return count


@kernel
def _long_place(data: Bytes, at: np.uint64, start: np.uint64, places: Words) -> np.uint64:
    """Return the distance to where the same eight bytes began last, or 0."""
    slot = (word(data, at) * _MIX) >> _LONG_SHIFT
    far = _distance(np.uint64(places[slot]), start, at)
    places[slot] = at
    return far


@kernel
def _short_place(here: np.uint64, start: np.uint64, at: np.uint64, places: Words) -> np.uint64:
    """Return the distance to where the same four bytes began last, or 0."""
    slot = _SHORT_PLACES + (((here << _S32) * _MIX) >> _SHORT_SHIFT)
    far = _distance(np.uint64(places[slot]), start, at)
    places[slot] = at
    return far


@kernel
def _alike(
    data: Bytes, at: np.uint64, far: np.uint64, here: np.uint64, stop: np.uint64
) -> np.uint64:
    """Return how many bytes are like those ``far`` before; 0 if less than three, or far is 0."""
    apart = here ^ word(data, at - far)
    if far == U0 or apart & _LOW3 != U0:
        return U0
    return _agree(data, at, far, apart, stop)


@kernel
def _distance(place: np.uint64, start: np.uint64, at: np.uint64) -> np.uint64:
    """Return the distance to a place, or 0 if it is out of the window or another array's."""
    distance = at - place  # huge if the place comes later
    return distance if place >= start and distance <= _WINDOW else U0


@kernel
def _agree(
    data: Bytes, at: np.uint64, distance: np.uint64, apart: np.uint64, stop: np.uint64
) -> np.uint64:
    """Return how many bytes are alike; ``apart`` has the differing bits of the first eight."""
    if apart != U0:
        return low_zero_bytes(apart)
    return U8 + _agree_further(data, at + U8, distance, stop)


@kernel
def _agree_further(data: Bytes, at: np.uint64, distance: np.uint64, stop: np.uint64) -> np.uint64:
    """Return how many bytes before ``stop`` are like those ``distance`` earlier."""
    place = at
    while place + U8 <= stop:
        apart = word(data, place) ^ word(data, place - distance)
        if apart != U0:
            return place + low_zero_bytes(apart) - at
        place += U8
    while place < stop and data[place] == data[place - distance]:
        place += U1
    return place - at


@kernel
def _bytes_apart(apart: np.uint64) -> np.uint64:
    """Return how many bytes come before three that are 0; 8 if there are no such three."""
    # The highest bit of each byte that is 0; bits are not carried from one byte to the next.
    zero = ~(((apart & _LOW7_OF_EACH) + _LOW7_OF_EACH) | apart | _LOW7_OF_EACH)
    three = zero & (zero >> U8) & (zero >> _S16)
    return U8 if three == U0 else low_zero_bytes(three)


@kernel
def _put_copy(
    length: np.uint64, distance: np.uint64, count: np.uint64, tokens: Words, counts: Ints
) -> np.uint64:
    """Write the tokens of a copy and return the number of all tokens."""
    symbol = distance_symbol(distance)
    token = COPY | (symbol << _S23) | (distance - U1)
    while length > U0:
        # What is left must not be shorter than three.
        most = _LONGEST if length >= _LONGEST + U3 else _LONGEST - U3
        part = length if length <= _LONGEST else most
        tokens[count] = token | ((part - U3) << _S15)
        counts[_LENGTHS + np.uint64(LENGTH_SYMBOL[part - U3])] += 1
        counts[_DISTANCES + symbol] += 1
        count += U1
        length -= part
    return count


@kernel
def _put_literals(
    data: Bytes, at: np.uint64, run: np.uint64, count: np.uint64, tokens: Words, counts: Ints
) -> np.uint64:
    """Write bytes as they are and return the number of all tokens."""
    for i in range(run):
        byte = data[at + i]
        tokens[count + i] = byte
        counts[byte] += 1
    return count + run
