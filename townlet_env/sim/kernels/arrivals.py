"""Rules 3.2: newcomers take vacant slots; personalities are drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.events import log
from townlet_env.sim.ids import NEED_COUNT, NONE, EventKind, ShiftState, Stream, Verb
from townlet_env.sim.places import is_floor, occupant, place
from townlet_env.sim.random import USE_TRAIT, uniform
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import SHIFT_MEMORY, Grid, Outcome, World

# Additive recurrence of M. Roberts (2018, "The unreasonable effectiveness of quasirandom
# sequences") in four dimensions: powers of 1 / g, where g is the root of x^5 = x + 1.
_G = 1.16730397826141868
_STEPS = np.array([1 / _G, 1 / _G**2, 1 / _G**3, 1 / _G**4])


@kernel
def welcome_newcomers(world: World, outcome: Outcome, rules: Rules, grid: Grid) -> None:
    """Let newcomers whose time has come take their slots, where the roadside has room."""
    for i in range(world.n_residents):
        outcome.arrived[i] = 0
        if world.alive[i] != 0 or world.vacant_until[i] == NONE:
            continue
        if world.tick < world.vacant_until[i] or world.arrivals >= rules.max_newcomers:
            continue
        cell = free_roadside(world, rules, grid)
        if cell == NONE:
            continue
        world.arrivals += 1
        world.x[i] = rules.roadside[cell, 0]
        world.y[i] = rules.roadside[cell, 1]
        place(grid, i, int(world.x[i]), int(world.y[i]))
        begin_life(world, rules, i)
        outcome.arrived[i] = 1
        log(outcome, EventKind.ARRIVED, i, NONE, NONE, 0.0)


@kernel
def free_roadside(world: World, rules: Rules, grid: Grid) -> int:
    """Return the index of a free roadside cell, or NONE; newcomers begin at different ones."""
    count = int(rules.n_roadside)
    for offset in range(count):
        cell = (int(world.arrivals) + 1 + offset) % count
        x, y = int(rules.roadside[cell, 0]), int(rules.roadside[cell, 1])
        if is_floor(grid, x, y) and occupant(grid, x, y) == NONE:
            return cell
    return NONE


@kernel
def begin_life(world: World, rules: Rules, i: int) -> None:
    """Give the slot to the newest newcomer, who owes nothing to who was there before."""
    world.alive[i] = 1
    world.newcomer[i] = world.arrivals
    world.since[i] = world.tick + 1
    world.vacant_until[i] = NONE
    for k in range(NEED_COUNT):
        world.needs[i, k] = rules.newcomer_needs[k]
    world.wallet[i] = rules.newcomer_wallet
    world.ingredients[i] = rules.newcomer_ingredients
    world.last_verb[i] = Verb.WAIT
    world.last_success[i] = 1
    world.job_object[i] = NONE  # rules 3.8 give it, unless its shift is under way
    world.shift_state[i] = ShiftState.OFF
    world.withheld[i] = 0.0
    for past in range(SHIFT_MEMORY):
        world.shifts_worked[i, past] = 0
        world.shifts_scheduled[i, past] = 0
    world.shift_worked[i] = 0
    world.shift_away[i] = 0
    world.taken_over[i] = 0
    world.absences[i] = 0
    world.dismissed[i] = 0
    world.faint_ticks[i] = 0
    world.rent_owed[i] = 0.0
    world.rent_missed[i] = 0
    world.notice[i] = 0
    world.meal_until[i] = 0
    world.meet_from[i] = 0
    world.meets[i] = 0
    world.blocked[i] = 0
    for o in range(world.n_objects):
        world.cooldown_until[i, o] = 0
    begun = np.empty(4)
    for d in range(4):
        first = uniform(world.seed, Stream.EVENTS, 0, USE_TRAIT + d)
        begun[d] = (first + world.arrivals * _STEPS[d]) % 1.0
    settle_traits(world, rules, i, begun)


@kernel
def draw_personalities(world: World, rules: Rules) -> None:
    """Draw the personalities that the scenario leaves to chance, when an episode opens."""
    luck = np.empty(4)
    for i in range(world.n_residents):
        if world.drawn[i] != 0:
            for d in range(4):
                luck[d] = uniform(world.seed, Stream.EVENTS, 0, (i + 1) * 64 + USE_TRAIT + d)
            settle_traits(world, rules, i, luck)


@kernel
def settle_traits(world: World, rules: Rules, i: int, luck: npt.NDArray[np.float64]) -> None:
    """Turn four numbers in [0, 1) into a profile and three traits around it."""
    profile = 0
    while profile < rules.n_profiles - 1 and luck[0] >= rules.profile_share[profile]:
        profile += 1
    world.pace[i] = trait(rules, profile, 0, luck[1])
    world.patience[i] = trait(rules, profile, 1, luck[2])
    world.warmth[i] = trait(rules, profile, 2, luck[3])


@kernel
def trait(rules: Rules, profile: int, t: int, luck: float) -> float:
    """Return one trait within ``profile_spread`` of the profile's, kept in [-1, 1]."""
    value = rules.profile_traits[profile, t] + rules.profile_spread * (2.0 * luck - 1.0)
    return float(min(max(value, -1.0), 1.0))
