"""Rules 3.13: where residents find the kinds of objects; features and masks are read off it."""

from __future__ import annotations

from townlet_env.jit import kernel
from townlet_env.sim.ids import NONE
from townlet_env.sim.places import UNREACHABLE, utilities_hold
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Distance, Outcome, World


@kernel
def observe_places(world: World, outcome: Outcome, rules: Rules, distance: Distance) -> None:
    """Find the nearest object of every kind for every resident, in one look at all objects."""
    for i in range(world.n_residents):
        if world.alive[i] != 0:
            look_around(world, outcome, rules, distance, i)


@kernel
def look_around(world: World, outcome: Outcome, rules: Rules, distance: Distance, i: int) -> None:
    """Find what is nearest to one resident; ties go to the lower index."""
    nearest, steps_to, near = (outcome.kind_object[i], outcome.kind_steps[i], outcome.kind_near[i])
    for kind in range(rules.n_kinds):
        nearest[kind] = NONE
        steps_to[kind] = UNREACHABLE
        near[kind] = NONE
    x, y = int(world.x[i]), int(world.y[i])
    for o in range(world.n_objects):
        kind = world.kind[o]
        steps = int(distance[o, y, x])
        if steps < steps_to[kind]:
            steps_to[kind] = steps
            nearest[kind] = o
        cells = abs(x - int(world.object_x[o])) + abs(y - int(world.object_y[o]))
        if cells <= rules.queue_range and (
            near[kind] == NONE or cells < cells_to(world, x, y, near[kind])
        ):
            near[kind] = o
    for kind in range(rules.n_kinds):
        if not utilities_hold(world, rules.kind_power[kind], rules.kind_water[kind]):
            nearest[kind] = NONE


@kernel
def cells_to(world: World, x: int, y: int, o: int) -> int:
    """Return the Manhattan distance between a cell and an object."""
    return abs(x - int(world.object_x[o])) + abs(y - int(world.object_y[o]))
