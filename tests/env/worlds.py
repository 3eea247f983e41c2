"""Small towns for tests, compiled, and random states of them.

Random numbers are sums of powers of two, for the reason given in ``towns.py``.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import naive_town
import numba
import numpy as np
from env.towns import COMMON, CROWD, SMALL
from hypothesis import strategies as st
from naive_town import Ground

from townlet_env.config.catalogue import Catalogue
from townlet_env.config.compile import compile_plan
from townlet_env.config.load import Source, configs_dir, validate
from townlet_env.config.safe_yaml import read_yaml
from townlet_env.config.schema import TownConfig
from townlet_env.sim.ids import COMPONENT_COUNT, NONE, EventKind, ShiftState
from townlet_env.sim.kernels.observe_map import mark_reserved
from townlet_env.sim.kernels.observe_mask import observe_mask
from townlet_env.sim.plan import Plan
from townlet_env.sim.snapshot import restore_grid
from townlet_env.sim.state import Records, allocate, outcome_dtype, world_dtype

# Without its compiler (NUMBA_DISABLE_JIT=1, which is how coverage is counted) a tick takes long.
PATIENCE = 20 if numba.config.DISABLE_JIT else 1


class Scenario(NamedTuple):
    """A town, compiled."""

    config: TownConfig
    plan: Plan
    ground: Ground


@cache
def _catalogue() -> dict[str, Any]:
    return dict(read_yaml(configs_dir() / "affordances.yaml").data)


def build(settings: dict[str, Any], **changes: Any) -> Scenario:
    """Check and compile a town given as a mapping."""
    data = {**COMMON, **settings, **changes}
    here = Source("tests/env/worlds.py", {})
    catalogue = {**_catalogue()}
    catalogue["affordances"] = {
        name: {**affordance, **data["affordances"].get(name, {})}
        for name, affordance in catalogue["affordances"].items()
    }
    data["catalogue"] = validate(Catalogue, catalogue, here)
    config = validate(TownConfig, data, here)
    plan = compile_plan(config)
    return Scenario(config, plan, Ground(config, plan))


@cache
def scenario(name: str) -> Scenario:
    """Return one of the towns above, compiled once."""
    return build(next(town for town in (*SMALL, CROWD) if town["name"] == name))


class Stage:
    """One world in the middle of an episode, with everything a kernel may ask for."""

    def __init__(self, recipe: str, town: Scenario, worlds: Records) -> None:
        plan = town.plan
        self.recipe = recipe  # how to build it again
        self.scenario = town
        self.worlds = worlds  # (1,)
        self.outcomes = allocate(outcome_dtype(plan.capacity), 1)
        self.grid = np.zeros_like(plan.grid)
        self.mask = np.zeros((len(plan.names.residents), len(plan.names.actions)), np.int8)
        self.orders = np.zeros(len(self.mask), np.int32)
        restore_grid(plan, self.world, self.grid)
        mark_reserved(self.world, self.grid)
        observe_mask(self.world, self.rules, self.grid, plan.distance, self.mask)

    def __repr__(self) -> str:
        return self.recipe

    @property
    def world(self) -> Any:
        return self.worlds[0]

    @property
    def outcome(self) -> Any:
        return self.outcomes[0]

    @property
    def rules(self) -> Any:
        return self.scenario.plan.rules[0]

    def town(self) -> naive_town.Town:
        """Return the state as objects."""
        return naive_town.read_town(self.scenario.ground, self.world)

    def tick(self) -> naive_town.Tick:
        """Return orders and outcome as objects."""
        return naive_town.read_tick(self.scenario.ground, self.outcome, self.orders)


@st.composite
def stages(
    draw: st.DrawFn,
    names: tuple[str, ...] = ("house", "corridor", "plaza", "alone"),
    strays: bool = True,
) -> Stage:
    """Random states, consistent as the rules keep them, and legal orders.

    With ``strays`` some wait far from their line, as a ghost step may leave them within a tick.
    """
    name = draw(st.sampled_from(names))
    crowding = draw(st.floats(0.0, 1.0))
    return random_stage(name, crowding, draw(st.integers(0, 2**32 - 1)), strays)


def random_stage(name: str, crowding: float, seed: int, strays: bool = True) -> Stage:
    """Build one state; with ``crowding`` grows how many use, hold or wait for something."""
    town, rng = scenario(name), np.random.default_rng(seed)
    plan = town.plan
    n = len(plan.names.residents)
    worlds = allocate(world_dtype(plan.capacity), 1)
    worlds[0] = plan.template[0]
    world = worlds[0]
    _scatter_numbers(world, town, rng)
    free = [int(i) for i in rng.permutation(n) if world.alive[i]]
    _scatter_people(world, town, free, rng)
    for o in range(world.n_objects):
        _occupy(world, town, o, free, crowding, rng)
    if not strays:
        _call_strays_home(world, town)
    for i in range(n):
        _scatter_job(world, i, rng)
    stage = Stage(f"random_stage({name!r}, {crowding!r}, {seed}, {strays})", town, worlds)
    stage.orders[:] = [legal_order(row, plan, rng) for row in stage.mask]
    _scatter_outcome(stage.outcome, world, rng)
    return stage


def legal_order(row: Any, plan: Plan, rng: np.random.Generator) -> int:
    """Pick a legal action; starting something is rarely legal and worth trying."""
    starts = [a for a in np.flatnonzero(row) if plan.names.actions[a].startswith("start")]
    if starts and rng.random() < 0.7:
        return int(rng.choice(starts))
    return int(rng.choice(np.flatnonzero(row)))


def _dyadic(rng: np.random.Generator, low: int, high: int, parts: int, size: Any = None) -> Any:
    return rng.integers(low, high + 1, size) / parts


def _scatter_numbers(world: Any, town: Scenario, rng: np.random.Generator) -> None:
    n, m = int(world.n_residents), int(world.n_objects)
    world.seed = np.uint64(rng.integers(0, 2**63))
    last = town.config.ticks - 1
    world.tick = rng.choice([0, last - 1, last, rng.integers(last)])
    world.start_minute = rng.integers(0, 1440)
    world.price_meal, world.price_groceries = _dyadic(rng, 0, 8, 4, 2)
    world.power, world.water = rng.random(2) < 0.8
    world.alive[:n] = rng.random(n) < 0.9
    world.alive[rng.integers(n)] = 1
    world.needs[:n] = _dyadic(rng, 0, 64, 64, (n, 3)) * (rng.random((n, 3)) < 0.9)
    world.wallet[:n] = _dyadic(rng, 0, 24, 8, n)
    world.ingredients[:n] = rng.integers(0, 3, n)
    world.pace[:n], world.patience[:n], world.warmth[:n] = _dyadic(rng, -4, 4, 4, (3, n))
    world.blocked[:n] = rng.integers(0, 5, n)
    world.cooldown_until[:n, :m] = world.tick + rng.integers(-9, 4, (n, m))
    world.last_verb[:n] = rng.integers(0, 7, n)
    world.last_success[:n] = rng.integers(0, 2, n)
    world.potential[:n] = -_dyadic(rng, 0, 64, 64, n)
    world.stock[:m] = rng.integers(0, 5, m)
    some = rng.random((3, n, n)) < rng.random()
    off_diagonal = ~np.eye(n, dtype=bool)
    world.rivalry[:n, :n] = _dyadic(rng, 0, 32, 32, (n, n)) * some[0] * off_diagonal
    world.trust[:n, :n] = _dyadic(rng, -32, 32, 32, (n, n)) * some[1] * off_diagonal
    world.familiarity[:n, :n] = _dyadic(rng, -32, 32, 32, (n, n)) * some[2] * off_diagonal


def _scatter_people(world: Any, town: Scenario, free: list[int], rng: np.random.Generator) -> None:
    cells = sorted(town.ground.floor)
    for i, cell in zip(free, rng.permutation(len(cells)), strict=False):
        world.x[i], world.y[i] = cells[cell]


def _occupy(
    world: Any, town: Scenario, o: int, free: list[int], crowding: float, rng: np.random.Generator
) -> None:
    """Let some of the ``free`` use or hold, and wait for, object ``o``."""
    rules = town.plan.rules[0]
    fitting = [
        a
        for a in range(rules.n_affordances)
        if int(rules.affordance_kinds[a]) >> int(world.kind[o]) & 1
    ]
    if free and fitting and rng.random() < 0.8 * crowding:
        i = free.pop()
        if rng.random() < 0.5 and _stand_near(world, town, o, i, 1, rng):
            _use(world, rules, o, i, int(rng.choice(fitting)), rng)
        else:
            if rng.random() < 0.5:
                _stand_near(world, town, o, i, 1, rng)
            world.holder[o], world.reserved_object[i] = i, o
            world.holder_age[o] = rng.integers(0, rules.reservation_ticks + 1)
    while free and rng.random() < 0.7 * crowding:
        i = free.pop()
        if rng.random() < 0.7:
            _stand_near(world, town, o, i, town.config.queues.range, rng)
        world.queue[o, world.queue_length[o]] = i
        world.queue_length[o] += 1
        # Eight ticks are worth a place in line, so that equals meet.
        equal = 8 * int(world.queue_length[o])
        world.queue_object[i], world.queue_ticks[i] = o, rng.choice([rng.integers(30), equal])


def _call_strays_home(world: Any, town: Scenario) -> None:
    """Take everybody out of their line who waits out of range."""
    for o in range(world.n_objects):
        line = world.queue[o, : world.queue_length[o]].tolist()
        columns, rows = np.abs(world.x - world.object_x[o]), np.abs(world.y - world.object_y[o])
        near = [i for i in line if columns[i] + rows[i] <= town.config.queues.range]
        for i in set(line) - set(near):
            world.queue_object[i], world.queue_ticks[i] = NONE, 0
        world.queue[o] = NONE
        world.queue[o, : len(near)] = near
        world.queue_length[o] = len(near)


def _use(world: Any, rules: Any, o: int, i: int, affordance: int, rng: np.random.Generator) -> None:
    world.user[o] = i
    world.busy_affordance[i], world.busy_object[i] = affordance, o
    duration = int(rules.affordance_ticks[affordance])
    world.busy_remaining[i] = rng.integers(1, min(duration, 3) + 1) if duration else 0
    if rules.affordance_work[affordance]:
        world.job_object[i] = o
    # What the start asked for is still there.
    world.wallet[i] += 4
    world.stock[o] += rules.takes_stock[affordance]
    world.ingredients[i] += rules.takes_ingredients[affordance]


def _stand_near(
    world: Any, town: Scenario, o: int, i: int, cells: int, rng: np.random.Generator
) -> bool:
    """Move ``i`` to a free cell at most ``cells`` from an object, if there is one."""
    x, y = int(world.object_x[o]), int(world.object_y[o])
    alive = np.flatnonzero(world.alive)
    people = {(int(world.x[j]), int(world.y[j])) for j in alive}
    near = [c for c in town.ground.floor if abs(c[0] - x) + abs(c[1] - y) <= cells]
    fit = sorted(set(near) - people)
    if fit:
        world.x[i], world.y[i] = fit[rng.integers(len(fit))]
    return bool(fit)


def _scatter_job(world: Any, i: int, rng: np.random.Generator) -> None:
    """Give most residents a shift around now, in a state that fits the time."""
    minute = int(world.start_minute + world.tick) % 1440
    if world.n_objects == 0 or (world.job_object[i] == NONE and rng.random() < 0.3):
        world.job_object[i] = NONE
        return
    if world.job_object[i] == NONE:
        world.job_object[i] = rng.integers(world.n_objects)
    start = int(np.clip(minute + rng.integers(-40, 15), 0, 1438))
    world.job_start[i], world.job_end[i] = start, min(start + int(rng.integers(1, 45)), 1440)
    world.job_wage[i], world.job_penalty[i] = _dyadic(rng, 0, 8, 64, 2)
    world.withheld[i] = _dyadic(rng, 0, 8, 64)
    state = rng.integers(0, len(ShiftState))
    world.shift_state[i] = state
    begun = state in (ShiftState.ON_TIME, ShiftState.LATE, ShiftState.ABSENT)
    least = 1 if state == ShiftState.ON_TIME else 0
    world.shift_worked[i] = rng.integers(least, 4) if begun else 0
    world.shift_away[i] = rng.integers(0, 6) if begun and world.shift_worked[i] else 0
    world.shifts_scheduled[i] = rng.integers(0, 500, 3)
    world.shifts_worked[i] = rng.integers(0, world.shifts_scheduled[i] + 1)


def _scatter_outcome(outcome: Any, world: Any, rng: np.random.Generator) -> None:
    """What the kernels before left behind; ties also find some events."""
    n = int(world.n_residents)
    outcome.turn[:n] = rng.permutation(n)
    outcome.wage[:n] = _dyadic(rng, 0, 8, 64, n)
    outcome.punctuality[:n] = _dyadic(rng, -8, 8, 8, n)
    outcome.social[:n] = _dyadic(rng, -8, 16, 64, n)
    outcome.components[:n] = rng.random((n, COMPONENT_COUNT))
    alive = np.flatnonzero(world.alive[:n])
    told = (
        EventKind.QUEUE_CONFLICT,
        EventKind.QUEUE_ROTATED,
        EventKind.COURTESY,
        EventKind.GHOST_STEP,
    )
    for row in range(int(rng.integers(0, 2 * n)) if len(alive) > 1 else 0):
        by, other = rng.permutation(alive)[:2]
        alone = rng.random() < 0.1
        kind = EventKind.QUEUE_JOINED if alone else told[rng.integers(len(told))]
        outcome.events[row] = (kind, by, NONE if alone else other, NONE, NONE)
        outcome.event_value[row] = 1 + 0.5 * rng.integers(0, 4)
        outcome.n_events = row + 1
