"""Compiled parts of action logs: what a tick of many towns gave is kept in one call."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.ids import EventKind
from townlet_env.sim.state import Records

TERMINATED, TRUNCATED, ILLEGAL = 1, 2, 4  # flags of a row

# The events that metrics are made of.
_LATE = int(EventKind.SHIFT_LATE)
_CONFLICT = int(EventKind.QUEUE_CONFLICT)
_FINISHED = int(EventKind.AFFORDANCE_FINISHED)


@kernel
def sums_of_lives(
    rewards: npt.NDArray[np.float32], rows: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """Return the sum of the rewards of every life, added one after the other.

    Args:
        rewards: (R,) life after life.
        rows: (V,) of each life.
    """
    found = np.zeros(rows.shape[0], np.float64)
    at = 0
    for life in range(rows.shape[0]):
        for _ in range(rows[life]):
            found[life] += rewards[at]
            at += 1
    return found


@kernel
def keep_rows(
    outcomes: Records,
    tick: int,
    rewards: npt.NDArray[np.float32],
    flags: npt.NDArray[np.uint8],
    parts: npt.NDArray[np.float32],
) -> None:
    """Keep what residents got in a tick.

    Args:
        outcomes: (W,) outcome records.
        tick: row to write.
        rewards: (W, N, T).
        flags: (W, N, T) of ``TERMINATED``, ``TRUNCATED`` and ``ILLEGAL``.
        parts: (W, N, T, 8) reward components; T is 0 if they are not wanted.
    """
    for w in range(rewards.shape[0]):
        outcome = outcomes[w]
        for n in range(rewards.shape[1]):
            rewards[w, n, tick] = outcome.reward[n]
            flags[w, n, tick] = (
                TERMINATED * outcome.terminated[n]
                + TRUNCATED * outcome.truncated[n]
                + ILLEGAL * outcome.illegal[n]
            )
            if parts.shape[2] > 0:
                for k in range(parts.shape[3]):
                    parts[w, n, tick, k] = outcome.components[n, k]


@kernel
def keep_look(
    map_: npt.NDArray[np.uint8],
    features: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int8],
    looks: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.int8]],
    row: int,
) -> None:
    """Keep what residents see.

    Args:
        map_: (W, N, cells) flat.
        features: (W, N, F).
        mask: (W, N, A).
        looks: the same by row, (W, N, T + 1, ...).
        row: to write.
    """
    maps, columns, masks = looks
    for w in range(features.shape[0]):
        for n in range(features.shape[1]):
            # Loops are vectorised; assigning rows would take twice as long.
            for k in range(map_.shape[2]):
                maps[w, n, row, k] = map_[w, n, k]
            for k in range(features.shape[2]):
                columns[w, n, row, k] = features[w, n, k]
            for k in range(mask.shape[2]):
                masks[w, n, row, k] = mask[w, n, k]


@kernel
def keep_events(
    outcomes: Records,
    tick: int,
    at: int,
    places: npt.NDArray[np.int64],
    values: npt.NDArray[np.float32],
) -> int:
    """Add the events of a tick that metrics are made of, and return how many there are by now.

    Args:
        outcomes: (W,) outcome records.
        tick: of the events.
        at: how many there are already.
        places: (room, 5) world, tick, kind, by, affordance.
        values: (room,) of the events.
    """
    for w in range(outcomes.shape[0]):
        outcome = outcomes[w]
        for row in range(outcome.n_events):
            kind = outcome.events[row, 0]
            if kind in (_LATE, _CONFLICT, _FINISHED):
                places[at, 0] = w
                places[at, 1] = tick
                places[at, 2] = kind
                places[at, 3] = outcome.events[row, 1]
                places[at, 4] = outcome.events[row, 4]
                values[at] = outcome.event_value[row]
                at += 1
    return at
