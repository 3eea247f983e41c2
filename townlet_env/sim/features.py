"""Names, order, ranges and meaning of every observation column: the only place they are stated.

The columns of an object kind depend on the catalogue and come last, ``KIND_COLUMNS`` each; every
other column has a fixed place. Kernels import the ``AT_*`` offsets, views and documents the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from townlet_env.sim.ids import (
    KIND_GROUP_NAMES,
    NEED_COUNT,
    NEED_NAMES,
    SHIFT_STATE_COUNT,
    SHIFT_STATE_NAMES,
    VERB_COUNT,
    VERB_NAMES,
)

WINDOW = 11  # cells: side of the egocentric map
RADIUS = WINDOW // 2
MAP_CHANNELS = ("walls", "residents", "objects", "reserved")
FULL_MAP_CHANNELS = (*MAP_CHANNELS, *KIND_GROUP_NAMES, "path_axis", "path_sign")

AVOID_COUNT_SCALE = 8.0  # avoided residents at which rivalry_avoid_count reaches 1
SOCIAL_SLOTS = 2  # top friends, and as many top rivals
SOCIAL_COLUMNS = 6


class Feature(NamedTuple):
    """One column of ``features``."""

    name: str
    low: float
    high: float
    group: str
    meaning: str


def _unit(name: str, group: str, meaning: str) -> Feature:
    return Feature(name, 0.0, 1.0, group, meaning)


def _signed(name: str, group: str, meaning: str) -> Feature:
    return Feature(name, -1.0, 1.0, group, meaning)


def _tie(name: str) -> list[Feature]:
    return [
        _unit(f"{name}_present", "social", "1 if there is such a resident"),
        _signed(f"{name}_dx", "social", "columns to them / (|columns| + |rows|)"),
        _signed(f"{name}_dy", "social", "rows to them / (|columns| + |rows|)"),
        _signed(f"{name}_trust", "social", "trust towards them"),
        _signed(f"{name}_familiarity", "social", "familiarity with them"),
        _unit(f"{name}_rivalry", "social", "rivalry towards them"),
    ]


FIXED: tuple[Feature, ...] = (
    *(_unit(f"need_{need}", "needs", "1 satisfied, 0 desperate") for need in NEED_NAMES),
    _unit("wallet", "economy", "wallet / (1 + wallet), in meals"),
    _unit("ingredients", "economy", "ingredients carried / (1 + ingredients)"),
    _signed("time_sin", "clock", "sine of the time of day"),
    _signed("time_cos", "clock", "cosine of the time of day"),
    _unit("episode_progress", "clock", "ticks done / ticks of the episode"),
    _unit("context_reset", "clock", "1 on the first observation of a life"),
    *(
        _unit(f"shift_{state}", "job", f"1 while the shift is {state}")
        for state in SHIFT_STATE_NAMES
    ),
    _signed("minutes_to_shift", "job", "(start - now) / 720 clipped; 1 without a job"),
    _unit("attendance", "job", "worked / scheduled ticks of the last three shifts; 1 before any"),
    _unit("wages_withheld", "job", "penalties not yet worked off, w / (1 + w), in meals"),
    *(_unit(f"last_{verb}", "action", f"1 if the last action was {verb}") for verb in VERB_NAMES),
    _unit("last_success", "action", "1 if the last action did what it says"),
    _unit("busy", "affordance", "1 while an affordance runs"),
    _unit("busy_remaining", "affordance", "remaining ticks / duration; 0 if open ended"),
    _unit("reservation", "queue", "1 while holding a reservation"),
    _unit("reservation_remaining", "queue", "ticks left to start / ticks given"),
    _unit("in_queue", "queue", "1 while waiting in a queue"),
    _unit("place_in_line", "queue", "(place + 1) / (place + 2), place 0 is next; 0 if not waiting"),
    _unit("rivalry_max", "ties", "strongest rivalry towards anybody"),
    _unit("rivalry_avoid_count", "ties", "residents above the avoid threshold / 8, at most 1"),
    _unit("price_meal", "town", "price / (1 + price), in meals"),
    _unit("price_groceries", "town", "price / (1 + price), in meals"),
    _unit("power", "town", "1 while there is power"),
    _unit("water", "town", "1 while there is water"),
    _signed("personality_pace", "personality", "how fast needs fall"),
    _signed("personality_patience", "personality", "how calmly conflict is taken"),
    _signed("personality_warmth", "personality", "how readily ties grow"),
    *(column for place in range(SOCIAL_SLOTS) for column in _tie(f"friend_{place + 1}")),
    *(column for place in range(SOCIAL_SLOTS) for column in _tie(f"rival_{place + 1}")),
    _unit("neighbour_present", "social", "1 if anybody else is in town"),
    _unit("neighbour_distance", "social", "d / (d + 8), Manhattan cells; 1 if nobody"),
    _unit("meet_invited", "meet", "1 while expected at a meet"),
    _signed("meet_dx", "meet", "columns to its place / (|columns| + |rows|); 0 if not invited"),
    _signed("meet_dy", "meet", "rows to its place / (|columns| + |rows|); 0 if not invited"),
    _unit("meet_distance", "meet", "steps s to its place, s / (s + 8); 1 if not invited"),
    _unit("rent_owed", "lives", "rent r not yet paid, r / (1 + r), in meals"),
    _unit("faint_danger", "lives", "ticks with a desperate need / ticks until fainting"),
    _unit("notice", "lives", "ticks under notice / ticks until eviction"),
)

KIND_COLUMNS = 5


def kind_features(kind: str) -> list[Feature]:
    """Return the columns about the nearest usable object of ``kind``."""
    return [
        _signed(f"{kind}_dx", "places", "columns to it / (|columns| + |rows|); 0 if none"),
        _signed(f"{kind}_dy", "places", "rows to it / (|columns| + |rows|); 0 if none"),
        _unit(f"{kind}_distance", "places", "steps s to its reach, s / (s + 8); 1 if none"),
        _unit(f"{kind}_queue", "places", "people q at it (user, holder, waiting), q / (q + 1)"),
        _unit(f"{kind}_stock", "places", "units u in it, u / (u + 4)"),
    ]


def feature_table(kinds: Sequence[str]) -> tuple[Feature, ...]:
    """Return every column in order, for a catalogue with these object kinds."""
    return FIXED + tuple(column for kind in kinds for column in kind_features(kind))


def feature_names(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the column names in order, for a catalogue with these object kinds."""
    return tuple(feature.name for feature in feature_table(kinds))


