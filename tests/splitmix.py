"""The random streams of a town once more, on Python integers."""

from __future__ import annotations

GOLDEN = 0x9E3779B97F4A7C15
MASK_64 = (1 << 64) - 1


class SplitMix64:
    """The generator of Steele, Lea and Flood (2014), as in java.util.SplittableRandom."""

    def __init__(self, seed: int) -> None:
        self.state = seed & MASK_64

    def next(self) -> int:
        self.state = (self.state + GOLDEN) & MASK_64
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK_64
        return z ^ (z >> 31)


def split(seed: int, index: int) -> int:
    """Output ``index`` (from 0) of the generator that starts at ``seed``, without the others."""
    return SplitMix64(seed + index * GOLDEN).next()


def draw(seed: int, stream: int, tick: int, use: int) -> int:
    return split(split(split(seed, stream), tick), use)


def uniform(seed: int, stream: int, tick: int, use: int) -> float:
    """A number in [0, 1)."""
    return (draw(seed, stream, tick, use) >> 11) / 2**53
