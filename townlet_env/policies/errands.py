"""Using an object, the way a patient resident does it: walk, queue, wait for the turn, start."""

from __future__ import annotations

import numpy as np

from townlet_env.policies.policy import WAIT, Seat, Sight
from townlet_env.policies.walking import Steps, next_step, steps_left
from townlet_env.sim.ids import MINUTES_PER_DAY, NONE, EventKind
from townlet_env.sim.kernels.observe_mask import has_what_it_takes
from townlet_env.sim.places import (
    UNREACHABLE,
    minute_of_day,
    nearest_in_range,
    on_shift,
    utilities_hold,
)
from townlet_env.sim.state import World


def pursue(seat: Seat, sight: Sight, affordance: int, o: int) -> int:
    """Return the next action on the way to doing an affordance at an object.

    Whatever else is held or waited for is released. Nothing is requested before it could be
    started, and a turn that cannot be used is passed on. Who waits in line does not push.
    """
    i, world = seat.slot, sight.world
    held, waited = int(world.reserved_object[i]), int(world.queue_object[i])
    start = seat.action(f"start:{seat.plan.names.affordances[affordance]}")
    if held == o and sight.mask[start]:
        return start
    steps = seat.plan.distance[o]
    useless = held == o and steps_left(world, i, steps) == 0
    if useless or held not in (NONE, o) or waited not in (NONE, o):
        return seat.action("release")
    if held == NONE and waited == NONE and _can_start_soon(seat, sight, affordance, o):
        request = request_of(seat, sight, o)
        if request is not None:
            return request
    return walk(seat, sight, steps, push=waited == NONE)


def walk(seat: Seat, sight: Sight, steps: Steps, *, push: bool = True) -> int:
    """Return the next step towards a goal; ``wait`` when there, or with no way on.

    With ``push`` a step is also tried onto a resident's cell, which the town settles in the end.
    """
    way = next_step(sight.world, seat.slot, steps)
    if way.action is None or not (way.free or push):
        return WAIT
    action = seat.action(way.action)
    return action if sight.mask[action] else WAIT


def request_of(seat: Seat, sight: Sight, o: int) -> int | None:
    """Return the action that requests object ``o``; None if it is illegal or asks for another."""
    world, rules = sight.world, seat.plan.rules[0]
    kind = int(world.kind[o])
    action = seat.action(f"request:{seat.plan.names.kinds[kind]}")
    near = sight.mask[action] and nearest_in_range(world, rules, seat.slot, kind) == o
    return action if near else None


def _can_start_soon(seat: Seat, sight: Sight, affordance: int, o: int) -> bool:
    """A turn that comes now would not be wasted: near by path, supplied, paid for, on shift."""
    world, rules, i = sight.world, seat.plan.rules[0], seat.slot
    if steps_left(world, i, seat.plan.distance[o]) > rules.queue_range:
        return False
    if rules.affordance_work[affordance] and minutes_to_shift(world, i) > 1:
        return False
    power, water = rules.affordance_power[affordance], rules.affordance_water[affordance]
    return bool(
        utilities_hold(world, power, water) and has_what_it_takes(world, rules, i, o, affordance)
    )


def minutes_to_shift(world: World, i: int) -> int:
    """Return the minutes until the own shift opens; 0 while it is open."""
    if on_shift(world, i):
        return 0
    return int(world.job_start[i] - minute_of_day(world)) % MINUTES_PER_DAY


def place_for(seat: Seat, sight: Sight, affordance: int) -> int:
    """Return where a resident would do an affordance: work at the own place, else the nearest.

    Places that have what it takes come first. NONE if none can be reached.
    """
    i, world, rules = seat.slot, sight.world, seat.plan.rules[0]
    if rules.affordance_work[affordance]:
        return int(world.job_object[i])
    kinds = int(rules.affordance_kinds[affordance])
    found = []
    for o in range(int(world.n_objects)):
        steps = steps_left(world, i, seat.plan.distance[o])
        if steps < UNREACHABLE and kinds >> int(world.kind[o]) & 1:
            lacking = not has_what_it_takes(world, rules, i, o, affordance)
            found.append((lacking, steps, o))
    return min(found)[-1] if found else NONE


def work_affordance(seat: Seat, sight: Sight) -> int:
    """Return what one does at the own work place; NONE without a job."""
    rules, place = seat.plan.rules[0], int(sight.world.job_object[seat.slot])
    if place == NONE:
        return NONE
    fits = (rules.affordance_kinds >> int(sight.world.kind[place])) & 1
    works = np.flatnonzero(fits * rules.affordance_work)
    return int(works[0]) if len(works) else NONE


def has_finished(seat: Seat, sight: Sight, affordance: int) -> bool:
    """Tell whether the last tick finished an affordance of this resident."""
    outcome = sight.outcome
    return any(
        outcome.events[row, 0] == EventKind.AFFORDANCE_FINISHED
        and outcome.events[row, 1] == seat.slot
        and outcome.events[row, 4] == affordance
        for row in range(int(outcome.n_events))
    )
