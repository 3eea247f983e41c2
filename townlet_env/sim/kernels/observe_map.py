"""Rules 3.13 and 6: the egocentric map of every resident."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.features import FULL_MAP_CHANNELS, MAP_CHANNELS, RADIUS, WINDOW
from townlet_env.sim.ids import KIND_GROUP_NAMES, NEED_COUNT, NONE
from townlet_env.sim.places import DX, DY, nearest_usable
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Ways, World

BASIC = len(MAP_CHANNELS)
CELLS = WINDOW * WINDOW
AT_RESIDENTS = MAP_CHANNELS.index("residents") * CELLS
AT_RESERVED = MAP_CHANNELS.index("reserved") * CELLS
AT_GROUPS = FULL_MAP_CHANNELS.index(KIND_GROUP_NAMES[0])
AT_AXIS = FULL_MAP_CHANNELS.index("path_axis")
AT_SIGN = FULL_MAP_CHANNELS.index("path_sign")


@kernel
def observe_map(world: World, rules: Rules, ways: Ways, maps: npt.NDArray[np.uint8]) -> None:
    """Write the window around every resident; those not in town see zeros.

    The window of an empty town is copied, then people and what is in use are marked in it: a third
    of the time of looking at every cell.

    Args:
        world: One world.
        rules: Compiled rules.
        ways: Tables by cell.
        maps: (N, C, 11, 11) of 0/1, channels as in ``features.FULL_MAP_CHANNELS``: all of them, the
            first four or, with C = 0, none.
    """
    channels = maps.shape[1]
    if channels == 0:
        return
    windows = maps.reshape(maps.shape[0], channels * CELLS)
    in_use = np.empty(world.kind.shape[0], np.int16)
    count = find_in_use(world, in_use)
    for i in range(world.n_residents):
        if world.alive[i] == 0:
            maps[i] = 0
            continue
        window, empty = windows[i], ways.windows[world.y[i], world.x[i]]
        for cell in range(BASIC * CELLS):
            window[cell] = empty[cell]
        mark_residents(world, i, window)
        mark_in_use(world, in_use[:count], i, window)
        if channels > BASIC:
            maps[i, BASIC:] = 0
            draw_groups(world, rules, i, maps[i])
            draw_path(world, rules, ways, i, maps[i])


@kernel
def find_in_use(world: World, in_use: npt.NDArray[np.int16]) -> int:
    """List the objects that are used or reserved, and return how many there are."""
    count = 0
    for o in range(world.n_objects):
        in_use[count] = o
        count += (world.user[o] != NONE) | (world.holder[o] != NONE)
    return count


@kernel
def mark_residents(world: World, i: int, window: npt.NDArray[np.uint8]) -> None:
    """Mark everybody else within sight."""
    top, left = int(world.y[i]) - RADIUS, int(world.x[i]) - RADIUS
    for j in range(world.n_residents):
        row, column = int(world.y[j]) - top, int(world.x[j]) - left
        if 0 <= row < WINDOW and 0 <= column < WINDOW and world.alive[j] != 0:
            window[AT_RESIDENTS + row * WINDOW + column] = 1
    window[AT_RESIDENTS + CELLS // 2] = 0  # oneself is no news


@kernel
def mark_in_use(
    world: World, in_use: npt.NDArray[np.int16], i: int, window: npt.NDArray[np.uint8]
) -> None:
    """Mark the objects in use within sight."""
    top, left = int(world.y[i]) - RADIUS, int(world.x[i]) - RADIUS
    for o in in_use:
        row, column = int(world.object_y[o]) - top, int(world.object_x[o]) - left
        if 0 <= row < WINDOW and 0 <= column < WINDOW:
            window[AT_RESERVED + row * WINDOW + column] = 1


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
    world: World, rules: Rules, ways: Ways, i: int, window: npt.NDArray[np.uint8]
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
    height, width = ways.nearer.shape[0], ways.nearer.shape[1]
    for row in range(max(0, -top), min(WINDOW, height - top)):
        for column in range(max(0, -left), min(WINDOW, width - left)):
            direction = first_of(int(ways.nearer[top + row, left + column, o]))
            if direction != NONE:
                window[AT_AXIS, row, column] = 1 if DX[direction] != 0 else 0
                window[AT_SIGN, row, column] = 1 if DX[direction] + DY[direction] > 0 else 0


@kernel
def first_of(directions: int) -> int:
    """Return the first direction of a set, given as bits, or NONE."""
    for d in range(4):
        if directions >> d & 1:
            return d
    return NONE
