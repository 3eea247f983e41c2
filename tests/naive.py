"""The rules of the town once more: slow, obvious, one function per kernel.

This is the twin that the compiled kernels are compared with. It is written from the rules (their
numbers are those of docs/SIMULATION.md) and reads its settings from the scenario itself, by name,
so that it also checks what the compiler of scenarios makes of them. ``naive_town.py`` holds the
objects and ``naive_records.py`` reads them from records; ``naive_perturb.py`` is what befalls the
town, ``naive_lives.py`` coming, paying and leaving, ``naive_social.py`` the rules between people,
``naive_views.py`` what they see.
"""

from __future__ import annotations

from typing import Any

from naive_lives import end_lives, keep_accounts, welcome_newcomers
from naive_perturb import perturb_town
from naive_social import score, update_ties, work_shifts
from naive_town import (
    NEEDS,
    STEPS,
    Cell,
    Tick,
    Town,
    around,
    meaning,
    new_tick,
)
from splitmix import draw


def live(town: Town, orders: list[int], mask: Any) -> Tick:
    """One whole tick, rules 3."""
    tick = new_tick(orders)
    take_orders(town, tick, mask)
    perturb_town(town, tick)
    welcome_newcomers(town, tick)
    move_residents(town, tick)
    join_queues(town, tick)
    serve_queues(town, tick)
    run_affordances(town, tick)
    decay_needs(town)
    work_shifts(town, tick)
    update_ties(town, tick)
    keep_accounts(town, tick)
    end_lives(town, tick)
    score(town, tick)
    advance_clock(town, tick)
    return tick


def take_orders(town: Town, tick: Tick, mask: Any) -> None:
    """3.0: what is not a legal id is wait, and counted; the turns of the tick are drawn."""
    for i, person in enumerate(town.people):
        known = 0 <= tick.orders[i] < len(town.ground.plan.names.actions)
        if not person.alive:
            tick.orders[i] = 0
        elif not known or not mask[i][tick.orders[i]]:
            tick.orders[i] = 0
            tick.illegal[i] = True
        elif tick.orders[i] == 0:
            tick.success[i] = True
    tick.turns = list(range(len(town.people)))
    for last in reversed(range(1, len(tick.turns))):  # Fisher and Yates
        chosen = draw(town.seed, 0, town.tick, last * 64 + 1) % (last + 1)
        tick.turns[last], tick.turns[chosen] = tick.turns[chosen], tick.turns[last]


def move_residents(town: Town, tick: Tick) -> None:
    """3.3: to one of 4 neighbours; blocked too often, two swap places."""
    for i in tick.turns:
        me = town.people[i]
        if not me.alive:
            continue
        verb, argument = meaning(town, tick, i)
        target = None
        if verb == "move":
            target = (me.x + STEPS[argument][0], me.y + STEPS[argument][1])
        elif verb == "approach":
            target = _next_cell(town, i, argument)
        if target is None:
            me.blocked = 0
            continue
        if target not in town.ground.floor:
            continue
        j = town.person_at(target)
        if j is not None:
            me.blocked += 1
            patient = me.blocked <= town.config.movement.ghost_step_after
            if patient or town.people[j].doing is not None:
                tick.say("move_blocked", i, j)
                continue
            tick.say("ghost_step", i, j)
            town.people[j].x, town.people[j].y = me.x, me.y
        me.x, me.y = target
        me.blocked = 0
        tick.success[i] = True


def _next_cell(town: Town, i: int, kind: str) -> Cell | None:
    """First step of a shortest path; north, south, east, west, but free cells first."""
    me, o = town.people[i], town.nearest_usable(i, kind)
    here = None if o is None else town.steps_to(o, (me.x, me.y))
    if o is None or here is None:
        return None
    ways = [(cell, town.steps_to(o, cell)) for cell in around((me.x, me.y))]
    closer = [cell for cell, steps in ways if steps is not None and steps < here]
    free = [cell for cell in closer if town.person_at(cell) is None]
    return (free or closer or [None])[0]


