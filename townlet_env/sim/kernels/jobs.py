"""Rules 3.8: shifts, lateness, absence, dismissal and wages."""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_env.sim.events import log
from townlet_env.sim.ids import NONE, EventKind, ShiftState
from townlet_env.sim.places import minute_of_day, on_shift, window_is_open
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import SHIFT_MEMORY, Outcome, World

WEEK = 0x7F  # a bit for each of the last seven shifts


@kernel
def work_shifts(world: World, outcome: Outcome, rules: Rules) -> None:
    """Advance the shift of everybody who has a job, and pay those who work."""
    for i in range(world.n_residents):
        if world.alive[i] == 0:
            continue
        if world.job_object[i] == NONE and not hire(world, i):
            continue
        if on_shift(world, i):
            live_shift(world, outcome, rules, i)
        else:
            leave_shift(world, outcome, rules, i)


@kernel
def hire(world: World, i: int) -> bool:
    """Give a newcomer the work place of the slot, unless its shift is under way already."""
    if world.post[i] == NONE or world.dismissed[i] != 0 or window_is_open(world, i):
        return False
    world.job_object[i] = world.post[i]
    return True


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
    lose_shift(world, outcome, rules, i)


@kernel
def lose_shift(world: World, outcome: Outcome, rules: Rules, i: int) -> None:
    """Log once who works in the place of somebody late or absent who has not worked at all."""
    if world.taken_over[i] != 0 or world.shift_worked[i] > 0:
        return
    if world.shift_state[i] == ShiftState.LATE or world.shift_state[i] == ShiftState.ABSENT:
        j = int(world.user[world.job_object[i]])
        if j != NONE and is_working(world, rules, j):
            world.taken_over[i] = 1
            log(outcome, EventKind.SHIFT_TAKEN, j, i, int(world.job_object[i]), 0.0)


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
        log(outcome, EventKind.SHIFT_DONE, i, NONE, int(world.job_object[i]), 0.0)
        remember_shift(world, i)
        world.shift_state[i] = ShiftState.DONE
        if recent_absences(world, i) >= rules.dismissal_absences:
            dismiss(world, outcome, i)
            return
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
    absent = 1 if world.shift_state[i] == ShiftState.ABSENT else 0
    world.absences[i] = ((int(world.absences[i]) << 1) | absent) & WEEK
    world.shift_worked[i] = 0
    world.shift_away[i] = 0
    world.taken_over[i] = 0


@kernel
def recent_absences(world: World, i: int) -> int:
    """Count the absences among the last seven shifts."""
    count = 0
    for day in range(7):
        count += (int(world.absences[i]) >> day) & 1
    return count


@kernel
def dismiss(world: World, outcome: Outcome, i: int) -> None:
    """Take the job away for good."""
    log(outcome, EventKind.DISMISSED, i, NONE, int(world.job_object[i]), 0.0)
    world.job_object[i] = NONE
    world.dismissed[i] = 1
    world.withheld[i] = 0.0
    world.shift_state[i] = ShiftState.OFF
