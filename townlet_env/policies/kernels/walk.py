"""The next step of a walk: the twin of ``policies/walking.py``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.policies.kernels.judgement import DETOUR, whole
from townlet_env.sim.ids import NONE
from townlet_env.sim.places import DX, DY, UNREACHABLE
from townlet_env.sim.state import World

Steps = npt.NDArray[np.uint16]  # (H, W) steps to a goal
Mask = npt.NDArray[np.int8]  # (A,) legal actions

NEW, TAKEN = -1, -2  # marks of cells: not seen yet, a busy resident stands there


@kernel
def walk(
    world: World, steps: Steps, moves: npt.NDArray[np.int32], mask: Mask, i: int, push: bool
) -> int:
    """Return the action of the next step towards a goal; 0 (``wait``) when there, or no way on."""
    direction, free = next_step(world, steps, i)
    if direction == NONE or not (free or push):
        return 0
    action = int(moves[direction])
    return action if mask[action] != 0 else 0


@kernel
def next_step(world: World, steps: Steps, i: int) -> tuple[int, bool]:
    """Return the direction of the next step, or NONE, and whether that cell is free."""
    x, y = whole(world.x[i]), whole(world.y[i])
    here = whole(steps[y, x])
    if is_busy_way(world, steps, i):
        d = around(world, steps, i)
        if d != NONE:
            return d, not is_taken(world, i, x + DX[d], y + DY[d])
    blocked = whole(NONE)
    for d in range(4):
        nx, ny = x + DX[d], y + DY[d]
        inside = 0 <= nx < steps.shape[1] and 0 <= ny < steps.shape[0]
        if inside and whole(steps[ny, nx]) < here:
            if not is_taken(world, i, nx, ny):
                return d, True
            if blocked == NONE:
                blocked = whole(d)
    return blocked, False


@kernel
def is_taken(world: World, i: int, x: int, y: int) -> bool:
    """Tell whether another resident stands on a cell."""
    for j in range(world.n_residents):
        if j != i and world.alive[j] != 0 and world.x[j] == x and world.y[j] == y:
            return True
    return False


@kernel
def is_busy_way(world: World, steps: Steps, i: int) -> bool:
    """Tell whether somebody busy may stand on a shortest path."""
    x, y = whole(world.x[i]), whole(world.y[i])
    for j in range(world.n_residents):
        if j == i or world.alive[j] == 0 or world.busy_affordance[j] == NONE:
            continue
        jx, jy = whole(world.x[j]), whole(world.y[j])
        if abs(jx - x) + abs(jy - y) + whole(steps[jy, jx]) <= whole(steps[y, x]):
            return True
    return False


@kernel
def around(world: World, steps: Steps, i: int) -> int:
    """Return the first direction of a shortest path round the busy, or NONE if it is too long."""
    height, width = steps.shape
    x, y = whole(world.x[i]), whole(world.y[i])
    start = whole(steps[y, x])
    if start == 0 or start == UNREACHABLE:
        return NONE
    first = np.full((height, width), NEW, np.int8)
    for j in range(world.n_residents):
        if j != i and world.alive[j] != 0 and world.busy_affordance[j] != NONE:
            first[world.y[j], world.x[j]] = TAKEN
    first[y, x] = 4  # none of the four
    frontier = np.empty((height * width, 3), np.int32)  # column, row, steps walked
    frontier[0] = (x, y, 0)
    done, seen = 0, 1
    while done < seen:
        cx, cy, walked = frontier[done]
        done += 1
        if walked + whole(steps[cy, cx]) > start + DETOUR:
            continue
        for d in range(4):
            nx, ny = cx + DX[d], cy + DY[d]
            if not (0 <= nx < width and 0 <= ny < height):
                continue
            left = whole(steps[ny, nx])
            if left == UNREACHABLE or first[ny, nx] != NEW:
                continue
            first[ny, nx] = d if walked == 0 else first[cy, cx]
            if left == 0:
                return int(first[ny, nx])
            frontier[seen] = (nx, ny, walked + 1)
            seen += 1
    return NONE
