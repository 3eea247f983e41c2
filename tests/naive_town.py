"""The town as plain Python objects, for the twin of the kernels in ``naive.py``.

``naive_records.py`` reads them from the records of the simulation.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any, NamedTuple

from townlet_env.config.schema import TownConfig
from townlet_env.sim.features import RADIUS
from townlet_env.sim.places import WALL
from townlet_env.sim.plan import Plan

Cell = tuple[int, int]  # column, row

STEPS = {"north": (0, -1), "south": (0, 1), "east": (1, 0), "west": (-1, 0)}
NEEDS = ("hunger", "hygiene", "energy")
SHIFTS = ("off", "pre", "on_time", "late", "absent", "done")
VERBS = ("wait", "move", "approach", "request", "start", "release", "chat")
PERTURBATIONS = ("price_spike", "blackout", "outage", "meet")
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
    newcomer: int  # 0: who the slot began with; k: newcomer_k
    since: int  # ticks done when this life began
    vacant_until: int | None  # tick in which a newcomer takes the slot
    quiet_until: int  # tick before which no reward is positive
    x: int
    y: int
    needs: list[float]
    wallet: float
    ingredients: int
    pace: float
    patience: float
    warmth: float
    drawn: bool  # the personality, when the episode opens
    faint_ticks: int
    rent_owed: float
    rent_missed: int  # midnights
    notice: int  # ticks
    meal_until: int  # tick before which the last meal can be shared
    meet_with: int | None
    meet_from: int  # tick before which no further invitation comes
    meets: int
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
    post: Job | None  # the work that goes with the slot
    job: Job | None
    dismissed: bool
    absences: list[bool]  # of the last seven shifts, latest first
    taken_over: bool  # today's shift, by somebody else
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
    restock: int  # units it is filled up to every day
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
        self.roadside = list(config.arrivals.cells) or self._roadside()
        self.floods = [self._flood(thing) for thing in self.things]

    def _roadside(self) -> list[Cell]:
        """Up to 8 cells nearest to the edge, of the largest connected floor, evenly spread."""
        pieces = [self._spread([cell]) for cell in sorted(self.floor)]
        floor = max(pieces, key=len)
        reach = {(x, y): min(x, y, self.width - 1 - x, self.height - 1 - y) for x, y in floor}
        least = min(reach.values())
        near = sorted((y, x) for (x, y) in floor if reach[x, y] == least)
        count = min(8, len(near))
        return [near[k * len(near) // count][::-1] for k in range(count)]

    def _flood(self, thing: Cell) -> dict[Cell, int]:
        """Steps over floor to a cell next to the thing, from wherever there is a way."""
        return self._spread([cell for cell in around(thing) if cell in self.floor])

    def _spread(self, begin: list[Cell]) -> dict[Cell, int]:
        """Steps over floor from the nearest of some cells."""
        found = dict.fromkeys(begin, 0)
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
    until: list[int]  # by perturbation: tick of its end; 0 = not on
    silent: list[int]  # by perturbation: tick before which chance is silent
    meet_thing: int | None
    calm_from: int  # tick before which nobody leaves, after a perturbation
    exit_from: int  # tick before which nobody leaves, after an exit
    exits_today: int
    arrivals: int
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
        return self.is_open(self.people[i].job)

    def is_open(self, job: Job | None) -> bool:
        return job is not None and job.start <= self.minute < job.end

    def price(self, name: str) -> float:
        takes = self.affordance(name).takes
        at_till = takes.groceries_price * self.price_groceries
        return float(takes.money + takes.meal_price * self.price_meal + at_till)


class Happening(NamedTuple):
    kind: str
    by: int | None
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
    arrived: list[bool]
    terminal: list[float]
    terminated: list[bool]
    truncated: list[bool]
    events: list[Happening]

    def say(self, kind: str, by: int | None = None, other: int | None = None, **more: Any) -> None:
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
        arrived=[False] * n,
        terminal=[0.0] * n,
        terminated=[False] * n,
        truncated=[False] * n,
        events=[],
    )


def meaning(town: Town, tick: Tick, i: int) -> tuple[str, str]:
    """Verb and argument of what ``i`` was told."""
    verb, _, argument = town.ground.plan.names.actions[tick.orders[i]].partition(":")
    return verb, argument
