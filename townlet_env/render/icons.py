"""What the kinds of objects look like; every drawing fits the unit square of a ``Pen``."""

from __future__ import annotations

from collections.abc import Callable

from townlet_env.render.palette import DANGER, INK, WHITE, Colour, blend
from townlet_env.render.pen import Paint, Pen

Icon = Callable[[Pen, bool], None]  # draws an object; True while it is in use

_WOOD: Colour = (188, 142, 96)
_DARK_WOOD: Colour = (146, 104, 66)
_STEEL: Colour = (176, 186, 196)
_IRON: Colour = (84, 90, 100)
_EMBER: Colour = (240, 120, 48)
_WATER: Colour = (88, 172, 214)
_LINEN: Colour = (244, 240, 232)
_SHADE: Paint = (40, 34, 24, 46)


def draw_icon(pen: Pen, kind: str, colour: Colour, *, in_use: bool) -> None:
    """Draw an object of a kind; kinds without a picture are a box of ``colour``."""
    pen.oval((0.1, 0.74, 0.8, 0.2), _SHADE)
    if kind in _ICONS:
        _ICONS[kind](pen, in_use)
    else:
        _box(pen, colour)


def has_icon(kind: str) -> bool:
    """Tell whether a kind has a picture of its own."""
    return kind in _ICONS


def draw_out_of_order(pen: Pen) -> None:
    """Draw the mark of an object whose power or water is off."""
    pen.disc((0.8, 0.2), 0.17, WHITE)
    pen.disc((0.8, 0.2), 0.14, DANGER)
    pen.line((0.74, 0.14, 0.86, 0.26), WHITE, 0.045)
    pen.line((0.86, 0.14, 0.74, 0.26), WHITE, 0.045)


def draw_meeting(pen: Pen) -> None:
    """Draw the flag of an object where two residents are to meet."""
    pen.line((0.1, 0.06, 0.1, 0.5), INK, 0.05)
    pen.shape(((0.12, 0.04), (0.48, 0.15), (0.12, 0.28)), (212, 84, 140))


def _fridge(pen: Pen, in_use: bool) -> None:
    pen.rect((0.24, 0.08, 0.52, 0.8), (150, 172, 190), 0.07)
    pen.rect((0.27, 0.11, 0.46, 0.74), (222, 234, 241), 0.05)
    if in_use:  # the door stands open
        pen.rect((0.3, 0.38, 0.4, 0.44), (255, 244, 200), 0.03)
        pen.rect((0.34, 0.56, 0.32, 0.03), _STEEL)
        pen.disc((0.42, 0.51), 0.05, (196, 84, 70))
        pen.disc((0.56, 0.72), 0.06, (112, 158, 78))
    pen.rect((0.27, 0.35, 0.46, 0.03), (150, 172, 190))
    pen.rect((0.64, 0.18, 0.04, 0.12), _IRON, 0.02)
    pen.rect((0.64, 0.44, 0.04, 0.18), _IRON, 0.02)


def _stove(pen: Pen, in_use: bool) -> None:
    pen.rect((0.14, 0.12, 0.72, 0.76), _IRON, 0.06)
    pen.rect((0.18, 0.16, 0.64, 0.4), (58, 62, 70), 0.04)
    for x, y in ((0.34, 0.27), (0.66, 0.27), (0.34, 0.45), (0.66, 0.45)):
        pen.disc((x, y), 0.085, _EMBER if in_use else (112, 118, 128))
        pen.disc((x, y), 0.05, (255, 196, 92) if in_use else (72, 78, 88))
    pen.rect((0.24, 0.68, 0.52, 0.14), (255, 170, 84) if in_use else (48, 52, 60), 0.03)
    for x in (0.3, 0.43, 0.57, 0.7):
        pen.disc((x, 0.62), 0.024, _STEEL)


def _shower(pen: Pen, in_use: bool) -> None:
    pen.rect((0.14, 0.1, 0.72, 0.78), (150, 194, 214), 0.07)
    pen.rect((0.18, 0.14, 0.64, 0.7), (214, 236, 244), 0.05)
    pen.rect((0.28, 0.18, 0.05, 0.5), _STEEL, 0.02)
    pen.rect((0.28, 0.18, 0.32, 0.05), _STEEL, 0.02)
    pen.shape(((0.5, 0.23), (0.7, 0.23), (0.76, 0.34), (0.44, 0.34)), (122, 132, 144))
    pen.oval((0.3, 0.7, 0.46, 0.1), (150, 194, 214))
    drops = ((0.5, 0.42), (0.6, 0.48), (0.7, 0.42), (0.52, 0.57), (0.64, 0.63), (0.74, 0.56))
    for x, y in drops if in_use else drops[1:2]:
        pen.oval((x - 0.02, y - 0.035, 0.04, 0.08), _WATER)


