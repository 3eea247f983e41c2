"""Finding the way: one step at a time along a field of path lengths."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.policies.kernels.judgement import DETOUR
from townlet_env.sim.features import RADIUS
from townlet_env.sim.ids import DIRECTION_DX, DIRECTION_DY, DIRECTION_NAMES, NONE
from townlet_env.sim.places import OBJECT, UNREACHABLE, WALL
from townlet_env.sim.plan import Plan
from townlet_env.sim.state import World

Cell = tuple[int, int]  # column, row
Steps = npt.NDArray[np.uint16]  # (H, W) steps to a goal, UNREACHABLE where there is no path


class Way(NamedTuple):
    """The next step."""

    action: str | None  # None if there already, or if there is no path
    free: bool  # no resident stands on that cell


def steps_left(world: World, slot: int, steps: Steps) -> int:
    """Return how many steps a resident has left to the goal of a field."""
    return int(steps[world.y[slot], world.x[slot]])


def next_step(world: World, slot: int, steps: Steps) -> Way:
    """Return the next step to the goal of a field.

    It lies on a shortest path, past other residents where there is a choice; around those who are
    busy on such a path, unless that takes more than ``DETOUR`` steps. Who is not busy can be asked
    to swap places. Every step is one less to walk as long as the busy ones stay where they are, so
    nobody goes to and fro.
    """
    here = int(world.x[slot]), int(world.y[slot])
    others = _others(world, slot)
    blocked_by = {cell for cell, busy in others.items() if busy}
    if any(_on_the_way(here, cell, steps) for cell in blocked_by):
        direction = _around(here, steps, blocked_by)
        if direction is not None:
            dx, dy = _OFFSETS[direction]
            return Way(f"move:{direction}", free=(here[0] + dx, here[1] + dy) not in others)
    blocked = None
    for direction, cell in _neighbours(here, steps):
        if steps[cell[1], cell[0]] < steps[here[1], here[0]]:
            if cell not in others:
                return Way(f"move:{direction}", free=True)
            blocked = blocked or f"move:{direction}"
    return Way(blocked, free=False)


_OFFSETS = dict(zip(DIRECTION_NAMES, zip(DIRECTION_DX, DIRECTION_DY, strict=True), strict=True))


def _neighbours(cell: Cell, steps: Steps) -> list[tuple[str, Cell]]:
    """Return the neighbouring cells on the map by direction, in the order of action ids."""
    height, width = steps.shape
    around = [(name, (cell[0] + dx, cell[1] + dy)) for name, (dx, dy) in _OFFSETS.items()]
    return [(name, (x, y)) for name, (x, y) in around if 0 <= x < width and 0 <= y < height]


def _others(world: World, slot: int) -> dict[Cell, bool]:
    """Return the cells of the other residents, and who of them is busy."""
    return {
        (int(world.x[j]), int(world.y[j])): bool(world.busy_affordance[j] != NONE)
        for j in range(int(world.n_residents))
        if j != slot and world.alive[j] != 0
    }


def _on_the_way(here: Cell, cell: Cell, steps: Steps) -> bool:
    """Tell whether a cell may lie on a shortest path."""
    apart = abs(cell[0] - here[0]) + abs(cell[1] - here[1])
    return apart + int(steps[cell[1], cell[0]]) <= int(steps[here[1], here[0]])


def _around(here: Cell, steps: Steps, blocked: set[Cell]) -> str | None:
    """Return the first direction of a shortest path that keeps off some cells, if not too long."""
    start = int(steps[here[1], here[0]])
    if start in (0, UNREACHABLE):
        return None
    first: dict[Cell, str] = {here: ""}
    frontier = deque([(here, 0)])
    while frontier:
        cell, walked = frontier.popleft()
        if walked + int(steps[cell[1], cell[0]]) > start + DETOUR:
            continue
        for direction, neighbour in _neighbours(cell, steps):
            left = int(steps[neighbour[1], neighbour[0]])
            if left == UNREACHABLE or neighbour in blocked or neighbour in first:
                continue
            first[neighbour] = first[cell] or direction
            if left == 0:
                return first[neighbour]
            frontier.append((neighbour, walked + 1))
    return None


def steps_to_cell(plan: Plan, cell: Cell) -> Steps:
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
        here = frontier.popleft()
        for _, (x, y) in _neighbours(here, steps):
            if floor[y, x] and steps[y, x] == UNREACHABLE:
                steps[y, x] = steps[here[1], here[0]] + 1
                frontier.append((x, y))
    return steps
