"""Residents on the map: a coloured token, its needs, what it is busy with, its place in line."""

from __future__ import annotations

import pygame

from townlet_env.render.geometry import Box
from townlet_env.render.letters import Letters
from townlet_env.render.palette import (
    DANGER,
    INK,
    LOW,
    NEEDS,
    TRACK,
    WHITE,
    Colour,
    blend,
    token_colour,
)
from townlet_env.render.pen import Pen, Sprites, put
from townlet_env.render.scene import ResidentSight
from townlet_env.sim.ids import NEED_COUNT, NONE

CENTRE = (0.5, 0.4)  # of a token in its cell
RADIUS = 0.27
_STEPS = 60  # of a progress ring
_BARS_TOP = 0.76
_BARS_WIDTH = 0.72


def bar_box(cell: Box, need: int) -> Box:
    """Return where the full bar of a need is, in the cell of a resident."""
    thick = max(2, round(cell.h * 0.055))
    gap = round(cell.h * 0.02)  # none in small cells: colours tell the bars apart
    width = round(cell.w * _BARS_WIDTH)
    top = min(round(cell.h * _BARS_TOP), cell.h - NEED_COUNT * (thick + gap))
    x = cell.x + (cell.w - width) // 2
    return Box(x, cell.y + top + need * (thick + gap), width, thick)


def need_colour(k: int, need: float) -> Colour:
    """Return the colour of a bar: of its need, or of danger when the need is low."""
    return DANGER if need < LOW else NEEDS[k]


class Tokens:
    """Draws residents on the map."""

    def __init__(self, side: int, letters: Letters, sprites: Sprites) -> None:
        """Prepare for tokens of so many pixels."""
        self._side = side
        self._letters = letters
        self._sprites = sprites

    def draw(self, surface: pygame.Surface, box: Box, resident: ResidentSight, label: str) -> None:
        """Draw a resident into a cell."""
        colour = token_colour(resident.slot)
        put(surface, self._token(colour), box.x, box.y)
        if resident.busy_object != NONE:
            put(surface, self._ring(resident.progress), box.x, box.y)
        middle = (box.x + box.w * CENTRE[0], box.y + box.h * (CENTRE[1] + 0.015))
        height = self._side * (0.3, 0.3, 0.24, 0.18)[min(len(label), 3)]
        self._letters.put(surface, label, middle, height, WHITE, "center")
        if resident.place != NONE:
            self._place(surface, box, resident.place)
        self._needs(surface, box, resident)

    def _token(self, colour: Colour) -> pygame.Surface:
        def draw(pen: Pen) -> None:
            x, y = CENTRE
            pen.oval((x - 0.28, y + 0.14, 0.56, 0.2), (30, 26, 20, 60))
            pen.disc(CENTRE, RADIUS + 0.045, WHITE)
            pen.disc(CENTRE, RADIUS, blend(colour, INK, 0.22))
            pen.disc((x, y - 0.015), RADIUS - 0.02, colour)

        return self._sprites.get(("token", colour), self._side, draw)

    def _ring(self, progress: float) -> pygame.Surface:
        """Return how far an affordance has come; a full dark ring if it is open ended."""
        step = _STEPS if progress < 0.0 else round(progress * _STEPS)

        def draw(pen: Pen) -> None:
            pen.ring(CENTRE, RADIUS + 0.1, 0.075, 1.0, WHITE)
            pen.ring(CENTRE, RADIUS + 0.09, 0.055, 1.0, blend(TRACK, INK, 0.1))
            if step:
                pen.ring(CENTRE, RADIUS + 0.09, 0.055, step / _STEPS, INK)

        return self._sprites.get(("ring", step), self._side, draw)

    def _place(self, surface: pygame.Surface, box: Box, place: int) -> None:
        def draw(pen: Pen) -> None:
            pen.disc((0.8, 0.2), 0.17, WHITE)
            pen.disc((0.8, 0.2), 0.14, INK)

        put(surface, self._sprites.get(("place",), self._side, draw), box.x, box.y)
        at = (box.x + box.w * 0.8, box.y + box.h * 0.21)
        self._letters.put(surface, str(place + 1), at, self._side * 0.19, WHITE, "center")

    def _needs(self, surface: pygame.Surface, box: Box, resident: ResidentSight) -> None:
        first, last = bar_box(box, 0), bar_box(box, NEED_COUNT - 1)
        plate = (first.x - 1, first.y - 1, first.w + 2, last.bottom - first.y + 2)
        surface.fill(WHITE, plate)
        for k, need in enumerate(resident.needs):
            bar = bar_box(box, k)
            surface.fill(TRACK, bar)
            surface.fill(need_colour(k, need), (bar.x, bar.y, round(bar.w * need), bar.h))
