"""Rules 4: which actions are legal. What is legal happens or is attempted; nothing else is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.ids import NONE, Verb
from townlet_env.sim.places import (
    DX,
    DY,
    is_floor,
    manhattan,
    nearest_free_resident,
    on_shift,
    utilities_hold,
)
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Grid, Outcome, World


@kernel
def observe_mask(
    world: World, outcome: Outcome, rules: Rules, grid: Grid, mask: npt.NDArray[np.int8]
) -> None:
    """Write the (N, A) legal actions of every resident; ``wait`` is always legal.

    ``outcome`` holds what ``observe_places`` found.
    """
    for i in range(world.n_residents):
        mask[i] = 0
        mask[i, 0] = 1
        if world.alive[i] != 0 and world.busy_affordance[i] == NONE:
            mask_free(world, outcome, rules, grid, i, mask[i])
        elif world.alive[i] != 0:
            mask_busy(rules, mask[i])


@kernel
def mask_busy(rules: Rules, row: npt.NDArray[np.int8]) -> None:
    """Who is busy may give it up."""
    for a in range(rules.n_actions):
        if rules.action_verb[a] == Verb.RELEASE:
            row[a] = 1


@kernel
def mask_free(
    world: World, outcome: Outcome, rules: Rules, grid: Grid, i: int, row: npt.NDArray[np.int8]
) -> None:
    """Write the legal actions of a resident who is not busy."""
    held = int(world.reserved_object[i])
    empty_handed = held == NONE and world.queue_object[i] == NONE
    in_reach = held != NONE and manhattan(world, i, held) == 1
    for a in range(1, rules.n_actions):
        verb = int(rules.action_verb[a])
        argument = int(rules.action_argument[a])
        if verb == Verb.MOVE:
            row[a] = is_floor(grid, int(world.x[i]) + DX[argument], int(world.y[i]) + DY[argument])
        elif verb == Verb.APPROACH:
            found = outcome.kind_object[i, argument] != NONE
            row[a] = found and outcome.kind_steps[i, argument] > 0
        elif verb == Verb.REQUEST:
            row[a] = empty_handed and outcome.kind_near[i, argument] != NONE
        elif verb == Verb.START:
            row[a] = in_reach and can_start(world, rules, i, held, argument)
        elif verb == Verb.RELEASE:
            row[a] = not empty_handed
        elif verb == Verb.CHAT:
            row[a] = nearest_free_resident(world, i, rules.chat_range) != NONE


@kernel
def can_start(world: World, rules: Rules, i: int, o: int, affordance: int) -> bool:
    """The preconditions hold at the object that is held and in reach."""
    if not (int(rules.affordance_kinds[affordance]) >> int(world.kind[o])) & 1:
        return False
    power, water = (rules.affordance_power[affordance], rules.affordance_water[affordance])
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
