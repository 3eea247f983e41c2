"""Random play of batches: legal actions, illegal ones, and moments nobody planned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from env.worlds import Scenario

from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.ids import NONE


def open_batch(town: Scenario, seeds: list[int], channels: int = 4) -> WorldBatch:
    batch = WorldBatch(town.plan, len(seeds), channels)
    batch.reset(seeds)
    return batch


def wild_orders(batch: WorldBatch, rng: np.random.Generator, wild: float = 0.1) -> np.ndarray:
    """Legal actions, and a share of anything at all; things begun are seldom given up."""
    names = batch.plan.names.actions
    weight = np.array([{"start": 9.0, "release": 0.1}.get(n.partition(":")[0], 1.0) for n in names])
    reach = np.cumsum(batch.views.action_mask * weight, axis=-1)
    luck = rng.random((*reach.shape[:-1], 1)) * reach[..., -1:]
    orders = (reach <= luck).sum(-1)
    return np.where(rng.random(orders.shape) < wild, rng.integers(-5, 99, orders.shape), orders)


def assert_same_views(one: WorldBatch, w: int, other: WorldBatch, v: int) -> None:
    for left, right in zip(one.views, other.views, strict=True):
        np.testing.assert_array_equal(left[w], right[v])


def upset(batch: WorldBatch, town: Scenario, rng: np.random.Generator) -> None:
    """Put some residents of each world elsewhere, and switch power or water on or off."""
    snapshot = batch.get_state()
    cells = sorted(town.ground.floor)
    for world in snapshot.worlds:
        world.power, world.water = rng.random(2) < 0.7
        idle = np.flatnonzero((world.alive != 0) & (world.busy_affordance == NONE))
        for i in idle[rng.random(len(idle)) < 0.3]:
            x, y = cells[rng.integers(len(cells))]
            if not any((world.alive != 0) & (world.x == x) & (world.y == y)):
                world.x[i], world.y[i] = x, y
    batch.set_state(snapshot)


def unpacked(records: Any, w: int) -> SimpleNamespace:
    """Fields of one record as plain arrays that follow it; records themselves are slow to read."""
    plain = records.view(np.ndarray)
    return SimpleNamespace(**{name: plain[name][w, ...] for name in plain.dtype.names})
