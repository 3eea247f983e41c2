"""What there is to see of a world at one moment, as plain facts; every drawing starts here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.errors import ResetNeeded
from townlet_env.render.ground import Cells, Ground
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.features import RADIUS
from townlet_env.sim.ids import (
    MINUTES_PER_DAY,
    NONE,
    SHIFT_STATE_NAMES,
    Perturbation,
    ShiftState,
    Verb,
)
from townlet_env.sim.places import WALL
from townlet_env.sim.plan import Plan, resident_name
from townlet_env.sim.state import World

# What somebody is doing who does one of the shipped affordances; others are called by their names.
DOING = {
    "eat_meal": "eating",
    "eat_homemade": "eating",
    "cook_meal": "cooking",
    "use_shower": "washing",
    "rest_sleep": "sleeping",
    "buy_groceries": "shopping",
    "work_shift": "working",
    "rest_bench": "resting",
}
_ORDINALS = ("1st", "2nd", "3rd")


class ResidentSight(NamedTuple):
    """A resident who is in town."""

    slot: int
    name: str
    x: int
    y: int
    needs: tuple[float, float, float]  # hunger, hygiene, energy in [0, 1], 1 satisfied
    wallet: float  # meals
    ingredients: int
    rent_owed: float  # meals
    doing: str  # in a few words
    busy_object: int  # index of the object in use, or NONE
    progress: float  # of a running affordance in [0, 1]; -1 if none runs or it is open ended
    reserved_object: int  # or NONE
    queue_object: int  # or NONE
    place: int  # in that line, 0 is next; NONE if not waiting
    shift: str  # ids.SHIFT_STATE_NAMES; empty without a job


class ObjectSight(NamedTuple):
    """An object."""

    number: int  # row in the state arrays
    name: str
    kind: str
    kind_index: int
    x: int
    y: int
    stock: int
    stocked: bool  # stock matters at this kind
    user: int  # slot, or NONE
    holder: int  # slot, or NONE
    queue: tuple[int, ...]  # slots, first in line first
    works: bool  # the utilities it needs are there
    meeting: bool  # two residents are to meet here


class Tie(NamedTuple):
    """How strongly two residents are tied; the stronger direction counts."""

    a: int  # slot
    b: int  # slot, larger than a
    strength: float  # in (0, 1]


class Scene(NamedTuple):
    """A town at one moment."""

    title: str
    ground: Cells  # (H, W) of ground.Ground
    kinds: tuple[str, ...]
    residents: tuple[ResidentSight, ...]  # those in town, in slot order
    objects: tuple[ObjectSight, ...]
    rivalries: tuple[Tie, ...]
    trusts: tuple[Tie, ...]
    avoid: float  # rivalry from which somebody is avoided
    tick: int
    last_tick: int  # of the episode
    day: int  # from 1
    minute: int  # of the day
    price_meal: float
    price_groceries: float
    usual_meal: float  # the price of the scenario
    usual_groceries: float
    power: bool
    water: bool
    minutes_left: tuple[int, ...]  # of each perturbation; 0 if it is not on
    news: tuple[str, ...]  # what happened lately, oldest first

    @property
    def clock(self) -> str:
        """Time of day such as ``07:30``."""
        return f"{self.minute // 60:02d}:{self.minute % 60:02d}"


def look_at_town(
    batch: WorldBatch,
    w: int = 0,
    *,
    title: str = "",
    ground: Cells | None = None,
    news: tuple[str, ...] = (),
) -> Scene:
    """Read what there is to see of world ``w``.

    Args:
        batch: The worlds.
        w: Which of them.
        title: What the picture is called.
        ground: Looks of the cells; rooms and walls by default.
        news: What happened lately, in words; see ``townlet_env.render.news``.

    Raises:
        ResetNeeded: The world was never reset.
    """
    world, plan = batch.worlds[w], batch.plan
    if int(world.n_objects) + int(world.n_residents) == 0:
        raise ResetNeeded("expected an open episode to draw, found none; call reset() first")
    names = [resident_name(plan.names, world, slot) for slot in range(int(world.n_residents))]
    present = [slot for slot in range(len(names)) if world.alive[slot]]
    minute = int(world.start_minute) + int(world.tick)
    rules, stocked = plan.rules[0], _stocked_kinds(plan)
    return Scene(
        title=title,
        ground=bare_ground(plan) if ground is None else ground,
        kinds=plan.names.kinds,
        residents=tuple(_resident(plan, world, slot, names[slot]) for slot in present),
        objects=tuple(_object(plan, world, o, stocked) for o in range(int(world.n_objects))),
        rivalries=_ties(world.rivalry, present),
        trusts=_ties(world.trust, present),
        avoid=float(rules.avoid_threshold),
        tick=int(world.tick),
        last_tick=int(rules.max_ticks),
        day=1 + minute // MINUTES_PER_DAY,
        minute=minute % MINUTES_PER_DAY,
        price_meal=float(world.price_meal),
        price_groceries=float(world.price_groceries),
        usual_meal=float(rules.base_price_meal),
        usual_groceries=float(rules.base_price_groceries),
        power=bool(world.power),
        water=bool(world.water),
        minutes_left=tuple(_minutes_left(world, which) for which in Perturbation),
        news=news,
    )


def bare_ground(plan: Plan) -> Cells:
    """Return the cells of a plan as rooms and walls."""
    walls = (plan.grid[RADIUS:-RADIUS, RADIUS:-RADIUS] & WALL) != 0
    return np.where(walls, Ground.WALL, Ground.ROOM).astype(np.uint8)


def plain(name: str) -> str:
    """Return an id as words."""
    return name.replace("_", " ")


def _resident(plan: Plan, world: World, slot: int, name: str) -> ResidentSight:
    hunger, hygiene, energy = (float(need) for need in world.needs[slot])
    waits_for = int(world.queue_object[slot])
    has_job = int(world.job_object[slot]) != NONE
    return ResidentSight(
        slot=slot,
        name=name,
        x=int(world.x[slot]),
        y=int(world.y[slot]),
        needs=(hunger, hygiene, energy),
        wallet=float(world.wallet[slot]),
        ingredients=int(world.ingredients[slot]),
        rent_owed=float(world.rent_owed[slot]),
        doing=doing_of(plan, world, slot),
        busy_object=int(world.busy_object[slot]),
        progress=_progress(plan, world, slot),
        reserved_object=int(world.reserved_object[slot]),
        queue_object=waits_for,
        place=NONE if waits_for == NONE else _line(world, waits_for).index(slot),
        shift=SHIFT_STATE_NAMES[int(world.shift_state[slot])] if has_job else "",
    )


def doing_of(plan: Plan, world: World, slot: int) -> str:
    """Return in a few words what the resident of a slot does."""
    affordance, objects = int(world.busy_affordance[slot]), plan.names.objects
    if affordance != NONE:
        name = plan.names.affordances[affordance]
        return DOING.get(name, plain(name))
    if (held := int(world.reserved_object[slot])) != NONE:
        return f"turn at {plain(objects[held])}"
    if (wanted := int(world.queue_object[slot])) != NONE:
        place = _line(world, wanted).index(slot)
        ordinal = _ORDINALS[place] if place < len(_ORDINALS) else f"{place + 1}th"
        return f"{ordinal} in line for {plain(objects[wanted])}"
    moved = world.last_success[slot] and world.last_verb[slot] in (Verb.MOVE, Verb.APPROACH)
    if moved:
        return "walking"
    if world.last_verb[slot] == Verb.CHAT:
        return "chatting"
    if has_to_work(world, slot):
        return "due at work"
    return "idle"


def has_to_work(world: World, slot: int) -> bool:
    """Tell whether the shift of a resident is open, late or missed."""
    if int(world.job_object[slot]) == NONE:
        return False
    return int(world.shift_state[slot]) in (ShiftState.LATE, ShiftState.ABSENT)


def _progress(plan: Plan, world: World, slot: int) -> float:
    affordance = int(world.busy_affordance[slot])
    if affordance == NONE:
        return -1.0
    ticks = int(plan.rules[0].affordance_ticks[affordance])
    return 1.0 - int(world.busy_remaining[slot]) / ticks if ticks else -1.0


def _line(world: World, o: int) -> tuple[int, ...]:
    return tuple(int(slot) for slot in world.queue[o, : int(world.queue_length[o])])


def _minutes_left(world: World, which: Perturbation) -> int:
    return max(0, int(world.perturb_until[which]) - int(world.tick))


def _object(plan: Plan, world: World, o: int, stocked: frozenset[int]) -> ObjectSight:
    kind, rules = int(world.kind[o]), plan.rules[0]
    powered = bool(world.power) or not rules.kind_power[kind]
    watered = bool(world.water) or not rules.kind_water[kind]
    return ObjectSight(
        number=o,
        name=plan.names.objects[o],
        kind=plan.names.kinds[kind],
        kind_index=kind,
        x=int(world.object_x[o]),
        y=int(world.object_y[o]),
        stock=int(world.stock[o]),
        stocked=kind in stocked,
        user=int(world.user[o]),
        holder=int(world.holder[o]),
        queue=_line(world, o),
        works=powered and watered,
        meeting=int(world.meet_object) == o and _minutes_left(world, Perturbation.MEET) > 0,
    )


def _stocked_kinds(plan: Plan) -> frozenset[int]:
    """Return the kinds that something takes stock of, or puts stock into."""
    rules, kinds = plan.rules[0], range(len(plan.names.kinds))
    found: set[int] = set()
    for a in range(int(rules.n_affordances)):
        if int(rules.takes_stock[a]) > 0:
            found |= {kind for kind in kinds if int(rules.affordance_kinds[a]) >> kind & 1}
        if int(rules.gives_stock[a]) > 0:
            found.add(int(rules.gives_stock_kind[a]))
    return frozenset(found)


def _ties(values: npt.NDArray[np.float32], present: list[int]) -> tuple[Tie, ...]:
    pairs = ((a, b) for k, a in enumerate(present) for b in present[k + 1 :])
    found = (Tie(a, b, float(max(values[a, b], values[b, a]))) for a, b in pairs)
    return tuple(tie for tie in found if tie.strength > 0.0)
