"""Compiled parts of action logs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel


@kernel
def sums_of_lives(
    rewards: npt.NDArray[np.float32], rows: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """Return the sum of the rewards of every life, added one after the other.

    Args:
        rewards: (R,) life after life.
        rows: (V,) of each life.
    """
    found = np.zeros(rows.shape[0], np.float64)
    at = 0
    for life in range(rows.shape[0]):
        for _ in range(rows[life]):
            found[life] += rewards[at]
            at += 1
    return found