def join_queues(town: Town, tick: Tick) -> None:
    """3.4: release, and request."""
    for i in tick.turns:
        if not town.people[i].alive:
            continue
        verb, argument = meaning(town, tick, i)
        if verb == "release":
            _release(town, tick, i)
            tick.success[i] = True
        if verb == "request":
            o = town.nearest_in_range(i, argument)
            if o is not None:
                _request(town, tick, i, o)
                tick.success[i] = True


def _release(town: Town, tick: Tick, i: int) -> None:
    me = town.people[i]
    if me.doing is not None and me.at is not None:
        # Leaving work is its normal end; anything else is given up without effect.
        normal = town.affordance(me.doing).ticks == "until_released"
        kind = "affordance_finished" if normal else "affordance_released"
        _stop(town, tick, i, kind)
    elif me.reserved is not None:
        o = me.reserved
        _unreserve(town, i)
        if town.things[o].line:
            first = town.things[o].line[0]
            kind = "helped" if town.people[first].shift == "late" else "courtesy"
            tick.say(kind, i, first, thing=o)
    elif me.waits_for is not None:
        tick.say("queue_left", i, thing=me.waits_for)
        _leave_line(town, i)


def _request(town: Town, tick: Tick, i: int, o: int) -> None:
    thing = town.things[o]
    people = [thing.user, thing.holder, *thing.line]
    before = [j for j in people if j is not None]
    if before:
        tick.say("queue_conflict", i, before[0], thing=o, value=1 + 0.5 * len(thing.line))
    elif town.people[i].cooldown[o] <= town.tick:
        _reserve(town, tick, i, o)
        return
    tick.say("queue_joined", i, thing=o)
    _join_line(town, i, o)


def _reserve(town: Town, tick: Tick, i: int, o: int) -> None:
    town.things[o].holder, town.things[o].held_for = i, 0
    town.people[i].reserved = o
    tick.say("reserved", i, thing=o)


def _unreserve(town: Town, i: int) -> int:
    o = town.people[i].reserved
    assert o is not None
    town.people[i].reserved = None
    town.things[o].holder, town.things[o].held_for = None, 0
    return o


def _join_line(town: Town, i: int, o: int) -> None:
    town.things[o].line.append(i)
    town.people[i].waits_for, town.people[i].waited = o, 0


def _leave_line(town: Town, i: int) -> None:
    o = town.people[i].waits_for
    assert o is not None
    town.things[o].line.remove(i)
    town.people[i].waits_for, town.people[i].waited = None, 0


def serve_queues(town: Town, tick: Tick) -> None:
    """3.5: who waits ages, holders who do not start are rotated, free things are given out."""
    queues = town.config.queues
    for i, person in enumerate(town.people):
        if person.waits_for is not None:
            if town.cells_between(i, person.waits_for) > queues.range:
                tick.say("queue_left", i, thing=person.waits_for)
                _leave_line(town, i)
            else:
                person.waited += 1
    for o, thing in enumerate(town.things):
        if thing.user is not None:
            continue
        if thing.holder is not None and meaning(town, tick, thing.holder)[0] != "start":
            thing.held_for += 1
            if thing.held_for > queues.reservation_ticks:
                _rotate(town, tick, o)
        if thing.holder is None:
            fit = [i for i in thing.line if town.people[i].cooldown[o] <= town.tick]
            if fit:
                chosen = max(fit, key=lambda i: _priority(town, o, i))  # the first of equals
                _leave_line(town, chosen)
                _reserve(town, tick, chosen, o)
                thing.held_for = 1  # this tick counts, as for who asked at a free thing


def _priority(town: Town, o: int, i: int) -> float:
    weight = town.config.queues.age_priority_weight
    return weight * town.people[i].waited - town.things[o].line.index(i)


def _rotate(town: Town, tick: Tick, o: int) -> None:
    thing = town.things[o]
    late = thing.holder
    assert late is not None
    tick.say("queue_rotated", late, thing.line[0] if thing.line else None, thing=o)
    _unreserve(town, late)
    if town.cells_between(late, o) <= town.config.queues.range:
        _join_line(town, late, o)
    else:
        tick.say("queue_left", late, thing=o)


