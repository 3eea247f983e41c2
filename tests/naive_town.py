"""The town as plain Python objects, for the twin of the kernels in ``naive.py``."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any, NamedTuple

from townlet_env.config.schema import TownConfig
from townlet_env.sim.features import RADIUS
from townlet_env.sim.ids import EVENT_NAMES, NONE
from townlet_env.sim.places import WALL
from townlet_env.sim.plan import Plan

Cell = tuple[int, int]  # column, row

STEPS = {"north": (0, -1), "south": (0, 1), "east": (1, 0), "west": (-1, 0)}
NEEDS = ("hunger", "hygiene", "energy")
SHIFTS = ("off", "pre", "on_time", "late", "absent", "done")
VERBS = ("wait", "move", "approach", "request", "start", "release", "chat")
DAY = 1440


@dataclass
class Job:
    thing: int
    start: int
    end: int
    wage: float
    penalty: float


@dataclass
class Person:
    alive: bool
    x: int
    y: int
    needs: list[float]
    wallet: float
    ingredients: int
    pace: float
    patience: float
    warmth: float
    blocked: int
    doing: str | None  # affordance
    at: int | None  # thing in use
    remaining: int
    reserved: int | None
    waits_for: int | None
    waited: int
    cooldown: list[int]  # by thing
    last_verb: str
    last_success: bool
    potential: float
    job: Job | None
    shift: str
    worked: int
    away: int
    withheld: float
    shifts: list[tuple[int, int]]  # worked, scheduled; latest first
    rivalry: list[float]  # by person
    trust: list[float]
    familiarity: list[float]


@dataclass
class Thing:
    kind: str
    x: int
    y: int
    stock: int
    user: int | None
    holder: int | None
    held_for: int
    line: list[int]


class Ground:
    """What never moves: floor, things, and the way to each thing."""

    def __init__(self, config: TownConfig, plan: Plan) -> None:
        self.config = config
        self.plan = plan
        self.height, self.width = (side - 2 * RADIUS for side in plan.grid.shape)
        inner = plan.grid[RADIUS:-RADIUS, RADIUS:-RADIUS]
        cells = [(x, y) for y in range(self.height) for x in range(self.width)]
        self.walls = {(x, y) for x, y in cells if inner[y, x] & WALL}
        first = plan.template[0]
        count = int(first.n_objects)
        self.things = [(int(first.object_x[o]), int(first.object_y[o])) for o in range(count)]
        self.floor = {cell for cell in cells if cell not in self.walls and cell not in self.things}
        self.floods = [self._flood(thing) for thing in self.things]

    def _flood(self, thing: Cell) -> dict[Cell, int]:
        """Steps over floor to a cell next to the thing, from wherever there is a way."""
        found = {cell: 0 for cell in around(thing) if cell in self.floor}
        todo = collections.deque(found)
        while todo:
            here = todo.popleft()
            for cell in around(here):
                if cell in self.floor and cell not in found:
                    found[cell] = found[here] + 1
                    todo.append(cell)
        return found


def around(cell: Cell) -> list[Cell]:
    return [(cell[0] + dx, cell[1] + dy) for dx, dy in STEPS.values()]


@dataclass
class Town:
    ground: Ground
    seed: int
    tick: int
    start_minute: int
    price_meal: float
    price_groceries: float
    power: bool
    water: bool
    people: list[Person]
    things: list[Thing]

    @property
    def config(self) -> TownConfig:
        return self.ground.config

    @property
    def minute(self) -> int:
        return (self.start_minute + self.tick) % DAY

    def affordance(self, name: str) -> Any:
        return self.config.catalogue.affordances[name]

    def supplied(self, requires: Any) -> bool:
        return (self.power or not requires.power) and (self.water or not requires.water)

    def person_at(self, cell: Cell) -> int | None:
        for i, person in enumerate(self.people):
            if person.alive and (person.x, person.y) == cell:
                return i
        return None

    def steps_to(self, o: int, cell: Cell) -> int | None:
        return self.ground.floods[o].get(cell)

    def cells_between(self, i: int, o: int) -> int:
        person, thing = self.people[i], self.things[o]
        return abs(person.x - thing.x) + abs(person.y - thing.y)

    def of_kind(self, kind: str) -> list[int]:
        return [o for o, thing in enumerate(self.things) if thing.kind == kind]

    def nearest_in_range(self, i: int, kind: str) -> int | None:
        near = [(self.cells_between(i, o), o) for o in self.of_kind(kind)]
        near = [pair for pair in near if pair[0] <= self.config.queues.range]
        return min(near)[1] if near else None

    def usable(self, kind: str) -> bool:
        """A kind is of no use if all that can be done with it needs what is not supplied."""
        users = [a for a in self.config.catalogue.affordances.values() if kind in a.kinds]
        dark = not self.power and users and all(a.requires.power for a in users)
        dry = not self.water and users and all(a.requires.water for a in users)
        return not dark and not dry

    def nearest_usable(self, i: int, kind: str) -> int | None:
        if not self.usable(kind):
            return None
        here = (self.people[i].x, self.people[i].y)
        ways = [(self.steps_to(o, here), o) for o in self.of_kind(kind)]
        known = [(steps, o) for steps, o in ways if steps is not None]
        return min(known)[1] if known else None

    def cells_apart(self, i: int, j: int) -> int:
        a, b = self.people[i], self.people[j]
        return abs(a.x - b.x) + abs(a.y - b.y)

    def others(self, i: int) -> list[int]:
        return [j for j, other in enumerate(self.people) if j != i and other.alive]

    def nearest_free_person(self, i: int, cells: int) -> int | None:
        free = [j for j in self.others(i) if self.people[j].doing is None]
        near = [(self.cells_apart(i, j), j) for j in free if self.cells_apart(i, j) <= cells]
        return min(near)[1] if near else None

    def on_shift(self, i: int) -> bool:
        job = self.people[i].job
        return job is not None and job.start <= self.minute < job.end

    def price(self, name: str) -> float:
        takes = self.affordance(name).takes
        at_till = takes.groceries_price * self.price_groceries
        return float(takes.money + takes.meal_price * self.price_meal + at_till)


class Happening(NamedTuple):
    kind: str
    by: int
    other: int | None = None
    thing: int | None = None
    affordance: str | None = None
    value: float = 0.0


@dataclass
class Tick:
    """What one tick is told and what it does; lists are by person."""

    orders: list[int]
    turns: list[int]
    illegal: list[bool]
    success: list[bool]
    wage: list[float]
    punctuality: list[float]
    social: list[float]
    components: list[list[float]]
    reward: list[float]
    terminated: list[bool]
    truncated: list[bool]
    events: list[Happening]

    def say(self, kind: str, by: int, other: int | None = None, **more: Any) -> None:
        self.events.append(Happening(kind, by, other, **more))


def new_tick(orders: list[int]) -> Tick:
    n = len(orders)
    return Tick(
        orders=list(orders),
        turns=list(range(n)),
        illegal=[False] * n,
        success=[False] * n,
        wage=[0.0] * n,
        punctuality=[0.0] * n,
        social=[0.0] * n,
        components=[[0.0] * 8] * n,
        reward=[0.0] * n,
        terminated=[False] * n,
        truncated=[False] * n,
        events=[],
    )


def meaning(town: Town, tick: Tick, i: int) -> tuple[str, str]:
    """Verb and argument of what ``i`` was told."""
    verb, _, argument = town.ground.plan.names.actions[tick.orders[i]].partition(":")
    return verb, argument


def read_town(ground: Ground, world: Any) -> Town:
    """Turn a record into objects."""
    kinds = ground.plan.names.kinds
    things = [
        Thing(
            kind=kinds[world.kind[o]],
            x=int(world.object_x[o]),
            y=int(world.object_y[o]),
            stock=int(world.stock[o]),
            user=_index(world.user[o]),
            holder=_index(world.holder[o]),
            held_for=int(world.holder_age[o]),
            line=[int(i) for i in world.queue[o, : world.queue_length[o]]],
        )
        for o in range(world.n_objects)
    ]
    return Town(
        ground=ground,
        seed=int(world.seed),
        tick=int(world.tick),
        start_minute=int(world.start_minute),
        price_meal=float(world.price_meal),
        price_groceries=float(world.price_groceries),
        power=bool(world.power),
        water=bool(world.water),
        people=[_read_person(ground, world, i) for i in range(world.n_residents)],
        things=things,
    )


def _read_person(ground: Ground, world: Any, i: int) -> Person:
    n, m = int(world.n_residents), int(world.n_objects)
    doing = _index(world.busy_affordance[i])
    history = zip(world.shifts_worked[i], world.shifts_scheduled[i], strict=True)
    return Person(
        alive=bool(world.alive[i]),
        x=int(world.x[i]),
        y=int(world.y[i]),
        needs=world.needs[i].tolist(),
        wallet=float(world.wallet[i]),
        ingredients=int(world.ingredients[i]),
        pace=float(world.pace[i]),
        patience=float(world.patience[i]),
        warmth=float(world.warmth[i]),
        blocked=int(world.blocked[i]),
        doing=None if doing is None else ground.plan.names.affordances[doing],
        at=_index(world.busy_object[i]),
        remaining=int(world.busy_remaining[i]),
        reserved=_index(world.reserved_object[i]),
        waits_for=_index(world.queue_object[i]),
        waited=int(world.queue_ticks[i]),
        cooldown=world.cooldown_until[i, :m].tolist(),
        last_verb=VERBS[world.last_verb[i]],
        last_success=bool(world.last_success[i]),
        potential=float(world.potential[i]),
        job=_read_job(world, i),
        shift=SHIFTS[world.shift_state[i]],
        worked=int(world.shift_worked[i]),
        away=int(world.shift_away[i]),
        withheld=float(world.withheld[i]),
        shifts=[(int(worked), int(scheduled)) for worked, scheduled in history],
        rivalry=world.rivalry[i, :n].tolist(),
        trust=world.trust[i, :n].tolist(),
        familiarity=world.familiarity[i, :n].tolist(),
    )


def _read_job(world: Any, i: int) -> Job | None:
    thing = _index(world.job_object[i])
    if thing is None:
        return None
    return Job(
        thing=thing,
        start=int(world.job_start[i]),
        end=int(world.job_end[i]),
        wage=float(world.job_wage[i]),
        penalty=float(world.job_penalty[i]),
    )


def read_tick(ground: Ground, outcome: Any, orders: Any) -> Tick:
    """Turn the record of what a tick did into objects."""
    n = len(orders)
    affordances = ground.plan.names.affordances
    events = []
    for row in range(outcome.n_events):
        kind, by, other, thing, affordance = (int(code) for code in outcome.events[row])
        name = None if affordance == NONE else affordances[affordance]
        value = float(outcome.event_value[row])
        events.append(Happening(EVENT_NAMES[kind], by, _index(other), _index(thing), name, value))
    return Tick(
        orders=[int(order) for order in orders],
        turns=outcome.turn[:n].tolist(),
        illegal=[bool(flag) for flag in outcome.illegal[:n]],
        success=[bool(flag) for flag in outcome.success[:n]],
        wage=outcome.wage[:n].tolist(),
        punctuality=outcome.punctuality[:n].tolist(),
        social=outcome.social[:n].tolist(),
        components=outcome.components[:n].tolist(),
        reward=outcome.reward[:n].tolist(),
        terminated=[bool(flag) for flag in outcome.terminated[:n]],
        truncated=[bool(flag) for flag in outcome.truncated[:n]],
        events=events,
    )


def _index(code: Any) -> int | None:
    return None if code == NONE else int(code)
