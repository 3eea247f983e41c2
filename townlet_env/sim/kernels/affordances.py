"""Rules 3.6: affordances start, run for their duration and take effect once, on finish."""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_env.sim.events import log, log_affordance
from townlet_env.sim.hands import stop_using
from townlet_env.sim.ids import NEED_COUNT, NONE, EventKind, Need, Verb
from townlet_env.sim.places import cells_apart, manhattan, on_shift, utilities_hold
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import FULL, Orders, Outcome, World


@kernel
def run_affordances(world: World, outcome: Outcome, rules: Rules, orders: Orders) -> None:
    """Start what is ordered, then advance, fail or finish everything that runs.

    The tick of the start counts: an affordance of one tick starts and finishes in the same tick.
    """
    for turn in range(world.n_residents):
        i = int(outcome.turn[turn])
        if world.alive[i] == 0:
            continue
        # A ghost step in this very tick may have taken the object out of reach.
        if rules.action_verb[orders[i]] == Verb.START and in_reach(world, i):
            start(world, outcome, rules, i, int(rules.action_argument[orders[i]]))
        if world.busy_affordance[i] != NONE:
            advance(world, outcome, rules, i)


@kernel
def in_reach(world: World, i: int) -> bool:
    """Tell whether the reserved object is on a neighbouring cell."""
    o = int(world.reserved_object[i])
    return o != NONE and manhattan(world, i, o) == 1


@kernel
def start(world: World, outcome: Outcome, rules: Rules, i: int, affordance: int) -> None:
    """Turn the reservation of ``i`` into use."""
    o = int(world.reserved_object[i])
    world.reserved_object[i] = NONE
    world.holder[o] = NONE
    world.holder_age[o] = 0
    world.user[o] = i
    world.busy_affordance[i] = affordance
    world.busy_object[i] = o
    world.busy_remaining[i] = rules.affordance_ticks[affordance]
    outcome.success[i] = 1
    log_affordance(outcome, EventKind.AFFORDANCE_STARTED, i, NONE, o, affordance, 0.0)


@kernel
def advance(world: World, outcome: Outcome, rules: Rules, i: int) -> None:
    """Run one tick of what ``i`` does."""
    affordance = int(world.busy_affordance[i])
    power, water = rules.affordance_power[affordance], rules.affordance_water[affordance]
    if not utilities_hold(world, power, water):
        stop(world, outcome, i, EventKind.AFFORDANCE_FAILED)
    elif rules.affordance_ticks[affordance] == 0:
        if rules.affordance_work[affordance] != 0 and not on_shift(world, i):
            stop(world, outcome, i, EventKind.AFFORDANCE_FINISHED)
    else:
        world.busy_remaining[i] -= 1
        if world.busy_remaining[i] == 0:
            take_effect(world, rules, i, affordance, int(world.busy_object[i]))
            o = int(world.busy_object[i])
            world.cooldown_until[i, o] = world.tick + 1 + rules.cooldown_ticks
            stop(world, outcome, i, EventKind.AFFORDANCE_FINISHED)
            if rules.affordance_effect[affordance, Need.HUNGER] > 0.0:
                share_meal(world, outcome, rules, i, o)
            if rules.affordance_company[affordance] > 0.0:
                keep_company(world, outcome, rules, i, o, affordance)


@kernel
def stop(world: World, outcome: Outcome, i: int, kind: int) -> None:
    """Free the resident and the object."""
    o = int(world.busy_object[i])
    log_affordance(outcome, kind, i, NONE, o, int(world.busy_affordance[i]), 0.0)
    stop_using(world, i)


@kernel
def share_meal(world: World, outcome: Outcome, rules: Rules, i: int, o: int) -> None:
    """Share the meal just finished with those near by who finished one a short while ago."""
    for j in range(world.n_residents):
        if world.alive[j] == 0 or world.meal_until[j] <= world.tick:
            continue
        if j != i and cells_apart(world, i, j) <= rules.meal_range:
            log(outcome, EventKind.SHARED_MEAL, i, j, o, 0.0)
    world.meal_until[i] = world.tick + 1 + rules.meal_ticks


@kernel
def keep_company(
    world: World, outcome: Outcome, rules: Rules, i: int, o: int, affordance: int
) -> None:
    """Have been near those who still do something that is company."""
    for j in range(world.n_residents):
        other = int(world.busy_affordance[j])
        if world.alive[j] == 0 or other == NONE or rules.affordance_company[other] == 0.0:
            continue
        if cells_apart(world, i, j) <= rules.company_range:
            log(outcome, EventKind.COMPANY, i, j, o, rules.affordance_company[affordance])


@kernel
def price(world: World, rules: Rules, affordance: int) -> float:
    """Return what an affordance costs at today's prices, in meals."""
    return float(
        rules.takes_money[affordance]
        + rules.takes_meal_price[affordance] * world.price_meal
        + rules.takes_groceries_price[affordance] * world.price_groceries
    )


@kernel
def take_effect(world: World, rules: Rules, i: int, affordance: int, o: int) -> None:
    """Pay, consume and gain; the start checked that there is enough of everything."""
    cost = np.float32(price(world, rules, affordance))
    world.wallet[i] = max(world.wallet[i] - cost, np.float32(0.0))
    world.stock[o] -= rules.takes_stock[affordance]
    world.ingredients[i] -= rules.takes_ingredients[affordance]
    world.ingredients[i] = stored(world.ingredients[i], rules.gives_ingredients[affordance])
    if rules.gives_stock[affordance] > 0:
        into = nearest_store(world, i, int(rules.gives_stock_kind[affordance]))
        if into != NONE:
            world.stock[into] = stored(world.stock[into], rules.gives_stock[affordance])
    for k in range(NEED_COUNT):
        gained = world.needs[i, k] + rules.affordance_effect[affordance, k]
        world.needs[i, k] = min(max(gained, np.float32(0.0)), np.float32(1.0))


@kernel
def stored(held: int, more: int) -> int:
    """Return what a store holds then; one that is full takes no more."""
    return min(int(held) + int(more), FULL)


@kernel
def nearest_store(world: World, i: int, kind: int) -> int:
    """Return the object of a kind with the fewest Manhattan cells from ``i``, or NONE."""
    best = NONE
    best_cells = 0
    for o in range(world.n_objects):
        if world.kind[o] == kind:
            cells = abs(int(world.x[i]) - int(world.object_x[o])) + abs(
                int(world.y[i]) - int(world.object_y[o])
            )
            if best == NONE or cells < best_cells:
                best = o
                best_cells = cells
    return best
