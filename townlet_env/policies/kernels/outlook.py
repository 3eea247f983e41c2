"""What a resident could do now: the twin of ``policies/outlook.py``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.policies.kernels.judgement import FAR, MARGIN, OPEN_END, real, whole
from townlet_env.sim.ids import NEED_COUNT, NONE
from townlet_env.sim.places import UNREACHABLE, utilities_hold
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Distance, World

Ints = npt.NDArray[np.int64]


class Outlook(NamedTuple):
    """The columns of ``policies.outlook.Prospect`` by affordance; one resident after another."""

    place: Ints
    trip: Ints
    line: Ints
    shunned: Ints
    first: Ints
    ticks: Ints
    cost: npt.NDArray[np.float64]
    order: Ints  # needs, the lowest first


@kernel
def blank(count: int) -> Outlook:
    """Return room for ``count`` affordances."""
    return Outlook(
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.float64),
        np.empty(NEED_COUNT, np.int64),
    )


@kernel
def look_ahead(world: World, rules: Rules, distance: Distance, i: int, outlook: Outlook) -> None:
    """Write what every affordance would take of resident ``i``."""
    order_needs(world, i, outlook.order)
    count = len(outlook.place)
    for a in range(count):
        outlook.first[a] = NONE
        outlook.ticks[a] = FAR
        outlook.cost[a] = 0.0
        find_place(world, rules, distance, i, a, outlook)
    improved = True
    while improved:
        improved = False
        for a in range(count):
            if provide(world, rules, i, a, outlook):
                improved = True


@kernel
def order_needs(world: World, i: int, order: Ints) -> None:
    """Write the needs of ``i`` in the order of their values; equals stay in theirs."""
    for k in range(NEED_COUNT):
        at = k
        while at > 0 and world.needs[i, order[at - 1]] > world.needs[i, k]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = k


@kernel
def find_place(
    world: World, rules: Rules, distance: Distance, i: int, a: int, outlook: Outlook
) -> None:
    """Write the best place for an affordance."""
    outlook.place[a] = NONE
    outlook.trip[a] = FAR
    outlook.line[a] = 0
    outlook.shunned[a] = 0
    if rules.affordance_work[a] != 0:
        return
    if not utilities_hold(world, rules.affordance_power[a], rules.affordance_water[a]):
        return
    x, y, mine = world.x[i], world.y[i], committed(world, i)
    duration, portion = whole(rules.affordance_ticks[a]), whole(rules.takes_stock[a])
    best = (whole(2), whole(0), whole(0), whole(0), whole(NONE))
    for o in range(world.n_objects):
        steps = whole(distance[o, y, x])
        if steps >= UNREACHABLE or not (whole(rules.affordance_kinds[a]) >> world.kind[o]) & 1:
            continue
        people, wait = people_ahead(world, i, o, duration)
        trip = whole(max(steps, wait) + 1 + duration)
        lacking = whole(whole(world.stock[o]) < portion * (1 + people))
        key = (lacking, whole(o != mine), is_shunned(world, rules, i, o), trip, whole(o))
        if key < best:
            best = key
            outlook.line[a] = max(wait - steps, 0)
    if best[4] != NONE:
        outlook.place[a] = best[4]
        outlook.trip[a] = best[3]
        outlook.shunned[a] = best[2]


@kernel
def committed(world: World, i: int) -> int:
    """Return the object that ``i`` holds or waits for, or NONE."""
    held = whole(world.reserved_object[i])
    return held if held != NONE else whole(world.queue_object[i])


@kernel
def people_ahead(world: World, i: int, o: int, duration: int) -> tuple[int, int]:
    """Return how many are served before ``i`` at an object, and ticks until they are."""
    people, wait = whole(0), whole(0)
    if world.holder[o] == i:
        return people, wait
    user = whole(world.user[o])
    if user != NONE and user != i:
        remaining = whole(world.busy_remaining[user])
        people += 1
        wait += remaining if remaining > 0 else OPEN_END
    if world.holder[o] != NONE:
        people += 1
        wait += duration
    for place_in_line in range(world.queue_length[o]):
        if world.queue[o, place_in_line] == i:
            break
        people += 1
        wait += duration
    return people, max(wait, whole(world.cooldown_until[i, o]) - whole(world.tick))


@kernel
def is_shunned(world: World, rules: Rules, i: int, o: int) -> int:
    """Return 1 if an avoided rival is there; who waits in line stays, who holds may let go."""
    holds = world.holder[o] == i
    mine = o == committed(world, i)
    if mine and not holds:
        return whole(0)
    if not mine and (
        is_avoided(world, rules, i, world.user[o]) or is_avoided(world, rules, i, world.holder[o])
    ):
        return whole(1)
    for place_in_line in range(world.queue_length[o]):
        if is_avoided(world, rules, i, world.queue[o, place_in_line]):
            return whole(1)
    return whole(0)


@kernel
def is_avoided(world: World, rules: Rules, i: int, j: int) -> bool:
    """Tell whether ``j`` is a rival whom ``i`` keeps away from."""
    return bool(j != NONE and world.rivalry[i, j] > rules.avoid_threshold)


@kernel
def provide(world: World, rules: Rules, i: int, a: int, outlook: Outlook) -> bool:
    """Add the provisions that an affordance needs; tell whether it is done sooner than known."""
    o = outlook.place[a]
    if o == NONE:
        return False
    first, ticks, cost = whole(a), outlook.trip[a], price(world, rules, a)
    people, _ = people_ahead(world, i, o, 0)
    if whole(world.stock[o]) < whole(rules.takes_stock[a]) * (1 + people):
        p = quickest(rules, outlook, whole(world.kind[o]))
        if p == NONE:
            return False
        first, ticks, cost = outlook.first[p], ticks + outlook.ticks[p], cost + outlook.cost[p]
    if world.ingredients[i] < rules.takes_ingredients[a]:
        p = quickest(rules, outlook, NONE)
        if p == NONE:
            return False
        first, ticks, cost = outlook.first[p], ticks + outlook.ticks[p], cost + outlook.cost[p]
    if ticks >= outlook.ticks[a] or (cost > 0.0 and real(world.wallet[i]) < cost + MARGIN):
        return False
    outlook.first[a] = first
    outlook.ticks[a] = ticks
    outlook.cost[a] = cost
    return True


@kernel
def quickest(rules: Rules, outlook: Outlook, kind: int) -> int:
    """Return what soonest gives stock into a kind, or ingredients with kind NONE; NONE if none."""
    best, soonest = whole(NONE), whole(FAR)
    for p in range(len(outlook.place)):
        if kind == NONE:
            gives = rules.gives_ingredients[p] > 0
        else:
            gives = rules.gives_stock[p] > 0 and rules.gives_stock_kind[p] == kind
        if gives and outlook.ticks[p] < soonest:
            best, soonest = whole(p), outlook.ticks[p]
    return best


@kernel
def price(world: World, rules: Rules, a: int) -> float:
    """Return what an affordance costs at today's prices, in meals."""
    meals = real(rules.takes_meal_price[a]) * real(world.price_meal)
    groceries = real(rules.takes_groceries_price[a]) * real(world.price_groceries)
    return real(rules.takes_money[a]) + meals + groceries
