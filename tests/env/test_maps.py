"""The map is what its slow twin in ``tests/naive_map.py`` draws, in every variant."""

from __future__ import annotations

import naive_map
import numpy as np
import pytest
from env.worlds import PATIENCE, random_stage, scenario, stages
from hypothesis import given, settings

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.features import FULL_MAP_CHANNELS
from townlet_env.sim.kernels.observe_map import observe_map


def test_the_channels_have_the_names_that_the_twin_draws_by():
    assert naive_map.NAMES == FULL_MAP_CHANNELS


@settings(max_examples=120 // PATIENCE, deadline=None)
@given(stages())
def test_full_maps(stage):
    maps = np.full((len(stage.orders), 12, 11, 11), 7, np.uint8)
    observe_map(stage.world, stage.rules, stage.scenario.plan.ways, maps)
    expected = naive_map.observe_map(stage.town(), 12)
    for c, name in enumerate(naive_map.NAMES):
        np.testing.assert_array_equal(maps[:, c], expected[:, c], err_msg=name)


def test_random_states_have_ways_in_every_direction():
    """The comparison above is worth something: every channel is drawn, and every direction."""
    ways, drawn = set(), np.zeros(12, np.int64)
    for seed in range(60):
        maps = naive_map.observe_map(random_stage("house", 0.7, seed).town(), 12)
        ways |= {(int(a), int(s)) for a, s in maps[:, 10:].transpose(0, 2, 3, 1).reshape(-1, 2)}
        drawn += maps.sum(axis=(0, 2, 3), dtype=np.int64)
    assert ways == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert drawn[naive_map.NAMES.index("other")] == 0  # the shipped catalogue has no such kind
    assert (np.delete(drawn, naive_map.NAMES.index("other")) > 50).all()


@pytest.mark.parametrize("name", ["house", "crowd"])
def test_variants_differ_in_nothing_but_the_map(name):
    """The town lives on the same way whatever is drawn of it, and the first four are the same."""
    batches = [WorldBatch(scenario(name).plan, 2, channels) for channels in (0, 4, 12)]
    rng = np.random.default_rng(3)
    for batch in batches:
        batch.reset([5, 6])
    for _ in range(100 // PATIENCE):
        none, basic, full = (batch.views for batch in batches)
        assert none.map.size == 0
        np.testing.assert_array_equal(full.map[:, :, :4], basic.map)
        for key in ("features", "action_mask"):
            np.testing.assert_array_equal(none._asdict()[key], basic._asdict()[key])
            np.testing.assert_array_equal(full._asdict()[key], basic._asdict()[key])
        orders = rng.integers(0, basic.action_mask.shape[2], basic.action_mask.shape[:2])
        for batch in batches:
            batch.step(orders)
    assert len({batch.digest(1) for batch in batches}) == 1


def test_the_way_leads_to_the_need_that_is_lowest():
    """By hand: ana in the flat follows the map to the shower, from wherever she stands."""
    config = load_scenario("shared_flat", {"expect": []})
    batch = WorldBatch(compile_plan(config), 1, 12)
    batch.reset([1])
    world = batch.worlds[0]
    world.needs[0] = (0.9, 0.1, 0.9)
    shower = batch.plan.names.objects.index("shower")
    goal = batch.plan.distance[shower]
    axis, sign = FULL_MAP_CHANNELS.index("path_axis"), FULL_MAP_CHANNELS.index("path_sign")
    move = {(0, 0): "north", (0, 1): "south", (1, 1): "east", (1, 0): "west"}
    wait = [0] * batch.num_residents
    batch.step([wait])
    left = [int(goal[world.y[0], world.x[0]])]
    for _ in range(20):
        if left[-1] == 0:
            break
        here = batch.views.map[0, 0, :, 5, 5]
        action = batch.plan.names.actions.index(f"move:{move[int(here[axis]), int(here[sign])]}")
        batch.step([[action, *wait[1:]]])
        left.append(int(goal[world.y[0], world.x[0]]))
    # Every step leads nearer, but for those that others stand in the way of.
    assert left[0] > 3
    assert left[-1] == 0
    assert set(np.diff(left)) <= {-1, 0}
    assert not batch.views.map[0, 0, [axis, sign], 5, 5].any()
