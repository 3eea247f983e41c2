"""Rules 3.13 and 6: the feature vector of every resident, in the order of sim/features.py."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.features import (
    AT_BUSY,
    AT_CLOCK,
    AT_FRIENDS,
    AT_JOB,
    AT_KINDS,
    AT_LAST,
    AT_LIVES,
    AT_MEET,
    AT_NEEDS,
    AT_NEIGHBOUR,
    AT_PERSONALITY,
    AT_QUEUE,
    AT_RIVALS,
    AT_SHIFT,
    AT_SUCCESS,
    AT_TIES,
    AT_TOWN,
    AT_WALLET,
    AVOID_COUNT_SCALE,
    KIND_COLUMNS,
    SOCIAL_COLUMNS,
)
from townlet_env.sim.ids import NEED_COUNT, NONE
from townlet_env.sim.places import UNREACHABLE, kind_is_usable, minute_of_day
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import SHIFT_MEMORY, Ways, World

Row = npt.NDArray[np.float32]

NOBODY = 1 << 20  # cells; farther than anybody can be


@kernel
def observe_features(
    world: World,
    rules: Rules,
    ways: Ways,
    features: npt.NDArray[np.float32],
) -> None:
    """Write the (N, F) features of every resident; those not in town are zeros."""
    people = np.empty(world.kind.shape[0], np.float32)
    units = np.empty(world.kind.shape[0], np.float32)
    see_objects(world, people, units)
    for i in range(world.n_residents):
        row = features[i]
        if world.alive[i] == 0:
            row[:] = 0.0
            continue
        for column in range(AT_KINDS):  # the rest is always written
            row[column] = 0.0
        see_self(world, i, row)
        see_clock(world, rules, i, row)
        see_job(world, i, row)
        see_activity(world, rules, i, row)
        see_town(world, row)
        see_ties(world, rules, i, row)
        see_neighbour(world, i, row)
        see_meet(world, ways.steps, i, row)
        see_danger(world, rules, i, row)
        y, x = int(world.y[i]), int(world.x[i])
        see_kinds(ways.nearest[y, x], ways.columns[y, x], people, units, row)
        if world.power == 0 or world.water == 0:
            lose_kinds(world, rules, row)


@kernel
def squash(value: float, scale: float) -> float:
    """Map [0, inf) to [0, 1): value / (value + scale)."""
    return value / (value + scale)


@kernel
def see_self(world: World, i: int, row: Row) -> None:
    """Needs, wallet, inventory, last action, personality."""
    for k in range(NEED_COUNT):
        row[AT_NEEDS + k] = world.needs[i, k]
    row[AT_WALLET] = squash(world.wallet[i], 1.0)
    row[AT_WALLET + 1] = squash(world.ingredients[i], 1.0)
    row[AT_LAST + world.last_verb[i]] = 1.0
    row[AT_SUCCESS] = world.last_success[i]
    row[AT_PERSONALITY] = world.pace[i]
    row[AT_PERSONALITY + 1] = world.patience[i]
    row[AT_PERSONALITY + 2] = world.warmth[i]


@kernel
def see_clock(world: World, rules: Rules, i: int, row: Row) -> None:
    """Time of day, progress of the episode, and the first observation of a life."""
    minute = minute_of_day(world)
    row[AT_CLOCK] = rules.day_sin[minute]
    row[AT_CLOCK + 1] = rules.day_cos[minute]
    row[AT_CLOCK + 2] = min(world.tick / rules.max_ticks, 1.0)
    row[AT_CLOCK + 3] = 1.0 if world.tick == world.since[i] else 0.0


@kernel
def see_job(world: World, i: int, row: Row) -> None:
    """Shift state, minutes to the next start, attendance, wages withheld."""
    row[AT_SHIFT + world.shift_state[i]] = 1.0
    row[AT_JOB] = 1.0
    if world.job_object[i] != NONE:
        away = (int(world.job_start[i]) - minute_of_day(world) + 720) % 1440 - 720
        row[AT_JOB] = min(max(away / 720.0, -1.0), 1.0)
    worked = 0
    scheduled = 0
    for past in range(SHIFT_MEMORY):
        worked += int(world.shifts_worked[i, past])
        scheduled += int(world.shifts_scheduled[i, past])
    row[AT_JOB + 1] = worked / scheduled if scheduled > 0 else 1.0
    row[AT_JOB + 2] = squash(world.withheld[i], 1.0)


@kernel
def see_activity(world: World, rules: Rules, i: int, row: Row) -> None:
    """The affordance that runs, the reservation held, the place in line."""
    affordance = int(world.busy_affordance[i])
    if affordance != NONE:
        row[AT_BUSY] = 1.0
        duration = rules.affordance_ticks[affordance]
        if duration > 0:
            row[AT_BUSY + 1] = world.busy_remaining[i] / duration
    if world.reserved_object[i] != NONE:
        row[AT_QUEUE] = 1.0
        left = rules.reservation_ticks - world.holder_age[world.reserved_object[i]]
        row[AT_QUEUE + 1] = max(left, 0) / max(rules.reservation_ticks, 1)
    o = int(world.queue_object[i])
    if o != NONE:
        row[AT_QUEUE + 2] = 1.0
        for place_in_line in range(world.queue_length[o]):
            if world.queue[o, place_in_line] == i:
                row[AT_QUEUE + 3] = (place_in_line + 1.0) / (place_in_line + 2.0)


@kernel
def see_town(world: World, row: Row) -> None:
    """Prices and utilities."""
    row[AT_TOWN] = squash(world.price_meal, 1.0)
    row[AT_TOWN + 1] = squash(world.price_groceries, 1.0)
    row[AT_TOWN + 2] = world.power
    row[AT_TOWN + 3] = world.water


@kernel
def see_ties(world: World, rules: Rules, i: int, row: Row) -> None:
    """Rivalry in sum, the closest friends and the strongest rivals."""
    strongest = np.float32(0.0)
    avoided = 0
    friends = 0
    for j in range(world.n_residents):
        strongest = max(strongest, world.rivalry[i, j])
        avoided += world.rivalry[i, j] > rules.avoid_threshold
        friends += world.trust[i, j] + world.familiarity[i, j] > 0.0
    row[AT_TIES] = strongest
    row[AT_TIES + 1] = min(avoided / AVOID_COUNT_SCALE, 1.0)
    if friends > 0:
        first, second = closest(world, i, True)
        see_tie(world, i, first, row, AT_FRIENDS)
        see_tie(world, i, second, row, AT_FRIENDS + SOCIAL_COLUMNS)
    if strongest > 0.0:
        first, second = closest(world, i, False)
        see_tie(world, i, first, row, AT_RIVALS)
        see_tie(world, i, second, row, AT_RIVALS + SOCIAL_COLUMNS)


@kernel
def closest(world: World, i: int, friends: bool) -> tuple[int, int]:
    """Return the two ``i`` is closest to (trust + familiarity > 0), or rivals most; or NONE."""
    first = NONE
    second = NONE
    most = np.float32(0.0)
    next_most = np.float32(0.0)
    for j in range(world.n_residents):
        strength = world.rivalry[i, j]
        if friends:
            strength = world.trust[i, j] + world.familiarity[i, j]
        if strength <= next_most or j == i or world.alive[j] == 0:
            continue
        if strength > most:
            second = first
            next_most = most
            first = j
            most = strength
        else:
            second = j
            next_most = strength
    return first, second


@kernel
def see_tie(world: World, i: int, j: int, row: Row, at: int) -> None:
    """Write one social slot; zeros if there is nobody."""
    if j == NONE:
        return
    dx, dy = int(world.x[j]) - int(world.x[i]), int(world.y[j]) - int(world.y[i])
    cells = np.float32(max(abs(dx) + abs(dy), 1))
    row[at] = 1.0
    row[at + 1] = np.float32(dx) / cells
    row[at + 2] = np.float32(dy) / cells
    row[at + 3] = world.trust[i, j]
    row[at + 4] = world.familiarity[i, j]
    row[at + 5] = world.rivalry[i, j]


@kernel
def see_neighbour(world: World, i: int, row: Row) -> None:
    """How far the nearest resident is."""
    x, y = int(world.x[i]), int(world.y[i])
    nearest = NOBODY
    for j in range(world.n_residents):  # `|` where `or` would branch: eight at a time
        here = NOBODY * ((world.alive[j] == 0) | (j == i))
        cells = here + abs(x - int(world.x[j])) + abs(y - int(world.y[j]))
        nearest = min(nearest, cells)
    row[AT_NEIGHBOUR] = 1.0 if nearest < NOBODY else 0.0
    row[AT_NEIGHBOUR + 1] = squash(nearest, 8.0) if nearest < NOBODY else 1.0


@kernel
def see_meet(world: World, all_steps: npt.NDArray[np.uint16], i: int, row: Row) -> None:
    """Whether and where one is expected."""
    row[AT_MEET + 3] = 1.0
    if world.meet_with[i] == NONE:
        return
    o = int(world.meet_object)
    dx = int(world.object_x[o]) - int(world.x[i])
    dy = int(world.object_y[o]) - int(world.y[i])
    cells = max(abs(dx) + abs(dy), 1)
    steps = int(all_steps[world.y[i], world.x[i], o])
    row[AT_MEET] = 1.0
    row[AT_MEET + 1] = dx / cells
    row[AT_MEET + 2] = dy / cells
    row[AT_MEET + 3] = squash(steps, 8.0) if steps < UNREACHABLE else 1.0


@kernel
def see_danger(world: World, rules: Rules, i: int, row: Row) -> None:
    """Rent owed, and how near an exit is."""
    row[AT_LIVES] = squash(world.rent_owed[i], 1.0)
    row[AT_LIVES + 1] = min(world.faint_ticks[i] / max(rules.faint_after, 1), 1.0)
    row[AT_LIVES + 2] = min(world.notice[i] / (rules.notice_ticks + 1.0), 1.0)


@kernel
def see_objects(world: World, people: Row, units: Row) -> None:
    """Write how long the line of every object is and how full its stock, as features, once for all.

    Rows behind the last object are written too and never read: a loop of fixed length is what the
    compiler turns into vector instructions.
    """
    one, four = np.float32(1.0), np.float32(4.0)
    for o in range(people.shape[0]):
        taken = (world.user[o] != NONE) | (world.holder[o] != NONE)
        count = np.float32(world.queue_length[o]) + np.float32(taken)
        people[o] = count / (count + one)
    for o in range(units.shape[0]):
        count = np.float32(world.stock[o])
        units[o] = count / (count + four)


@kernel
def see_kinds(
    nearest: npt.NDArray[np.int16],
    columns: npt.NDArray[np.float32],
    people: Row,
    units: Row,
    row: Row,
) -> None:
    """Where the nearest object of each kind is, how long its line, how full its stock."""
    for kind in range(nearest.shape[0]):
        at = AT_KINDS + kind * KIND_COLUMNS
        row[at] = columns[kind, 0]
        row[at + 1] = columns[kind, 1]
        row[at + 2] = columns[kind, 2]
        o = int(nearest[kind])
        row[at + 3] = people[o] if o != NONE else np.float32(0.0)
        row[at + 4] = units[o] if o != NONE else np.float32(0.0)


@kernel
def lose_kinds(world: World, rules: Rules, row: Row) -> None:
    """What is of no use without power or water is as if it was not there."""
    for kind in range(rules.n_kinds):
        if not kind_is_usable(world, rules, kind):
            at = AT_KINDS + kind * KIND_COLUMNS
            for column in range(KIND_COLUMNS):
                row[at + column] = 0.0
            row[at + 2] = 1.0
