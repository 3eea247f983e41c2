"""One tick of the town, in the order of the rules, section 3: all of it is on this page."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.kernels.affordances import run_affordances
from townlet_env.sim.kernels.arrivals import draw_personalities, welcome_newcomers
from townlet_env.sim.kernels.clock import advance_clock
from townlet_env.sim.kernels.economy import keep_accounts
from townlet_env.sim.kernels.jobs import work_shifts
from townlet_env.sim.kernels.lives import end_lives
from townlet_env.sim.kernels.movement import move_residents
from townlet_env.sim.kernels.needs import decay_needs
from townlet_env.sim.kernels.observe_features import observe_features
from townlet_env.sim.kernels.observe_map import observe_map
from townlet_env.sim.kernels.observe_mask import observe_mask
from townlet_env.sim.kernels.orders import take_orders
from townlet_env.sim.kernels.perturb import perturb_town
from townlet_env.sim.kernels.queues import join_queues, serve_queues
from townlet_env.sim.kernels.rewards import potential, score
from townlet_env.sim.kernels.ties import update_ties
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Grid, Orders, Outcome, Records, Views, Ways, World


@kernel
def tick(
    world: World,
    outcome: Outcome,
    rules: Rules,
    orders: Orders,
    mask: npt.NDArray[np.int8],
    grid: Grid,
    ways: Ways,
) -> None:
    """Live one tick of one world, in place."""
    take_orders(world, outcome, rules, orders, mask)  # 3.0
    perturb_town(world, outcome, rules)  # 3.1
    welcome_newcomers(world, outcome, rules, grid)  # 3.2
    move_residents(world, outcome, rules, orders, grid, ways)  # 3.3
    join_queues(world, outcome, rules, orders)  # 3.4
    serve_queues(world, outcome, rules, orders)  # 3.5
    run_affordances(world, outcome, rules, orders)  # 3.6
    decay_needs(world, rules)  # 3.7
    work_shifts(world, outcome, rules)  # 3.8
    update_ties(world, outcome, rules, orders)  # 3.9
    keep_accounts(world, outcome, rules)  # 3.10
    end_lives(world, outcome, rules, grid)  # 3.10
    score(world, outcome, rules)  # 3.11
    advance_clock(world, outcome, rules, orders)  # 3.12


@kernel
def observe(world: World, rules: Rules, ways: Ways, views: Views, w: int) -> None:
    """Write what the residents of world ``w`` see and may do now (rules 3.13)."""
    observe_map(world, rules, ways, views.map[w])
    observe_features(world, rules, ways, views.features[w])
    observe_mask(world, rules, ways, views.action_mask[w])


@kernel
def step_worlds(
    worlds: Records,
    outcomes: Records,
    rules: Records,
    orders: npt.NDArray[np.int32],
    grids: npt.NDArray[np.uint16],
    ways: Ways,
    views: Views,
) -> None:
    """Live one tick of every world and observe it; a world is finished before the next begins.

    Args:
        worlds: (W,) world records, changed in place.
        outcomes: (W,) outcome records, overwritten.
        rules: (1,) compiled rules.
        orders: (W, N) action ids; illegal ones are replaced by ``wait`` in place.
        grids: (W, H + 10, W + 10) cell words.
        ways: Tables by cell.
        views: The masks of the present state; overwritten by the observations of the new one.
    """
    for w in range(worlds.shape[0]):
        mask = views.action_mask[w]
        tick(worlds[w], outcomes[w], rules[0], orders[w], mask, grids[w], ways)
        observe(worlds[w], rules[0], ways, views, w)


@kernel
def open_worlds(
    worlds: Records,
    rules: Records,
    ways: Ways,
    views: Views,
    which: npt.NDArray[np.int64],
    fresh: bool,
) -> None:
    """Observe the worlds ``which`` without a tick; in fresh ones lives begin."""
    for w in which:
        world = worlds[w]
        if fresh:
            draw_personalities(world, rules[0])
            for i in range(world.n_residents):
                world.potential[i] = potential(world, rules[0], i)
        observe(world, rules[0], ways, views, w)
