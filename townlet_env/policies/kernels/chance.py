"""One action of everybody who follows ``random``: the twin of ``Random.act``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.policies.kernels.judgement import RANDOM, whole
from townlet_env.policies.kernels.walk import Mask
from townlet_env.sim.ids import Stream
from townlet_env.sim.random import USE_ACTION, draw
from townlet_env.sim.state import Records, World


@kernel
def draw_worlds(
    worlds: Records,
    masks: npt.NDArray[np.int8],
    memory: Records,
    orders: npt.NDArray[np.int32],
) -> None:
    """Draw for everybody in every world who follows ``random``.

    Args:
        worlds: (W,) world records.
        masks: (W, N, A) legal actions.
        memory: (W, N) of MEMORY.
        orders: (W, N) action ids; those of others are left alone.
    """
    for w in range(worlds.shape[0]):
        for i in range(worlds[w].n_residents):
            if memory[w, i].follows == RANDOM:
                alive = worlds[w].alive[i] != 0
                orders[w, i] = draw_action(worlds[w], masks[w, i], i) if alive else 0


@kernel
def draw_action(world: World, mask: Mask, i: int) -> int:
    """Return one of the legal actions, each with the same probability."""
    legal = 0
    for a in range(len(mask)):
        legal += mask[a] != 0
    bits = draw(world.seed, Stream.POLICY, world.tick, i * 64 + USE_ACTION)
    left = whole(bits % np.uint64(legal))
    for a in range(len(mask)):
        if mask[a] != 0:
            if left == 0:
                return a
            left -= 1
    return 0
