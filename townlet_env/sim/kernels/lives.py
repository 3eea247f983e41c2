"""Rules 3.10: who faints or is evicted leaves town."""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_env.sim.events import log
from townlet_env.sim.hands import drop_reservation, leave_line, stop_using
from townlet_env.sim.ids import NEED_COUNT, NONE, EventKind, Perturbation, Stream
from townlet_env.sim.places import place
from townlet_env.sim.random import USE_DELAY, draw
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import FULL, Grid, Outcome, World


@kernel
def end_lives(world: World, outcome: Outcome, rules: Rules, grid: Grid) -> None:
    """Count the ticks of danger of everybody, and let go who is beyond them and may leave."""
    for turn in range(world.n_residents):
        i = int(outcome.turn[turn])
        outcome.terminal[i] = 0.0
        if world.alive[i] == 0 or rules.lives_enabled == 0:
            continue
        faint = min(int(world.faint_ticks[i]) + 1, FULL)
        world.faint_ticks[i] = faint if is_desperate(world, rules, i) else 0
        notice = min(int(world.notice[i]) + 1, FULL)
        world.notice[i] = notice if is_unwanted(world, rules, i) else 0
        faints = world.faint_ticks[i] >= rules.faint_after
        evicted = world.notice[i] > rules.notice_ticks
        if (faints or evicted) and may_leave(world, rules, i):
            outcome.terminal[i] = rules.faint_reward if faints else rules.eviction_reward
            kind = EventKind.FAINTED if faints else EventKind.EVICTED
            log(outcome, kind, i, NONE, NONE, 0.0)
            leave_town(world, outcome, rules, grid, i)


@kernel
def is_desperate(world: World, rules: Rules, i: int) -> bool:
    """Tell whether a need is at or below the faint level."""
    lowest = world.needs[i, 0]
    for k in range(1, NEED_COUNT):
        lowest = min(lowest, world.needs[i, k])
    return bool(lowest <= rules.faint_level)


@kernel
def is_unwanted(world: World, rules: Rules, i: int) -> bool:
    """Tell whether rent was missed too often, or job and money are gone."""
    broke = world.dismissed[i] != 0 and world.wallet[i] < rules.empty_wallet
    return bool(broke or world.rent_missed[i] >= rules.rent_patience)


@kernel
def may_leave(world: World, rules: Rules, i: int) -> bool:
    """Exits are few and far between, and not during or right after a perturbation."""
    for k in range(Perturbation.MEET):
        if world.perturb_until[k] != 0:
            return False
    settled = world.newcomer[i] == 0 or world.tick >= world.since[i] + rules.exit_grace
    return bool(
        settled
        and world.tick >= world.calm_from
        and world.tick >= world.exit_from
        and world.exits_today < rules.exits_per_day
    )


@kernel
def leave_town(world: World, outcome: Outcome, rules: Rules, grid: Grid, i: int) -> None:
    """Free everything the resident had a hand on, and forget every tie."""
    log(outcome, EventKind.EXIT, i, NONE, NONE, 0.0)
    outcome.terminated[i] = 1
    let_go(world, i)
    place(grid, NONE, int(world.x[i]), int(world.y[i]))
    world.alive[i] = 0
    for j in range(world.n_residents):
        for ties in (world.rivalry, world.trust, world.familiarity):
            ties[i, j] = 0.0
            ties[j, i] = 0.0
    world.exits_today += 1
    world.exit_from = world.tick + rules.exit_gap
    world.quiet_until[i] = world.tick + 1 + rules.quiet_ticks
    if rules.max_newcomers > 0:
        least = int(rules.arrival_delay[0])
        spread = np.uint64(rules.arrival_delay[1] - least + 1)
        bits = draw(world.seed, Stream.EVENTS, world.tick, i * 64 + USE_DELAY)
        world.vacant_until[i] = world.tick + 1 + least + int(bits % spread)


@kernel
def let_go(world: World, i: int) -> None:
    """Free the object in use, the reservation and the place in line."""
    if world.busy_object[i] != NONE:
        stop_using(world, i)
    if world.reserved_object[i] != NONE:
        drop_reservation(world, i)
    if world.queue_object[i] != NONE:
        leave_line(world, i)