_NAMES = tuple(feature.name for feature in FIXED)

AT_NEEDS = _NAMES.index(f"need_{NEED_NAMES[0]}")
AT_WALLET = _NAMES.index("wallet")
AT_CLOCK = _NAMES.index("time_sin")
AT_SHIFT = _NAMES.index(f"shift_{SHIFT_STATE_NAMES[0]}")
AT_JOB = _NAMES.index("minutes_to_shift")
AT_LAST = _NAMES.index(f"last_{VERB_NAMES[0]}")
AT_SUCCESS = _NAMES.index("last_success")
AT_BUSY = _NAMES.index("busy")
AT_QUEUE = _NAMES.index("reservation")
AT_TIES = _NAMES.index("rivalry_max")
AT_TOWN = _NAMES.index("price_meal")
AT_PERSONALITY = _NAMES.index("personality_pace")
AT_FRIENDS = _NAMES.index("friend_1_present")
AT_RIVALS = _NAMES.index("rival_1_present")
AT_NEIGHBOUR = _NAMES.index("neighbour_present")
AT_MEET = _NAMES.index("meet_invited")
AT_LIVES = _NAMES.index("rent_owed")
AT_KINDS = len(FIXED)

if (AT_WALLET - AT_NEEDS, AT_JOB - AT_SHIFT, AT_SUCCESS - AT_LAST) != (
    NEED_COUNT,
    SHIFT_STATE_COUNT,
    VERB_COUNT,
):  # pragma: no cover
    raise AssertionError("feature groups and enumerations have drifted apart")
