"""What surrounds the map: the header with clock and prices, and the latest news."""

from __future__ import annotations

import pygame

from townlet_env.render.daylight import orbit, sky_at
from townlet_env.render.geometry import Geometry
from townlet_env.render.letters import Letters
from townlet_env.render.palette import (
    CARD,
    COIN,
    DANGER,
    GOOD,
    INK,
    LINE,
    MUTED,
    PAPER,
    WHITE,
    Colour,
    blend,
)
from townlet_env.render.scene import Scene, plain
from townlet_env.sim.ids import Perturbation

_NIGHT_TEXT = 110  # brightness of the sky below which the clock is white
_CHANGED = 1e-6  # meals


def draw_card(surface: pygame.Surface, box: tuple[int, int, int, int], em: int) -> None:
    """Draw the sheet that text is written on."""
    radius = em // 2
    pygame.draw.rect(surface, CARD, box, border_radius=radius)
    pygame.draw.rect(surface, LINE, box, 1, border_radius=radius)


class Header:
    """Draws title, prices, utilities and the sky with the clock."""

    def __init__(self, geometry: Geometry, letters: Letters) -> None:
        """Prepare."""
        self._geometry = geometry
        self._letters = letters

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Draw the header of a scene."""
        box, em, panel = self._geometry.header, self._geometry.em, self._geometry.panel
        self._sky(surface, scene, pygame.Rect(panel.x, box.y, panel.w, box.h))
        right = panel.x - em
        for text, colour in reversed(_chips(scene)):
            if right - self._chip_width(text) < box.x:
                break  # a small picture: utilities stay longest, as they change more than prices
            right = self._chip(surface, text, colour, right)
        middle = box.y + box.h / 2
        room = right - box.x - em // 2
        height = em * 1.5
        while height > em and self._letters.width(plain(scene.title), height) > room:
            height -= 0.1 * em
        title = "" if room < 4 * em else self._letters.fit(plain(scene.title), height, room)
        self._letters.put(surface, title, (box.x, middle), height, INK)

    def _chip(self, surface: pygame.Surface, text: str, colour: Colour, right: int) -> int:
        """Draw a pill with a dot that ends at column ``right``; return where the next may end."""
        box, em = self._geometry.header, self._geometry.em
        width = self._chip_width(text)
        pill = pygame.Rect(right - width, 0, width, round(1.9 * em))
        pill.centery = box.y + box.h // 2
        pygame.draw.rect(surface, CARD, pill, border_radius=pill.h // 2)
        pygame.draw.rect(surface, LINE, pill, 1, border_radius=pill.h // 2)
        pygame.draw.aacircle(surface, colour, (pill.x + 0.95 * em, pill.centery), 0.36 * em)
        self._letters.put(surface, text, (pill.x + 1.6 * em, pill.centery + 0.08 * em), em, INK)
        return pill.x - round(0.4 * em)

    def _chip_width(self, text: str) -> int:
        em = self._geometry.em
        return self._letters.width(text, em) + round(2.4 * em)

    def _sky(self, surface: pygame.Surface, scene: Scene, box: pygame.Rect) -> None:
        em, sky = self._geometry.em, sky_at(scene.minute)
        pygame.draw.rect(surface, sky, box, border_radius=em // 2)
        is_day, way = orbit(scene.minute)
        height = 0.38 - 0.14 * (1.0 - (2.0 * way - 1.0) ** 2)
        at = (box.x + (0.06 + 0.88 * way) * box.w, box.y + height * box.h)
        light = (255, 226, 130) if is_day else (232, 236, 246)
        pygame.draw.aacircle(surface, blend(sky, light, 0.35), at, 0.75 * em)
        pygame.draw.aacircle(surface, light, at, 0.52 * em)
        if not is_day:
            pygame.draw.aacircle(surface, sky, (at[0] + 0.28 * em, at[1] - 0.15 * em), 0.44 * em)
        ink = WHITE if sum(sky) / 3 < _NIGHT_TEXT else INK
        low = box.bottom - 0.85 * em
        self._letters.put(surface, f"day {scene.day}", (box.x + 0.8 * em, low), em, ink)
        self._letters.put(surface, scene.clock, (box.centerx, low), 1.3 * em, ink, "center")
        tick = f"{scene.tick}/{scene.last_tick}"
        self._letters.put(surface, tick, (box.right - 0.8 * em, low), em, ink, "midright")


def _chips(scene: Scene) -> list[tuple[str, Colour]]:
    def price(now: float, usual: float) -> Colour:
        if now > usual + _CHANGED:
            return DANGER
        return GOOD if now < usual - _CHANGED else COIN

    def utility(which: Perturbation, name: str, *, there: bool) -> tuple[str, Colour]:
        left = scene.minutes_left[which]
        if there:
            return name, GOOD
        return f"no {name}{f', {left} min' if left else ''}", DANGER

    return [
        (f"meal {scene.price_meal:.2f}", price(scene.price_meal, scene.usual_meal)),
        (
            f"groceries {scene.price_groceries:.2f}",
            price(scene.price_groceries, scene.usual_groceries),
        ),
        utility(Perturbation.BLACKOUT, "power", there=scene.power),
        utility(Perturbation.OUTAGE, "water", there=scene.water),
    ]


def draw_news(
    surface: pygame.Surface, geometry: Geometry, letters: Letters, news: tuple[str, ...]
) -> None:
    """Write the latest events, newest first, older ones paler."""
    box, em = geometry.news, geometry.em
    draw_card(surface, box, em)
    line = 1.5 * em
    room = int((box.h - em) // line)
    for row, text in enumerate(reversed(news[-room:])):
        clock, _, words = text.partition("  ")
        y = box.y + 0.6 * em + line * (row + 0.5)
        age = row / room
        left = letters.put(surface, clock, (box.x + em, y), em, blend(MUTED, PAPER, age * 0.5))
        words = letters.fit(words, em, box.right - em - left.right - em)
        colour = blend(INK, MUTED, min(1.0, age * 1.3))
        letters.put(surface, words, (left.right + 0.8 * em, y), em, colour)
    if not news:
        letters.put(surface, "no news yet", (box.x + em, box.y + 1.35 * em), em, MUTED)
