"""The same configuration, seed and actions give the same bits: promises 1 and 2 of the rules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from env.play import assert_same_views, open_batch, wild_orders
from env.worlds import PATIENCE, scenario
from keeping import stored_and_read

from townlet_env.sim.batch import WorldBatch

NAMES = ("house", "corridor", "plaza")


@pytest.mark.parametrize("name", NAMES)
def test_a_world_does_not_know_the_batch_it_is_in(name):
    town, rng = scenario(name), np.random.default_rng(1)
    many = open_batch(town, [10, 11, 12, 13, 14, 15, 16, 2**64 - 1])
    alone = open_batch(town, [13])
    happened = set()
    for _ in range(600 // PATIENCE):
        orders = wild_orders(many, rng)
        step, other = many.step(orders), alone.step(orders[3:4])
        assert many.digest(3) == alone.digest(0)
        for left, right in zip(step, other, strict=True):
            assert left[3].tobytes() == right[0].tobytes()
        assert many.events(3) == alone.events(0)
        happened |= {event.event for event in alone.events()}
    assert PATIENCE > 1 or {"exit", "arrived"} <= happened
    assert many.components[3].tobytes() == alone.components[0].tobytes()
    assert_same_views(many, 3, alone, 0)
    assert len({many.digest(w) for w in range(8)}) == 8


def test_a_seed_is_an_episode():
    """The same seed and actions give the same bits again; another seed gives others."""
    town = scenario("plaza")
    first, again, other = ([], [], [])
    for digests, seed in ((first, 5), (again, 5), (other, 6)):
        batch, rng = open_batch(town, [seed]), np.random.default_rng(3)
        for _ in range(100):
            batch.step(wild_orders(batch, rng))
            digests.append(batch.digest())
    assert first == again
    assert first[-1] != other[-1]


def played(name: str, seeds: list[int], ticks: int) -> list[str]:
    """The digests of every tick of random play."""
    batch, rng = open_batch(scenario(name), seeds), np.random.default_rng(seeds[0])
    found = []
    for _ in range(ticks):
        batch.step(wild_orders(batch, rng))
        found += [batch.digest(w) for w in range(len(seeds))]
    return found


def test_threads_do_not_disturb_each_other():
    """Batches stepped at the same time, in threads, live the lives they live alone."""
    tasks = [(name, [seed, seed + 1], 200 // PATIENCE) for name in NAMES for seed in (3, 40)]
    found: dict[int, list[str]] = {}
    begin = threading.Barrier(len(tasks))

    def play(k: int) -> None:
        begin.wait()
        found[k] = played(*tasks[k])

    threads = [threading.Thread(target=play, args=(k,)) for k in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[k] for k in range(len(tasks))] == [played(*task) for task in tasks]


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_resumes_to_the_bit(name):
    town, rng = scenario(name), np.random.default_rng(4)
    batch = open_batch(town, [21, 22])
    for _ in range(150 // PATIENCE):
        batch.step(wild_orders(batch, rng))
    snapshot = batch.get_state()
    saved = stored_and_read(snapshot)
    orders, future = [], []
    for _ in range(150 // PATIENCE):
        orders.append(wild_orders(batch, rng))
        batch.step(orders[-1])
        future.append([batch.digest(0), batch.digest(1), batch.views.features.tobytes()])
    for state in (snapshot, saved):
        resumed = WorldBatch(town.plan, 2)
        resumed.set_state(state)
        for told, expected in zip(orders, future, strict=True):
            resumed.step(told)
            found = [resumed.digest(0), resumed.digest(1), resumed.views.features.tobytes()]
            assert found == expected
        assert_same_views(resumed, 1, batch, 1)


# ---------------------------------------------------------------------------------- processes

PLAY = """
import json
import sys
import numpy as np
from env.worlds import scenario
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.snapshot import Snapshot, plan_digest
from townlet_env.sim.state import world_dtype

