"""What calls, rank by rank: the twin of the first half of ``policies/needs_driven.py``."""

from __future__ import annotations

from typing import NamedTuple

from townlet_env.jit import kernel
from townlet_env.policies.kernels.judgement import (
    ARRIVAL_SLACK,
    COMFORT_LEVEL,
    CRITICAL,
    CRITICAL_LEVEL,
    DANGER,
    DIRE,
    DUTY,
    EVE,
    EVE_LEVEL,
    EVE_RESERVE,
    FAR,
    LINE,
    MARGIN,
    MEETING,
    NIGHT_ENDS,
    NIGHT_FALLS,
    NIGHT_LEVEL,
    PANTRY,
    PATIENCE,
    PROVISION,
    REST,
    SILENT,
    THRIFT,
    WORTH,
    Atlas,
    Memory,
    real,
    whole,
)
from townlet_env.policies.kernels.outlook import Outlook, committed
from townlet_env.sim.ids import MINUTES_PER_DAY, NEED_COUNT, NONE, Need, ShiftState
from townlet_env.sim.places import UNREACHABLE, minute_of_day
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Distance, World


class Scene(NamedTuple):
    """What one decision is made from, beside the world and the rules."""

    distance: Distance
    atlas: Atlas
    outlook: Outlook
    minutes: int  # until the own shift opens, 0 while it is open; FAR without a job
    spare: int  # ticks until one must be back at work


@kernel
def minutes_to_work(world: World, distance: Distance, i: int) -> int:
    """Return the minutes until the own shift opens, 0 while it is open; FAR without a job."""
    job = whole(world.job_object[i])
    if job == NONE or distance[job, world.y[i], world.x[i]] >= UNREACHABLE:
        return whole(FAR)
    minute, start = whole(minute_of_day(world)), whole(world.job_start[i])
    if start <= minute < world.job_end[i]:
        return whole(0)
    return (start - minute) % whole(MINUTES_PER_DAY)


@kernel
def spare_ticks(world: World, rules: Rules, i: int, minutes: int) -> int:
    """Return the ticks until one must stand at the work place; FAR if none is lost any more."""
    if minutes == FAR:
        return whole(FAR)
    if minutes > 0:
        return whole(minutes - ARRIVAL_SLACK)
    if world.shift_state[i] == ShiftState.ABSENT:
        return whole(FAR)
    if world.shift_worked[i] == 0:
        return whole(0)
    left = whole(rules.absence_slack) - whole(world.shift_away[i])
    return left if world.busy_affordance[i] == NONE else left - 1


@kernel
def called(world: World, rules: Rules, scene: Scene, mind: Memory, i: int, least: int) -> None:
    """Remember as the aim what calls more than it does, of the ranks before ``least``."""
    for rank in range(DIRE, least):
        if mind.rank <= rank:
            return
        call = hear(world, rules, scene, i, rank)
        if call != SILENT:
            mind.affordance = call
            mind.rank = rank
            mind.age = 0
            return


@kernel
def hear(world: World, rules: Rules, scene: Scene, i: int, rank: int) -> int:
    """Return the affordance that a rank asks for (NONE for a meet), or SILENT."""
    if rank == DUTY:
        return work(world, rules, scene, i)
    if rank == MEETING:
        o = whole(world.meet_object)
        if world.meet_with[i] == NONE or o == NONE:
            return whole(SILENT)
        reachable = scene.distance[o, world.y[i], world.x[i]] < UNREACHABLE
        return whole(NONE) if reachable else whole(SILENT)
    if rank == PROVISION:
        return provision(world, rules, scene, i)
    return need(world, rules, scene, i, rank)


@kernel
def stands(world: World, rules: Rules, scene: Scene, mind: Memory, i: int) -> bool:
    """Tell whether the aim is kept; work and meets are asked anew."""
    rank, a = whole(mind.rank), whole(mind.affordance)
    if rank in (DUTY, MEETING, REST) or mind.age >= PATIENCE:
        return False
    return scene.outlook.first[a] == a and is_admissible(world, rules, scene, i, rank, a)


@kernel
def need(world: World, rules: Rules, scene: Scene, i: int, rank: int) -> int:
    """Return what leads to satisfying the lowest need that calls at a rank, or SILENT."""
    outlook = scene.outlook
    for at in range(NEED_COUNT):
        k = outlook.order[at]
        best, best_value = whole(NONE), 0.0
        for a in range(len(outlook.place)):
            if scene.atlas.serves[a] != k or outlook.ticks[a] >= FAR:
                continue
            if not is_wanted(world, rules, scene, i, rank, a):
                continue
            if not is_admissible(world, rules, scene, i, rank, a):
                continue
            value = real(rules.affordance_effect[a, k])
            if not (is_night(world) and k == Need.ENERGY):
                thrift = THRIFT * outlook.cost[a] / (real(world.wallet[i]) + 1.0)
                value = value / (outlook.ticks[a] + thrift)
            if value > best_value:
                best, best_value = outlook.first[a], value
        if best != NONE:
            return best
    return whole(SILENT)


