"""A compiled scenario: everything a batch of worlds is built from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.sim.state import Capacity, Records, Ways, World


class Names(NamedTuple):
    """What the indices mean. Order is part of every file that holds actions or features."""

    residents: tuple[str, ...]  # by slot
    objects: tuple[str, ...]
    kinds: tuple[str, ...]
    affordances: tuple[str, ...]
    actions: tuple[str, ...]  # by action id
    features: tuple[str, ...]  # by column


class Plan(NamedTuple):
    """Rules, first state and layout of one scenario; shared by all worlds, never written."""

    capacity: Capacity
    rules: Records  # (1,) of RULES
    template: Records  # (1,) of world_dtype(capacity): the state at tick 0
    grid: npt.NDArray[np.uint16]  # (H + 10, W + 10) cell words at tick 0
    distance: npt.NDArray[np.uint16]  # (objects, H, W) steps to a cell next to the object
    ways: Ways  # tables by cell
    names: Names
    max_newcomers: int  # per episode


def newcomer_name(number: int) -> str:
    """Return the id of the ``number``-th newcomer of an episode, counted from 1."""
    return f"newcomer_{number}"


def resident_name(names: Names, world: World, slot: int) -> str:
    """Return the id of who is in a slot now, or was until they left."""
    number = int(world.newcomer[slot])
    return newcomer_name(number) if number else names.residents[slot]