def run_affordances(town: Town, tick: Tick) -> None:
    """3.6: start with reservation and reach; effects once, on finish."""
    for i in tick.turns:
        me = town.people[i]
        if not me.alive:
            continue
        verb, argument = meaning(town, tick, i)
        if verb == "start" and me.reserved is not None and town.cells_between(i, me.reserved) == 1:
            o = _unreserve(town, i)
            town.things[o].user = i
            ticks = town.affordance(argument).ticks
            me.doing, me.at, me.remaining = argument, o, 0 if isinstance(ticks, str) else ticks
            tick.success[i] = True
            tick.say("affordance_started", i, thing=o, affordance=argument)
        if me.doing is not None:
            _go_on(town, tick, i)


def _go_on(town: Town, tick: Tick, i: int) -> None:
    me = town.people[i]
    assert me.doing is not None
    assert me.at is not None
    affordance = town.affordance(me.doing)
    if not town.supplied(affordance.requires):
        _stop(town, tick, i, "affordance_failed")
    elif affordance.ticks == "until_released":
        if not town.on_shift(i):
            _stop(town, tick, i, "affordance_finished")
    else:
        me.remaining -= 1
        if me.remaining == 0:
            _take_effect(town, i, affordance)
            me.cooldown[me.at] = town.tick + 1 + town.config.queues.cooldown_ticks
            place = me.at
            _stop(town, tick, i, "affordance_finished")
            _share(town, tick, i, affordance, place)


def _stop(town: Town, tick: Tick, i: int, kind: str) -> None:
    me = town.people[i]
    assert me.at is not None
    tick.say(kind, i, thing=me.at, affordance=me.doing)
    town.things[me.at].user = None
    me.doing, me.at, me.remaining = None, None, 0


def _take_effect(town: Town, i: int, affordance: Any) -> None:
    me = town.people[i]
    takes, gives = affordance.takes, affordance.gives
    assert me.doing is not None
    assert me.at is not None
    me.wallet = max(me.wallet - town.price(me.doing), 0.0)
    town.things[me.at].stock -= takes.stock
    me.ingredients += gives.ingredients - takes.ingredients
    stores = town.of_kind(gives.stock_of) if gives.stock_of else []
    if stores:
        nearest = min(stores, key=lambda o: town.cells_between(i, o))
        town.things[nearest].stock += gives.stock
    for k, need in enumerate(NEEDS):
        me.needs[k] = min(max(me.needs[k] + gives.model_dump()[need], 0.0), 1.0)


def _share(town: Town, tick: Tick, i: int, affordance: Any, place: int) -> None:
    """A meal finished a while ago or just now is shared by who is near; so is company."""
    ties, gives = town.config.ties, affordance.gives
    for j in town.others(i) if gives.hunger > 0 else []:
        other = town.people[j]
        if town.cells_apart(i, j) <= ties.meal_range and town.tick < other.meal_until:
            tick.say("shared_meal", i, j, thing=place)
    if gives.hunger > 0:
        town.people[i].meal_until = town.tick + 1 + ties.meal_ticks
    for j in town.others(i) if gives.company > 0 else []:
        doing = town.people[j].doing
        near = town.cells_apart(i, j) <= ties.company_range
        if near and doing is not None and town.affordance(doing).gives.company > 0:
            tick.say("company", i, j, thing=place, value=gives.company)


def decay_needs(town: Town) -> None:
    """3.7: needs fall, faster for residents of a high pace, never below 0."""
    needs = town.config.needs
    for person in town.people:
        if person.alive:
            for k, decay in enumerate(needs.decay.values()):
                fall = decay * (1 + needs.pace_effect * person.pace)
                person.needs[k] = max(person.needs[k] - fall, 0.0)


def advance_clock(town: Town, tick: Tick) -> None:
    """3.12: everybody in town is cut at the last tick."""
    town.tick += 1
    for i, person in enumerate(town.people):
        if person.alive:
            person.last_verb = meaning(town, tick, i)[0]
            person.last_success = tick.success[i]
            tick.truncated[i] = town.tick >= town.config.ticks and not tick.terminated[i]
