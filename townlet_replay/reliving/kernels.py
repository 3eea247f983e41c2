"""Compiled parts of action logs: what a tick of many towns gave is kept in one call."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.ids import EventKind
from townlet_env.sim.state import Outcome, Records

TERMINATED, TRUNCATED, ILLEGAL = 1, 2, 4  # flags of a row

Rows = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.float32]]
Seen = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.int8]]
Happened = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]

# The events that metrics are made of.
_KEPT = (
    int(EventKind.SHIFT_LATE),
    int(EventKind.QUEUE_CONFLICT),
    int(EventKind.AFFORDANCE_FINISHED),
    int(EventKind.CHAT),
    int(EventKind.SHARED_MEAL),
    int(EventKind.HELPED),
    int(EventKind.SHIFT_TAKEN),
)


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
def _keep_rows(outcome: Outcome, w: int, tick: int, rows: Rows) -> None:
    rewards, flags, _ = rows
    for n in range(rewards.shape[1]):
        rewards[w, n, tick] = outcome.reward[n]
        flags[w, n, tick] = (
            TERMINATED * outcome.terminated[n]
            + TRUNCATED * outcome.truncated[n]
            + ILLEGAL * outcome.illegal[n]
        )


@kernel
def keep_look(seen: Seen, looks: Seen, row: int) -> None:
    """Keep what residents see.

    Args:
        seen: (W, N, ...) now: cells of the map, features, mask.
        looks: (W, N, T + 1, ...) the same by row.
        row: to write.
    """
    for w in range(seen[1].shape[0]):
        _keep_look(w, seen, looks, row)


@kernel
def _keep_look(w: int, seen: Seen, looks: Seen, row: int) -> None:
    cells, features, mask = seen
    maps, columns, masks = looks
    for n in range(features.shape[1]):
        # Loops are vectorised; assigning rows would take twice as long.
        for k in range(cells.shape[2]):
            maps[w, n, row, k] = cells[w, n, k]
        for k in range(features.shape[2]):
            columns[w, n, row, k] = features[w, n, k]
        for k in range(mask.shape[2]):
            masks[w, n, row, k] = mask[w, n, k]


@kernel
def _keep_events(outcome: Outcome, w: int, tick: int, at: int, events: Happened) -> int:
    places, values = events
    for row in range(outcome.n_events):
        kind = outcome.events[row, 0]
        if kind in _KEPT:
            places[at, 0] = w
            places[at, 1] = tick
            places[at, 2] = kind
            places[at, 3] = outcome.events[row, 1]
            places[at, 4] = outcome.events[row, 4]
            values[at] = outcome.event_value[row]
            at += 1
    return at


@kernel
def keep_tick(
    outcomes: Records, tick: int, at: int, rows: Rows, seen: Seen, looks: Seen, events: Happened
) -> int:
    """Keep what a tick gave, and return how many events there are by now.

    Args:
        outcomes: (W,) outcome records.
        tick: row to write.
        at: how many events there are already.
        rows: (W, N, T) rewards; flags of ``TERMINATED``, ``TRUNCATED``, ``ILLEGAL``; and reward
            components (W, N, T, 8), where T is 0 if only rewards and flags are kept.
        seen: as in :func:`keep_look`.
        looks: likewise.
        events: (room, 5) world, tick, kind, by, affordance; and (room,) values.
    """
    parts = rows[2]
    for w in range(rows[0].shape[0]):
        outcome = outcomes[w]
        _keep_rows(outcome, w, tick, rows)
        if parts.shape[2] == 0:
            continue
        for n in range(parts.shape[1]):
            for k in range(parts.shape[3]):
                parts[w, n, tick, k] = outcome.components[n, k]
        _keep_look(w, seen, looks, tick + 1)
        at = _keep_events(outcome, w, tick, at, events)
    return at
