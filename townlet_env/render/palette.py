"""Colours of the picture: calm ground, clear figures."""

from __future__ import annotations

import colorsys

from townlet_env.render.ground import Ground

Colour = tuple[int, int, int]

PAPER: Colour = (238, 234, 226)
CARD: Colour = (251, 249, 245)
LINE: Colour = (219, 213, 202)
INK: Colour = (46, 50, 60)
MUTED: Colour = (126, 127, 134)
WHITE: Colour = (255, 255, 255)

# Of every first and every second tile.
FLOORS: dict[int, tuple[Colour, Colour]] = {
    Ground.ROOM: ((236, 227, 211), (231, 221, 203)),
    Ground.GRASS: ((190, 207, 158), (185, 203, 152)),
    Ground.STREET: ((214, 208, 198), (210, 204, 194)),
}
TREES: tuple[Colour, ...] = ((118, 160, 92), (104, 150, 96), (134, 166, 84))
LEAVES: Colour = (186, 206, 130)
WATER: Colour = (130, 186, 212)
WALL_TOP: Colour = (112, 118, 133)
WALL_FACE: Colour = (83, 88, 102)
WALL_EDGE: Colour = (137, 143, 157)
SHADE: Colour = (60, 54, 44)

TRACK: Colour = (221, 216, 207)  # of an empty bar
NEEDS: tuple[Colour, Colour, Colour] = ((226, 137, 54), (44, 160, 176), (129, 101, 190))
LOW = 0.2  # a need below it is drawn in the colour of danger
DANGER: Colour = (208, 52, 56)
GOOD: Colour = (66, 145, 100)
WARNING: Colour = (214, 140, 30)
OUT_OF_ORDER: Colour = (110, 112, 128)
RIVALRY: Colour = (196, 48, 60)
TRUST: Colour = (52, 146, 96)
COIN: Colour = (222, 172, 54)
LEAF: Colour = (112, 158, 78)

_TOKENS: tuple[Colour, ...] = (
    (62, 108, 176),
    (214, 98, 60),
    (72, 150, 92),
    (150, 92, 168),
    (208, 162, 44),
    (44, 152, 160),
    (192, 72, 118),
    (128, 100, 76),
    (94, 96, 178),
    (140, 164, 60),
)
_GOLDEN = 0.381966  # of the colour circle: hues that follow each other lie far apart


def token_colour(slot: int) -> Colour:
    """Return the colour of a resident's slot."""
    if slot < len(_TOKENS):
        return _TOKENS[slot]
    return _hue(slot * _GOLDEN, 0.5, 0.7)


def kind_colour(index: int) -> Colour:
    """Return the colour of an object kind that has no picture of its own."""
    return _hue(0.08 + index * _GOLDEN, 0.35, 0.8)


def blend(a: Colour, b: Colour, share: float) -> Colour:
    """Return the colour on the way from ``a`` (share 0) to ``b`` (share 1)."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _hue(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (
        round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    )
    return red, green, blue
