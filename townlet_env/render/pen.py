"""Smooth shapes: drawn large, scaled down once, kept."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

import pygame

from townlet_env.render.palette import Colour

SHARP = 6  # how much larger a sprite is drawn

Point = tuple[float, float]
Area = tuple[float, float, float, float]  # x, y, width, height; of a line: both its ends
Paint = Colour | tuple[int, int, int, int]


class Pen:
    """Draws on a square whose sides are 1 long; (0, 0) is the top left corner."""

    def __init__(self, pixels: int) -> None:
        """Begin with an empty square of ``pixels`` on the finished picture."""
        self._side = pixels * SHARP
        self._pixels = pixels
        self._surface = pygame.Surface((self._side, self._side), pygame.SRCALPHA)

    def rect(self, box: Area, paint: Paint, r: float = 0.0) -> None:
        """Fill a rectangle with corners of radius ``r``."""
        x, y, w, h = box
        left, top = self._at(x, y)
        right, bottom = self._at(x + w, y + h)
        area = pygame.Rect(left, top, max(1, right - left), max(1, bottom - top))
        pygame.draw.rect(self._surface, paint, area, border_radius=self._length(r))

    def frame(self, inset: float, paint: Paint, width: float, r: float) -> None:
        """Draw the outline of a rounded square."""
        left, right = self._length(inset), self._side - self._length(inset)
        box = pygame.Rect(left, left, right - left, right - left)
        thick = max(1, self._length(width))
        pygame.draw.rect(self._surface, paint, box, thick, border_radius=self._length(r))

    def pool(self, paint: Paint, corners: tuple[bool, bool, bool, bool]) -> None:
        """Fill the square; corners (top left and right, bottom left and right) may be round."""
        r = self._length(0.45)
        top_left, top_right, bottom_left, bottom_right = (r if round_ else 0 for round_ in corners)
        pygame.draw.rect(
            self._surface,
            paint,
            self._surface.get_rect(),
            border_top_left_radius=top_left,
            border_top_right_radius=top_right,
            border_bottom_left_radius=bottom_left,
            border_bottom_right_radius=bottom_right,
        )

    def disc(self, centre: Point, r: float, paint: Paint) -> None:
        """Fill a circle."""
        pygame.draw.circle(self._surface, paint, self._at(*centre), self._length(r))

    def oval(self, box: Area, paint: Paint) -> None:
        """Fill an ellipse."""
        x, y, w, h = box
        area = pygame.Rect(self._at(x, y), (self._length(w), self._length(h)))
        pygame.draw.ellipse(self._surface, paint, area)

    def line(self, ends: Area, paint: Paint, width: float) -> None:
        """Draw a straight line with round ends from (x0, y0) to (x1, y1)."""
        x0, y0, x1, y1 = ends
        a, b, thick = self._at(x0, y0), self._at(x1, y1), max(1, self._length(width))
        across = pygame.Vector2(b[1] - a[1], a[0] - b[0])
        if across.length() > 0.0:
            side = across.normalize() * (thick / 2)
            corners = [a + side, b + side, b - side, a - side]
            pygame.draw.polygon(self._surface, paint, corners)
        for end in (a, b):
            pygame.draw.circle(self._surface, paint, end, thick // 2)

    def shape(self, points: tuple[Point, ...], paint: Paint) -> None:
        """Fill a polygon."""
        pygame.draw.polygon(self._surface, paint, [self._at(x, y) for x, y in points])

    def ring(self, centre: Point, r: float, width: float, share: float, paint: Paint) -> None:
        """Draw the first ``share`` of a ring, clockwise from the top."""
        x, y = centre
        steps = max(2, round(96 * share))
        angles = [2 * pi * share * k / steps - pi / 2 for k in range(steps + 1)]
        outer = [(x + r * cos(a), y + r * sin(a)) for a in angles]
        inner = [(x + (r - width) * cos(a), y + (r - width) * sin(a)) for a in reversed(angles)]
        self.shape((*outer, *inner), paint)

    def finish(self) -> pygame.Surface:
        """Return what was drawn, smoothed; to be put down with ``put``."""
        small = (self._pixels, self._pixels)
        return pygame.transform.smoothscale(self._surface.premul_alpha(), small)

    def _at(self, x: float, y: float) -> tuple[int, int]:
        return round(x * self._side), round(y * self._side)

    def _length(self, length: float) -> int:
        return round(length * self._side)


class Sprites:
    """Finished sprites by what they show, each drawn once."""

    def __init__(self) -> None:
        """Begin without any."""
        self._known: dict[tuple[object, ...], pygame.Surface] = {}

    def get(
        self, key: tuple[object, ...], pixels: int, draw: Callable[[Pen], None]
    ) -> pygame.Surface:
        """Return the sprite of a key and a size; ``draw`` draws it the first time."""
        full = (*key, pixels)
        if full not in self._known:
            pen = Pen(pixels)
            draw(pen)
            self._known[full] = pen.finish()
        return self._known[full]


def put(surface: pygame.Surface, sprite: pygame.Surface, x: int, y: int) -> None:
    """Put a finished sprite down with its top left corner at (x, y)."""
    surface.blit(sprite, (x, y), special_flags=pygame.BLEND_PREMULTIPLIED)
