"""Gymnasium spaces of residents, built from the columns and names of the simulation."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from townlet_env.sim.features import FULL_MAP_CHANNELS, MAP_CHANNELS, WINDOW
from townlet_env.sim.plan import Plan

ObservationVariant = Literal["hybrid", "full", "compact"]
OBSERVATION_VARIANTS: tuple[ObservationVariant, ...] = ("hybrid", "full", "compact")
MaskMode = Literal["obs", "info", "none"]
MASK_MODES: tuple[MaskMode, ...] = ("obs", "info", "none")

_CHANNELS: dict[ObservationVariant, tuple[str, ...]] = {
    "hybrid": MAP_CHANNELS,
    "full": FULL_MAP_CHANNELS,
    "compact": (),
}


def map_channels(variant: ObservationVariant) -> tuple[str, ...]:
    """Return the names of the channels of ``map``; a variant without any has no map."""
    return _CHANNELS[variant]


def observation_space(plan: Plan, variant: ObservationVariant, *, with_mask: bool) -> spaces.Dict:
    """Return the space of one resident.

    ``map`` uint8 (C, 11, 11) of 0/1 (not in ``compact``), ``features`` float32 (F,) in [-1, 1],
    and, on request, ``action_mask`` int8 (A,) of 0/1. The map ends at 1, so that no library takes
    it for a picture.
    """
    parts: dict[str, spaces.Space[Any]] = {}
    channels = map_channels(variant)
    if channels:
        parts["map"] = spaces.Box(0, 1, (len(channels), WINDOW, WINDOW), np.uint8)
    parts["features"] = spaces.Box(-1.0, 1.0, (len(plan.names.features),), np.float32)
    if with_mask:
        parts["action_mask"] = spaces.Box(0, 1, (len(plan.names.actions),), np.int8)
    return spaces.Dict(parts)


def action_space(plan: Plan) -> spaces.Discrete:
    """Return the fixed vocabulary as a space; 0 is ``wait``."""
    return spaces.Discrete(len(plan.names.actions))


def state_space(plan: Plan) -> spaces.Box:
    """Return the space of ``state()``: every resident's features and cell, in slot order."""
    width = len(plan.names.residents) * (len(plan.names.features) + 2)
    return spaces.Box(-1.0, 1.0, (width,), np.float32)
