"""One decision of everybody who follows ``needs_driven``: the twin of ``NeedsDriven.act``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.policies.kernels.calls import (
    Scene,
    called,
    is_treat,
    minutes_to_work,
    spare_ticks,
    stands,
)
from townlet_env.policies.kernels.judgement import (
    COMFORT,
    CRITICAL_LEVEL,
    DUTY,
    MEETING,
    NEEDS_DRIVEN,
    REST,
    Atlas,
    Memory,
    real,
    whole,
)
from townlet_env.policies.kernels.outlook import blank, committed, look_ahead, people_ahead
from townlet_env.policies.kernels.walk import Mask, is_taken, walk
from townlet_env.sim.ids import MINUTES_PER_DAY, NEED_COUNT, NONE, Verb
from townlet_env.sim.kernels.observe_mask import has_what_it_takes
from townlet_env.sim.places import (
    DX,
    DY,
    manhattan,
    minute_of_day,
    nearest_free_resident,
    nearest_in_range,
    on_shift,
    utilities_hold,
)
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Distance, Records, World


@kernel
def decide_worlds(
    worlds: Records,
    rules: Records,
    distance: Distance,
    atlas: Atlas,
    masks: npt.NDArray[np.int8],
    memory: Records,
    orders: npt.NDArray[np.int32],
) -> None:
    """Decide for everybody in every world who follows ``needs_driven``.

    Args:
        worlds: (W,) world records.
        rules: (1,) compiled rules.
        distance: (M, H, W) steps to the reach of every object.
        atlas: What everybody knows by heart.
        masks: (W, N, A) legal actions.
        memory: (W, N) of MEMORY, changed in place; that of who is not in town is forgotten.
        orders: (W, N) action ids; those of others are left alone.
    """
    scene = Scene(distance, atlas, blank(len(atlas.starts)), whole(0), whole(0))
    for w in range(worlds.shape[0]):
        for i in range(worlds[w].n_residents):
            mind = memory[w, i]
            if mind.follows != NEEDS_DRIVEN:
                continue
            if worlds[w].alive[i] == 0:
                drop_aim(mind)
                orders[w, i] = 0
            else:
                orders[w, i] = decide(worlds[w], rules[0], scene, masks[w, i], mind, i)


@kernel
def decide(world: World, rules: Rules, scene: Scene, mask: Mask, mind: Memory, i: int) -> int:
    """Return the action of one resident, and remember the aim."""
    busy = world.busy_affordance[i] != NONE
    content = True
    for k in range(NEED_COUNT):
        content = content and real(world.needs[i, k]) >= CRITICAL_LEVEL
    if busy and (world.busy_remaining[i] > 0 or content):
        drop_aim(mind)
        return 0
    minutes = minutes_to_work(world, scene.distance, i)
    spare = spare_ticks(world, rules, i, minutes)
    now = Scene(scene.distance, scene.atlas, scene.outlook, minutes, spare)
    look_ahead(world, rules, now.distance, i, now.outlook)
    if busy:
        drop_aim(mind)
        called(world, rules, now, mind, i, DUTY)
        return 0 if mind.rank == REST else int(now.atlas.release)
    if stands(world, rules, now, mind, i):
        mind.age += 1
    else:
        drop_aim(mind)
    called(world, rules, now, mind, i, REST)
    action = carry_out(world, rules, now, mask, mind, i)
    return action if action != 0 else chat(world, rules, now.atlas, mask, i)


@kernel
def drop_aim(mind: Memory) -> None:
    """Want nothing."""
    mind.affordance = NONE
    mind.rank = REST
    mind.age = 0


@kernel
def carry_out(world: World, rules: Rules, scene: Scene, mask: Mask, mind: Memory, i: int) -> int:
    """Return the next action towards the aim."""
    atlas, a = scene.atlas, whole(mind.affordance)
    if mind.rank == DUTY:
        return pursue(world, rules, scene, mask, i, a, whole(world.job_object[i]))
    if mind.rank == REST or mind.rank == MEETING:
        if committed(world, i) != NONE:
            return int(atlas.release)
        if mind.rank == REST:
            return step_aside(world, atlas, mask, i)
        o = whole(world.meet_object)
        if manhattan(world, i, o) <= rules.chat_range:
            return 0
        return walk(world, scene.distance[o], atlas.moves, mask, i, True)
    o = scene.outlook.place[a]
    if committed(world, i) != NONE:
        return pursue(world, rules, scene, mask, i, a, o)
    if scene.distance[o, world.y[i], world.x[i]] == 0:
        o = whole(nearest_in_range(world, rules, i, whole(world.kind[o])))
    people, wait = people_ahead(world, i, o, 0)
    if (people > 0 or wait > 0) and mind.rank >= COMFORT and is_treat(world, atlas, i, a):
        return walk(world, scene.distance[o], atlas.moves, mask, i, True)
    return pursue(world, rules, scene, mask, i, a, o)


@kernel
def pursue(world: World, rules: Rules, scene: Scene, mask: Mask, i: int, a: int, o: int) -> int:
    """Return the next action on the way to doing an affordance at an object (errands.py)."""
    atlas, steps = scene.atlas, scene.distance[o]
    held, waited = whole(world.reserved_object[i]), whole(world.queue_object[i])
    left = whole(steps[world.y[i], world.x[i]])
    if held == o and mask[atlas.starts[a]] != 0:
        return int(atlas.starts[a])
    if (
        (held == o and left == 0)
        or (held != NONE and held != o)
        or (waited != NONE and waited != o)
    ):
        return int(atlas.release)
    if held == NONE and waited == NONE and can_start_soon(world, rules, i, a, o, left):
        kind = whole(world.kind[o])
        request = int(atlas.requests[kind])
        if mask[request] != 0 and nearest_in_range(world, rules, i, kind) == o:
            return request
    return walk(world, steps, atlas.moves, mask, i, waited == NONE)


@kernel
def can_start_soon(world: World, rules: Rules, i: int, a: int, o: int, left: int) -> bool:
    """Tell whether a turn that comes now would not be wasted."""
    if left > rules.queue_range:
        return False
    if rules.affordance_work[a] != 0 and not on_shift(world, i):
        minutes = whole(world.job_start[i]) - whole(minute_of_day(world))
        if minutes % whole(MINUTES_PER_DAY) > 1:
            return False
    power, water = rules.affordance_power[a], rules.affordance_water[a]
    return utilities_hold(world, power, water) and has_what_it_takes(world, rules, i, o, a)


@kernel
def step_aside(world: World, atlas: Atlas, mask: Mask, i: int) -> int:
    """Do not stand in front of things for nothing."""
    x, y = whole(world.x[i]), whole(world.y[i])
    if atlas.reach[y, x] == 0:
        return 0
    for d in range(4):
        nx, ny = x + DX[d], y + DY[d]
        action = int(atlas.moves[d])
        if mask[action] != 0 and atlas.reach[ny, nx] == 0 and not is_taken(world, i, nx, ny):
            return action
    return 0


@kernel
def chat(world: World, rules: Rules, atlas: Atlas, mask: Mask, i: int) -> int:
    """Talk, instead of waiting, to somebody near by who is no rival; not twice in a row."""
    if mask[atlas.chat] == 0 or world.last_verb[i] == Verb.CHAT:
        return 0
    j = nearest_free_resident(world, i, rules.chat_range)
    return 0 if world.rivalry[i, j] > rules.avoid_threshold else int(atlas.chat)
