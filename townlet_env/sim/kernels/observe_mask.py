"""Rules 4: which actions are legal. What is legal happens or is attempted; nothing else is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.ids import NONE, Verb
from townlet_env.sim.places import (
    DX,
    DY,
    UNREACHABLE,
    is_floor,
    manhattan,
    nearest_free_resident,
    nearest_in_range,
    nearest_usable,
    on_shift,
    utilities_hold,
)
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Distance, Grid, World


@kernel
def observe_mask(
    world: World, rules: Rules, grid: Grid, distance: Distance, mask: npt.NDArray[np.int8]
) -> None:
    """Write the (N, A) legal actions of every resident; ``wait`` is always legal."""
    for i in range(world.n_residents):
        for a in range(rules.n_actions):
            verb = int(rules.action_verb[a])
            argument = int(rules.action_argument[a])
            if verb == Verb.WAIT:
                mask[i, a] = 1
            elif world.alive[i] == 0:
                mask[i, a] = 0
            elif verb == Verb.RELEASE:
                mask[i, a] = can_release(world, i)
            elif world.busy_affordance[i] != NONE:
                mask[i, a] = 0
            elif verb == Verb.MOVE:
                x, y = int(world.x[i]) + DX[argument], int(world.y[i]) + DY[argument]
                mask[i, a] = is_floor(grid, x, y)
            else:
                mask[i, a] = can_use(world, rules, distance, i, verb, argument)


@kernel
def can_use(
    world: World, rules: Rules, distance: Distance, i: int, verb: int, argument: int
) -> bool:
    """Tell whether a resident who is not busy may do this with things or people."""
    if verb == Verb.APPROACH:
        return can_approach(world, rules, distance, i, argument)
    if verb == Verb.REQUEST:
        return can_request(world, rules, i, argument)
    if verb == Verb.START:
        return can_start(world, rules, i, argument)
    return nearest_free_resident(world, i, rules.chat_range) != NONE


@kernel
def can_release(world: World, i: int) -> bool:
    """Something is used, held or waited for."""
    return bool(
        world.busy_affordance[i] != NONE
        or world.reserved_object[i] != NONE
        or world.queue_object[i] != NONE
    )


@kernel
def can_approach(world: World, rules: Rules, distance: Distance, i: int, kind: int) -> bool:
    """There is a usable one that can be reached and is not yet in reach."""
    o = nearest_usable(world, distance, rules, i, kind)
    if o == NONE:
        return False
    steps = int(distance[o, world.y[i], world.x[i]])
    return steps > 0 and steps < UNREACHABLE


@kernel
def can_request(world: World, rules: Rules, i: int, kind: int) -> bool:
    """One is near, and nothing is held or waited for yet."""
    if world.reserved_object[i] != NONE or world.queue_object[i] != NONE:
        return False
    return nearest_in_range(world, rules, i, kind) != NONE


@kernel
def can_start(world: World, rules: Rules, i: int, affordance: int) -> bool:
    """The reservation is held, the object is in reach, and the preconditions hold."""
    o = int(world.reserved_object[i])
    if o == NONE or manhattan(world, i, o) != 1:
        return False
    if not (int(rules.affordance_kinds[affordance]) >> int(world.kind[o])) & 1:
        return False
    power, water = rules.affordance_power[affordance], rules.affordance_water[affordance]
    if not utilities_hold(world, power, water):
        return False
    if rules.affordance_work[affordance] != 0 and (
        world.job_object[i] != o or not on_shift(world, i)
    ):
        return False
    return has_what_it_takes(world, rules, i, o, affordance)


@kernel
def has_what_it_takes(world: World, rules: Rules, i: int, o: int, affordance: int) -> bool:
    """Money, stock and ingredients suffice."""
    cost = (
        rules.takes_money[affordance]
        + rules.takes_meal_price[affordance] * world.price_meal
        + rules.takes_groceries_price[affordance] * world.price_groceries
    )
    return bool(
        world.wallet[i] >= cost
        and world.stock[o] >= rules.takes_stock[affordance]
        and world.ingredients[i] >= rules.takes_ingredients[affordance]
    )
