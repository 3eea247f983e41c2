"""The fixed tables of DEFLATE (RFC 1951, 3.2.5 to 3.2.7); words read from and put into bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_env.jit import kernel

Bytes = NDArray[np.uint8]
Words = NDArray[np.unsignedinteger[Any]]
Ints = NDArray[np.int64]

WINDOW = 32768  # farthest distance of a match
SHORTEST, LONGEST = 3, 258  # length of a match
END = 256  # the symbol that ends a block; those of lengths follow
LITERALS, DISTANCES, LENGTHS = 288, 30, 19  # symbols of the three codes, two never used
CODE_BITS, LENGTH_CODE_BITS = np.int64(15), np.int64(7)  # the longest words of a code
REPEAT_BITS = np.array([0] * 16 + [2, 3, 7], np.int64)  # that follow these symbols
ORDER = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15], np.int64)

LENGTH_EXTRA = np.array([0] * 8 + [n for n in range(1, 6) for _ in range(4)] + [0], np.int64)
LENGTH_BASE = np.append(3 + np.append(0, np.cumsum(1 << LENGTH_EXTRA[:27])), 258)
DISTANCE_EXTRA = np.array([0, 0] + [n for n in range(14) for _ in range(2)], np.int64)
DISTANCE_BASE = 1 + np.append(0, np.cumsum(1 << DISTANCE_EXTRA[:29]))

# Symbols by length - 3; by distance - 1 where below 256, after that by (distance - 1) / 128 + 256.
LENGTH_SYMBOL = np.searchsorted(LENGTH_BASE, np.arange(3, 259), side="right") - 1
_STEPS = np.append(np.arange(256), np.arange(0, WINDOW, 128))
DISTANCE_SYMBOL = (np.searchsorted(DISTANCE_BASE, _STEPS + 1, side="right") - 1).astype(np.uint8)

# Lengths of the words of the codes that need not be sent, one behind the other.
FIXED_BITS = np.repeat(np.array([8, 9, 7, 8, 5], np.int64), [144, 112, 24, 8, DISTANCES])

# Numba adds up signed and unsigned numbers as floats, so the hot code below has unsigned ones only.
U0, U1, U2, U3, U4, U5, U6, U7, U8 = (np.uint64(n) for n in range(9))
_U15, _U16, _U24, _U32, _U40, _U48, _U56 = (np.uint64(n) for n in (15, 16, 24, 32, 40, 48, 56))
_U256 = np.uint64(256)
_ODD = np.uint64(0x5555555555555555)
_PAIRS = np.uint64(0x3333333333333333)
_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_ONES = np.uint64(0x0101010101010101)


@kernel
def word(data: Bytes, at: np.uint64) -> np.uint64:
    """Return eight bytes as a number, the first one lowest; compilers make one load of it."""
    return (
        np.uint64(data[at])
        | (np.uint64(data[at + U1]) << U8)
        | (np.uint64(data[at + U2]) << _U16)
        | (np.uint64(data[at + U3]) << _U24)
        | (np.uint64(data[at + U4]) << _U32)
        | (np.uint64(data[at + U5]) << _U40)
        | (np.uint64(data[at + U6]) << _U48)
        | (np.uint64(data[at + U7]) << _U56)
    )


@kernel
def put_word(out: Bytes, at: np.uint64, value: np.uint64) -> None:
    """Write a number as eight bytes, the lowest one first; compilers make one store of it."""
    out[at] = np.uint8(value & np.uint64(255))
    out[at + U1] = np.uint8((value >> U8) & np.uint64(255))
    out[at + U2] = np.uint8((value >> _U16) & np.uint64(255))
    out[at + U3] = np.uint8((value >> _U24) & np.uint64(255))
    out[at + U4] = np.uint8((value >> _U32) & np.uint64(255))
    out[at + U5] = np.uint8((value >> _U40) & np.uint64(255))
    out[at + U6] = np.uint8((value >> _U48) & np.uint64(255))
    out[at + U7] = np.uint8((value >> _U56) & np.uint64(255))


@kernel
def low_zero_bytes(x: np.uint64) -> np.uint64:
    """Return how many of the lowest bytes of ``x``, which is not 0, are 0."""
    y = (x & (~x + U1)) - U1  # the zero bits below the lowest one, counted by halves
    y = y - ((y >> U1) & _ODD)
    y = (y & _PAIRS) + ((y >> U2) & _PAIRS)
    y = (y + (y >> U4)) & _NIBBLES
    return ((y * _ONES) >> _U56) >> U3


@kernel
def distance_symbol(distance: np.uint64) -> np.uint64:
    """Return the symbol of a distance, 1 to 32768."""
    less = distance - U1
    place = less if less < _U256 else _U256 + (less >> U7)
    return np.uint64(DISTANCE_SYMBOL[place])
