"""Text in the font that comes with pygame."""

from __future__ import annotations

import pygame

from townlet_env.render.palette import Colour

_SCALE = 1.5  # pygame's sizes of this font are larger than its letters
_SHARP = 4  # words are set large and scaled down, which spaces small letters evenly
_KEPT = 4000  # finished words


class Letters:
    """Fonts and finished words, kept."""

    def __init__(self) -> None:
        """Start pygame's font module; nothing else of pygame is needed to draw."""
        pygame.font.init()
        self._fonts: dict[int, pygame.font.Font] = {}
        self._words: dict[tuple[str, int, Colour], pygame.Surface] = {}

    def width(self, text: str, height: float) -> int:
        """Return how wide a text is, in pixels."""
        return -(-self._font(_size(height)).size(text)[0] // _SHARP)

    def fit(self, text: str, height: float, room: int) -> str:
        """Return the text, shortened until it fits into ``room`` pixels."""
        if self.width(text, height) <= room:
            return text
        while text and self.width(f"{text}...", height) > room:
            text = text[:-1]
        return f"{text.rstrip()}..." if text else ""

    def put(
        self,
        surface: pygame.Surface,
        text: str,
        at: tuple[float, float],
        height: float,
        colour: Colour,
        anchor: str = "midleft",
    ) -> pygame.Rect:
        """Write a text, with its ``anchor`` (a point of ``pygame.Rect``) at a place."""
        words = self._set(text, _size(height), colour)
        box = words.get_rect(**{anchor: (round(at[0]), round(at[1]))})
        surface.blit(words, box, special_flags=pygame.BLEND_PREMULTIPLIED)
        return box

    def _set(self, text: str, size: int, colour: Colour) -> pygame.Surface:
        key = (text, size, colour)
        if key not in self._words:
            if len(self._words) >= _KEPT:
                self._words.clear()
            large = self._font(size).render(text, True, colour)
            small = (-(-large.get_width() // _SHARP), -(-large.get_height() // _SHARP))
            self._words[key] = pygame.transform.smoothscale(large.premul_alpha(), small)
        return self._words[key]

    def _font(self, size: int) -> pygame.font.Font:
        if size not in self._fonts:
            self._fonts[size] = pygame.font.Font(None, size * _SHARP)
        return self._fonts[size]


def _size(height: float) -> int:
    return max(8, round(height * _SCALE))
