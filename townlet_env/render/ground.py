"""What lies in the cells of a map: rooms, grass, streets, trees and water.

Only looks: to the residents every cell is floor or wall. A scenario says it by the characters it
gives these meanings in its legend.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from townlet_env.config.schema import TownConfig

Cells = npt.NDArray[np.uint8]  # (H, W) of Ground


class Ground(IntEnum):
    """Looks of a cell."""

    ROOM = 0
    GRASS = 1
    STREET = 2
    WALL = 3
    TREE = 4
    WATER = 5


_FLOORS = {",": Ground.GRASS, "=": Ground.STREET}
_WALLS = {"T": Ground.TREE, "t": Ground.TREE, "~": Ground.WATER}
BLOCKING = (Ground.WALL, Ground.TREE, Ground.WATER)


def ground_of(config: TownConfig) -> Cells:
    """Return the looks of every cell of a scenario that fits together."""
    if config.size is not None:
        columns, rows = config.size
        return np.full((rows, columns), Ground.ROOM, np.uint8)
    lines = (config.map or "").rstrip("\n").split("\n")
    ground = np.full((len(lines), len(lines[0])), Ground.ROOM, np.uint8)
    unknown: list[tuple[int, int]] = []
    for y, line in enumerate(lines):
        for x, character in enumerate(line):
            meaning = config.legend.get(character, "floor" if character == "." else "wall")
            if meaning == "floor":
                ground[y, x] = _FLOORS.get(character, Ground.ROOM)
            elif meaning == "wall":
                ground[y, x] = _WALLS.get(character, Ground.WALL)
            else:
                unknown.append((y, x))
    for y, x in unknown:
        ground[y, x] = _around(ground, y, x, unknown)
    return ground


def _around(ground: Cells, y: int, x: int, unknown: list[tuple[int, int]]) -> int:
    """Return what lies beside a cell whose character names who or what stands there."""
    rows, columns = ground.shape
    for row, column in ((y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x)):
        inside = 0 <= row < rows and 0 <= column < columns
        if inside and (row, column) not in unknown and ground[row, column] not in BLOCKING:
            return int(ground[row, column])
    return Ground.ROOM
