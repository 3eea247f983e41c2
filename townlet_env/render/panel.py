"""The residents beside the map: names, needs, purses, and what each is doing."""

from __future__ import annotations

import pygame

from townlet_env.render.geometry import Box, Geometry
from townlet_env.render.letters import Letters
from townlet_env.render.margins import draw_card
from townlet_env.render.palette import (
    COIN,
    DANGER,
    GOOD,
    INK,
    LEAF,
    LINE,
    MUTED,
    NEEDS,
    RIVALRY,
    TRACK,
    TRUST,
    WARNING,
    WHITE,
    Colour,
    token_colour,
)
from townlet_env.render.scene import ResidentSight, Scene
from townlet_env.render.tokens import need_colour
from townlet_env.sim.ids import NEED_NAMES

# Height of a resident in em: with a line for each need, with purse and progress, in two lines,
# in one.
ROOMY, FULL, SHORT, TINY = 6.9, 4.7, 2.9, 1.5
_LEGEND = 3.4
_SHIFTS: dict[str, tuple[str, Colour]] = {
    "pre": ("shift soon", MUTED),
    "on_time": ("on time", GOOD),
    "late": ("late", WARNING),
    "absent": ("absent", DANGER),
    "done": ("shift done", MUTED),
}


def rows_that_fit(count: int, height: float) -> tuple[float, int]:
    """Return the height of a row, and how many of ``count`` residents fit; both in em."""
    for row in (ROOMY, FULL, SHORT, TINY):
        if count * row <= height:
            return row, count
    return TINY, max(0, int((height - TINY) // TINY))  # the last line says how many are left out


class Panel:
    """Draws the list of residents."""

    def __init__(self, geometry: Geometry, letters: Letters) -> None:
        """Prepare."""
        self._box = geometry.panel
        self._em = geometry.em
        self._letters = letters

    def draw(self, surface: pygame.Surface, scene: Scene, labels: dict[int, str]) -> None:
        """Draw the residents of a scene."""
        em, box = self._em, self._box
        draw_card(surface, box, em)
        room = box.h / em - _LEGEND - 0.9
        row, shown = rows_that_fit(len(scene.residents), room)
        draw = {ROOMY: self._roomy, FULL: self._full, SHORT: self._short, TINY: self._tiny}[row]
        top = box.y + round(0.6 * em)
        for resident in scene.residents[:shown]:
            draw(surface, top, resident, labels[resident.slot])
            top += round(row * em)
        left_out = len(scene.residents) - shown
        if left_out:
            text = f"and {left_out} more"
            self._letters.put(surface, text, (box.x + em, top + 0.6 * em), em, MUTED)
        self._legend(surface)

    def _roomy(self, surface: pygame.Surface, top: int, who: ResidentSight, label: str) -> None:
        self._words(surface, top, who, label)
        em, left, right = self._em, self._box.x + self._em, self._box.right - self._em
        begin = round(left + 5.4 * em)
        for k, need in enumerate(who.needs):
            line = top + (3.65 + 1.1 * k) * em
            self._letters.put(surface, NEED_NAMES[k], (left, line), 0.85 * em, MUTED)
            bar = pygame.Rect(begin, round(line - 0.26 * em), right - begin, round(0.5 * em))
            surface.fill(TRACK, bar)
            surface.fill(need_colour(k, need), (bar.x, bar.y, round(bar.w * need), bar.h))
        self._rule(surface, top + round(6.6 * em))

    def _full(self, surface: pygame.Surface, top: int, who: ResidentSight, label: str) -> None:
        self._words(surface, top, who, label)
        em, left, right = self._em, self._box.x + self._em, self._box.right - self._em
        self._bars(surface, Box(left, top + round(3.35 * em), right - left, round(0.5 * em)), who)
        self._rule(surface, top + round(4.4 * em))

    def _rule(self, surface: pygame.Surface, y: int) -> None:
        left, right = self._box.x + self._em, self._box.right - self._em
        pygame.draw.line(surface, LINE, (left, y), (right, y))

    def _words(self, surface: pygame.Surface, top: int, who: ResidentSight, label: str) -> None:
        """Write name and purse, and below what somebody does and how the shift stands."""
        em, left, right = self._em, self._box.x + self._em, self._box.right - self._em
        line = top + 0.95 * em
        self._dot(surface, (left + 0.85 * em, line), who, label)
        purse = self._purse(surface, right, line, who)
        name = self._letters.fit(who.name, 1.1 * em, purse - round(left + 3 * em))
        self._letters.put(surface, name, (left + 2.1 * em, line), 1.1 * em, INK)
        line = top + 2.35 * em
        end = self._shift(surface, right, line, who)
        self._doing(surface, (left + 2.1 * em, line), who, end - left - 2.6 * em)

    def _short(self, surface: pygame.Surface, top: int, who: ResidentSight, label: str) -> None:
        em, left, right = self._em, self._box.x + self._em, self._box.right - self._em
        line = top + 0.9 * em
        self._dot(surface, (left + 0.75 * em, line), who, label)
        name = self._letters.fit(who.name, em, (right - left) // 2)
        box = self._letters.put(surface, name, (left + 1.9 * em, line), em, INK)
        self._doing(surface, (box.right + 0.6 * em, line), who, right - box.right - 0.6 * em)
        self._bars(surface, Box(left, top + round(1.9 * em), right - left, round(0.4 * em)), who)

    def _tiny(self, surface: pygame.Surface, top: int, who: ResidentSight, label: str) -> None:
        em, left, right = self._em, self._box.x + self._em, self._box.right - self._em
        line = top + 0.7 * em
        self._dot(surface, (left + 0.7 * em, line), who, label)
        name = self._letters.fit(who.name, 0.9 * em, 6 * em)
        self._letters.put(surface, name, (left + 1.8 * em, line), 0.9 * em, INK)
        begin = round(left + 8.2 * em)
        bars = Box(begin, round(line - 0.2 * em), right - begin, round(0.4 * em))
        self._bars(surface, bars, who)

    def _dot(
        self, surface: pygame.Surface, at: tuple[float, float], who: ResidentSight, label: str
    ) -> None:
        em = self._em
        pygame.draw.aacircle(surface, token_colour(who.slot), at, 0.8 * em)
        height = em * (0.85, 0.85, 0.72, 0.55)[min(len(label), 3)]
        self._letters.put(surface, label, (at[0], at[1] + 0.06 * em), height, WHITE, "center")

    def _purse(self, surface: pygame.Surface, right: int, line: float, who: ResidentSight) -> int:
        """Draw ingredients and money, red while rent is owed; return the first column they take."""
        em = self._em
        amounts = [(f"{who.wallet:.2f}", DANGER if who.rent_owed > 0.0 else COIN)]
        if who.ingredients:
            amounts.insert(0, (str(who.ingredients), LEAF))
        for text, colour in reversed(amounts):
            box = self._letters.put(surface, text, (right, line), em, INK, "midright")
            pygame.draw.aacircle(surface, colour, (box.x - 0.65 * em, line), 0.4 * em)
            right = round(box.x - 1.6 * em)
        return right

    def _doing(
        self, surface: pygame.Surface, at: tuple[float, float], who: ResidentSight, room: float
    ) -> None:
        """Write what somebody does, with a bar behind it while an affordance runs."""
        em = self._em
        text = self._letters.fit(who.doing, 0.95 * em, round(room))
        box = self._letters.put(surface, text, at, 0.95 * em, MUTED)
        begin = box.right + 0.5 * em
        width = min(4.0 * em, at[0] + room - begin)
        if who.progress >= 0.0 and width > em:
            bar = pygame.Rect(round(begin), round(at[1] - 0.2 * em), round(width), round(0.35 * em))
            surface.fill(TRACK, bar)
            surface.fill(INK, (bar.x, bar.y, round(bar.w * who.progress), bar.h))

    def _shift(self, surface: pygame.Surface, right: int, line: float, who: ResidentSight) -> float:
        """Write where somebody stands with the shift; return the first column taken."""
        if who.shift not in _SHIFTS:
            return right
        text, colour = _SHIFTS[who.shift]
        em = self._em
        box = self._letters.put(surface, text, (right, line), 0.9 * em, colour, "midright")
        return box.x - 0.5 * em

    def _bars(self, surface: pygame.Surface, area: Box, who: ResidentSight) -> None:
        gap = round(0.5 * self._em)
        width = (area.w - 2 * gap) // 3
        for k, need in enumerate(who.needs):
            x = area.x + k * (width + gap)
            surface.fill(TRACK, (x, area.y, width, area.h))
            surface.fill(need_colour(k, need), (x, area.y, round(width * need), area.h))

    def _legend(self, surface: pygame.Surface) -> None:
        em, box = self._em, self._box
        line = box.bottom - 2.55 * em
        left, width = box.x + em, box.w - 2 * em
        for k, (name, colour) in enumerate(zip(NEED_NAMES, NEEDS, strict=True)):
            x = left + k * width / 3
            pygame.draw.aacircle(surface, colour, (x + 0.4 * em, line), 0.38 * em)
            self._letters.put(surface, name, (x + 1.1 * em, line), 0.9 * em, MUTED)
        line += 1.5 * em
        ties = (("rivalry", RIVALRY), ("trust", TRUST))
        for k, (name, colour) in enumerate(ties):
            x = left + k * width / 3
            surface.fill(colour, (x, line - 0.1 * em, 0.8 * em, 0.24 * em))
            self._letters.put(surface, name, (x + 1.1 * em, line), 0.9 * em, MUTED)
        x = left + 2 * width / 3
        pygame.draw.aacircle(surface, INK, (x + 0.4 * em, line), 0.45 * em)
        self._letters.put(surface, "1", (x + 0.4 * em, line), 0.7 * em, WHITE, "center")
        self._letters.put(surface, "in line", (x + 1.1 * em, line), 0.9 * em, MUTED)
