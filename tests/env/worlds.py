"""Small towns for tests, compiled, and random states of them.

Random numbers are sums of powers of two, for the reason given in ``towns.py``.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import naive_records
import naive_town
import numba
import numpy as np
from env import states
from env.towns import COMMON, CROWD, SMALL
from hypothesis import strategies as st
from naive_town import Ground

from townlet_env.config.catalogue import Catalogue
from townlet_env.config.compile import compile_plan
from townlet_env.config.load import Source, configs_dir, validate
from townlet_env.config.safe_yaml import read_yaml
from townlet_env.config.schema import TownConfig
from townlet_env.sim.ids import NONE
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
        observe_mask(self.world, self.rules, plan.ways, self.mask)

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
        return naive_records.read_town(self.scenario.ground, self.world)

    def tick(self) -> naive_town.Tick:
        """Return orders and outcome as objects."""
        return naive_records.read_tick(self.scenario.ground, self.outcome, self.orders)


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
    states.scatter_numbers(world, town, rng)
    states.scatter_troubles(world, town, rng)
    states.scatter_lives(world, town, rng)
    free = [int(i) for i in rng.permutation(n) if world.alive[i]]
    states.scatter_people(world, town, free, rng)
    theme = int(rng.choice(town.plan.rules[0].affordance_kinds[: len(plan.names.affordances)]))
    things = rng.permutation(world.n_objects).tolist()
    chosen = [o for o in things if crowding > 0.5 and theme >> int(world.kind[o]) & 1]
    for o in chosen:
        states.occupy(world, town, o, free, 1.0, rng)
    for o in things:
        if o not in chosen:
            states.occupy(world, town, o, free, crowding, rng)
        states.line_up(world, town, o, free, crowding, rng)
    states.gather(world, town, free, rng)
    states.meet(world, town, rng)
    if not strays:
        states.call_strays_home(world, town)
    for i in range(n):
        states.scatter_job(world, i, rng)
    states.share_jobs(world, rng)
    states.scatter_dismissals(world, rng)
    stage = Stage(f"random_stage({name!r}, {crowding!r}, {seed}, {strays})", town, worlds)
    stage.orders[:] = [legal_order(row, plan, rng) for row in stage.mask]
    polite = (world.reserved_object[:n] != NONE) & (rng.random(n) < 0.3)
    stage.orders[polite] = plan.names.actions.index("release")
    states.scatter_outcome(stage.outcome, world, rng)
    return stage


def legal_order(row: Any, plan: Plan, rng: np.random.Generator) -> int:
    """Pick a legal action; starting something is worth trying, and ending it mostly is not."""
    busy = plan.names.actions.index("release")
    if row[busy] and row.sum() == 2 and rng.random() < 0.9:
        return 0
    starts = [a for a in np.flatnonzero(row) if plan.names.actions[a].startswith("start")]
    if starts and rng.random() < 0.7:
        return int(rng.choice(starts))
    return int(rng.choice(np.flatnonzero(row)))
