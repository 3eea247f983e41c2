"""Rules 3.8: shifts, lateness, absence and wages."""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_env.sim.events import log
from townlet_env.sim.ids import NONE, EventKind, ShiftState
from townlet_env.sim.places import minute_of_day, on_shift
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import SHIFT_MEMORY, Outcome, World


@kernel
def work_shifts(world: World, outcome: Outcome, rules: Rules) -> None:
    """Advance the shift of everybody who has a job, and pay those who work."""
    for i in range(world.n_residents):
        if world.alive[i] == 0 or world.job_object[i] == NONE:
            continue
        if on_shift(world, i):
            live_shift(world, outcome, rules, i)
        else:
            leave_shift(world, outcome, rules, i)


@kernel
def is_working(world: World, rules: Rules, i: int) -> bool:
    """Tell whether ``i`` works at its own place."""
    affordance = int(world.busy_affordance[i])
    return affordance != NONE and rules.affordance_work[affordance] != 0


@kernel
def live_shift(world: World, outcome: Outcome, rules: Rules, i: int) -> None:
    """One tick inside the window [start, end)."""
    minutes_in = minute_of_day(world) - int(world.job_start[i])
    working = is_working(world, rules, i)
    if working and world.shift_worked[i] == 0 and world.shift_state[i] != ShiftState.ABSENT:
        outcome.punctuality[i] = punctuality(minutes_in, rules.grace_ticks)
    if world.shift_state[i] == ShiftState.OFF or world.shift_state[i] == ShiftState.DONE:
        world.shift_state[i] = ShiftState.PRE
    if world.shift_state[i] == ShiftState.PRE:
        if minutes_in > rules.grace_ticks:
            world.shift_state[i] = ShiftState.LATE
            world.withheld[i] += world.job_penalty[i]
            log(outcome, EventKind.SHIFT_LATE, i, NONE, int(world.job_object[i]), minutes_in)
        elif working:
            world.shift_state[i] = ShiftState.ON_TIME
            log(outcome, EventKind.SHIFT_ON_TIME, i, NONE, int(world.job_object[i]), minutes_in)
    if working:
        pay(world, outcome, i)
    elif world.shift_worked[i] > 0:
        world.shift_away[i] += 1
    check_absence(world, outcome, rules, i, minutes_in)


@kernel
def check_absence(world: World, outcome: Outcome, rules: Rules, i: int, minutes_in: int) -> None:
    """Call absent who never came, or was away too long; who came was scored when work began."""
    never_came = world.shift_worked[i] == 0 and minutes_in > rules.absent_cutoff
    gone = world.shift_away[i] > rules.absence_slack
    if world.shift_state[i] != ShiftState.ABSENT and (never_came or gone):
        world.shift_state[i] = ShiftState.ABSENT
        if never_came:
            outcome.punctuality[i] = -1.0
        log(outcome, EventKind.SHIFT_ABSENT, i, NONE, int(world.job_object[i]), minutes_in)


@kernel
def punctuality(minutes_late: int, grace_ticks: int) -> float:
    """Triangular in the minutes late: 1 at the start, 0 at the end of the grace, down to -1."""
    return max(1.0 - minutes_late / max(grace_ticks, 1), -1.0)


@kernel
def pay(world: World, outcome: Outcome, i: int) -> None:
    """Pay the wage of a tick; what a penalty withholds is worked off first."""
    world.shift_worked[i] += 1
    kept = min(world.job_wage[i], world.withheld[i])
    world.withheld[i] -= kept
    world.wallet[i] += world.job_wage[i] - kept
    outcome.wage[i] = world.job_wage[i] - kept


@kernel
def leave_shift(world: World, outcome: Outcome, rules: Rules, i: int) -> None:
    """One tick outside the window: close the shift that ended, or wait for the next."""
    minute = minute_of_day(world)
    state = int(world.shift_state[i])
    if state == ShiftState.ON_TIME or state == ShiftState.LATE or state == ShiftState.ABSENT:
        remember_shift(world, i)
        world.shift_state[i] = ShiftState.DONE
        log(outcome, EventKind.SHIFT_DONE, i, NONE, int(world.job_object[i]), 0.0)
    until = (int(world.job_start[i]) - minute) % 1440
    if until <= rules.arrival_buffer:
        world.shift_state[i] = ShiftState.PRE
    elif minute < world.job_start[i]:
        world.shift_state[i] = ShiftState.OFF  # a new day
    elif state == ShiftState.PRE:
        world.shift_state[i] = ShiftState.DONE  # a shift shorter than the grace, never begun


@kernel
def remember_shift(world: World, i: int) -> None:
    """Move today's shift into the memory that attendance is computed from."""
    for past in range(SHIFT_MEMORY - 1, 0, -1):
        world.shifts_worked[i, past] = world.shifts_worked[i, past - 1]
        world.shifts_scheduled[i, past] = world.shifts_scheduled[i, past - 1]
    world.shifts_worked[i, 0] = world.shift_worked[i]
    world.shifts_scheduled[i, 0] = np.int16(world.job_end[i] - world.job_start[i])
    world.shift_worked[i] = 0
    world.shift_away[i] = 0
