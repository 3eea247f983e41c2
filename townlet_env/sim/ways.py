"""What depends on the cell alone, looked up instead of searched for.

Walls and objects never move, so that the nearest object of a kind, its columns of the features, the
ways to it, most of the map and most of the legal actions are the same whoever stands on a cell.
They are found once per scenario.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from townlet_env.sim.features import MAP_CHANNELS, RADIUS, WINDOW
from townlet_env.sim.ids import NONE, Verb
from townlet_env.sim.places import DX, DY, OBJECT, OBJECT_BIT, UNREACHABLE, WALL, WALL_BIT
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Ways, World

Numbers = npt.NDArray[np.int64]
Cells = npt.NDArray[np.uint16]  # (H + 10, W + 10) cell words


def chart(world: World, rules: Rules, grid: Cells, distance: npt.NDArray[np.uint16]) -> Ways:
    """Return the tables of a scenario.

    Args:
        world: Its first state.
        rules: Its rules.
        grid: (H + 10, W + 10) cell words at tick 0.
        distance: (M, H, W) steps to the reach of every object; more fields are not looked at.
    """
    objects = int(world.n_objects)
    steps = np.ascontiguousarray(distance[:objects].transpose(1, 2, 0))
    height, width, _ = steps.shape
    y, x = (cell[..., None] for cell in np.mgrid[:height, :width])
    object_x, object_y = world.object_x[:objects].astype(int), world.object_y[:objects].astype(int)
    cells = abs(object_x - x) + abs(object_y - y)
    nearest = np.full((height, width, rules.n_kinds), NONE, np.int16)
    near = nearest.copy()
    columns = np.zeros((*nearest.shape, 3), np.float32)
    columns[..., 2] = 1.0  # where there is none
    for kind in set(world.kind[:objects].tolist()):
        those = np.flatnonzero(world.kind[:objects] == kind)
        near[..., kind] = _least(cells[..., those], those, rules.queue_range + 1)
        nearest[..., kind] = o = _least(steps[..., those], those, UNREACHABLE)
        right, down = object_x[o] - x[..., 0], object_y[o] - y[..., 0]
        apart = np.maximum(abs(right) + abs(down), 1)
        way = np.take_along_axis(steps, np.maximum(o, 0)[..., None], axis=-1)[..., 0].astype(int)
        seen = np.stack((right / apart, down / apart, way / (way + 8.0)), axis=-1)
        columns[o != NONE, kind] = seen[o != NONE]
    legal = _legal(rules, grid, nearest, near, columns)
    return Ways(steps, _nearer(grid, steps), nearest, near, columns, _windows(grid), legal)


def _nearer(grid: Cells, steps: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Return which directions lead to a floor cell with fewer steps to an object."""
    height, width, _ = steps.shape
    around = np.pad(steps, ((1, 1), (1, 1), (0, 0)), constant_values=UNREACHABLE)
    nearer = np.zeros(steps.shape, np.uint8)
    for d, (right, down) in enumerate(zip(DX, DY, strict=True)):
        there = around[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        leads = _is_floor(grid, right, down)[..., None] & (there < steps)
        nearer |= leads.astype(np.uint8) << np.uint8(d)
    nearer[(steps == UNREACHABLE) | ~_is_floor(grid, 0, 0)[..., None]] = 0
    return nearer


def _windows(grid: Cells) -> npt.NDArray[np.uint8]:
    """Return the map of whoever stands on a cell of a town without people, nothing in use."""
    channels = np.zeros((len(MAP_CHANNELS), *grid.shape), np.uint8)
    for name, bit in (("walls", WALL_BIT), ("objects", OBJECT_BIT)):
        channels[MAP_CHANNELS.index(name)] = grid >> bit & 1
    windows = sliding_window_view(channels, (WINDOW, WINDOW), axis=(1, 2)).transpose(1, 2, 0, 3, 4)
    return np.ascontiguousarray(windows).reshape(*windows.shape[:2], -1)


def _is_floor(grid: Cells, right: int, down: int) -> npt.NDArray[np.bool_]:
    """Return (H, W): whether the cell that lies so far from each is free of walls and objects."""
    height, width = grid.shape[0] - 2 * RADIUS, grid.shape[1] - 2 * RADIUS
    top, left = RADIUS + down, RADIUS + right
    floor: npt.NDArray[np.bool_] = (
        grid[top : top + height, left : left + width] & (WALL | OBJECT) == 0
    )
    return floor


def _least(values: npt.NDArray[Any], those: Numbers, limit: int) -> Numbers:
    """Return which of ``those`` has the least of (H, W, M) values, or NONE from ``limit`` on."""
    first: Numbers = those[values.argmin(axis=-1)]  # of equals the lowest index
    return np.where(values.min(axis=-1) < limit, first, NONE)


def _legal(
    rules: Rules,
    grid: Cells,
    nearest: npt.NDArray[np.int16],
    near: npt.NDArray[np.int16],
    columns: npt.NDArray[np.float32],
) -> npt.NDArray[np.int8]:
    """Return what somebody free with empty hands may do, as far as the cell decides."""
    height, width = nearest.shape[:2]
    legal = np.zeros((height, width, rules.n_actions), np.int8)
    for a in range(rules.n_actions):
        verb, argument = int(rules.action_verb[a]), int(rules.action_argument[a])
        if verb == Verb.WAIT:
            legal[..., a] = 1
        elif verb == Verb.MOVE:
            legal[..., a] = _is_floor(grid, DX[argument], DY[argument])
        elif verb == Verb.APPROACH:
            legal[..., a] = (nearest[..., argument] != NONE) & (columns[..., argument, 2] > 0.0)
        elif verb == Verb.REQUEST:
            legal[..., a] = near[..., argument] != NONE
    return legal
