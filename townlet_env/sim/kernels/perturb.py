"""Rules 3.1: price spikes, blackouts, outages and arranged meets."""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_env.sim.events import log
from townlet_env.sim.ids import (
    MINUTES_PER_DAY,
    NONE,
    PERTURBATION_COUNT,
    EventKind,
    Perturbation,
    Stream,
)
from townlet_env.sim.places import manhattan
from townlet_env.sim.random import (
    USE_FACTOR,
    USE_INVITE,
    USE_LENGTH,
    USE_PERTURB,
    USE_PLACE,
    draw,
    uniform,
)
from townlet_env.sim.rules import MAX_TIMES, Rules
from townlet_env.sim.state import FULL, Outcome, World


@kernel
def perturb_town(world: World, outcome: Outcome, rules: Rules) -> None:
    """End what is over and begin what is due; a different kind has the first turn every tick."""
    for turn in range(PERTURBATION_COUNT):
        k = (int(world.tick) + turn) % PERTURBATION_COUNT
        if k == Perturbation.MEET:
            attend_meet(world, outcome, rules)
        if world.perturb_until[k] != 0 and world.tick >= world.perturb_until[k]:
            end(world, outcome, rules, k)
        if world.perturb_until[k] == 0 and is_due(world, rules, k):
            begin(world, outcome, rules, k)


@kernel
def is_due(world: World, rules: Rules, k: int) -> bool:
    """A set time has come, or chance will have it."""
    for time in range(MAX_TIMES):
        if rules.perturb_at[k, time] == world.tick:
            return True
    if world.tick < world.perturb_from[k]:
        return False
    lasting = 0
    for other in range(PERTURBATION_COUNT):
        if world.perturb_until[other] != 0:
            lasting += 1
    if lasting >= rules.perturb_limit:
        return False
    luck = uniform(world.seed, Stream.EVENTS, world.tick, k * 64 + USE_PERTURB)
    return bool(luck < rules.perturb_daily[k] / MINUTES_PER_DAY)


@kernel
def begin(world: World, outcome: Outcome, rules: Rules, k: int) -> None:
    """Let a perturbation begin; its length is drawn. A meet needs two residents and a place."""
    if k == Perturbation.PRICE_SPIKE:
        luck = uniform(world.seed, Stream.EVENTS, world.tick, k * 64 + USE_FACTOR)
        least, most = rules.perturb_factor[0], rules.perturb_factor[1]
        factor = np.float32(least + (most - least) * luck)
        world.price_meal = rules.base_price_meal * factor
        world.price_groceries = rules.base_price_groceries * factor
        log(outcome, EventKind.PRICE_SPIKE, NONE, NONE, NONE, float(factor))
    elif k == Perturbation.BLACKOUT:
        world.power = 0
        log(outcome, EventKind.BLACKOUT, NONE, NONE, NONE, 0.0)
    elif k == Perturbation.OUTAGE:
        world.water = 0
        log(outcome, EventKind.OUTAGE, NONE, NONE, NONE, 0.0)
    elif not arrange_meet(world, outcome, rules):
        return
    bits = draw(world.seed, Stream.EVENTS, world.tick, k * 64 + USE_LENGTH)
    spread = rules.perturb_ticks[k, 1] - rules.perturb_ticks[k, 0] + 1
    length = rules.perturb_ticks[k, 0] + int(bits % np.uint64(spread))
    world.perturb_until[k] = world.tick + length


@kernel
def end(world: World, outcome: Outcome, rules: Rules, k: int) -> None:
    """Restore what a perturbation changed."""
    log(outcome, EventKind.PRICE_SPIKE_OVER + 2 * k, NONE, NONE, NONE, 0.0)
    world.perturb_until[k] = 0
    world.perturb_from[k] = world.tick + rules.perturb_cooldown[k]
    if k == Perturbation.MEET:
        world.meet_object = NONE
        for i in range(world.n_residents):
            world.meet_with[i] = NONE
        return
    world.calm_from = world.tick + rules.exit_grace
    if k == Perturbation.PRICE_SPIKE:
        world.price_meal = rules.base_price_meal
        world.price_groceries = rules.base_price_groceries
    elif k == Perturbation.BLACKOUT:
        world.power = rules.base_power
    else:
        world.water = rules.base_water


@kernel
def arrange_meet(world: World, outcome: Outcome, rules: Rules) -> bool:
    """Invite the two residents invited least often; tell whether there were two and a place."""
    place = draw_place(world, rules)
    first = least_invited(world, NONE)
    second = least_invited(world, first)
    if place == NONE or first == NONE or second == NONE:
        return False
    i, j = min(first, second), max(first, second)
    world.meet_object = place
    world.meet_with[i] = j
    world.meet_with[j] = i
    for guest in (i, j):
        world.meets[guest] = min(int(world.meets[guest]) + 1, FULL)
        world.meet_from[guest] = world.tick + rules.meet_cooldown
    log(outcome, EventKind.MEET, i, j, place, 0.0)
    return True


@kernel
def least_invited(world: World, skip: int) -> int:
    """Return who may be invited and was invited least often, or NONE; a draw decides on ties."""
    best = NONE
    best_luck = np.uint64(0)
    for i in range(world.n_residents):
        if i == skip or world.alive[i] == 0 or world.tick < world.meet_from[i]:
            continue
        luck = draw(world.seed, Stream.EVENTS, world.tick, i * 64 + USE_INVITE)
        if (
            best == NONE
            or world.meets[i] < world.meets[best]
            or (world.meets[i] == world.meets[best] and luck < best_luck)
        ):
            best = i
            best_luck = luck
    return best


@kernel
def draw_place(world: World, rules: Rules) -> int:
    """Return an object where people meet, any object if there is no such kind, or NONE."""
    fitting = 0
    for o in range(world.n_objects):
        fitting += int(rules.kind_meets[world.kind[o]])
    anywhere = fitting == 0
    count = int(world.n_objects) if anywhere else fitting
    if count == 0:
        return NONE
    bits = draw(world.seed, Stream.EVENTS, world.tick, Perturbation.MEET * 64 + USE_PLACE)
    left = int(bits % np.uint64(count))
    for o in range(world.n_objects):
        if anywhere or rules.kind_meets[world.kind[o]] != 0:
            if left == 0:
                return o
            left -= 1
    return NONE


@kernel
def attend_meet(world: World, outcome: Outcome, rules: Rules) -> None:
    """See who came; a meet that is held, missed or pointless ends now."""
    k = Perturbation.MEET
    if world.perturb_until[k] == 0:
        return
    first = NONE
    for i in range(world.n_residents):
        if world.meet_with[i] != NONE and first == NONE:
            first = i
    second = int(world.meet_with[first])
    gone = world.alive[first] == 0 or world.alive[second] == 0
    first_there = is_there(world, rules, first)
    second_there = is_there(world, rules, second)
    if gone:
        world.perturb_until[k] = world.tick
    elif first_there and second_there:
        log(outcome, EventKind.MET, first, second, int(world.meet_object), 0.0)
        world.perturb_until[k] = world.tick
    elif world.tick >= world.perturb_until[k] and first_there != second_there:
        came, missing = (first, second) if first_there else (second, first)
        log(outcome, EventKind.MEET_MISSED, came, missing, int(world.meet_object), 0.0)


@kernel
def is_there(world: World, rules: Rules, i: int) -> bool:
    """Tell whether an invited resident is at the place of the meet."""
    return bool(manhattan(world, i, int(world.meet_object)) <= rules.chat_range)
