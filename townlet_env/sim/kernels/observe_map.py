"""Rules 3.13 and 6: the egocentric map of every resident."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.features import RADIUS, WINDOW
from townlet_env.sim.ids import NONE
from townlet_env.sim.places import OBJECT, OCCUPANT_SHIFT, RESERVED, WALL
from townlet_env.sim.state import Grid, World


@kernel
def observe_map(world: World, grid: Grid, maps: npt.NDArray[np.uint8]) -> None:
    """Write the 4 x 11 x 11 window around every resident; those not in town see zeros.

    Args:
        world: One world.
        grid: (H + 10, W + 10) cell words, padded by the view radius.
        maps: (N, 4, 11, 11) of 0/1: walls, other residents, objects, reserved or used objects.
    """
    mark_reserved(world, grid)
    for i in range(world.n_residents):
        if world.alive[i] == 0:
            maps[i] = 0
            continue
        top, left = int(world.y[i]), int(world.x[i])
        for row in range(WINDOW):
            for column in range(WINDOW):
                word = grid[top + row, left + column]
                maps[i, 0, row, column] = 1 if word & WALL else 0
                maps[i, 1, row, column] = 1 if word >> OCCUPANT_SHIFT else 0
                maps[i, 2, row, column] = 1 if word & OBJECT else 0
                maps[i, 3, row, column] = 1 if word & RESERVED else 0
        maps[i, 1, RADIUS, RADIUS] = 0  # oneself is no news


@kernel
def mark_reserved(world: World, grid: Grid) -> None:
    """Bring the reserved bit of every object's cell up to date."""
    for o in range(world.n_objects):
        y, x = int(world.object_y[o]) + RADIUS, int(world.object_x[o]) + RADIUS
        word = int(grid[y, x]) & ~RESERVED
        if world.user[o] != NONE or world.holder[o] != NONE:
            word |= RESERVED
        grid[y, x] = word
