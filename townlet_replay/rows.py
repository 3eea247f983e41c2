"""Rows as a recorder keeps them: what an agent did and got in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.metrics import TownEvent
from townlet_replay.notes import Action

Row = tuple[
    int,  # number of the step, from 1
    Action,  # as it is recorded
    float,  # reward
    int,  # tick
    NDArray[np.float32] | None,  # reward components
    Sequence[TownEvent] | None,  # events; None: not told
    bool | None,  # whether the action was refused; None: not told
]
"""What an agent did and got in one step; a plain tuple, because there is one per agent step."""

NO_INFO: Mapping[str, Any] = {}
ROW_BYTES = 256  # of a row and its numbers
NOTE_BYTES = 512  # of what is known of an action, scores included

MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Table(NamedTuple):
    """The T rows of a life, column by column."""

    steps: Sequence[int]  # from 1
    actions: Sequence[Action]
    rewards: Sequence[float] | NDArray[np.float32]
    ticks: Sequence[int] | NDArray[np.int32]
    components: Sequence[NDArray[np.float32] | None] | NDArray[np.float32] | None  # (T, K)
    events: list[TownEvent] | None  # of all rows; None: not told
    refused: int | None  # rows whose action was refused; None: not told


def row_of(step: int, action: Action, reward: float, info: Mapping[str, Any], agent: object) -> Row:
    """Return the row of a step.

    Args:
        step: its number, from 1.
        action: as it is recorded.
        reward: for it.
        info: what else was told; copied.
        agent: whose row it is.

    Raises:
        CaptureError: the reward is not a finite number.
    """
    if not -MAX_FLOAT32 <= reward <= MAX_FLOAT32:
        raise CaptureError(
            f"step returned the reward {reward} for agent {agent!r}; "
            "expected a finite number that float32 can hold"
        )
    if not info:
        return step, action, reward, step, None, None, None
    told = info.get
    tick, components = told("tick"), told("reward_components")
    events, refused = told("events"), told("illegal_action")
    return (
        step,
        action,
        reward,
        step if tick is None else _tick(tick, step),
        None if components is None else _components(components),
        None if events is None else _events(events),
        None if refused is None else bool(refused),
    )


def _tick(tick: object, step: int) -> int:
    if isinstance(tick, (int, np.integer)) and 0 <= tick < 2**31:
        return int(tick)
    return step


def _components(components: object) -> NDArray[np.float32] | None:
    if type(components) is np.ndarray and components.dtype == np.float32:
        return components.copy()
    if not isinstance(components, (np.ndarray, list, tuple)):
        return None
    return np.array(components, np.float32)


def _events(told: object) -> Sequence[TownEvent] | None:
    """Return the events of a step as mappings, or ``None`` if they are not told."""
    if not isinstance(told, (list, tuple)):
        return None
    if not told:
        return ()
    tables = [read_event(event) for event in told]
    known = [table for table in tables if table is not None]
    return known if len(known) == len(tables) else None


def read_event(event: object) -> TownEvent | None:
    """Return an event as a mapping with ``event``, ``value``, ``affordance``; else ``None``."""
    if isinstance(event, tuple) and hasattr(event, "_asdict"):
        event = event._asdict()
    if not isinstance(event, Mapping) or not isinstance(event.get("event"), str):
        return None
    value = event.get("value", event.get("intensity", event.get("minutes", 0.0)))
    return {
        "event": event["event"],
        "affordance": event.get("affordance"),
        "value": float(value or 0.0),
    }
