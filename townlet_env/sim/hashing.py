"""A hash of 128 bits over the state of worlds, at the speed of memory.

A record is read as words of 64 bits. Every word is mixed with a key of its place, its halves are
multiplied, and the products are summed up, as in NH of UMAC (Black, Halevi, Krawczyk, Krovetz,
Rogaway 1999, "UMAC: fast and secure message authentication") and in Collet's XXH3; a second sum, of
the mixed words themselves, changes whenever a single word does. Blocks are folded one after the
other by multiplying and rotating; the finaliser of SplitMix64 spreads the result.

The same state gives the same bits on every little-endian machine. The hash tells accidents, not
forgery: whoever wants to can find two states with one hash.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.random import GOLDEN, mix
from townlet_env.sim.state import Records

Words = npt.NDArray[np.uint64]

LINK_WORDS = 2  # of a hash, and of a link in a chain of them
BLOCK = 1024  # words that share one key

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ODD_1 = np.uint64(0x9E3779B185EBCA87)  # primes of XXH64
_ODD_2 = np.uint64(0xC2B2AE3D27D4EB4F)
_LEFT, _RIGHT = np.uint64(31), np.uint64(33)


def _key() -> Words:
    """Return the key of a block: what SplitMix64 gives from seed 0."""
    with np.errstate(over="ignore"):
        return np.array([mix(GOLDEN * np.uint64(k + 1)) for k in range(BLOCK)], np.uint64)


_KEY = _key()


@kernel
def _sums(part: Words, mask: Words) -> tuple[np.uint64, np.uint64]:
    """Return the sum of products and the sum of words of a block; a loop that is vectorised."""
    products, total = np.uint64(0), np.uint64(0)
    for k in range(part.shape[0]):
        word = (part[k] & mask[k]) ^ _KEY[k]
        products += (word & _LOW) * (word >> _HALF)
        total += word
    return products, total


@kernel
def _turn(word: np.uint64) -> np.uint64:
    word *= _ODD_1
    return ((word << _LEFT) | (word >> _RIGHT)) * _ODD_2


@kernel
def fold(words: Words, mask: Words, links: Words, which: npt.NDArray[np.int64]) -> None:
    """Fold rows of words into their links, in place.

    Args:
        words: (W, K) what is hashed.
        mask: (K,) bits that count.
        links: (W, 2) what was folded before; zeros begin a chain.
        which: (n,) rows to be folded.
    """
    for w in which:
        one, two = links[w, 0], links[w, 1]
        for start in range(0, words.shape[1], BLOCK):
            products, total = _sums(words[w, start : start + BLOCK], mask[start : start + BLOCK])
            one = _turn(one + products)
            two = _turn(two + total) + one
        one = mix(one + two)
        links[w, 0] = one
        links[w, 1] = mix(two ^ one)


def words_of(records: Records) -> Words:
    """Return records as (W, K) words that share their memory."""
    plain = records.view(np.ndarray)
    words: Words = plain.view(np.uint64).reshape(len(plain), -1)
    return words


def mask_of(dtype: np.dtype[np.void]) -> Words:
    """Return (K,) words whose bits are set where a record has a field, and clear where padding."""
    octets = np.zeros(dtype.itemsize, np.uint8)
    for part, offset, *_ in (dtype.fields or {}).values():
        octets[offset : offset + part.itemsize] = 0xFF
    return octets.view(np.uint64)


def text_of(link: Words) -> str:
    """Return a hash (2,) as 32 hexadecimal digits."""
    return "".join(f"{int(word):016x}" for word in link)
