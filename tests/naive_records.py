"""Reading the records of the simulation as the plain objects of ``naive_town.py``."""

from __future__ import annotations

from typing import Any

from naive_town import SHIFTS, VERBS, Ground, Happening, Job, Person, Thing, Tick, Town

from townlet_env.sim.ids import EVENT_NAMES, NONE


def read_town(ground: Ground, world: Any) -> Town:
    """Turn a record into objects."""
    kinds = ground.plan.names.kinds
    things = [
        Thing(
            kind=kinds[world.kind[o]],
            x=int(world.object_x[o]),
            y=int(world.object_y[o]),
            stock=int(world.stock[o]),
            restock=int(world.restock[o]),
            user=_index(world.user[o]),
            holder=_index(world.holder[o]),
            held_for=int(world.holder_age[o]),
            line=[int(i) for i in world.queue[o, : world.queue_length[o]]],
        )
        for o in range(world.n_objects)
    ]
    return Town(
        ground=ground,
        seed=int(world.seed),
        tick=int(world.tick),
        start_minute=int(world.start_minute),
        price_meal=float(world.price_meal),
        price_groceries=float(world.price_groceries),
        power=bool(world.power),
        water=bool(world.water),
        until=world.perturb_until.tolist(),
        silent=world.perturb_from.tolist(),
        meet_thing=_index(world.meet_object),
        calm_from=int(world.calm_from),
        exit_from=int(world.exit_from),
        exits_today=int(world.exits_today),
        arrivals=int(world.arrivals),
        people=[_read_person(ground, world, i) for i in range(world.n_residents)],
        things=things,
    )


def _read_person(ground: Ground, world: Any, i: int) -> Person:
    n, m = int(world.n_residents), int(world.n_objects)
    doing = _index(world.busy_affordance[i])
    history = zip(world.shifts_worked[i], world.shifts_scheduled[i], strict=True)
    return Person(
        alive=bool(world.alive[i]),
        newcomer=int(world.newcomer[i]),
        since=int(world.since[i]),
        vacant_until=_index(world.vacant_until[i]),
        quiet_until=int(world.quiet_until[i]),
        x=int(world.x[i]),
        y=int(world.y[i]),
        needs=world.needs[i].tolist(),
        wallet=float(world.wallet[i]),
        ingredients=int(world.ingredients[i]),
        pace=float(world.pace[i]),
        patience=float(world.patience[i]),
        warmth=float(world.warmth[i]),
        drawn=bool(world.drawn[i]),
        faint_ticks=int(world.faint_ticks[i]),
        rent_owed=float(world.rent_owed[i]),
        rent_missed=int(world.rent_missed[i]),
        notice=int(world.notice[i]),
        meal_until=int(world.meal_until[i]),
        meet_with=_index(world.meet_with[i]),
        meet_from=int(world.meet_from[i]),
        meets=int(world.meets[i]),
        blocked=int(world.blocked[i]),
        doing=None if doing is None else ground.plan.names.affordances[doing],
        at=_index(world.busy_object[i]),
        remaining=int(world.busy_remaining[i]),
        reserved=_index(world.reserved_object[i]),
        waits_for=_index(world.queue_object[i]),
        waited=int(world.queue_ticks[i]),
        cooldown=world.cooldown_until[i, :m].tolist(),
        last_verb=VERBS[world.last_verb[i]],
        last_success=bool(world.last_success[i]),
        potential=float(world.potential[i]),
        post=_read_job(world, i, world.post[i]),
        job=_read_job(world, i, world.job_object[i]),
        dismissed=bool(world.dismissed[i]),
        absences=[bool(int(world.absences[i]) >> day & 1) for day in range(7)],
        taken_over=bool(world.taken_over[i]),
        shift=SHIFTS[world.shift_state[i]],
        worked=int(world.shift_worked[i]),
        away=int(world.shift_away[i]),
        withheld=float(world.withheld[i]),
        shifts=[(int(worked), int(scheduled)) for worked, scheduled in history],
        rivalry=world.rivalry[i, :n].tolist(),
        trust=world.trust[i, :n].tolist(),
        familiarity=world.familiarity[i, :n].tolist(),
    )


def _read_job(world: Any, i: int, place: Any) -> Job | None:
    thing = _index(place)
    if thing is None:
        return None
    return Job(
        thing=thing,
        start=int(world.job_start[i]),
        end=int(world.job_end[i]),
        wage=float(world.job_wage[i]),
        penalty=float(world.job_penalty[i]),
    )


def read_tick(ground: Ground, outcome: Any, orders: Any) -> Tick:
    """Turn the record of what a tick did into objects."""
    n = len(orders)
    affordances = ground.plan.names.affordances
    events = []
    for row in range(outcome.n_events):
        kind, by, other, thing, affordance = (int(code) for code in outcome.events[row])
        name = None if affordance == NONE else affordances[affordance]
        value = float(outcome.event_value[row])
        who = (_index(by), _index(other))
        events.append(Happening(EVENT_NAMES[kind], *who, _index(thing), name, value))
    return Tick(
        orders=[int(order) for order in orders],
        turns=outcome.turn[:n].tolist(),
        illegal=[bool(flag) for flag in outcome.illegal[:n]],
        success=[bool(flag) for flag in outcome.success[:n]],
        wage=outcome.wage[:n].tolist(),
        punctuality=outcome.punctuality[:n].tolist(),
        social=outcome.social[:n].tolist(),
        components=outcome.components[:n].tolist(),
        reward=outcome.reward[:n].tolist(),
        arrived=[bool(flag) for flag in outcome.arrived[:n]],
        terminal=outcome.terminal[:n].tolist(),
        terminated=[bool(flag) for flag in outcome.terminated[:n]],
        truncated=[bool(flag) for flag in outcome.truncated[:n]],
        events=events,
    )


def _index(code: Any) -> int | None:
    return None if code == NONE else int(code)
