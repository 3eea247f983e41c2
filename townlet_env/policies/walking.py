"""Finding the way: one step at a time along a field of path lengths."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.sim.features import RADIUS
from townlet_env.sim.ids import DIRECTION_DX, DIRECTION_DY, DIRECTION_NAMES
from townlet_env.sim.places import OBJECT, UNREACHABLE, WALL
from townlet_env.sim.plan import Plan
from townlet_env.sim.state import World

Steps = npt.NDArray[np.uint16]  # (H, W) steps to a goal, UNREACHABLE where there is no path


class Way(NamedTuple):
    """The next step."""

    action: str | None  # None if there already, or if there is no path
    free: bool  # no resident stands on that cell


def steps_left(world: World, slot: int, steps: Steps) -> int:
    """Return how many steps a resident has left to the goal of a field."""
    return int(steps[world.y[slot], world.x[slot]])


def next_step(world: World, slot: int, steps: Steps) -> Way:
    """Return the next step along a shortest path, past other residents where there is a choice."""
    x, y = int(world.x[slot]), int(world.y[slot])
    height, width = steps.shape
    blocked = None
    for direction, dx, dy in zip(DIRECTION_NAMES, DIRECTION_DX, DIRECTION_DY, strict=True):
        nx, ny = x + dx, y + dy
        if 0 <= nx < width and 0 <= ny < height and steps[ny, nx] < steps[y, x]:
            if not _somebody_at(world, nx, ny):
                return Way(f"move:{direction}", free=True)
            blocked = blocked or f"move:{direction}"
    return Way(blocked, free=False)


def _somebody_at(world: World, x: int, y: int) -> bool:
    return any(
        world.alive[j] != 0 and world.x[j] == x and world.y[j] == y
        for j in range(int(world.n_residents))
    )


def steps_to_cell(plan: Plan, cell: tuple[int, int]) -> Steps:
    """Return the steps from every cell to a floor cell (column, row), breadth first."""
    height, width = plan.distance.shape[1:]
    inner = plan.grid[RADIUS : RADIUS + height, RADIUS : RADIUS + width]
    floor = (inner & (WALL | OBJECT)) == 0
    steps = np.full((height, width), UNREACHABLE, np.uint16)
    x, y = cell
    if not (x < width and y < height and floor[y, x]):
        return steps
    steps[y, x] = 0
    frontier = deque([cell])
    while frontier:
        x, y = frontier.popleft()
        for dx, dy in zip(DIRECTION_DX, DIRECTION_DY, strict=True):
            nx, ny = x + dx, y + dy
            inside = 0 <= nx < width and 0 <= ny < height
            if inside and floor[ny, nx] and steps[ny, nx] == UNREACHABLE:
                steps[ny, nx] = steps[y, x] + 1
                frontier.append((nx, ny))
    return steps
