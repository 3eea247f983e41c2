"""Every kernel does what its slow twin in ``tests/naive.py`` does, on random states."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import naive
import naive_lives
import naive_map
import naive_perturb
import naive_records
import naive_social
import naive_town
import naive_views
import numpy as np
import pytest
from env.worlds import PATIENCE, Stage, random_stage, scenario, stages
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_town import Happening, Tick, Town

from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.features import RADIUS
from townlet_env.sim.ids import EVENT_NAMES
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
from townlet_env.sim.kernels.rewards import score
from townlet_env.sim.kernels.ties import update_ties
from townlet_env.sim.places import OBJECT, OCCUPANT_SHIFT, WALL

TOLERANCE = 4e-6  # float32 against float64

often = settings(max_examples=120 // PATIENCE, deadline=None)


def flat(value: Any, at: str = "") -> dict[str, Any]:
    """Every number and name in nested objects, by path."""
    if isinstance(value, Happening):
        return {f"{at}.{k}": v for k, v in enumerate(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(f.name, value.__dict__[f.name]) for f in dataclasses.fields(value)]
    elif isinstance(value, list | tuple):
        parts = list(enumerate(value))
    else:
        return {at: value}
    return {path: leaf for name, part in parts for path, leaf in flat(part, f"{at}.{name}").items()}


def assert_same(found: Any, expected: Any) -> None:
    left, right = flat(found), flat(expected)
    assert left.keys() == right.keys()
    for path, value in left.items():
        wanted = right[path]
        if isinstance(value, float) or isinstance(wanted, float):
            same = math.isclose(value, wanted, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
            assert same, f"{path}: expected {wanted}, found {value}"
        elif path != ".ground":
            assert value == wanted, f"{path}: expected {wanted}, found {value}"


def assert_grid_fits(stage: Stage) -> None:
    """The cell words say where walls, objects and people are."""
    ground, town = stage.scenario.ground, stage.town()
    expected = np.full_like(stage.grid, WALL)
    expected[RADIUS:-RADIUS, RADIUS:-RADIUS] = 0
    for x, y in ground.walls:
        expected[y + RADIUS, x + RADIUS] = WALL
    for thing in town.things:
        expected[thing.y + RADIUS, thing.x + RADIUS] = OBJECT
    for i, person in enumerate(town.people):
        if person.alive:
            expected[person.y + RADIUS, person.x + RADIUS] |= (i + 1) << OCCUPANT_SHIFT
    np.testing.assert_array_equal(stage.grid, expected)


def assert_equal_state(stage: Stage, town: Town, tick: Tick) -> None:
    assert_same(stage.town(), town)
    assert_same(stage.tick(), tick)


@often
@given(stages())
def test_orders(stage):
    rng = np.random.default_rng(int(stage.world.seed % np.uint64(2**32)))
    wild = rng.random(len(stage.orders)) < 0.5
    stage.orders[wild] = rng.integers(-3, 40, wild.sum())
    town = stage.town()
    tick = naive_town.new_tick(stage.orders.tolist())
    for later in ("components", "reward", "arrived", "terminal"):  # overwritten later in the tick
        setattr(tick, later, getattr(stage.tick(), later))
    naive.take_orders(town, tick, stage.mask)
    take_orders(stage.world, stage.outcome, stage.rules, stage.orders, stage.mask)
    assert_equal_state(stage, town, tick)


@often
@given(stages())
def test_perturbations(stage):
    town, tick = stage.town(), stage.tick()
    naive_perturb.perturb_town(town, tick)
    perturb_town(stage.world, stage.outcome, stage.rules)
    assert_equal_state(stage, town, tick)


@often
@given(stages())
def test_arrivals(stage):
    stage.outcome.arrived[:] = 0
    town, tick = stage.town(), stage.tick()
    naive_lives.welcome_newcomers(town, tick)
    welcome_newcomers(stage.world, stage.outcome, stage.rules, stage.grid)
    assert_equal_state(stage, town, tick)
    assert_grid_fits(stage)


@often
@given(stages(), st.integers(0, 255))
def test_personalities(stage, drawn):
    n = len(stage.orders)
    stage.world.drawn[:n] = [drawn >> (i % 8) & 1 for i in range(n)]
    town, tick = stage.town(), stage.tick()
    naive_lives.draw_personalities(town)
    draw_personalities(stage.world, stage.rules)
    assert_equal_state(stage, town, tick)


@often
@given(stages())
def test_movement(stage):
    town, tick = stage.town(), stage.tick()
    naive.move_residents(town, tick)
    move_residents(
        stage.world,
        stage.outcome,
        stage.rules,
        stage.orders,
        stage.grid,
        stage.scenario.plan.ways,
    )
    assert_equal_state(stage, town, tick)
    assert_grid_fits(stage)


@often
@given(stages())
def test_requests_and_releases(stage):
    town, tick = stage.town(), stage.tick()
    naive.join_queues(town, tick)
    join_queues(stage.world, stage.outcome, stage.rules, stage.orders)
    assert_equal_state(stage, town, tick)


@often
@given(stages())
def test_service(stage):
    town, tick = stage.town(), stage.tick()
    naive.serve_queues(town, tick)
    serve_queues(stage.world, stage.outcome, stage.rules, stage.orders)
    assert_equal_state(stage, town, tick)


@often
@given(stages())
def test_affordances(stage):
    town, tick = stage.town(), stage.tick()
    naive.run_affordances(town, tick)
    run_affordances(stage.world, stage.outcome, stage.rules, stage.orders)
    assert_equal_state(stage, town, tick)


@often
@given(stages())
def test_needs(stage):
    town, tick = stage.town(), stage.tick()
    naive.decay_needs(town)
    decay_needs(stage.world, stage.rules)
    assert_equal_state(stage, town, tick)


@often
@given(stages(names=("house", "corridor", "plaza")))
def test_shifts(stage):
    stage.outcome.wage[:] = 0.0
    stage.outcome.punctuality[:] = 0.0
    town, tick = stage.town(), stage.tick()
    naive_social.work_shifts(town, tick)
    work_shifts(stage.world, stage.outcome, stage.rules)
    assert_equal_state(stage, town, tick)


@often
@given(stages())
def test_ties(stage):
    stage.outcome.social[:] = 0.0
    town, tick = stage.town(), stage.tick()
    naive_social.update_ties(town, tick)
    update_ties(stage.world, stage.outcome, stage.rules, stage.orders)
    assert_equal_state(stage, town, tick)


@often
@given(stages())
def test_accounts(stage):
    town, tick = stage.town(), stage.tick()
    naive_lives.keep_accounts(town, tick)
    keep_accounts(stage.world, stage.outcome, stage.rules)
    assert_equal_state(stage, town, tick)


@often
@given(stages())
def test_lives(stage):
    stage.outcome.terminated[:] = stage.outcome.terminal[:] = 0
    town, tick = stage.town(), stage.tick()
    naive_lives.end_lives(town, tick)
    end_lives(stage.world, stage.outcome, stage.rules, stage.grid)
    assert_equal_state(stage, town, tick)
    assert_grid_fits(stage)


@often
@given(stages())
def test_rewards(stage):
    town, tick = stage.town(), stage.tick()
    naive_social.score(town, tick)
    score(stage.world, stage.outcome, stage.rules)
    assert_equal_state(stage, town, tick)


@often
@given(stages())
def test_clock(stage):
    town, tick = stage.town(), stage.tick()
    naive.advance_clock(town, tick)
    advance_clock(stage.world, stage.outcome, stage.rules, stage.orders)
    assert_equal_state(stage, town, tick)


@often
@given(stages())
def test_maps(stage):
    maps = np.full((len(stage.orders), 4, 11, 11), 7, np.uint8)
    observe_map(stage.world, stage.rules, stage.scenario.plan.ways, maps)
    np.testing.assert_array_equal(maps, naive_map.observe_map(stage.town()))
    assert_grid_fits(stage)


@often
@given(stages())
def test_features(stage):
    plan = stage.scenario.plan
    features = np.full((len(stage.orders), len(plan.names.features)), 7.0, np.float32)
    observe_features(stage.world, stage.rules, plan.ways, features)
    expected = naive_views.observe_features(stage.town())
    for column, name in enumerate(plan.names.features):
        found, wanted = features[:, column], expected[:, column]
        np.testing.assert_allclose(found, wanted, TOLERANCE, TOLERANCE, err_msg=name)


@often
@given(stages())
def test_masks(stage):
    mask = np.full_like(stage.mask, 7)
    observe_mask(stage.world, stage.rules, stage.scenario.plan.ways, mask)
    expected = naive_views.observe_mask(stage.town())
    for a, name in enumerate(stage.scenario.plan.names.actions):
        np.testing.assert_array_equal(mask[:, a], expected[:, a], err_msg=name)


@pytest.mark.parametrize("name", ["house", "corridor", "plaza", "crowd"])
def test_whole_ticks(name):
    """A tick is the kernels in the order of the rules, and what is seen is the state after it."""
    town = scenario(name)
    plan, rng = town.plan, np.random.default_rng(5)
    batch = WorldBatch(plan, 1)
    batch.reset([11])
    for _ in range((60 if name == "crowd" else 250) // PATIENCE):
        mask = batch.views.action_mask[0].copy()
        orders = [int(rng.choice(np.flatnonzero(row))) for row in mask]
        twin = naive_records.read_town(town.ground, batch.worlds[0])
        tick = naive.live(twin, orders, mask)
        batch.step([orders])
        assert_same(naive_records.read_town(town.ground, batch.worlds[0]), twin)
        assert_same(naive_records.read_tick(town.ground, batch.outcomes[0], orders), tick)
        np.testing.assert_array_equal(batch.views.map[0], naive_map.observe_map(twin))
        np.testing.assert_array_equal(batch.views.action_mask[0], naive_views.observe_mask(twin))
        seen = naive_views.observe_features(twin)
        np.testing.assert_allclose(batch.views.features[0], seen, TOLERANCE, TOLERANCE)


def test_random_states_are_eventful():
    """The comparison above is worth something: every rule finds work in the random states."""
    seen = dict.fromkeys((*EVENT_NAMES, "wait"), 0)
    for seed in range(600 // PATIENCE):
        stage = random_stage(("house", "corridor", "plaza")[seed % 3], 0.7, seed)
        town = stage.town()
        tick = naive.live(town, stage.orders.tolist(), stage.mask)
        for kind in {event.kind for event in tick.events}:
            seen[kind] += 1
        seen["wait"] += 0 in tick.orders
    assert PATIENCE > 1 or min(seen.values()) >= 15, seen
