"""What random states of small towns are made of; see ``worlds.random_stage``.

Everything here changes a record of a world, or of an outcome, in place. Random numbers are sums of
powers of two, for the reason given in ``towns.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from townlet_env.sim.ids import COMPONENT_COUNT, NONE, EventKind, Perturbation, ShiftState

if TYPE_CHECKING:
    from env.worlds import Scenario


def _dyadic(rng: np.random.Generator, low: int, high: int, parts: int, size: Any = None) -> Any:
    return rng.integers(low, high + 1, size) / parts


def scatter_numbers(world: Any, town: Scenario, rng: np.random.Generator) -> None:
    n, m = int(world.n_residents), int(world.n_objects)
    world.seed = np.uint64(rng.integers(0, 2**63))
    last = town.config.ticks - 1
    world.tick = rng.choice([0, last - 1, last, rng.integers(last)])
    minute = rng.choice(
        [0, town.config.economy.restock_minute, rng.integers(1440)], p=[0.2, 0.2, 0.6]
    )
    world.start_minute = (minute - world.tick) % 1440
    world.price_meal, world.price_groceries = _dyadic(rng, 0, 8, 4, 2)
    world.power, world.water = rng.random(2) < 0.8
    world.alive[:n] = rng.random(n) < 0.9
    world.alive[rng.integers(n)] = 1
    world.needs[:n] = _dyadic(rng, 0, 64, 64, (n, 3)) * (rng.random((n, 3)) < 0.9)
    world.wallet[:n] = _dyadic(rng, 0, 24, 8, n)
    world.ingredients[:n] = rng.integers(0, 3, n)
    world.pace[:n], world.patience[:n], world.warmth[:n] = _dyadic(rng, -4, 4, 4, (3, n))
    world.blocked[:n] = rng.integers(0, 5, n)
    world.cooldown_until[:n, :m] = world.tick + rng.integers(-9, 4, (n, m))
    world.last_verb[:n] = rng.integers(0, 7, n)
    world.last_success[:n] = rng.integers(0, 2, n)
    world.potential[:n] = -_dyadic(rng, 0, 64, 64, n)
    world.stock[:m] = rng.integers(0, 5, m)
    world.restock[:m] = rng.integers(0, 9, m) * (rng.random(m) < 0.5)
    some = rng.random((3, n, n)) < rng.random()
    off_diagonal = ~np.eye(n, dtype=bool)
    off_diagonal &= np.outer(world.alive[:n], world.alive[:n]) == 1
    world.rivalry[:n, :n] = _dyadic(rng, 0, 32, 32, (n, n)) * some[0] * off_diagonal
    world.trust[:n, :n] = _dyadic(rng, -32, 32, 32, (n, n)) * some[1] * off_diagonal
    world.familiarity[:n, :n] = _dyadic(rng, -32, 32, 32, (n, n)) * some[2] * off_diagonal


def scatter_troubles(world: Any, town: Scenario, rng: np.random.Generator) -> None:
    """Some perturbations last, and some end now; chance is silent here and there."""
    n, m = int(world.n_residents), int(world.n_objects)
    lasting = rng.random(4) < 0.4 * rng.random()
    lasting &= world.tick > 0
    if n < 2 or m == 0:
        lasting[Perturbation.MEET] = False
    world.perturb_until[:] = (world.tick + rng.choice([0, 0, 1, 9], 4)) * lasting
    world.perturb_from[:] = (world.tick + rng.integers(-5, 4, 4)) * (rng.random(4) < 0.5)
    if world.perturb_until[Perturbation.BLACKOUT]:
        world.power = 0
    if world.perturb_until[Perturbation.OUTAGE]:
        world.water = 0
    world.meet_from[:n] = world.tick + rng.integers(-9, 4, n)
    world.meets[:n] = rng.integers(0, 3, n)
    if world.perturb_until[Perturbation.MEET]:
        i, j = sorted(rng.permutation(n), key=lambda i: world.alive[i] < rng.random())[:2]
        world.meet_with[i], world.meet_with[j] = j, i
        world.meet_object = rng.integers(m)
    world.calm_from = world.tick + rng.integers(-9, 3)
    world.exit_from = world.tick + rng.integers(-9, 3)
    world.exits_today = rng.integers(0, 5)


def scatter_lives(world: Any, town: Scenario, rng: np.random.Generator) -> None:
    """Newcomers, vacant slots, people about to faint or to be evicted, rent owed."""
    n, lives = int(world.n_residents), town.config.lives
    world.arrivals = rng.choice([n, town.plan.max_newcomers])
    new = rng.random(n) < 0.5
    world.newcomer[:n] = (1 + rng.permutation(n)) * new
    world.since[:n] = np.maximum(world.tick - rng.integers(0, 2 * lives.grace_ticks, n), 0) * new
    vacant = (world.alive[:n] == 0) & (rng.random(n) < 0.8)
    world.vacant_until[:n] = np.where(vacant, world.tick + rng.integers(-1, 3, n), NONE)
    world.quiet_until[:n] = world.tick + rng.integers(-3, 3, n)
    near = rng.random((2, n)) < 0.5
    world.faint_ticks[:n] = (lives.faint_after + rng.integers(-5, 3, n)) * near[0]
    world.notice[:n] = np.maximum(lives.notice_ticks + rng.integers(-3, 3, n), 0) * near[1]
    world.rent_missed[:n] = rng.integers(0, lives.rent_patience + 2, n)
    world.rent_owed[:n] = world.rent_missed[:n] * town.config.economy.rent
    world.meal_until[:n] = world.tick + rng.integers(-3, 4, n)


def scatter_people(world: Any, town: Scenario, free: list[int], rng: np.random.Generator) -> None:
    cells = sorted(town.ground.floor)
    for i, cell in zip(free, rng.permutation(len(cells)), strict=False):
        world.x[i], world.y[i] = cells[cell]


def occupy(
    world: Any, town: Scenario, o: int, free: list[int], crowding: float, rng: np.random.Generator
) -> None:
    """Let some of the ``free`` use or hold object ``o``."""
    rules = town.plan.rules[0]
    fitting = [
        a
        for a in range(rules.n_affordances)
        if int(rules.affordance_kinds[a]) >> int(world.kind[o]) & 1
    ]
    if free and fitting and rng.random() < 0.8 * crowding:
        i = free.pop()
        if rng.random() < 0.6 and _stand_near(world, town, o, i, 1, rng):
            _use(world, rules, o, i, int(rng.choice(fitting)), rng)
        else:
            if rng.random() < 0.5:
                _stand_near(world, town, o, i, 1, rng)
            world.holder[o], world.reserved_object[i] = i, o
            world.holder_age[o] = rng.integers(0, rules.reservation_ticks + 1)


def line_up(
    world: Any, town: Scenario, o: int, free: list[int], crowding: float, rng: np.random.Generator
) -> None:
    """Let some of the ``free`` wait for object ``o``."""
    while free and rng.random() < 0.7 * crowding:
        i = free.pop()
        if rng.random() < 0.7:
            _stand_near(world, town, o, i, town.config.queues.range, rng)
        world.queue[o, world.queue_length[o]] = i
        world.queue_length[o] += 1
        # Eight ticks are worth a place in line, so that equals meet.
        equal = 8 * int(world.queue_length[o])
        world.queue_object[i], world.queue_ticks[i] = o, rng.choice([rng.integers(30), equal])


def gather(world: Any, town: Scenario, free: list[int], rng: np.random.Generator) -> None:
    """Some of the ``free`` stand near those who are busy."""
    busy = np.flatnonzero(world.user[: world.n_objects] != NONE)
    for i in free if len(busy) else []:
        if rng.random() < 0.4:
            _stand_near(world, town, int(rng.choice(busy)), i, 2, rng)


def meet(world: Any, town: Scenario, rng: np.random.Generator) -> None:
    """Who are to meet may be there."""
    for i in np.flatnonzero(world.meet_with[: world.n_residents] != NONE):
        if world.busy_affordance[i] == NONE and world.alive[i] and rng.random() < 0.6:
            _stand_near(world, town, int(world.meet_object), int(i), 2, rng)


def call_strays_home(world: Any, town: Scenario) -> None:
    """Take everybody out of their line who waits out of range."""
    for o in range(world.n_objects):
        line = world.queue[o, : world.queue_length[o]].tolist()
        columns, rows = np.abs(world.x - world.object_x[o]), np.abs(world.y - world.object_y[o])
        near = [i for i in line if columns[i] + rows[i] <= town.config.queues.range]
        for i in set(line) - set(near):
            world.queue_object[i], world.queue_ticks[i] = NONE, 0
        world.queue[o] = NONE
        world.queue[o, : len(near)] = near
        world.queue_length[o] = len(near)


def _use(world: Any, rules: Any, o: int, i: int, affordance: int, rng: np.random.Generator) -> None:
    world.user[o] = i
    world.busy_affordance[i], world.busy_object[i] = affordance, o
    duration = int(rules.affordance_ticks[affordance])
    soon = 1 if rng.random() < 0.5 else min(duration, 3)
    world.busy_remaining[i] = rng.integers(1, soon + 1) if duration else 0
    if rules.affordance_work[affordance]:
        world.job_object[i] = o
    # What the start asked for is still there.
    world.wallet[i] += 4
    world.stock[o] += rules.takes_stock[affordance]
    world.ingredients[i] += rules.takes_ingredients[affordance]


def _stand_near(
    world: Any, town: Scenario, o: int, i: int, cells: int, rng: np.random.Generator
) -> bool:
    """Move ``i`` to a free cell at most ``cells`` from an object, if there is one."""
    x, y = int(world.object_x[o]), int(world.object_y[o])
    alive = np.flatnonzero(world.alive)
    people = {(int(world.x[j]), int(world.y[j])) for j in alive}
    near = [c for c in town.ground.floor if abs(c[0] - x) + abs(c[1] - y) <= cells]
    fit = sorted(set(near) - people)
    if fit:
        world.x[i], world.y[i] = fit[rng.integers(len(fit))]
    return bool(fit)


def scatter_job(world: Any, i: int, rng: np.random.Generator) -> None:
    """Give most residents a shift around now, in a state that fits the time."""
    minute = int(world.start_minute + world.tick) % 1440
    if world.n_objects == 0 or (world.job_object[i] == NONE and rng.random() < 0.3):
        world.job_object[i] = NONE
        return
    if world.job_object[i] == NONE:
        world.job_object[i] = rng.integers(world.n_objects)
    # Who works mostly does so inside the window.
    earliest, latest = (-9, 1) if world.busy_object[i] == world.job_object[i] else (-40, 15)
    start = int(np.clip(minute + rng.integers(earliest, latest), 0, 1438))
    world.job_start[i], world.job_end[i] = start, min(start + int(rng.integers(1, 45)), 1440)
    world.job_wage[i], world.job_penalty[i] = _dyadic(rng, 0, 8, 64, 2)
    world.withheld[i] = _dyadic(rng, 0, 8, 64)
    state = rng.choice(len(ShiftState), p=[0.1, 0.2, 0.2, 0.25, 0.15, 0.1])
    world.shift_state[i] = state
    begun = state in (ShiftState.ON_TIME, ShiftState.LATE, ShiftState.ABSENT)
    least = 1 if state == ShiftState.ON_TIME else 0
    world.shift_worked[i] = rng.choice([least, rng.integers(least, 4)]) if begun else 0
    world.shift_away[i] = rng.integers(0, 6) if begun and world.shift_worked[i] else 0
    world.shifts_scheduled[i] = rng.integers(0, 500, 3)
    world.shifts_worked[i] = rng.integers(0, world.shifts_scheduled[i] + 1)


def share_jobs(world: Any, rng: np.random.Generator) -> None:
    """Some have the job of somebody who works now."""
    n = int(world.n_residents)
    at_work = (world.busy_object[:n] != NONE) & (world.busy_object[:n] == world.job_object[:n])
    for i in np.flatnonzero(~at_work) if at_work.any() else []:
        if rng.random() < 0.5:
            j = rng.choice(np.flatnonzero(at_work))
            for field in ("job_object", "job_start", "job_end"):
                world[field][i] = world[field][j]


def scatter_dismissals(world: Any, rng: np.random.Generator) -> None:
    """Some lost their job; some newcomers wait for the end of the shift before they get it."""
    n = int(world.n_residents)
    world.post[:n] = world.job_object[:n]
    world.absences[:n] = rng.integers(0, 128, n) & rng.integers(0, 128, n)
    world.taken_over[:n] = rng.random(n) < 0.3
    for i in np.flatnonzero((rng.random(n) < 0.2) & (world.busy_affordance[:n] == NONE)):
        world.job_object[i] = NONE
        world.dismissed[i] = rng.random() < 0.6
        world.shift_state[i], world.shift_worked[i], world.shift_away[i] = ShiftState.OFF, 0, 0
        if rng.random() < 0.5:
            world.wallet[i] = 0.0


def scatter_outcome(outcome: Any, world: Any, rng: np.random.Generator) -> None:
    """What the kernels before left behind; ties also find some events."""
    n = int(world.n_residents)
    outcome.turn[:n] = rng.permutation(n)
    outcome.wage[:n] = _dyadic(rng, 0, 8, 64, n)
    outcome.punctuality[:n] = _dyadic(rng, -8, 8, 8, n)
    outcome.social[:n] = _dyadic(rng, -8, 16, 64, n)
    outcome.components[:n] = rng.random((n, COMPONENT_COUNT))
    gone = (world.alive[:n] == 0) & (rng.random(n) < 0.5)
    outcome.terminated[:n] = gone
    outcome.terminal[:n] = -1.0 * gone * rng.integers(1, 3, n)
    outcome.arrived[:n] = (world.newcomer[:n] > 0) & (world.alive[:n] == 1) & (rng.random(n) < 0.3)
    alive = np.flatnonzero(world.alive[:n])
    told = (
        EventKind.QUEUE_CONFLICT,
        EventKind.QUEUE_ROTATED,
        EventKind.COURTESY,
        EventKind.GHOST_STEP,
        EventKind.HELPED,
        EventKind.SHARED_MEAL,
        EventKind.SHIFT_TAKEN,
        EventKind.COMPANY,
        EventKind.MET,
        EventKind.MEET_MISSED,
    )
    for row in range(int(rng.integers(0, 2 * n)) if len(alive) > 1 else 0):
        by, other = rng.permutation(alive)[:2]
        alone = rng.random() < 0.1
        kind = EventKind.QUEUE_JOINED if alone else told[rng.integers(len(told))]
        if rng.random() < 0.1:
            outcome.events[row] = (EventKind.RESTOCKED, NONE, NONE, NONE, NONE)
        else:
            outcome.events[row] = (kind, by, NONE if alone else other, NONE, NONE)
        large = 1 if kind == EventKind.QUEUE_CONFLICT else 16
        outcome.event_value[row] = (1 + 0.5 * rng.integers(0, 4)) / large
        outcome.n_events = row + 1
