"""Rules 3.3: residents step to a neighbouring cell, in the random order of the tick."""

from __future__ import annotations

from townlet_env.jit import kernel
from townlet_env.sim.events import log
from townlet_env.sim.ids import NONE, EventKind, Verb
from townlet_env.sim.places import DX, DY, is_floor, nearest_usable, occupant, place, step_towards
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import FULL, Grid, Orders, Outcome, Ways, World


@kernel
def move_residents(
    world: World, outcome: Outcome, rules: Rules, orders: Orders, grid: Grid, ways: Ways
) -> None:
    """Carry out ``move`` and ``approach``; residents block each other's cells."""
    for turn in range(world.n_residents):
        i = int(outcome.turn[turn])
        if world.alive[i] == 0:
            continue
        verb = rules.action_verb[orders[i]]
        argument = int(rules.action_argument[orders[i]])
        direction = NONE
        if verb == Verb.MOVE:
            direction = argument
        elif verb == Verb.APPROACH:
            o = nearest_usable(world, ways, rules, i, argument)
            if o != NONE:
                direction = step_towards(world, grid, ways, i, o)
        if direction == NONE:
            world.blocked[i] = 0
            continue
        x, y = int(world.x[i]) + DX[direction], int(world.y[i]) + DY[direction]
        if is_floor(grid, x, y):
            enter(world, outcome, rules, grid, i, x, y)


@kernel
def enter(world: World, outcome: Outcome, rules: Rules, grid: Grid, i: int, x: int, y: int) -> None:
    """Move ``i`` to a floor cell, or swap places after being blocked too often."""
    j = occupant(grid, x, y)
    old_x, old_y = int(world.x[i]), int(world.y[i])
    if j != NONE:
        world.blocked[i] = min(int(world.blocked[i]) + 1, FULL)
        if world.blocked[i] <= rules.ghost_step_after or world.busy_affordance[j] != NONE:
            log(outcome, EventKind.MOVE_BLOCKED, i, j, NONE, 0.0)
            return
        world.x[j] = old_x
        world.y[j] = old_y
        log(outcome, EventKind.GHOST_STEP, i, j, NONE, 0.0)
    place(grid, j, old_x, old_y)
    place(grid, i, x, y)
    world.x[i] = x
    world.y[i] = y
    world.blocked[i] = 0
    outcome.success[i] = 1
