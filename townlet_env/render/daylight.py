"""The light of day: what the ground is tinted with, and the sky above the clock."""

from __future__ import annotations

from townlet_env.render.palette import Colour, blend
from townlet_env.sim.ids import MINUTES_PER_DAY

# Minute of the day, light on the ground, colour of the sky.
_HOURS: tuple[tuple[int, Colour, Colour], ...] = (
    (0, (148, 156, 196), (34, 42, 78)),
    (300, (148, 156, 196), (40, 50, 92)),
    (390, (250, 222, 206), (243, 186, 158)),
    (440, (253, 240, 230), (214, 200, 216)),
    (500, (255, 252, 246), (150, 200, 230)),
    (720, (255, 255, 255), (118, 186, 232)),
    (1020, (255, 250, 238), (140, 192, 226)),
    (1090, (254, 236, 216), (206, 190, 206)),
    (1150, (252, 216, 190), (238, 160, 124)),
    (1230, (176, 176, 208), (70, 72, 122)),
    (MINUTES_PER_DAY, (148, 156, 196), (34, 42, 78)),
)
SUNRISE, SUNSET = 360, 1200  # minutes of the day
BLACKOUT: Colour = (150, 153, 184)  # rooms without lamps, on top of the light of day
STREETS_OUT: Colour = (206, 208, 226)  # streets without lamps
LIGHT_STEP = 5  # of 255
LAMPS: Colour = (255, 240, 212)


def light_outside(minute: int, *, power: bool) -> Colour:
    """Return what the ground under the sky is multiplied with; 255 leaves it as it is."""
    light = _in_steps(_at(minute)[0])
    return light if power else _times(light, STREETS_OUT)


def light_in_rooms(minute: int, *, power: bool) -> Colour:
    """Return what the floor of rooms is multiplied with: lamps make up for the night."""
    light = _in_steps(_at(minute)[0])
    if not power:
        return _times(light, BLACKOUT)
    red, green, blue = map(max, light, blend(light, LAMPS, 0.7))
    return red, green, blue


def _in_steps(light: Colour) -> Colour:
    """Round, so that the ground of a film stands still for some ticks, which keeps it small."""
    red, green, blue = (part // LIGHT_STEP * LIGHT_STEP for part in light)
    return red, green, blue


def _times(light: Colour, shade: Colour) -> Colour:
    red, green, blue = (a * b // 255 for a, b in zip(light, shade, strict=True))
    return red, green, blue


def sky_at(minute: int) -> Colour:
    """Return the colour of the sky."""
    return _at(minute)[1]


def orbit(minute: int) -> tuple[bool, float]:
    """Return whether the sun is up, and how far sun or moon have come, from 0 (east) to 1."""
    if SUNRISE <= minute < SUNSET:
        return True, (minute - SUNRISE) / (SUNSET - SUNRISE)
    night = MINUTES_PER_DAY - (SUNSET - SUNRISE)
    return False, ((minute - SUNSET) % MINUTES_PER_DAY) / night


def _at(minute: int) -> tuple[Colour, Colour]:
    after = next(k for k, (hour, _, _) in enumerate(_HOURS) if hour > minute)
    (begin, light, sky), (end, next_light, next_sky) = _HOURS[after - 1], _HOURS[after]
    share = (minute - begin) / (end - begin)
    return blend(light, next_light, share), blend(sky, next_sky, share)
