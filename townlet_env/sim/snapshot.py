"""Saving, restoring and hashing the state of worlds."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from townlet_env.errors import SnapshotError
from townlet_env.sim.features import RADIUS
from townlet_env.sim.places import OCCUPANT_SHIFT
from townlet_env.sim.plan import Plan
from townlet_env.sim.state import Grid, Records, World

SNAPSHOT_VERSION = 1


class Snapshot(NamedTuple):
    """A state that can be pickled, kept and resumed; random streams need no state of their own."""

    version: int
    plan_digest: str
    worlds: Records  # (W,) world records

    def check(self, plan: Plan, num_worlds: int) -> None:
        """Raise SnapshotError unless this belongs to ``num_worlds`` worlds of ``plan``."""
        if self.version != SNAPSHOT_VERSION:
            raise SnapshotError(
                f"expected a state of version {SNAPSHOT_VERSION}, found {self.version}; "
                "take a new one with get_state()"
            )
        if self.plan_digest != plan_digest(plan):
            raise SnapshotError(
                "expected a state of this scenario, found one of another scenario or other "
                "settings; build the environment it was taken from"
            )
        if len(self.worlds) != num_worlds:
            raise SnapshotError(
                f"expected a state of {num_worlds} worlds, found {len(self.worlds)}; "
                f"build the batch with num_worlds={len(self.worlds)}"
            )


def take(plan: Plan, worlds: Records) -> Snapshot:
    """Copy the state of ``worlds``."""
    return Snapshot(SNAPSHOT_VERSION, plan_digest(plan), worlds.copy())


def field_digest(world: World) -> str:
    """Return a hash of one record, field by field (padding between fields does not count).

    Snapshots and action logs of format 1.1 hold it; states are hashed by ``WorldBatch.digest``.
    """
    state = hashlib.blake2b(digest_size=16)
    for name in world.dtype.names:
        state.update(np.ascontiguousarray(world[name]).tobytes())
    return state.hexdigest()


def plan_digest(plan: Plan) -> str:
    """Return a hash of a compiled scenario."""
    state = hashlib.blake2b(digest_size=16)
    state.update(field_digest(plan.rules[0]).encode())
    state.update(field_digest(plan.template[0]).encode())
    state.update(plan.grid.tobytes())
    state.update(repr(plan.names).encode())
    return state.hexdigest()


def restore_grid(plan: Plan, world: World, grid: Grid) -> None:
    """Rebuild the cell words of a world from its record."""
    walls_and_objects = plan.grid & np.uint16((1 << OCCUPANT_SHIFT) - 1)
    grid[:] = walls_and_objects
    for i in range(int(world.n_residents)):
        if world.alive[i]:
            cell = int(world.y[i]) + RADIUS, int(world.x[i]) + RADIUS
            grid[cell] |= np.uint16((i + 1) << OCCUPANT_SHIFT)
