"""Rules 3.13 and 6: the egocentric map of every resident."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.features import FULL_MAP_CHANNELS, MAP_CHANNELS, RADIUS, WINDOW
from townlet_env.sim.ids import KIND_GROUP_NAMES, NEED_COUNT, NONE
from townlet_env.sim.places import (
    DX,
    DY,
    OBJECT_BIT,
    OCCUPANT_SHIFT,
    RESERVED,
    RESERVED_BIT,
    UNREACHABLE,
    WALL_BIT,
    is_floor,
    nearest_usable,
)
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Grid, Ways, World

BASIC = len(MAP_CHANNELS)
CELLS = WINDOW * WINDOW
AT_GROUPS = FULL_MAP_CHANNELS.index(KIND_GROUP_NAMES[0])
AT_AXIS = FULL_MAP_CHANNELS.index("path_axis")
AT_SIGN = FULL_MAP_CHANNELS.index("path_sign")
# As wide as a word: with plain numbers every word becomes 64 bits wide before it is looked at.
_ONE, _WALL, _OBJECT = np.uint16(1), np.uint16(WALL_BIT), np.uint16(OBJECT_BIT)
_RESERVED, _OCCUPANT = np.uint16(RESERVED_BIT), np.uint16(OCCUPANT_SHIFT)


@kernel
def observe_map(
    world: World, rules: Rules, grid: Grid, ways: Ways, maps: npt.NDArray[np.uint8]
) -> None:
    """Write the window around every resident; those not in town see zeros.

    Args:
        world: One world.
        rules: Compiled rules.
        grid: (H + 10, W + 10) cell words, padded by the view radius.
        ways: Tables by cell.
        maps: (N, C, 11, 11) of 0/1, channels as in ``features.FULL_MAP_CHANNELS``: all of them, the
            first four or, with C = 0, none.
    """
    mark_reserved(world, grid)
    channels = maps.shape[1]
    words = np.empty(CELLS, np.uint16)
    windows = maps.reshape(maps.shape[0], channels, CELLS)
    for i in range(world.n_residents):
        if world.alive[i] == 0 or channels == 0:
            maps[i] = 0
            continue
        maps[i, BASIC:] = 0
        draw_cells(world, grid, i, words, windows[i])
        if channels > BASIC:
            draw_groups(world, rules, i, maps[i])
            draw_path(world, rules, grid, ways, i, maps[i])


@kernel
def draw_cells(
    world: World, grid: Grid, i: int, words: npt.NDArray[np.uint16], window: npt.NDArray[np.uint8]
) -> None:
    """Write walls, other residents, objects and reserved objects.

    Short loops over one channel at a time are what the compiler turns into vector instructions:
    together with the copy of the words they take 60% of the time of one loop over cells.
    """
    top, left = int(world.y[i]), int(world.x[i])
    for row in range(WINDOW):
        line = grid[top + row, left : left + WINDOW]
        for column in range(WINDOW):
            words[row * WINDOW + column] = line[column]
    for cell in range(CELLS):
        window[0, cell] = (words[cell] >> _WALL) & _ONE
    for cell in range(CELLS):
        window[1, cell] = min(words[cell] >> _OCCUPANT, _ONE)
    for cell in range(CELLS):
        window[2, cell] = (words[cell] >> _OBJECT) & _ONE
    for cell in range(CELLS):
        window[3, cell] = (words[cell] >> _RESERVED) & _ONE
    window[1, CELLS // 2] = 0  # oneself is no news


@kernel
def draw_groups(world: World, rules: Rules, i: int, window: npt.NDArray[np.uint8]) -> None:
    """Mark every object within sight in the channel of its group."""
    top, left = int(world.y[i]) - RADIUS, int(world.x[i]) - RADIUS
    for o in range(world.n_objects):
        row, column = int(world.object_y[o]) - top, int(world.object_x[o]) - left
        if 0 <= row < WINDOW and 0 <= column < WINDOW:
            window[AT_GROUPS + int(rules.kind_group[world.kind[o]]), row, column] = 1


@kernel
def draw_path(
    world: World,
    rules: Rules,
    grid: Grid,
    ways: Ways,
    i: int,
    window: npt.NDArray[np.uint8],
) -> None:
    """Write, cell by cell, the way to the object that serves the lowest need best."""
    lowest = 0
    for k in range(1, NEED_COUNT):
        if world.needs[i, k] < world.needs[i, lowest]:
            lowest = k
    kind = int(rules.need_kind[lowest])
    o = nearest_usable(world, ways, rules, i, kind) if kind != NONE else NONE
    if o == NONE:
        return
    top, left = int(world.y[i]) - RADIUS, int(world.x[i]) - RADIUS
    height, width = ways.steps.shape[0], ways.steps.shape[1]
    for row in range(max(0, -top), min(WINDOW, height - top)):
        for column in range(max(0, -left), min(WINDOW, width - left)):
            direction = downhill(grid, ways, o, left + column, top + row)
            if direction != NONE:
                window[AT_AXIS, row, column] = 1 if DX[direction] != 0 else 0
                window[AT_SIGN, row, column] = 1 if DX[direction] + DY[direction] > 0 else 0


@kernel
def downhill(grid: Grid, ways: Ways, o: int, x: int, y: int) -> int:
    """Return the first direction from a cell with fewer steps to object ``o``, or NONE.

    ``places.step_towards`` without people.
    """
    here = int(ways.steps[y, x, o])
    if here == UNREACHABLE or not is_floor(grid, x, y):
        return NONE
    for d in range(4):
        nx, ny = x + DX[d], y + DY[d]
        if is_floor(grid, nx, ny) and int(ways.steps[ny, nx, o]) < here:
            return d
    return NONE


@kernel
def mark_reserved(world: World, grid: Grid) -> None:
    """Bring the reserved bit of every object's cell up to date."""
    for o in range(world.n_objects):
        y, x = int(world.object_y[o]) + RADIUS, int(world.object_x[o]) + RADIUS
        taken = world.user[o] != NONE or world.holder[o] != NONE
        grid[y, x] = (int(grid[y, x]) & ~RESERVED) | (taken << RESERVED_BIT)
