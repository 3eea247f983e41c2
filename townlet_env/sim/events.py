"""Writing and reading the event log of one tick."""

from __future__ import annotations

from typing import NamedTuple

from townlet_env.jit import kernel
from townlet_env.sim.ids import NONE
from townlet_env.sim.state import Outcome


class Event(NamedTuple):
    """One thing that happened in a tick, in names."""

    event: str  # one of ids.EVENT_NAMES
    tick: int  # ticks done when it happened; the first tick is 1
    by: str | None  # resident; None if it befell the town
    other: str | None  # second resident
    object: str | None
    affordance: str | None
    value: float  # such as the intensity of a conflict or minutes late; 0 if there is none


@kernel
def log(outcome: Outcome, kind: int, by: int, other: int, o: int, value: float) -> None:
    """Append an event without an affordance."""
    log_affordance(outcome, kind, by, other, o, NONE, value)


@kernel
def log_affordance(
    outcome: Outcome, kind: int, by: int, other: int, o: int, affordance: int, value: float
) -> None:
    """Append an event; ``other``, ``o`` and ``affordance`` may be NONE."""
    row = outcome.n_events
    if row >= outcome.events.shape[0]:
        return  # cannot happen while EVENTS_PER_RESIDENT holds; a test counts
    outcome.events[row, 0] = kind
    outcome.events[row, 1] = by
    outcome.events[row, 2] = other
    outcome.events[row, 3] = o
    outcome.events[row, 4] = affordance
    outcome.event_value[row] = value
    outcome.n_events = row + 1