told = json.load(sys.stdin)
for name, worlds in told["towns"]:
    batch = WorldBatch(scenario(name).plan, worlds)
    batch.reset(range(worlds))
    rng = np.random.default_rng(0)
    for _ in range(told["ticks"]):
        batch.step(rng.integers(-1, 31, (worlds, batch.num_residents)))
    print(name, *(batch.digest(w) for w in range(worlds)))
plan = scenario(told["resume"]).plan
state = np.frombuffer(bytes.fromhex(told["state"]), world_dtype(plan.capacity))
batch = WorldBatch(plan, len(state))
batch.set_state(Snapshot(told["version"], plan_digest(plan), state.view(np.recarray)))
for orders in told["orders"]:
    batch.step(orders)
print(told["resume"], *(batch.digest(w) for w in range(len(state))))
"""


def in_a_process(hash_seed: str, told: dict) -> list[list[str]]:
    root = Path(__file__).parents[2]
    path = os.pathsep.join((str(root), str(root / "tests")))
    run = subprocess.run(
        [sys.executable, "-c", PLAY],
        input=json.dumps(told),
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split() for line in run.stdout.splitlines()]


def test_other_processes_give_the_same_bits():
    """No order of a dict or set reaches the state; a state goes on where it is taken to."""
    towns, ticks = [["house", 3], ["corridor", 1], ["plaza", 2], ["alone", 2]], 150 // PATIENCE
    kept, rng = open_batch(scenario("corridor"), [7, 8]), np.random.default_rng(2)
    for _ in range(60 // PATIENCE):
        kept.step(wild_orders(kept, rng))
    snapshot, orders = kept.get_state(), []
    for _ in range(60 // PATIENCE):
        orders.append(wild_orders(kept, rng).tolist())
        kept.step(orders[-1])
    told = {
        "towns": towns,
        "ticks": ticks,
        "resume": "corridor",
        "version": snapshot.version,
        "state": snapshot.worlds.tobytes().hex(),
        "orders": orders,
    }
    expected = []
    for name, worlds in towns:
        batch, rng = open_batch(scenario(name), list(range(worlds))), np.random.default_rng(0)
        for _ in range(ticks):
            batch.step(rng.integers(-1, 31, (worlds, batch.num_residents)))
        expected.append([name, *(batch.digest(w) for w in range(worlds))])
    expected.append(["corridor", kept.digest(0), kept.digest(1)])
    assert in_a_process("1", told) == expected
    assert in_a_process("2", told) == expected


VARIANTS = """
import numba
from env.worlds import scenario
from townlet_env.config.compile import compile_plan
from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.tick import open_worlds, step_worlds

plans = [compile_plan(load_scenario(name)) for name in list_scenarios()]
plans += [scenario(name).plan for name in ("house", "corridor", "plaza", "crowd")]
capacities = {plan.capacity for plan in plans}
for plan in plans:
    for channels, worlds in ((0, 1), (4, 3), (12, 2)):
        batch = WorldBatch(plan, worlds, channels)
        batch.reset(range(worlds))
        batch.step([[0] * batch.num_residents] * worlds)
        batch.set_state(batch.get_state())
for function in (step_worlds, open_worlds):
    found = 0 if numba.config.DISABLE_JIT else len(function.signatures)
    print(found, len(capacities))
"""


def test_one_compiled_variant_per_capacity():
    """Neither scenarios, variants of the map nor sizes of the batch compile the step again.

    (A town of a single cell would: NumPy calls any array of one number contiguous.)
    """
    root = Path(__file__).parents[2]
    path = os.pathsep.join((str(root), str(root / "tests")))
    run = subprocess.run(
        [sys.executable, "-c", VARIANTS],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    for line in run.stdout.splitlines():
        variants, capacities = map(int, line.split())
        assert capacities == 2
        assert variants == (0 if PATIENCE > 1 else capacities)
