"""Rules 3.10: tills are filled up, rent is due."""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_env.sim.events import log
from townlet_env.sim.ids import NONE, EventKind
from townlet_env.sim.places import minute_of_day
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import FULL, Outcome, World


@kernel
def keep_accounts(world: World, outcome: Outcome, rules: Rules) -> None:
    """Fill up stocks at their minute, collect rent at midnight and from who is behind with it."""
    minute = minute_of_day(world)
    if minute == rules.restock_minute:
        fill_up(world, outcome)
    midnight = minute == 0 and world.tick > 0
    if midnight:
        world.exits_today = 0
    for i in range(world.n_residents):
        if world.alive[i] == 0:
            continue
        if midnight and rules.rent > 0.0:
            world.rent_owed[i] += rules.rent
            if not settle(world, outcome, i):
                world.rent_missed[i] = min(int(world.rent_missed[i]) + 1, FULL)
                log(outcome, EventKind.RENT_UNPAID, i, NONE, NONE, world.rent_owed[i])
        elif world.rent_missed[i] >= rules.rent_patience and world.rent_owed[i] > 0.0:
            settle(world, outcome, i)


@kernel
def fill_up(world: World, outcome: Outcome) -> None:
    """Bring every stock that has a level up to it."""
    for o in range(world.n_objects):
        missing = int(world.restock[o]) - int(world.stock[o])
        if missing > 0:
            world.stock[o] = world.restock[o]
            log(outcome, EventKind.RESTOCKED, NONE, NONE, o, missing)


@kernel
def settle(world: World, outcome: Outcome, i: int) -> bool:
    """Pay all the rent that is owed, or nothing; tell whether it was paid."""
    owed = world.rent_owed[i]
    if world.wallet[i] < owed:
        return False
    world.wallet[i] -= owed
    world.rent_owed[i] = np.float32(0.0)
    world.rent_missed[i] = 0
    log(outcome, EventKind.RENT_PAID, i, NONE, NONE, owed)
    return True
