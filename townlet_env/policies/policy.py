"""What a scripted policy is: it sees one resident of one world and says what to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.config.schema import ResidentConfig
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.plan import Plan
from townlet_env.sim.state import Outcome, World

WAIT = 0  # the one action that is always legal


class Seat(NamedTuple):
    """Who a policy decides for."""

    plan: Plan
    resident: ResidentConfig
    slot: int  # row of the resident in the state arrays

    def action(self, name: str) -> int:
        """Return the id of an action such as ``"request:shower"``."""
        return self.plan.names.actions.index(name)


class Sight(NamedTuple):
    """What a policy decides from, at one tick. Read it; only kernels write."""

    world: World  # the record of the resident's world
    outcome: Outcome  # what the last tick did
    map: npt.NDArray[np.uint8]  # (4, 11, 11) of 0/1
    features: npt.NDArray[np.float32]  # (F,), columns as in plan.names.features
    mask: npt.NDArray[np.int8]  # (A,) of 0/1, legal actions


def look(batch: WorldBatch, w: int, slot: int) -> Sight:
    """Return what the resident of a slot sees now in world ``w``."""
    views = batch.views
    return Sight(
        batch.worlds[w],
        batch.outcomes[w],
        views.map[w, slot],
        views.features[w, slot],
        views.action_mask[w, slot],
    )


class Policy(ABC):
    """Decides for one resident of one world, from what it sees and what it remembers.

    Chance comes from the counter streams of ``townlet_env.sim.random`` alone, so that a decision
    depends neither on other residents nor on other worlds.
    """

    def __init__(self, seat: Seat) -> None:
        """Take a seat; the memory is that of a new episode."""
        self.seat = seat

    @abstractmethod
    def act(self, sight: Sight) -> int:
        """Return the action of this tick; called once per tick while the resident is in town."""

    # Not abstract: most policies remember nothing, which is what an empty body says.
    def reset(self) -> None:  # noqa: B027
        """Forget the last episode."""

    def get_memory(self) -> Any:
        """Return what is remembered within an episode: immutable, None for nothing."""
        return None

    def set_memory(self, memory: Any) -> None:  # noqa: B027
        """Go on from what ``get_memory`` returned."""