@kernel
def is_wanted(world: World, rules: Rules, scene: Scene, i: int, rank: int, a: int) -> bool:
    """Tell whether a need is low enough, at a rank, for what an affordance gives."""
    k = scene.atlas.serves[a]
    value, gain = real(world.needs[i, k]), real(rules.affordance_effect[a, k])
    pace = 1.0 + real(rules.pace_effect) * real(world.pace[i])
    decay = real(rules.need_decay[k]) * pace
    lost = decay * scene.outlook.ticks[a]
    if rank == DIRE:
        soonest = scene.outlook.ticks[a] == soonest_ticks(scene, k)
        return soonest and value < CRITICAL_LEVEL and value <= lost + DANGER
    if rank == CRITICAL:
        return value < CRITICAL_LEVEL
    level = max(COMFORT_LEVEL, 1.0 - gain)
    if k == Need.ENERGY and is_night(world):
        level = max(level, NIGHT_LEVEL)
    ahead = ticks_ahead(world, rules, scene, i)
    if ahead > 0:
        level = max(level, min(decay * ahead + EVE_RESERVE, EVE_LEVEL))
    return value < level and gain > WORTH * lost


@kernel
def soonest_ticks(scene: Scene, k: int) -> int:
    """Return the ticks until a need can be served at the soonest."""
    soonest = whole(FAR)
    for a in range(len(scene.outlook.place)):
        if scene.atlas.serves[a] == k:
            soonest = min(soonest, scene.outlook.ticks[a])
    return soonest


@kernel
def ticks_ahead(world: World, rules: Rules, scene: Scene, i: int) -> int:
    """Return the ticks without time for other needs: a shift, or a night's sleep."""
    ahead = whole(0)
    if is_night(world):
        for a in range(len(scene.outlook.place)):
            ahead = max(ahead, whole(rules.affordance_ticks[a]))
    if 0 < scene.minutes <= EVE:
        ahead = max(ahead, whole(world.job_end[i]) - whole(world.job_start[i]))
    return ahead


@kernel
def is_night(world: World) -> bool:
    """Tell whether it is time to go to bed."""
    minute = minute_of_day(world)
    return minute >= NIGHT_FALLS or minute < NIGHT_ENDS


@kernel
def is_admissible(world: World, rules: Rules, scene: Scene, i: int, rank: int, a: int) -> bool:
    """Tell whether the first step towards an affordance leaves time, line and money enough."""
    if rank == DIRE:
        return True
    outlook = scene.outlook
    f = outlook.first[a]
    if scene.spare < FAR:
        back = scene.atlas.between[outlook.place[f], world.job_object[i]] + 1
        if outlook.trip[f] + back > scene.spare:
            return False
    if rank == CRITICAL:
        return True
    cost = outlook.cost[a]
    owed = real(world.rent_owed[i]) + real(rules.rent)
    if cost > 0.0 and cost + owed + MARGIN > real(world.wallet[i]):
        return False
    in_line = outlook.place[f] == committed(world, i)
    patience = LINE if in_line or not is_treat(world, scene.atlas, i, a) else 0
    return bool(outlook.shunned[f] == 0 and outlook.line[f] <= patience)


@kernel
def is_treat(world: World, atlas: Atlas, i: int, a: int) -> bool:
    """Tell whether an affordance serves a need that is not low at all: no reason to queue."""
    k = atlas.serves[a]
    return bool(k != NONE and real(world.needs[i, k]) >= COMFORT_LEVEL)


@kernel
def work(world: World, rules: Rules, scene: Scene, i: int) -> int:
    """Return the own work if the shift is open or it is time to go there, or SILENT."""
    if scene.minutes == FAR:
        return whole(SILENT)
    job = whole(world.job_object[i])
    steps = whole(scene.distance[job, world.y[i], world.x[i]])
    if scene.minutes > 0 and scene.minutes > steps + 1 + ARRIVAL_SLACK:
        return whole(SILENT)
    for a in range(len(scene.outlook.place)):
        kinds = whole(rules.affordance_kinds[a])
        if rules.affordance_work[a] != 0 and (kinds >> world.kind[job]) & 1:
            return whole(a)
    return whole(SILENT)


@kernel
def provision(world: World, rules: Rules, scene: Scene, i: int) -> int:
    """Return what soonest fills the bag or the store, if there is little in it, or SILENT."""
    atlas, outlook = scene.atlas, scene.outlook
    best, soonest = whole(SILENT), whole(FAR)
    for a in range(len(outlook.place)):
        if atlas.supplies[a] == 0 or outlook.first[a] != a or outlook.ticks[a] >= soonest:
            continue
        store = whole(atlas.stores[a, outlook.place[a]])
        short = rules.gives_ingredients[a] > 0 and world.ingredients[i] < PANTRY
        if store != NONE:
            short = short or world.stock[store] < PANTRY
        if short and is_admissible(world, rules, scene, i, PROVISION, a):
            best, soonest = whole(a), outlook.ticks[a]
    return best
