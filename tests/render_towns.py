"""A small town with one of everything that pictures show, opened to be changed by hand."""

from __future__ import annotations

import numpy as np

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.config.schema import TownConfig
from townlet_env.sim.batch import WorldBatch

TOWN = """\
name: corner
description: One of everything that is drawn.
ticks: 200
start_minute: 720
map: |
  ##############
  #F.S.H.#,,,,T#
  #......#==,,~#
  #a.b...c==,,~#
  #......#==,,,#
  #B.T.X.#N,,,,#
  ##############
legend:
  {F: fridge, S: stove, H: shower, B: bed, X: shrine, N: bench, a: anna, b: ben, c: cleo, T: wall,
   "~": wall, ",": floor, "=": floor}
kinds: [shrine]
affordances:
  pray: {object: shrine, ticks: 5, gives: {energy: 0.01}}
objects:
  - {id: fridge, kind: fridge, stock: 3}
  - {id: stove, kind: stove}
  - {id: shower, kind: shower}
  - {id: bed, kind: bed}
  - {id: shrine, kind: shrine}
  - {id: bench, kind: bench}
residents:
  - {id: anna, needs: {hunger: 0.5, hygiene: 0.8, energy: 0.9}, policy: idle}
  - {id: ben, needs: {hunger: 0.1, hygiene: 0.6, energy: 0.4}, policy: idle}
  - {id: cleo, policy: idle}
"""

ANNA, BEN, CLEO = range(3)
FRIDGE, STOVE, SHOWER, BED, SHRINE, BENCH = range(6)


def corner(tmp_path, **changes) -> TownConfig:
    path = tmp_path / "corner.yaml"
    path.write_text(TOWN)
    return load_scenario(path, changes)


def hall(tmp_path, size, objects=(), residents=1) -> TownConfig:
    """An open floor; residents stand in rows from the top left."""
    return corner(
        tmp_path,
        **{"map": None, "legend": {}, "size": size, "objects": list(objects), "kinds": []},
        affordances={"pray": {"object": "bed"}},
        residents=[
            {"id": f"resident_{k}", "cell": [k % size[0], k // size[0]], "policy": "idle"}
            for k in range(residents)
        ],
    )


def opened(config: TownConfig) -> WorldBatch:
    batch = WorldBatch(compile_plan(config), 1)
    batch.reset([7])
    return batch


def use(batch: WorldBatch, slot: int, o: int, affordance: str, remaining: int) -> None:
    """Let a resident be in the middle of an affordance."""
    world = batch.worlds[0]
    world.busy_affordance[slot] = batch.plan.names.affordances.index(affordance)
    world.busy_object[slot] = o
    world.busy_remaining[slot] = remaining
    world.user[o] = slot


def line_up(batch: WorldBatch, o: int, *slots: int) -> None:
    """Let residents wait in line."""
    world = batch.worlds[0]
    world.queue[o, : len(slots)] = slots
    world.queue_length[o] = len(slots)
    for slot in slots:
        world.queue_object[slot] = o


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(H, W): which pixels differ."""
    return (before != after).any(axis=2)


def part(picture: np.ndarray, box) -> np.ndarray:
    return picture[box.y : box.bottom, box.x : box.right]


def count(picture: np.ndarray, colour) -> int:
    """Return how many pixels have this colour, but for the rounding of smooth shapes."""
    apart = np.abs(picture.astype(int) - np.array(colour)).max(axis=2)
    return int((apart <= 2).sum())
