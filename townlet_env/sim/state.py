"""The state of a world: one structured record of fixed-shape arrays.

Every field states its dtype, shape and unit here and nowhere else. ``N`` is the capacity for
residents and ``M`` for objects; a world uses the first ``n_residents`` and ``n_objects`` rows.
Worlds of one batch are one ``np.recarray``, so that ``world.needs[i, k]`` reads the same in a
compiled kernel, in plain Python (``NUMBA_DISABLE_JIT=1``) and in a view. docs/ARCHITECTURE.md tells
why a record won over groups of arrays. Booleans are ``uint8``: nested arrays have no bool.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from townlet_env.sim.ids import COMPONENT_COUNT, NEED_COUNT, PERTURBATION_COUNT

World: TypeAlias = Any  # one record of world_dtype(...)
Outcome: TypeAlias = Any  # one record of outcome_dtype(...)
Records: TypeAlias = Any  # np.recarray of either

I8, I16, I32, U8, U64, F32 = np.int8, np.int16, np.int32, np.uint8, np.uint64, np.float32

Grid: TypeAlias = npt.NDArray[np.uint16]
Distance: TypeAlias = npt.NDArray[np.uint16]  # (M, H, W)
Orders: TypeAlias = npt.NDArray[np.int32]

FULL = 30_000  # units, or ticks, beyond which a 16-bit count does not grow
SHIFT_MEMORY = 3  # shifts that attendance looks back
MAX_KINDS = 16  # kinds of objects
EVENTS_PER_RESIDENT = 20  # rows of the event log per resident; a tick cannot fill them


class Capacity(NamedTuple):
    """Rows reserved in every world; kernels are compiled once per capacity."""

    residents: int
    objects: int


# Few sizes, so that few compilations: the smallest that fits is taken.
CAPACITIES = (Capacity(16, 48), Capacity(64, 256))


def record(fields: list[Any]) -> np.dtype[np.void]:
    """Return an aligned structured dtype whose scalars have attributes."""
    return np.dtype((np.record, np.dtype(fields, align=True)))


@cache  # Numba recognises the very object in 1 us, an equal one in 12, at every call
def world_dtype(capacity: Capacity) -> np.dtype[np.void]:
    """Return the record of one world."""
    n, m = capacity
    return record(
        [
            # the town
            ("seed", U64),  # of this episode
            ("tick", I32),  # ticks done in this episode
            ("start_minute", I32),  # time of day at tick 0, minutes
            ("n_residents", I32),
            ("n_objects", I32),
            ("price_meal", F32),  # meals
            ("price_groceries", F32),  # meals per unit of ingredients
            ("power", U8),  # 1 while there is power
            ("water", U8),  # 1 while there is water
            ("perturb_until", I32, (PERTURBATION_COUNT,)),  # tick of its end; 0 = not on
            ("perturb_from", I32, (PERTURBATION_COUNT,)),  # tick before which chance is silent
            ("meet_object", I16),  # where the arranged meet is, or NONE
            ("calm_from", I32),  # tick before which nobody leaves, after a perturbation
            ("exit_from", I32),  # tick before which nobody leaves, after an exit
            ("exits_today", I16),
            ("arrivals", I32),  # newcomers so far
            # residents
            ("alive", U8, (n,)),  # 1 while in town
            ("newcomer", I32, (n,)),  # 0: who the slot began with; k: newcomer_k
            ("since", I32, (n,)),  # ticks done when this life began
            ("vacant_until", I32, (n,)),  # tick in which a newcomer takes the slot, or NONE
            ("quiet_until", I32, (n,)),  # tick before which no reward is positive, after an exit
            ("x", I16, (n,)),  # column, cells
            ("y", I16, (n,)),  # row, cells
            ("needs", F32, (n, NEED_COUNT)),  # in [0, 1], 1 = satisfied
            ("wallet", F32, (n,)),  # meals, never negative
            ("ingredients", I16, (n,)),  # units carried
            ("pace", F32, (n,)),  # personality, in [-1, 1]
            ("patience", F32, (n,)),  # personality, in [-1, 1]
            ("warmth", F32, (n,)),  # personality, in [-1, 1]
            ("drawn", U8, (n,)),  # 1 if the personality is drawn when the episode opens
            ("faint_ticks", I16, (n,)),  # ticks in a row with a desperate need
            ("rent_owed", F32, (n,)),  # meals
            ("rent_missed", I16, (n,)),  # midnights in a row with rent left unpaid
            ("notice", I16, (n,)),  # ticks under notice to leave; 0 = none
            ("meal_until", I32, (n,)),  # tick before which the last meal can be shared
            ("meet_with", I16, (n,)),  # whom to meet at meet_object, or NONE
            ("meet_from", I32, (n,)),  # tick before which no further invitation comes
            ("meets", I16, (n,)),  # invitations so far
            ("blocked", I16, (n,)),  # tries in a row blocked by another resident
            ("busy_affordance", I8, (n,)),  # running affordance or NONE
            ("busy_object", I16, (n,)),  # object in use or NONE
            ("busy_remaining", I16, (n,)),  # ticks; stays 0 when open ended
            ("reserved_object", I16, (n,)),  # object this resident may start at, or NONE
            ("queue_object", I16, (n,)),  # object this resident waits for, or NONE
            ("queue_ticks", I16, (n,)),  # ticks waited there
            ("cooldown_until", I32, (n, m)),  # tick before which the queue skips the resident
            ("last_verb", I8, (n,)),  # Verb of the last action carried out
            ("last_success", U8, (n,)),  # 1 if it did what it says
            ("potential", F32, (n,)),  # phi of the last state, rules 5
            # jobs
            ("post", I16, (n,)),  # work place that goes with the slot, or NONE
            ("job_object", I16, (n,)),  # work place or NONE; NONE after a dismissal
            ("dismissed", U8, (n,)),  # 1 after a dismissal
            ("absences", I16, (n,)),  # bit d: absent in the d-th last shift, of the last seven
            ("taken_over", U8, (n,)),  # 1 once somebody took over today's shift
            ("job_start", I16, (n,)),  # minute of the day
            ("job_end", I16, (n,)),  # minute of the day, exclusive
            ("job_wage", F32, (n,)),  # meals per tick worked
            ("job_penalty", F32, (n,)),  # meals withheld when late
            ("shift_state", I8, (n,)),  # ShiftState
            ("shift_worked", I16, (n,)),  # ticks worked in today's shift
            ("shift_away", I16, (n,)),  # ticks on shift, not working, since work began
            ("withheld", F32, (n,)),  # meals of penalty still to be worked off
            ("shifts_worked", I16, (n, SHIFT_MEMORY)),  # ticks, latest first
            ("shifts_scheduled", I16, (n, SHIFT_MEMORY)),  # ticks, latest first
            # ties, row towards column
            ("rivalry", F32, (n, n)),  # in [0, 1]
            ("trust", F32, (n, n)),  # in [-1, 1]
            ("familiarity", F32, (n, n)),  # in [-1, 1]
            # objects
            ("kind", I8, (m,)),  # index in the catalogue
            ("object_x", I16, (m,)),
            ("object_y", I16, (m,)),
            ("stock", I16, (m,)),  # units, never negative
            ("restock", I16, (m,)),  # units it is filled up to every day; 0 = never
            ("user", I16, (m,)),  # resident using it or NONE
            ("holder", I16, (m,)),  # resident holding the reservation or NONE
            ("holder_age", I16, (m,)),  # ticks the reservation has been held
            ("queue", I16, (m, n)),  # residents waiting, first in line first
            ("queue_length", I16, (m,)),
        ]
    )


@cache
def outcome_dtype(capacity: Capacity) -> np.dtype[np.void]:
    """Return the record of what one tick of one world did; overwritten every tick."""
    n = capacity.residents
    return record(
        [
            ("turn", I16, (n,)),  # residents in the random order of this tick
            ("illegal", U8, (n,)),  # 1 if the order was not legal and became wait
            ("success", U8, (n,)),  # 1 if the order did what it says
            ("wage", F32, (n,)),  # meals earned in this tick
            ("punctuality", F32, (n,)),  # in [-1, 1], once per shift
            ("social", F32, (n,)),  # reward of a chat in this tick
            ("components", F32, (n, COMPONENT_COUNT)),
            ("reward", F32, (n,)),
            ("arrived", U8, (n,)),  # 1 in the tick of the arrival
            ("terminal", F32, (n,)),  # reward of the exit in this tick
            ("terminated", U8, (n,)),  # 1 in the tick of the exit
            ("truncated", U8, (n,)),  # 1 when the episode is cut by time
            ("n_events", I32),
            ("events", I16, (n * EVENTS_PER_RESIDENT, 5)),  # kind, by, other, object, affordance
            ("event_value", F32, (n * EVENTS_PER_RESIDENT,)),  # intensity, quality or minutes
        ]
    )


class Views(NamedTuple):
    """What residents see; W worlds, N residents of the scenario, A actions, F features."""

    map: npt.NDArray[np.uint8]  # (W, N, C, 11, 11) of 0/1; C = 0, 4 or 12 channels
    features: npt.NDArray[np.float32]  # (W, N, F)
    action_mask: npt.NDArray[np.int8]  # (W, N, A) of 0/1


class Ways(NamedTuple):
    """What is where, by cell; H rows, W columns, M objects, K kinds, A actions; C-contiguous."""

    steps: npt.NDArray[np.uint16]  # (H, W, M) steps to the reach of every object
    nearer: npt.NDArray[np.uint8]  # (H, W, M) bit d: a step in direction d leads nearer to it
    nearest: npt.NDArray[np.int16]  # (H, W, K) object with the shortest path, or NONE
    near: npt.NDArray[np.int16]  # (H, W, K) nearest object in queue range, or NONE
    columns: npt.NDArray[np.float32]  # (H, W, K, 3) features dx, dy, distance of the nearest
    windows: npt.NDArray[np.uint8]  # (H, W, 484) the map of an empty town, four channels
    legal: npt.NDArray[np.int8]  # (H, W, A) wait, moves, approaches and requests without a catch


def allocate(dtype: np.dtype[np.void], count: int) -> Records:
    """Return ``count`` zeroed records with attribute access."""
    return np.zeros(count, dtype).view(np.recarray)
