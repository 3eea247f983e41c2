"""Letting go of objects: what several rules do when somebody stops, leaves or is left out."""

from __future__ import annotations

from townlet_env.jit import kernel
from townlet_env.sim.ids import NONE
from townlet_env.sim.state import World


@kernel
def stop_using(world: World, i: int) -> None:
    """Free the resident ``i``, who is busy, and the object in use."""
    world.user[world.busy_object[i]] = NONE
    world.busy_affordance[i] = NONE
    world.busy_object[i] = NONE
    world.busy_remaining[i] = 0


@kernel
def drop_reservation(world: World, i: int) -> None:
    """Free the object that ``i`` holds."""
    o = int(world.reserved_object[i])
    world.holder[o] = NONE
    world.holder_age[o] = 0
    world.reserved_object[i] = NONE


@kernel
def leave_line(world: World, i: int) -> None:
    """Take ``i`` out of the line it waits in; those behind move up."""
    o = int(world.queue_object[i])
    kept = 0
    for place_in_line in range(world.queue_length[o]):
        j = world.queue[o, place_in_line]
        if j != i:
            world.queue[o, kept] = j
            kept += 1
    world.queue[o, kept] = NONE
    world.queue_length[o] = kept
    world.queue_object[i] = NONE
    world.queue_ticks[i] = 0
