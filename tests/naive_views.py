"""Twin of what residents see and may do; see ``naive.py``. Columns and actions go by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from naive_map import taken
from naive_town import DAY, NEEDS, SHIFTS, STEPS, VERBS, Person, Town


def observe_mask(town: Town) -> npt.NDArray[np.int8]:
    """Rules 4: legal is what would change or attempt something."""
    names = town.ground.plan.names.actions
    people = range(len(town.people))
    return np.array([[may(town, i, *_split(name)) for name in names] for i in people], np.int8)


def _split(action: str) -> tuple[str, str]:
    verb, _, argument = action.partition(":")
    return verb, argument


def may(town: Town, i: int, verb: str, argument: str) -> bool:
    me = town.people[i]
    if verb == "wait":
        return True
    if not me.alive:
        return False
    if verb == "release":
        return me.doing is not None or me.reserved is not None or me.waits_for is not None
    if me.doing is not None:
        return False
    if verb == "move":
        return (me.x + STEPS[argument][0], me.y + STEPS[argument][1]) in town.ground.floor
    if verb == "approach":
        o = town.nearest_usable(i, argument)
        return o is not None and town.steps_to(o, (me.x, me.y)) != 0
    if verb == "request":
        idle = me.reserved is None and me.waits_for is None
        return idle and town.nearest_in_range(i, argument) is not None
    if verb == "start":
        return may_start(town, i, argument)
    return town.nearest_free_person(i, town.config.ties.chat_range) is not None


def may_start(town: Town, i: int, name: str) -> bool:
    """Reservation, reach, preconditions (rules 3.6)."""
    me, affordance = town.people[i], town.affordance(name)
    if me.reserved is None or town.cells_between(i, me.reserved) != 1:
        return False
    thing, takes = town.things[me.reserved], affordance.takes
    at_work = me.job is not None and me.job.thing == me.reserved and town.on_shift(i)
    return (
        thing.kind in affordance.kinds
        and town.supplied(affordance.requires)
        and (at_work or not affordance.requires.on_shift)
        and me.wallet >= town.price(name)
        and thing.stock >= takes.stock
        and me.ingredients >= takes.ingredients
    )


def observe_features(town: Town) -> npt.NDArray[np.float32]:
    """Rules 6: every column by its name; residents not in town see zeros."""
    names = town.ground.plan.names.features
    rows = []
    for i, me in enumerate(town.people):
        seen = features_of(town, i, me) if me.alive else dict.fromkeys(names, 0.0)
        assert set(seen) == set(names)
        rows.append([seen[name] for name in names])
    return np.array(rows, np.float32)


def features_of(town: Town, i: int, me: Person) -> dict[str, float]:
    seen = {f"need_{need}": me.needs[k] for k, need in enumerate(NEEDS)}
    seen["wallet"] = squash(me.wallet, 1)
    seen["ingredients"] = squash(me.ingredients, 1)
    seen |= {f"last_{verb}": float(me.last_verb == verb) for verb in VERBS}
    seen["last_success"] = float(me.last_success)
    seen["personality_pace"] = me.pace
    seen["personality_patience"] = me.patience
    seen["personality_warmth"] = me.warmth
    seen |= _clock(town, me) | _job(town, me) | _activity(town, i, me) | _ties(town, i, me)
    seen |= _meet(town, me) | _danger(town, me)
    for kind in town.ground.plan.names.kinds:
        seen |= _kind(town, i, me, kind)
    return seen


def squash(value: float, scale: float) -> float:
    return value / (value + scale)


def _clock(town: Town, me: Person) -> dict[str, float]:
    angle = 2 * math.pi * town.minute / DAY
    return {
        "time_sin": math.sin(angle),
        "time_cos": math.cos(angle),
        "episode_progress": min(town.tick / town.config.ticks, 1.0),
        "context_reset": float(town.tick == me.since),
        "price_meal": squash(town.price_meal, 1),
        "price_groceries": squash(town.price_groceries, 1),
        "power": float(town.power),
        "water": float(town.water),
    }


def _job(town: Town, me: Person) -> dict[str, float]:
    seen = {f"shift_{state}": float(me.shift == state) for state in SHIFTS}
    to_shift = 1.0
    if me.job is not None:
        minutes = me.job.start - town.minute
        # Of yesterday's, today's and tomorrow's start the closest; half a day away is the past.
        closest = min((minutes - DAY, minutes, minutes + DAY), key=lambda m: (abs(m), m))
        to_shift = closest / 720
    scheduled = sum(planned for _, planned in me.shifts)
    worked = sum(done for done, _ in me.shifts)
    seen["minutes_to_shift"] = to_shift
    seen["attendance"] = worked / scheduled if scheduled else 1.0
    seen["wages_withheld"] = squash(me.withheld, 1)
    return seen


def _activity(town: Town, i: int, me: Person) -> dict[str, float]:
    reservation_ticks = town.config.queues.reservation_ticks
    duration: Any = town.affordance(me.doing).ticks if me.doing else 1
    held = town.things[me.reserved].held_for if me.reserved is not None else reservation_ticks
    line = town.things[me.waits_for].line if me.waits_for is not None else []
    place = line.index(i) + 1 if i in line else 0
    return {
        "busy": float(me.doing is not None),
        "busy_remaining": 0.0 if isinstance(duration, str) else me.remaining / duration,
        "reservation": float(me.reserved is not None),
        "reservation_remaining": max(reservation_ticks - held, 0) / reservation_ticks,
        "in_queue": float(me.waits_for is not None),
        "place_in_line": place / (place + 1),
    }


def _ties(town: Town, i: int, me: Person) -> dict[str, float]:
    avoided = sum(value > town.config.ties.avoid_threshold for value in me.rivalry)
    seen = {
        "rivalry_max": max(me.rivalry),
        "rivalry_avoid_count": min(avoided / 8, 1.0),
        "neighbour_present": float(bool(town.others(i))),
        "neighbour_distance": 1.0,
    }
    if town.others(i):
        seen["neighbour_distance"] = squash(min(town.cells_apart(i, j) for j in town.others(i)), 8)
    # In single precision, so that friends as close as each other are so here as well.
    trust, familiarity = np.float32(me.trust), np.float32(me.familiarity)
    closeness = {j: trust[j] + familiarity[j] for j in town.others(i)}
    anger = {j: me.rivalry[j] for j in town.others(i)}
    for title, strength in (("friend", closeness), ("rival", anger)):
        ranked = sorted((j for j in strength if strength[j] > 0), key=lambda j: -strength[j])
        for place in (1, 2):
            other = ranked[place - 1] if len(ranked) >= place else None
            seen |= _social_slot(town, me, f"{title}_{place}", other)
    return seen


def _meet(town: Town, me: Person) -> dict[str, float]:
    seen = {"meet_invited": 0.0, "meet_dx": 0.0, "meet_dy": 0.0, "meet_distance": 1.0}
    if me.meet_with is not None and town.meet_thing is not None:
        place = town.things[town.meet_thing]
        steps = town.steps_to(town.meet_thing, (me.x, me.y))
        seen["meet_invited"] = 1.0
        seen["meet_dx"], seen["meet_dy"] = direction(me, place.x, place.y)
        seen["meet_distance"] = 1.0 if steps is None else squash(steps, 8)
    return seen


def _danger(town: Town, me: Person) -> dict[str, float]:
    lives = town.config.lives
    return {
        "rent_owed": squash(me.rent_owed, 1),
        "faint_danger": min(me.faint_ticks / lives.faint_after, 1.0),
        "notice": min(me.notice / (lives.notice_ticks + 1), 1.0),
    }


def _social_slot(town: Town, me: Person, slot: str, j: int | None) -> dict[str, float]:
    columns = ("present", "dx", "dy", "trust", "familiarity", "rivalry")
    if j is None:
        return {f"{slot}_{column}": 0.0 for column in columns}
    dx, dy = direction(me, town.people[j].x, town.people[j].y)
    values = (1.0, dx, dy, me.trust[j], me.familiarity[j], me.rivalry[j])
    return {f"{slot}_{column}": value for column, value in zip(columns, values, strict=True)}


def direction(me: Person, x: int, y: int) -> tuple[float, float]:
    cells = abs(x - me.x) + abs(y - me.y)
    return ((x - me.x) / cells, (y - me.y) / cells) if cells else (0.0, 0.0)


def _kind(town: Town, i: int, me: Person, kind: str) -> dict[str, float]:
    columns = ("dx", "dy", "distance", "queue", "stock")
    values = (0.0, 0.0, 1.0, 0.0, 0.0)
    o = town.nearest_usable(i, kind)
    steps = None if o is None else town.steps_to(o, (me.x, me.y))
    if o is not None and steps is not None:
        thing = town.things[o]
        dx, dy = direction(me, thing.x, thing.y)
        people = len(thing.line) + taken(thing)
        values = (dx, dy, squash(steps, 8), squash(people, 1), squash(thing.stock, 4))
    return {f"{kind}_{column}": value for column, value in zip(columns, values, strict=True)}
