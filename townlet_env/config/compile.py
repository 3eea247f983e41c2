"""A checked scenario to the arrays of the simulation: the only file that knows both."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from townlet_env.config.layout import Layout, lay_out
from townlet_env.config.schema import ResidentConfig, TownConfig
from townlet_env.errors import ConfigError, nearest
from townlet_env.sim.features import RADIUS, feature_names
from townlet_env.sim.ids import (
    DIRECTION_NAMES,
    MINUTES_PER_DAY,
    NONE,
    VERB_NAMES,
    ShiftState,
    Verb,
)
from townlet_env.sim.places import OBJECT, OCCUPANT_SHIFT, UNREACHABLE, WALL
from townlet_env.sim.plan import Names, Plan
from townlet_env.sim.rules import MAX_ACTIONS, RULES
from townlet_env.sim.state import CAPACITIES, Capacity, Records, World, allocate, world_dtype


def compile_plan(config: TownConfig) -> Plan:
    """Return the plan of a scenario.

    Raises:
        ConfigError: Something does not fit together: a resident in a wall, two with one id, an
            unknown kind, object, job or resident.
    """
    layout = lay_out(config)
    catalogue = config.catalogue
    names = Names(
        residents=tuple(resident.id for resident in config.residents),
        objects=tuple(thing.id for thing in config.objects),
        kinds=catalogue.kinds,
        affordances=tuple(catalogue.affordances),
        actions=catalogue.action_names(),
        features=feature_names(catalogue.kinds),
    )
    capacity = _capacity(config)
    return Plan(
        capacity=capacity,
        rules=_rules(config, names),
        template=_template(config, names, layout, capacity),
        grid=_grid(layout),
        distance=_distances(layout),
        names=names,
        max_newcomers=0,
    )


def _capacity(config: TownConfig) -> Capacity:
    residents, objects = len(config.residents), len(config.objects)
    for capacity in CAPACITIES:
        if residents <= capacity.residents and objects <= capacity.objects:
            return capacity
    largest = CAPACITIES[-1]
    raise ConfigError(
        f"{config.name}: expected at most {largest.residents} residents and {largest.objects} "
        f"objects, found {residents} and {objects}"
    )


def _grid(layout: Layout) -> npt.NDArray[np.uint16]:
    height, width = layout.walls.shape
    grid = np.full((height + 2 * RADIUS, width + 2 * RADIUS), WALL, np.uint16)
    inner = grid[RADIUS : RADIUS + height, RADIUS : RADIUS + width]
    inner[:] = np.where(layout.walls, WALL, 0)
    for x, y in layout.object_cells:
        inner[y, x] |= OBJECT
    for i, (x, y) in enumerate(layout.resident_cells):
        inner[y, x] |= np.uint16((i + 1) << OCCUPANT_SHIFT)
    return grid


def _distances(layout: Layout) -> npt.NDArray[np.uint16]:
    """Return steps from every floor cell to a cell next to each object (breadth first)."""
    blocked = layout.walls.copy()
    for x, y in layout.object_cells:
        blocked[y, x] = True
    fields = [_breadth_first(blocked, cell) for cell in layout.object_cells]
    shape = (0, *blocked.shape)
    return np.stack(fields) if fields else np.zeros(shape, np.uint16)


def _breadth_first(blocked: npt.NDArray[np.bool_], goal: tuple[int, int]) -> npt.NDArray[np.uint16]:
    height, width = blocked.shape
    steps = np.full(blocked.shape, UNREACHABLE, np.uint16)
    frontier = deque([(goal, -1)])
    while frontier:
        (x, y), so_far = frontier.popleft()
        for nx, ny in ((x, y - 1), (x, y + 1), (x + 1, y), (x - 1, y)):
            inside = 0 <= nx < width and 0 <= ny < height
            if inside and not blocked[ny, nx] and steps[ny, nx] == UNREACHABLE:
                steps[ny, nx] = so_far + 1
                frontier.append(((nx, ny), so_far + 1))
    return steps


def _rules(config: TownConfig, names: Names) -> Records:
    rules = allocate(RULES, 1)
    r = rules[0]
    r.max_ticks = config.ticks
    r.n_kinds, r.n_affordances = len(names.kinds), len(names.affordances)
    r.n_actions = len(names.actions)
    if r.n_actions > MAX_ACTIONS:
        raise ConfigError(f"expected at most {MAX_ACTIONS} actions, found {r.n_actions}")
    _set_actions(r, names)
    _set_affordances(r, config, names)
    r.ghost_step_after = config.movement.ghost_step_after
    r.queue_range, r.cooldown_ticks = config.queues.range, config.queues.cooldown_ticks
    r.reservation_ticks = config.queues.reservation_ticks
    r.age_priority_weight = config.queues.age_priority_weight
    r.need_decay[:] = config.needs.decay.values()
    r.pace_effect = config.needs.pace_effect
    for name, value in config.employment:
        r[name] = value
    _set_ties(r, config)
    _set_rewards(r, config)
    angle = np.arange(MINUTES_PER_DAY) * (2.0 * np.pi / MINUTES_PER_DAY)
    r.day_sin[:] = np.sin(angle)
    r.day_cos[:] = np.cos(angle)
    return rules


def _set_actions(r: World, names: Names) -> None:
    arguments = {
        Verb.MOVE: DIRECTION_NAMES,
        Verb.APPROACH: names.kinds,
        Verb.REQUEST: names.kinds,
        Verb.START: names.affordances,
    }
    for a, action in enumerate(names.actions):
        word, _, argument = action.partition(":")
        verb = Verb(VERB_NAMES.index(word))
        r.action_verb[a] = verb
        r.action_argument[a] = arguments[verb].index(argument) if verb in arguments else 0


def _set_affordances(r: World, config: TownConfig, names: Names) -> None:
    for a, (name, affordance) in enumerate(config.catalogue.affordances.items()):
        r.affordance_kinds[a] = sum(1 << names.kinds.index(kind) for kind in affordance.kinds)
        r.affordance_ticks[a] = 0 if isinstance(affordance.ticks, str) else affordance.ticks
        gives, takes = affordance.gives, affordance.takes
        r.affordance_effect[a] = (gives.hunger, gives.hygiene, gives.energy)
        r.affordance_power[a] = affordance.requires.power
        r.affordance_water[a] = affordance.requires.water
        r.affordance_work[a] = affordance.requires.on_shift
        r.takes_money[a] = takes.money
        r.takes_meal_price[a] = takes.meal_price
        r.takes_groceries_price[a] = takes.groceries_price
        r.takes_stock[a] = takes.stock
        r.takes_ingredients[a] = takes.ingredients
        r.gives_ingredients[a] = gives.ingredients
        r.gives_stock[a] = gives.stock
        r.gives_stock_kind[a] = names.kinds.index(gives.stock_of) if gives.stock_of else NONE
        if affordance.ticks == "until_released" and not affordance.requires.on_shift:
            raise ConfigError(f"{name}: expected requires.on_shift with ticks: until_released")
    for k, kind in enumerate(names.kinds):
        # A kind is of no use without power if everything one can do with it needs power.
        users = [a for a in config.catalogue.affordances.values() if kind in a.kinds]
        r.kind_power[k] = bool(users) and all(a.requires.power for a in users)
        r.kind_water[k] = bool(users) and all(a.requires.water for a in users)


def _set_ties(r: World, config: TownConfig) -> None:
    renamed = {"decay": "rivalry_decay"}
    for name, value in config.ties:
        r[renamed.get(name, name)] = value


def _set_rewards(r: World, config: TownConfig) -> None:
    rewards = config.rewards
    r.survival_tick, r.needs_scale = rewards.survival_tick, rewards.needs_scale
    r.need_weight[:] = rewards.need_weights.values()
    r.shaping_scale, r.shaping_gamma = rewards.shaping_scale, rewards.shaping_gamma
    r.wage_weight, r.punctuality_scale = rewards.wage_weight, rewards.punctuality_scale
    r.social_enabled, r.social_base = rewards.social.enabled, rewards.social.base
    r.social_trust, r.social_familiarity = rewards.social.trust, rewards.social.familiarity
    r.social_deficit_limit, r.clip_at = rewards.social.deficit_limit, rewards.clip


def _template(config: TownConfig, names: Names, layout: Layout, capacity: Capacity) -> Records:
    template = allocate(world_dtype(capacity), 1)
    world = template[0]
    for field in ("busy_affordance", "busy_object", "reserved_object", "queue_object"):
        world[field][:] = NONE
    for field in ("vacant_until", "meet_object", "meet_with", "post"):
        world[field] = NONE
    for field in ("job_object", "user", "holder", "queue"):
        world[field][:] = NONE
    world.n_residents, world.n_objects = len(names.residents), len(names.objects)
    world.start_minute = config.start_minute
    world.price_meal, world.price_groceries = config.prices.meal, config.prices.groceries
    world.power, world.water = config.utilities.power, config.utilities.water
    for o, thing in enumerate(config.objects):
        world.kind[o] = names.kinds.index(thing.kind)
        world.object_x[o], world.object_y[o] = layout.object_cells[o]
        world.stock[o] = thing.stock
    for i, resident in enumerate(config.residents):
        world.alive[i] = 1
        world.x[i], world.y[i] = layout.resident_cells[i]
        _set_resident(world, i, resident)
        _set_job(world, i, config, names)
        _set_feelings(world, i, resident, names)
    return template


def _set_resident(world: World, i: int, resident: ResidentConfig) -> None:
    world.needs[i] = resident.needs.values()
    world.wallet[i] = resident.wallet
    world.ingredients[i] = resident.inventory.ingredients
    world.pace[i] = resident.personality.pace
    world.patience[i] = resident.personality.patience
    world.warmth[i] = resident.personality.warmth
    world.last_verb[i] = Verb.WAIT
    world.last_success[i] = 1


def _set_job(world: World, i: int, config: TownConfig, names: Names) -> None:
    name = config.residents[i].job
    world.shift_state[i] = ShiftState.OFF
    if name is None:
        return
    job = config.jobs[name]
    world.job_object[i] = names.objects.index(job.object)
    world.job_start[i], world.job_end[i] = job.start, job.end
    world.job_wage[i], world.job_penalty[i] = job.wage, job.lateness_penalty
    until = (job.start - config.start_minute) % MINUTES_PER_DAY
    if until <= config.employment.arrival_buffer:
        world.shift_state[i] = ShiftState.PRE


def _set_feelings(world: World, i: int, resident: ResidentConfig, names: Names) -> None:
    for other, tie in resident.ties.items():
        if other not in names.residents or other == resident.id:
            others = [name for name in names.residents if name != resident.id]
            raise ConfigError(
                f"residents.{resident.id}.ties: unknown resident {other!r}{nearest(other, others)}"
            )
        j = names.residents.index(other)
        world.rivalry[i, j] = tie.rivalry
        world.trust[i, j] = tie.trust
        world.familiarity[i, j] = tie.familiarity
