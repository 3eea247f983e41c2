"""Records read by attribute: no field may hide behind a method of NumPy's."""

import subprocess
import sys

import numpy as np
import pytest

from townlet_env import townlet_v0
from townlet_env.sim.rules import RULES
from townlet_env.sim.state import CAPACITIES, outcome_dtype, world_dtype

DTYPES = [RULES, *map(world_dtype, CAPACITIES), *map(outcome_dtype, CAPACITIES)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_field_has_the_name_of_a_method(dtype):
    assert [name for name in dtype.names if hasattr(np.record, name)] == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_field_is_a_bool(dtype):
    """Nested arrays of records have none in compiled code."""
    assert all(dtype[name].base != np.bool_ for name in dtype.names)


def test_a_small_world_fits_its_budget():
    assert world_dtype(CAPACITIES[0]).itemsize <= 64 * 1024


PLAY = """
from townlet_env import townlet_v0
env = townlet_v0.parallel_env("kitchen_breakfast")
env.reset(seed=3)
for tick in range(12):
    masks = env.action_masks()
    env.step({a: int(m.nonzero()[0][(tick * 7) % int(m.sum())]) for a, m in masks.items()})
print(env.batch.worlds[0].x[:2].tolist(), env.batch.worlds[0].tick)
"""


def test_the_town_runs_without_the_compiler(monkeypatch):
    """Plain Python plays the same moves: what coverage and a debugger rely on."""
    compiled = subprocess.run(
        [sys.executable, "-c", PLAY], capture_output=True, text=True, check=True
    )
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    plain = subprocess.run([sys.executable, "-c", PLAY], capture_output=True, text=True, check=True)
    assert plain.stdout == compiled.stdout
    assert compiled.stdout.strip().endswith("12")


def test_a_full_store_takes_no_more(tmp_path):
    """16-bit counts do not wrap: a fridge of 30,000 meals stays one."""
    path = tmp_path / "larder.yaml"
    path.write_text(
        """
name: larder
description: A cook and a full fridge.
ticks: 40
size: [4, 3]
objects:
  - {id: fridge, kind: fridge, cell: [0, 0], stock: 29999}
  - {id: stove, kind: stove, cell: [2, 0]}
residents:
  - {id: carl, cell: [2, 1], inventory: {ingredients: 30000}, policy: idle}
affordances: {cook_meal: {ticks: 1, gives: {stock: 1500}}}
queues: {cooldown_ticks: 0}
"""
    )
    env = townlet_v0.parallel_env(path)
    env.reset()
    ids = {name: action for action, name in env.action_lookup.items()}
    for _ in range(6):
        env.step({"carl": ids["request:stove"]})
        env.step({"carl": ids["start:cook_meal"]})
    world = env.batch.worlds[0]
    assert world.ingredients[0] == 30000 - 6
    assert world.stock[0] == 30000
