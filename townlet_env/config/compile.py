"""A checked scenario to the arrays of the simulation."""

from __future__ import annotations

from townlet_env.config.cells import distances_of, grid_of
from townlet_env.config.compile_rules import compile_rules, max_newcomers
from townlet_env.config.layout import Layout, lay_out
from townlet_env.config.personalities import DRAWN, Personality
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError
from townlet_env.sim.features import feature_names
from townlet_env.sim.ids import MINUTES_PER_DAY, NONE, ShiftState, Verb
from townlet_env.sim.plan import Names, Plan
from townlet_env.sim.state import CAPACITIES, Capacity, Records, World, allocate, world_dtype
from townlet_env.sim.ways import chart


def compile_plan(config: TownConfig) -> Plan:
    """Return the plan of a scenario.

    Raises:
        ConfigError: Something does not fit together: a resident in a wall, two with one id, an
            unknown kind, object, job or resident; too many of them, or too long a way.
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
    rules = compile_rules(config, names, layout)
    template = _template(config, names, layout, capacity)
    grid, distance = grid_of(layout), distances_of(layout, config.name)
    return Plan(
        capacity=capacity,
        rules=rules,
        template=template,
        grid=grid,
        distance=distance,
        ways=chart(template[0], rules[0], grid, distance),
        names=names,
        max_newcomers=max_newcomers(config),
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


def _template(config: TownConfig, names: Names, layout: Layout, capacity: Capacity) -> Records:
    template = allocate(world_dtype(capacity), 1)
    world = template[0]
    for field in ("busy_affordance", "busy_object", "reserved_object", "queue_object"):
        world[field][:] = NONE
    for field in ("vacant_until", "meet_with", "post", "job_object", "user", "holder", "queue"):
        world[field][:] = NONE
    world.meet_object = NONE
    world.n_residents, world.n_objects = len(names.residents), len(names.objects)
    world.start_minute = config.start_minute
    world.price_meal, world.price_groceries = config.prices.meal, config.prices.groceries
    world.power, world.water = config.utilities.power, config.utilities.water
    for o, thing in enumerate(config.objects):
        world.kind[o] = names.kinds.index(thing.kind)
        world.object_x[o], world.object_y[o] = layout.object_cells[o]
        world.stock[o] = thing.stock
        by_default = thing.stock if thing.kind in config.catalogue.restocks else 0
        world.restock[o] = by_default if thing.restock is None else thing.restock
    for i in range(len(config.residents)):
        world.alive[i] = 1
        world.x[i], world.y[i] = layout.resident_cells[i]
        _set_resident(world, i, config)
        _set_job(world, i, config, names)
        _set_feelings(world, i, config, names)
    return template


def _set_resident(world: World, i: int, config: TownConfig) -> None:
    resident = config.residents[i]
    world.needs[i] = resident.needs.values()
    world.wallet[i] = resident.wallet
    world.ingredients[i] = resident.inventory.ingredients
    world.last_verb[i] = Verb.WAIT
    world.last_success[i] = 1
    world.drawn[i] = resident.personality == DRAWN
    if resident.personality != DRAWN:
        traits = resident.personality
        if not isinstance(traits, Personality):
            traits = config.personalities.profiles[traits]
        world.pace[i], world.patience[i], world.warmth[i] = traits.values()


def _set_job(world: World, i: int, config: TownConfig, names: Names) -> None:
    name = config.residents[i].job
    world.shift_state[i] = ShiftState.OFF
    if name is None:
        return
    job = config.jobs[name]
    world.job_object[i] = world.post[i] = names.objects.index(job.object)
    world.job_start[i], world.job_end[i] = job.start, job.end
    world.job_wage[i], world.job_penalty[i] = job.wage, job.lateness_penalty
    until = (job.start - config.start_minute) % MINUTES_PER_DAY
    if until <= config.employment.arrival_buffer:
        world.shift_state[i] = ShiftState.PRE


def _set_feelings(world: World, i: int, config: TownConfig, names: Names) -> None:
    for other, tie in config.residents[i].ties.items():
        j = names.residents.index(other)
        world.rivalry[i, j] = tie.rivalry
        world.trust[i, j] = tie.trust
        world.familiarity[i, j] = tie.familiarity
