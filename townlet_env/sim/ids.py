"""Integer codes stored in arrays. Their order reaches files: append, never reorder."""

from __future__ import annotations

from enum import IntEnum


class Need(IntEnum):
    """Columns of ``needs``; 1.0 is satisfied, 0.0 is desperate."""

    HUNGER = 0
    HYGIENE = 1
    ENERGY = 2


class Verb(IntEnum):
    """What an action does; together with its argument it is an action's meaning."""

    WAIT = 0
    MOVE = 1
    APPROACH = 2
    REQUEST = 3
    START = 4
    RELEASE = 5
    CHAT = 6


class Direction(IntEnum):
    """Arguments of ``MOVE``; north is up, towards row 0."""

    NORTH = 0
    SOUTH = 1
    EAST = 2
    WEST = 3


class ShiftState(IntEnum):
    """Where a resident stands with today's shift (rules 3.8)."""

    OFF = 0
    PRE = 1
    ON_TIME = 2
    LATE = 3
    ABSENT = 4
    DONE = 5


class Component(IntEnum):
    """Columns of the reward components (rules 5). They sum to the reward."""

    SURVIVAL = 0
    NEEDS = 1
    SHAPING = 2
    WAGE = 3
    PUNCTUALITY = 4
    SOCIAL = 5
    TERMINAL = 6
    CLIP = 7


class EventKind(IntEnum):
    """What can happen in a tick, to a resident (``by``) or to the town."""

    MOVE_BLOCKED = 0
    GHOST_STEP = 1
    QUEUE_JOINED = 2
    QUEUE_LEFT = 3
    QUEUE_CONFLICT = 4
    QUEUE_ROTATED = 5
    RESERVED = 6
    COURTESY = 7
    AFFORDANCE_STARTED = 8
    AFFORDANCE_FINISHED = 9
    AFFORDANCE_FAILED = 10
    AFFORDANCE_RELEASED = 11
    SHIFT_ON_TIME = 12
    SHIFT_LATE = 13
    SHIFT_ABSENT = 14
    SHIFT_DONE = 15
    CHAT = 16
    EXIT = 17
    FAINTED = 18
    EVICTED = 19
    ARRIVED = 20
    DISMISSED = 21
    RENT_PAID = 22
    RENT_UNPAID = 23
    RESTOCKED = 24
    # Perturbations: begin and end of each, in the order of ``Perturbation``.
    PRICE_SPIKE = 25
    PRICE_SPIKE_OVER = 26
    BLACKOUT = 27
    BLACKOUT_OVER = 28
    OUTAGE = 29
    OUTAGE_OVER = 30
    MEET = 31
    MEET_OVER = 32
    MET = 33
    MEET_MISSED = 34
    SHARED_MEAL = 35
    HELPED = 36
    SHIFT_TAKEN = 37
    COMPANY = 38


class Perturbation(IntEnum):
    """What may happen to the town as a whole (rules 3.1)."""

    PRICE_SPIKE = 0
    BLACKOUT = 1
    OUTAGE = 2
    MEET = 3


class KindGroup(IntEnum):
    """What a kind of object is for; a channel each in the full map (rules 6)."""

    FOOD = 0
    SUPPLY = 1
    HYGIENE = 2
    REST = 3
    WORK = 4
    OTHER = 5


class Stream(IntEnum):
    """Independent random streams of one world (rules 2)."""

    WORLD = 0
    EVENTS = 1
    POLICY = 2


NEED_COUNT = len(Need)
COMPONENT_COUNT = len(Component)
VERB_COUNT = len(Verb)
PERTURBATION_COUNT = len(Perturbation)
SHIFT_STATE_COUNT = len(ShiftState)
MINUTES_PER_DAY = 1440
NONE = -1  # no resident, no object, no affordance

REWARD_COMPONENTS = tuple(component.name.lower() for component in Component)
EVENT_NAMES = tuple(kind.name.lower() for kind in EventKind)
NEED_NAMES = tuple(need.name.lower() for need in Need)
SHIFT_STATE_NAMES = tuple(state.name.lower() for state in ShiftState)
PERTURBATION_NAMES = tuple(kind.name.lower() for kind in Perturbation)
KIND_GROUP_NAMES = tuple(group.name.lower() for group in KindGroup)
VERB_NAMES = tuple(verb.name.lower() for verb in Verb)
DIRECTION_NAMES = tuple(direction.name.lower() for direction in Direction)

# Column and row offset of each direction.
DIRECTION_DX = (0, 0, 1, -1)
DIRECTION_DY = (-1, 1, 0, 0)