def _bed(pen: Pen, in_use: bool) -> None:
    pen.rect((0.16, 0.06, 0.68, 0.84), _DARK_WOOD, 0.06)
    pen.rect((0.2, 0.14, 0.6, 0.72), _LINEN, 0.04)
    pen.rect((0.26, 0.17, 0.48, 0.17), WHITE, 0.06)
    top = 0.32 if in_use else 0.46
    pen.rect((0.2, top, 0.6, 0.86 - top), (108, 126, 184), 0.04)
    pen.rect((0.2, top, 0.6, 0.08), (146, 162, 210), 0.03)


def _till(pen: Pen, in_use: bool) -> None:
    pen.rect((0.14, 0.56, 0.72, 0.3), (92, 124, 108), 0.05)
    pen.shape(((0.22, 0.56), (0.78, 0.56), (0.7, 0.3), (0.3, 0.3)), (126, 160, 140))
    pen.rect((0.36, 0.12, 0.4, 0.18), (58, 66, 72), 0.03)
    pen.rect((0.39, 0.15, 0.34, 0.12), (190, 240, 170) if in_use else (128, 168, 140), 0.02)
    for row in range(2):
        for column in range(4):
            pen.rect((0.34 + 0.09 * column, 0.36 + 0.09 * row, 0.06, 0.05), _LINEN, 0.01)
    pen.rect((0.2, 0.64, 0.6, 0.14), (70, 98, 84), 0.02)
    if in_use:
        pen.disc((0.5, 0.71), 0.055, (236, 196, 88))
    else:
        pen.rect((0.44, 0.69, 0.12, 0.03), _LINEN, 0.01)


def _counter(pen: Pen, in_use: bool) -> None:
    pen.rect((0.06, 0.36, 0.88, 0.52), _DARK_WOOD, 0.04)
    pen.rect((0.04, 0.3, 0.92, 0.16), (222, 186, 140), 0.05)
    for x in (0.24, 0.5, 0.76):
        pen.rect((x - 0.09, 0.54, 0.18, 0.26), _WOOD, 0.03)
    pen.rect((0.6, 0.14, 0.18, 0.18), WHITE, 0.04)
    pen.ring((0.79, 0.22), 0.07, 0.03, 1.0, WHITE)
    pen.rect((0.62, 0.16, 0.14, 0.04), (120, 78, 50), 0.01)
    pen.disc((0.3, 0.28), 0.1, (226, 178, 60) if in_use else _STEEL)
    pen.rect((0.18, 0.28, 0.24, 0.04), _IRON, 0.01)


def _desk(pen: Pen, in_use: bool) -> None:
    pen.rect((0.12, 0.52, 0.08, 0.38), _DARK_WOOD, 0.02)
    pen.rect((0.8, 0.52, 0.08, 0.38), _DARK_WOOD, 0.02)
    pen.rect((0.56, 0.52, 0.26, 0.28), _WOOD, 0.02)
    pen.rect((0.06, 0.46, 0.88, 0.13), (208, 166, 118), 0.04)
    pen.rect((0.26, 0.1, 0.44, 0.31), (62, 68, 80), 0.04)
    pen.rect((0.29, 0.13, 0.38, 0.25), (140, 206, 240) if in_use else (96, 112, 132), 0.02)
    pen.rect((0.45, 0.4, 0.06, 0.07), (62, 68, 80))
    if in_use:
        for row, length in enumerate((0.26, 0.18, 0.22)):
            pen.rect((0.32, 0.17 + 0.06 * row, length, 0.025), WHITE, 0.01)
    pen.rect((0.74, 0.38, 0.12, 0.09), WHITE, 0.01)


def _bench(pen: Pen, in_use: bool) -> None:
    shade = blend(_WOOD, WHITE, 0.15 if in_use else 0.0)
    for x in (0.2, 0.74):
        pen.rect((x, 0.28, 0.06, 0.56), _IRON, 0.02)
    for y in (0.26, 0.38):
        pen.rect((0.08, y, 0.84, 0.09), shade, 0.03)
    for y in (0.56, 0.66):
        pen.rect((0.05, y, 0.9, 0.08), _WOOD, 0.03)
        pen.rect((0.05, y + 0.055, 0.9, 0.025), _DARK_WOOD, 0.01)


def _box(pen: Pen, colour: Colour) -> None:
    pen.rect((0.13, 0.14, 0.74, 0.74), blend(colour, INK, 0.35), 0.1)
    pen.rect((0.13, 0.14, 0.74, 0.66), colour, 0.1)
    pen.rect((0.19, 0.2, 0.62, 0.08), blend(colour, WHITE, 0.35), 0.04)


_ICONS: dict[str, Icon] = {
    "fridge": _fridge,
    "stove": _stove,
    "shower": _shower,
    "bed": _bed,
    "till": _till,
    "counter": _counter,
    "desk": _desk,
    "bench": _bench,
}
