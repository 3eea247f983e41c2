"""Options: courses of action such as ``GetFed`` as policies over the primitive actions.

An option here is what Sutton, Precup and Singh (1999, "Between MDPs and semi-MDPs", section 2) call
one: states it can be taken in, a policy, and a condition under which it ends. What serves a need is
read from the effects in the catalogue, so that affordances added by a scenario count.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from townlet_env.policies.errands import (
    minutes_to_shift,
    pursue,
    walk,
    work_affordance,
)
from townlet_env.policies.policy import WAIT, Seat, Sight
from townlet_env.policies.walking import Cell, Steps, steps_left, steps_to_cell
from townlet_env.sim.ids import NONE, EventKind, Need
from townlet_env.sim.places import UNREACHABLE, nearest_free_resident, on_shift
from townlet_env.sim.plan import Plan
from townlet_env.sim.state import World
from townlet_env.wrappers.option_errands import NO_ERRAND, Errand, ErrandPlanner

OPTION_NAMES = ("Wait", "GetFed", "GetClean", "Sleep", "GoToWork", "ShopGroceries", "Socialise")


class Intent(NamedTuple):
    """What an option does next, and what it must remember until then."""

    action: int  # a legal primitive
    errand: Errand


class Deeds(NamedTuple):
    """What one resident brought about in a tick."""

    finished: frozenset[int]  # affordances
    talked: bool  # in a chat that went well


_NO_DEEDS = Deeds(frozenset(), talked=False)


def deeds_of(sight: Sight, i: int) -> Deeds:
    """Return what the last tick did for resident ``i``."""
    count = int(sight.outcome.n_events)
    if count == 0:
        return _NO_DEEDS
    events = np.asarray(sight.outcome.events[:count])
    mine = events[:, 1] == i
    finished = events[mine & (events[:, 0] == EventKind.AFFORDANCE_FINISHED), 4]
    went_well = np.asarray(sight.outcome.event_value[:count]) > 0.0
    talked = mine & (events[:, 0] == EventKind.CHAT) & went_well
    return Deeds(frozenset(finished.tolist()), bool(talked.any()))


class Option(ABC):
    """A course of action; it remembers nothing itself, so that one object serves every resident."""

    need: int = NONE  # the need it serves; it is not broken when that one becomes urgent

    @abstractmethod
    def intend(self, seat: Seat, sight: Sight, errand: Errand) -> Intent | None:
        """Return what to do next; None if there is nothing to do and nothing to wait for.

        Args:
            seat: Who.
            sight: What is the case now.
            errand: What the option was about, ``NO_ERRAND`` at first.
        """

    @abstractmethod
    def is_done(self, deeds: Deeds) -> bool:
        """Tell whether the last tick did what the option is for."""


class Wait(Option):
    """Gives up the place in line or the reservation and idles; what runs may finish."""

    def intend(self, seat: Seat, sight: Sight, errand: Errand) -> Intent:
        """Return ``wait``, or ``release`` while something is held."""
        world, i = sight.world, seat.slot
        holds = world.reserved_object[i] != NONE or world.queue_object[i] != NONE
        return Intent(seat.action("release") if holds else WAIT, NO_ERRAND)

    def is_done(self, deeds: Deeds) -> bool:
        """Tell whether something finished that was running."""
        return bool(deeds.finished)


class RunErrand(Option):
    """Does the affordance that gains most per tick, after whatever provides for it."""

    def __init__(self, planner: ErrandPlanner, gains: dict[int, float], need: int = NONE) -> None:
        """Describe an errand.

        Args:
            planner: Knows the catalogue.
            gains: Gain of each affordance that the errand may end with.
            need: The need gained, if it is one: a gain beyond 1 is wasted.
        """
        self.need = need
        self._planner = planner
        self._gains = gains
        self._parts = planner.with_providers(gains)

    def intend(self, seat: Seat, sight: Sight, errand: Errand) -> Intent | None:
        """Go on with the errand, or choose one; whatever else runs or is held is released."""
        world, i = sight.world, seat.slot
        busy = int(world.busy_affordance[i])
        if busy in self._parts:
            return Intent(WAIT, errand)
        for candidate in self._candidates(world, i, errand):
            if busy != NONE:
                return Intent(seat.action("release"), candidate)
            action = pursue(seat, sight, *candidate)
            if action != WAIT or world.queue_object[i] == candidate.place:
                return Intent(action, candidate)
        return None

    def is_done(self, deeds: Deeds) -> bool:
        """Tell whether an affordance that the errand ends with has finished."""
        return not deeds.finished.isdisjoint(self._gains)

    def _candidates(self, world: World, i: int, errand: Errand) -> list[Errand]:
        """Return the present errand while it can be done, then the others, best first."""
        scene = self._planner.look(world, i)
        room = np.inf if self.need == NONE else 1.0 - float(world.needs[i, self.need])
        ranked = sorted(
            (-min(gain, room) / way.ticks, way.ticks, way.errand)
            for affordance, gain in self._gains.items()
            for way in self._planner.ways(scene, affordance)
        )
        present = [errand] if self._planner.can_do(scene, errand) else []
        return present + [candidate for _, _, candidate in ranked]


class GoToWork(Option):
    """Walks to the own work place in time and works until the shift ends."""

    def __init__(self, plan: Plan) -> None:
        """Take a compiled scenario."""
        self._work = frozenset(np.flatnonzero(plan.rules[0].affordance_work).tolist())

    def intend(self, seat: Seat, sight: Sight, errand: Errand) -> Intent | None:
        """Go, wait there for the shift or for the turn, work; None before it is time to set out."""
        world, i = sight.world, seat.slot
        affordance, place = work_affordance(seat, sight), int(world.job_object[i])
        if affordance == NONE:
            return None
        work, busy = Errand(affordance, place), int(world.busy_affordance[i])
        if busy == affordance:
            return Intent(WAIT, work)
        steps = steps_left(world, i, seat.plan.distance[place])
        buffer = int(seat.plan.rules[0].arrival_buffer)
        if steps == UNREACHABLE or minutes_to_shift(world, i) > steps + buffer:
            return None
        if busy != NONE:
            return Intent(seat.action("release"), work)
        action = pursue(seat, sight, affordance, place)
        early = steps == 0 and not on_shift(world, i)
        if action != WAIT or early or world.queue_object[i] == place:
            return Intent(action, work)
        return None

    def is_done(self, deeds: Deeds) -> bool:
        """Tell whether work has ended, with the shift."""
        return not deeds.finished.isdisjoint(self._work)


class Socialise(Option):
    """Walks to the nearest resident who is free and talks until a chat goes well."""

    def __init__(self, plan: Plan) -> None:
        """Take a compiled scenario."""
        self._plan = plan
        self._fields: dict[Cell, Steps] = {}  # found once per cell that somebody stood on

    def intend(self, seat: Seat, sight: Sight, errand: Errand) -> Intent | None:
        """Free the hands, walk into range, talk."""
        world, i = sight.world, seat.slot
        near = nearest_free_resident(world, i, int(seat.plan.rules[0].chat_range))
        partner = near if near != NONE else self._nearest(world, i)
        if partner == NONE:
            return None
        if sight.mask[seat.action("release")]:
            action = seat.action("release")
        elif near != NONE:
            action = seat.action("chat")
        else:
            action = walk(seat, sight, self._field(world, partner))
        return None if action == WAIT else Intent(action, NO_ERRAND)

    def is_done(self, deeds: Deeds) -> bool:
        """Tell whether a chat went well."""
        return deeds.talked

    def _nearest(self, world: World, i: int) -> int:
        """Return the free resident with the shortest path, or NONE; ties go to the lower slot."""
        steps = self._field(world, i)
        free = [
            (steps_left(world, j, steps), j)
            for j in range(int(world.n_residents))
            if j != i and world.alive[j] != 0 and world.busy_affordance[j] == NONE
        ]
        apart, nearest = min(free, default=(UNREACHABLE, NONE))
        return nearest if apart < UNREACHABLE else NONE

    def _field(self, world: World, i: int) -> Steps:
        """Return the steps from everywhere to where a resident stands."""
        cell = int(world.x[i]), int(world.y[i])
        if cell not in self._fields:
            self._fields[cell] = steps_to_cell(self._plan, cell)
        return self._fields[cell]


def build_options(plan: Plan) -> tuple[Option, ...]:
    """Return the options of a scenario by id, in the order of ``OPTION_NAMES``."""
    planner = ErrandPlanner(plan)
    shopping = {a: float(plan.rules[0].gives_ingredients[a]) for a in planner.sources}
    return (
        Wait(),
        *(
            RunErrand(planner, _gains(plan, need), need)
            for need in (Need.HUNGER, Need.HYGIENE, Need.ENERGY)
        ),
        GoToWork(plan),
        RunErrand(planner, shopping),
        Socialise(plan),
    )


def _gains(plan: Plan, need: int) -> dict[int, float]:
    """Return affordance -> gain of those that raise a need, and raise no other need more.

    A meal that also gives a little energy is no sleep. What is done on shift is work.
    """
    rules = plan.rules[0]
    effects = rules.affordance_effect[: len(plan.names.affordances)]
    return {
        a: float(effect[need])
        for a, effect in enumerate(effects)
        if 0.0 < effect[need] == effect.max() and not rules.affordance_work[a]
    }
