"""Rules 4: which actions are legal. What is legal happens or is attempted; nothing else is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.ids import NONE
from townlet_env.sim.places import (
    kind_is_usable,
    manhattan,
    on_shift,
    utilities_hold,
)
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Ways, World


@kernel
def observe_mask(world: World, rules: Rules, ways: Ways, mask: npt.NDArray[np.int8]) -> None:
    """Write the (N, A) legal actions of every resident; ``wait`` is always legal."""
    for i in range(world.n_residents):
        row = mask[i]
        if world.alive[i] != 0 and world.busy_affordance[i] == NONE:
            legal = ways.legal[world.y[i], world.x[i]]
            for a in range(row.shape[0]):
                row[a] = legal[a]
            catch(world, rules, i, row)
            continue
        row[:] = 0
        row[0] = 1
        if world.alive[i] != 0:
            row[rules.release_action] = 1  # who is busy may give it up


@kernel
def catch(world: World, rules: Rules, i: int, row: npt.NDArray[np.int8]) -> None:
    """Correct the legal actions of a cell by what a resident who is not busy waits for or holds."""
    held = int(world.reserved_object[i])
    if held != NONE or world.queue_object[i] != NONE:
        row[rules.release_action] = 1
        for kind in range(rules.n_kinds):
            row[rules.request_action[kind]] = 0
    if world.power == 0 or world.water == 0:
        for kind in range(rules.n_kinds):
            row[rules.approach_action[kind]] &= kind_is_usable(world, rules, kind)
    if held != NONE and manhattan(world, i, held) == 1:
        for affordance in range(rules.n_affordances):
            may = can_start(world, rules, i, held, affordance)
            row[rules.start_action[affordance]] = may
    row[rules.chat_action] = somebody_is_free(world, i, rules.chat_range)


@kernel
def somebody_is_free(world: World, i: int, cells: int) -> bool:
    """Tell whether ``places.nearest_free_resident`` finds anybody."""
    x, y = int(world.x[i]), int(world.y[i])
    found = 0
    for j in range(world.n_residents):  # `&` where `and` would branch: eight at a time
        free = (world.alive[j] != 0) & (world.busy_affordance[j] == NONE) & (j != i)
        near = abs(x - int(world.x[j])) + abs(y - int(world.y[j])) <= cells
        found += free & near
    return found > 0


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
