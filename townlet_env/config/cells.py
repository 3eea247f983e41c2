"""Cells to arrays: what stands where, how far it is to every object, where newcomers appear."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

from townlet_env.config.layout import Layout, Point
from townlet_env.errors import ConfigError
from townlet_env.sim.features import RADIUS
from townlet_env.sim.places import OBJECT, OCCUPANT_SHIFT, UNREACHABLE, WALL
from townlet_env.sim.rules import MAX_ROADSIDE

Mask = npt.NDArray[np.bool_]  # (H, W)


def grid_of(layout: Layout) -> npt.NDArray[np.uint16]:
    """Return the cell words at tick 0, padded with wall by the view radius."""
    height, width = layout.walls.shape
    grid = np.full((height + 2 * RADIUS, width + 2 * RADIUS), WALL, np.uint16)
    inner = grid[RADIUS : RADIUS + height, RADIUS : RADIUS + width]
    inner[:] = np.where(layout.walls, WALL, 0)
    for x, y in layout.object_cells:
        inner[y, x] |= OBJECT
    for i, (x, y) in enumerate(layout.resident_cells):
        inner[y, x] |= np.uint16((i + 1) << OCCUPANT_SHIFT)
    return grid


def distances_of(layout: Layout, name: str) -> npt.NDArray[np.uint16]:
    """Return steps from every floor cell to a cell next to each object (breadth first).

    A town without objects has one field all the same, which nobody reads.

    Args:
        layout: Cells of a scenario.
        name: That scenario, for messages.

    Raises:
        ConfigError: The map is a labyrinth with a path of more steps than can be stored.
    """
    floor = _floor(layout)
    objects = len(layout.object_cells)
    # All objects of a cell lie side by side: a resident looks at all of them from one cell. The
    # one column to spare keeps towns of one object, or of none, in the same memory layout as all
    # others: kernels are compiled once per layout.
    together = np.full((*floor.shape, objects + 1), UNREACHABLE, np.uint16)
    together[..., :objects] = _steps_to(floor, layout.object_cells, name).transpose(1, 2, 0)
    return together[..., : max(objects, 1)].transpose(2, 0, 1)


def roadside_of(layout: Layout) -> tuple[Point, ...]:
    """Return where newcomers appear: floor nearest to the edge of the map (rules 3.2).

    The cells belong to the largest connected piece of floor, have the least distance to the edge,
    and are spread evenly over those that have it, row by row.
    """
    piece = _largest_piece(_floor(layout))
    height, width = piece.shape
    rows, columns = np.nonzero(piece)
    to_edge = np.minimum.reduce([columns, rows, width - 1 - columns, height - 1 - rows])
    nearest = np.flatnonzero(to_edge == to_edge.min()) if to_edge.size else to_edge
    cells = min(MAX_ROADSIDE, nearest.size)
    chosen = [nearest[k * nearest.size // cells] for k in range(cells)]
    return tuple((int(columns[cell]), int(rows[cell])) for cell in chosen)


def _floor(layout: Layout) -> Mask:
    floor = ~layout.walls
    for x, y in layout.object_cells:
        floor[y, x] = False
    return floor


def _around(floor: Mask, cell: Point) -> Iterable[Point]:
    """Yield the floor cells north, south, east and west of a cell."""
    height, width = floor.shape
    x, y = cell
    for nx, ny in ((x, y - 1), (x, y + 1), (x + 1, y), (x - 1, y)):
        if 0 <= nx < width and 0 <= ny < height and floor[ny, nx]:
            yield nx, ny


def _steps_to(floor: Mask, goals: Sequence[Point], name: str) -> npt.NDArray[np.uint16]:
    """Return (M, H, W) steps to all goals, which grow side by side, a ring of cells at a time."""
    padded = np.pad(floor, 1)
    width, size = padded.shape[1], padded.size
    unseen = np.tile(padded.ravel(), len(goals))
    steps = np.full(unseen.shape, UNREACHABLE, np.uint16)
    ring = np.array([o * size + (y + 1) * width + x + 1 for o, (x, y) in enumerate(goals)], int)
    for so_far in count():
        ring = np.unique(ring[:, None] + (-width, width, 1, -1))
        ring = ring[unseen[ring]]
        if ring.size == 0:
            break
        if so_far >= UNREACHABLE:
            raise ConfigError(
                f"{name}: map: expected at most {UNREACHABLE - 1} steps from anywhere to the "
                f"object at {list(goals[ring[0] // size])}, found a longer way; open a wall"
            )
        unseen[ring] = False
        steps[ring] = so_far
    return steps.reshape(len(goals), *padded.shape)[:, 1:-1, 1:-1]


def _largest_piece(floor: Mask) -> Mask:
    """Return the largest connected piece; of equals, the one that begins first, row by row."""
    left = floor.copy()
    largest: list[Point] = []
    for y, x in np.argwhere(floor):
        if not left[y, x]:
            continue
        left[y, x] = False
        piece = [(int(x), int(y))]
        for cell in piece:  # grows while it is gone through
            for nx, ny in _around(left, cell):
                left[ny, nx] = False
                piece.append((nx, ny))
        largest = max(largest, piece, key=len)
    mask = np.zeros_like(floor)
    for x, y in largest:
        mask[y, x] = True
    return mask
