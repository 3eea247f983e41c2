"""Questions about cells and objects that several rules ask.

A grid word holds one cell: bit 0 wall, bit 1 object, and the resident standing there plus one in
the high byte. The grid is padded with wall by the view radius, so that a
window never leaves it.
"""

from __future__ import annotations

from townlet_env.jit import kernel
from townlet_env.sim.features import RADIUS
from townlet_env.sim.ids import NONE
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Grid, Ways, World

WALL_BIT, OBJECT_BIT = 0, 1
WALL = 1 << WALL_BIT
OBJECT = 1 << OBJECT_BIT
OCCUPANT_SHIFT = 8
UNREACHABLE = 65535

DX = (0, 0, 1, -1)
DY = (-1, 1, 0, 0)


@kernel
def occupant(grid: Grid, x: int, y: int) -> int:
    """Return the resident on a cell, or NONE."""
    return int(grid[y + RADIUS, x + RADIUS] >> OCCUPANT_SHIFT) - 1


@kernel
def is_floor(grid: Grid, x: int, y: int) -> bool:
    """Tell whether a cell is free of walls and objects."""
    return int(grid[y + RADIUS, x + RADIUS]) & (WALL | OBJECT) == 0


@kernel
def place(grid: Grid, i: int, x: int, y: int) -> None:
    """Put resident ``i`` (or NONE) on a cell."""
    word = int(grid[y + RADIUS, x + RADIUS]) & 0xFF
    grid[y + RADIUS, x + RADIUS] = word | ((i + 1) << OCCUPANT_SHIFT)


@kernel
def manhattan(world: World, i: int, o: int) -> int:
    """Return the Manhattan distance between a resident and an object, in cells."""
    return abs(int(world.x[i]) - int(world.object_x[o])) + abs(
        int(world.y[i]) - int(world.object_y[o])
    )


@kernel
def cells_apart(world: World, i: int, j: int) -> int:
    """Return the Manhattan distance between two residents, in cells."""
    return abs(int(world.x[i]) - int(world.x[j])) + abs(int(world.y[i]) - int(world.y[j]))


@kernel
def utilities_hold(world: World, needs_power: int, needs_water: int) -> bool:
    """Tell whether the utilities that something needs are there."""
    return (needs_power == 0 or world.power != 0) and (needs_water == 0 or world.water != 0)


@kernel
def kind_is_usable(world: World, rules: Rules, kind: int) -> bool:
    """Tell whether the utilities that objects of a kind are of no use without are there."""
    return utilities_hold(world, rules.kind_power[kind], rules.kind_water[kind])


@kernel
def nearest_usable(world: World, ways: Ways, rules: Rules, i: int, kind: int) -> int:
    """Return the usable object of a kind with the shortest path from ``i``, or NONE.

    Ties go to the lower index.
    """
    if not kind_is_usable(world, rules, kind):
        return NONE
    return int(ways.nearest[world.y[i], world.x[i], kind])


@kernel
def nearest_in_range(world: World, rules: Rules, i: int, kind: int) -> int:
    """Return the nearest object of a kind within ``queue_range`` of ``i``, or NONE."""
    best = NONE
    best_cells = rules.queue_range + 1
    for o in range(world.n_objects):
        if world.kind[o] == kind:
            cells = manhattan(world, i, o)
            if cells < best_cells:
                best_cells = cells
                best = o
    return best


@kernel
def step_towards(world: World, grid: Grid, ways: Ways, i: int, o: int) -> int:
    """Return the direction of one step along a shortest path to object ``o``, or NONE.

    Of several shortest paths the first free one in the order north, south, east, west is taken;
    if all are blocked by residents, the first.
    """
    x, y = int(world.x[i]), int(world.y[i])
    nearer = int(ways.nearer[y, x, o])
    blocked = NONE
    for d in range(4):
        if nearer >> d & 1:
            if occupant(grid, x + DX[d], y + DY[d]) == NONE:
                return d
            if blocked == NONE:
                blocked = d
    return blocked


@kernel
def nearest_free_resident(world: World, i: int, cells: int) -> int:
    """Return the nearest resident within ``cells`` of ``i`` who is not busy, or NONE."""
    best = NONE
    best_cells = cells + 1
    for j in range(world.n_residents):
        if j == i or world.alive[j] == 0 or world.busy_affordance[j] != NONE:
            continue
        apart = cells_apart(world, i, j)
        if apart < best_cells:
            best_cells = apart
            best = j
    return best


@kernel
def minute_of_day(world: World) -> int:
    """Return the time of day of the tick that is being lived, in minutes."""
    return int(world.start_minute + world.tick) % 1440


@kernel
def on_shift(world: World, i: int) -> bool:
    """Tell whether the daily window [start, end) of ``i``'s job is open."""
    return world.job_object[i] != NONE and window_is_open(world, i)


@kernel
def window_is_open(world: World, i: int) -> bool:
    """Tell whether it is the time of the shift that goes with the slot, employed or not."""
    return int(world.job_start[i]) <= minute_of_day(world) < int(world.job_end[i])
