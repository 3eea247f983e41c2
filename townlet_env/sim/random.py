"""Counter-based random numbers: a draw is a pure function of (seed, stream, tick, use).

No state is kept, so a draw cannot depend on how many worlds are stepped together, on which thread,
or on what was drawn before. The mixer is the finaliser of SplitMix64 (Steele, Lea, Flood 2014,
"Fast splittable pseudorandom number generators", figure 16), applied once per counter.
"""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel

# Constants must be uint64: with a plain 1 Numba turns the sum into a signed number.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_ONE = np.uint64(1)
_TO_UNIT = 1.0 / 9007199254740992.0  # 2**-53

# What a draw is used for; `by * 64 + purpose` where residents draw, or kinds of perturbations.
USE_TURN = 1
USE_CHAT = 2
USE_ACTION = 3
USE_PERTURB = 4
USE_LENGTH = 5
USE_FACTOR = 6
USE_PLACE = 7
USE_INVITE = 8
USE_DELAY = 9
USE_TRAIT = 10  # to 13: four numbers make a personality


@kernel
def mix(z: np.uint64) -> np.uint64:
    """Scramble 64 bits (SplitMix64 finaliser)."""
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@kernel
def draw(seed: np.uint64, stream: int, tick: int, use: int) -> np.uint64:
    """Return 64 random bits for this purpose at this tick of this world."""
    z = mix(seed + GOLDEN * (np.uint64(stream) + _ONE))
    z = mix(z + GOLDEN * (np.uint64(tick) + _ONE))
    return mix(z + GOLDEN * (np.uint64(use) + _ONE))


@kernel
def uniform(seed: np.uint64, stream: int, tick: int, use: int) -> float:
    """Return a float in [0, 1) for this purpose at this tick of this world."""
    return float(draw(seed, stream, tick, use) >> _S11) * _TO_UNIT


def episode_seed(base: int, episode: int) -> int:
    """Return the seed of the ``episode``-th episode since ``base`` was given.

    The first episode (0) has the seed itself, so that ``reset(seed=7)`` plays seed 7.
    """
    mask = (1 << 64) - 1
    if episode == 0:
        return base & mask
    z = (base + 0x9E3779B97F4A7C15 * episode) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)
