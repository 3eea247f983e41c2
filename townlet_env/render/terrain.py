"""The ground of the map, drawn once and lit for the time of day."""

from __future__ import annotations

import pygame

from townlet_env.render.ground import BLOCKING, Cells, Ground
from townlet_env.render.palette import (
    FLOORS,
    LEAVES,
    SHADE,
    TREES,
    WALL_EDGE,
    WALL_FACE,
    WALL_TOP,
    WATER,
    WHITE,
    Colour,
    blend,
)
from townlet_env.render.pen import Pen, Sprites, put


class Terrain:
    """Draws the ground of one map."""

    def __init__(self, ground: Cells, cell: int, sprites: Sprites) -> None:
        """Draw it, unlit."""
        self._ground = ground
        self._cell = cell
        rows, columns = ground.shape
        size = (columns * cell, rows * cell)
        self._outside = pygame.Surface(size)
        self._rooms = pygame.Surface(size, pygame.SRCALPHA)
        cells = [(x, y) for y in range(rows) for x in range(columns)]
        for x, y in cells:
            self._floor(x, y)
        for x, y in cells:
            self._block(x, y, sprites)

    def lit(self, outside: Colour, rooms: Colour) -> pygame.Surface:
        """Return a fresh surface with the ground under the light of the sky and of the rooms."""
        lit = self._outside.copy()
        lit.fill(outside, special_flags=pygame.BLEND_RGB_MULT)
        indoors = self._rooms.copy()
        indoors.fill(rooms, special_flags=pygame.BLEND_RGB_MULT)
        lit.blit(indoors, (0, 0))
        return lit

    def is_room(self, x: int, y: int) -> bool:
        """Tell whether a cell is lit by lamps."""
        return int(self._ground[y, x]) == Ground.ROOM

    def _floor(self, x: int, y: int) -> None:
        kind, cell = int(self._ground[y, x]), self._cell
        even, odd = FLOORS.get(kind, FLOORS[Ground.GRASS])
        colour = odd if (x + y) % 2 else even
        surface = self._rooms if kind == Ground.ROOM else self._outside
        surface.fill(colour, (x * cell, y * cell, cell, cell))
        if y > 0 and int(self._ground[y - 1, x]) == Ground.WALL and kind not in BLOCKING:
            depth = max(1, cell // 7)  # the shadow of the wall above
            for row in range(depth):
                shade = blend(blend(colour, SHADE, 0.3), colour, row / depth)
                surface.fill(shade, (x * cell, y * cell + row, cell, 1))

    def _block(self, x: int, y: int, sprites: Sprites) -> None:
        kind, cell = int(self._ground[y, x]), self._cell
        if kind == Ground.WALL:
            self._wall(x, y)
        elif kind == Ground.TREE:
            look = (5 * x + 3 * y) % len(TREES)
            tree = sprites.get(("tree", look), cell, lambda pen: _tree(pen, look))
            put(self._outside, tree, x * cell, y * cell)
        elif kind == Ground.WATER:
            self._water(x, y, sprites)

    def _wall(self, x: int, y: int) -> None:
        cell, rows = self._cell, len(self._ground)
        left, top = x * cell, y * cell
        self._outside.fill(WALL_TOP, (left, top, cell, cell))
        if y == 0 or int(self._ground[y - 1, x]) != Ground.WALL:
            self._outside.fill(WALL_EDGE, (left, top, cell, max(1, cell // 16)))
        if y + 1 < rows and int(self._ground[y + 1, x]) != Ground.WALL:
            face = max(2, cell // 3)
            self._outside.fill(WALL_FACE, (left, top + cell - face, cell, face))

    def _water(self, x: int, y: int, sprites: Sprites) -> None:
        """Draw water with round banks where it ends."""
        north, south, west, east = (
            self._is_water(x + dx, y + dy) for dx, dy in ((0, -1), (0, 1), (-1, 0), (1, 0))
        )
        banks = (not (north or west), not (north or east), not (south or west), not (south or east))
        waves = (x + y) % 2 == 0
        sprite = sprites.get(
            ("water", banks, waves), self._cell, lambda pen: _pool(pen, banks, waves=waves)
        )
        put(self._outside, sprite, x * self._cell, y * self._cell)

    def _is_water(self, x: int, y: int) -> bool:
        rows, columns = self._ground.shape
        return 0 <= x < columns and 0 <= y < rows and int(self._ground[y, x]) == Ground.WATER


def _tree(pen: Pen, look: int) -> None:
    leaf = TREES[look]
    pen.oval((0.12, 0.66, 0.8, 0.3), (40, 50, 24, 70))
    pen.rect((0.44, 0.55, 0.12, 0.34), (122, 92, 64), 0.03)
    for x, y, r in ((0.34, 0.5, 0.24), (0.66, 0.5, 0.24), (0.5, 0.34, 0.29)):
        pen.disc((x, y), r, blend(leaf, SHADE, 0.18))
    for x, y, r in ((0.33, 0.46, 0.2), (0.62, 0.46, 0.2), (0.48, 0.3, 0.24)):
        pen.disc((x, y), r, leaf)
    pen.disc((0.42, 0.26), 0.1, blend(leaf, LEAVES, 0.5))


def _pool(pen: Pen, banks: tuple[bool, bool, bool, bool], *, waves: bool) -> None:
    pen.pool(WATER, banks)
    if waves:
        pen.line((0.24, 0.36, 0.5, 0.36), blend(WATER, WHITE, 0.4), 0.045)
        pen.line((0.5, 0.66, 0.78, 0.66), blend(WATER, WHITE, 0.4), 0.045)
