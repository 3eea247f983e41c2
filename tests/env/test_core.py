"""What the core promises: the same bits always, exact masks, and states that make sense."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import naive_map
import naive_views
import numpy as np
import pytest
from env.towns import CORRIDOR, HOUSE
from env.worlds import PATIENCE, Scenario, build, legal_order, scenario, stages
from hypothesis import given, settings
from keeping import stored_and_read
from naive_town import read_town

from townlet_env.errors import ActionError, SnapshotError
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.ids import NONE, EventKind
from townlet_env.sim.snapshot import take
from townlet_env.sim.state import EVENTS_PER_RESIDENT

NAMES = ("house", "corridor", "plaza")


def open_batch(town: Scenario, seeds: list[int]) -> WorldBatch:
    batch = WorldBatch(town.plan, len(seeds))
    batch.reset(seeds)
    return batch


def wild_orders(batch: WorldBatch, rng: np.random.Generator, wild: float = 0.1) -> np.ndarray:
    """Legal actions, and a share of anything at all."""
    shape = (batch.num_worlds, batch.num_residents)
    rows = batch.views.action_mask.reshape(-1, batch.views.action_mask.shape[-1])
    orders = np.array([legal_order(row, batch.plan, rng) for row in rows]).reshape(shape)
    return np.where(rng.random(shape) < wild, rng.integers(-5, 60, shape), orders)


def assert_same_views(one: WorldBatch, w: int, other: WorldBatch, v: int) -> None:
    np.testing.assert_array_equal(one.views.map[w], other.views.map[v])
    np.testing.assert_array_equal(one.views.features[w], other.views.features[v])
    np.testing.assert_array_equal(one.views.action_mask[w], other.views.action_mask[v])


# ---------------------------------------------------------------------------------- determinism


@pytest.mark.parametrize("name", ["house", "corridor"])
def test_a_world_does_not_know_the_batch_it_is_in(name):
    town, rng = scenario(name), np.random.default_rng(1)
    many = open_batch(town, [10, 11, 12, 13, 14, 15, 16, 2**64 - 1])
    alone = open_batch(town, [13])
    for _ in range(1000 // PATIENCE):
        orders = wild_orders(many, rng)
        step, other = many.step(orders), alone.step(orders[3:4])
        assert many.digest(3) == alone.digest(0)
        for left, right in zip(step, other, strict=True):
            assert left[3].tobytes() == right[0].tobytes()
    assert many.components[3].tobytes() == alone.components[0].tobytes()
    assert many.events(3) == alone.events(0)
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


def test_reset_of_some_worlds_leaves_the_others():
    town, rng = scenario("house"), np.random.default_rng(2)
    batch, untouched = open_batch(town, [1, 2, 3]), open_batch(town, [1, 2, 3])
    for _ in range(50):
        orders = wild_orders(batch, rng)
        batch.step(orders)
        untouched.step(orders)
    batch.reset([9], worlds=[1])
    assert batch.digest(0) == untouched.digest(0)
    assert batch.digest(2) == untouched.digest(2)
    fresh = open_batch(town, [9])
    assert batch.digest(1) == fresh.digest()
    assert_same_views(batch, 1, fresh, 0)
    with pytest.raises(ValueError, match="expected 2 seeds"):
        batch.reset([1, 2, 3], worlds=[0, 1])


def test_a_step_gives_arrays_of_its_own():
    batch = open_batch(scenario("house"), [1])
    first = batch.step(np.zeros((1, 6), int))
    kept = [array.copy() for array in first]
    batch.step(np.full((1, 6), 77))
    for array, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_resumes_to_the_bit(name):
    town, rng = scenario(name), np.random.default_rng(4)
    batch = open_batch(town, [21, 22])
    for _ in range(120):
        batch.step(wild_orders(batch, rng))
    snapshot = batch.get_state()
    saved = stored_and_read(snapshot)
    orders, future = [], []
    for _ in range(80):
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


def test_a_snapshot_is_refused_where_it_does_not_belong():
    batch = open_batch(scenario("house"), [1, 2])
    state = batch.get_state()
    with pytest.raises(SnapshotError, match="another scenario"):
        open_batch(scenario("corridor"), [1, 2]).set_state(state)
    with pytest.raises(SnapshotError, match="another scenario"):
        open_batch(build(HOUSE, needs={"pace_effect": 0.5}), [1, 2]).set_state(state)
    with pytest.raises(SnapshotError, match="num_worlds=2"):
        open_batch(scenario("house"), [1]).set_state(state)
    with pytest.raises(SnapshotError, match="version"):
        batch.set_state(state._replace(version=99))


SCRIPT = """
import numba
import numpy as np
from env.worlds import scenario
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.tick import step_worlds

for name, worlds in (("house", 3), ("corridor", 1), ("plaza", 2), ("alone", 5)):
    batch = WorldBatch(scenario(name).plan, worlds)
    batch.reset(range(worlds))
    rng = np.random.default_rng(0)
    for _ in range(60):
        batch.step(rng.integers(-1, 31, (worlds, batch.num_residents)))
    print(name, *(batch.digest(w) for w in range(worlds)))
print("variants", 1 if numba.config.DISABLE_JIT else len(step_worlds.signatures))
"""


def test_another_process_gives_the_same_bits_and_one_compiled_variant():
    """No order of a dict or set reaches the state; sizes do not compile the step again."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join((str(root), str(root / "tests")))
    printed = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        printed.append(run.stdout.splitlines())
    assert printed[0] == printed[1]
    assert printed[0][-1] == "variants 1"
    batch, rng = open_batch(scenario("house"), [0, 1, 2]), np.random.default_rng(0)
    for _ in range(60):
        batch.step(rng.integers(-1, 31, (3, 6)))
    assert printed[0][0].split() == ["house", *(batch.digest(w) for w in range(3))]


# ------------------------------------------------------------------------------ orders and masks


@pytest.mark.parametrize(
    "action",
    [-1, -(2**63), 30, 96, 2**31, 2**32, 2**32 + 1, 2**63 - 1, 2**63, 2**64 - 1],
)
def test_numbers_that_are_no_action_are_wait(action):
    told, waits = open_batch(scenario("house"), [3]), open_batch(scenario("house"), [3])
    for _ in range(3):
        step = told.step([[action] * 6])
        other = waits.step([[0] * 6])
        assert step.illegal.all()
        assert not other.illegal.any()
        assert (told.worlds["last_success"][0, :6] == 0).all()
        told.worlds["last_success"] = waits.worlds["last_success"]
        assert told.digest() == waits.digest()
        assert told.events() == waits.events()
        np.testing.assert_array_equal(step.reward, other.reward)


@pytest.mark.parametrize("actions", [[[2**80] * 6], [[0.5] * 6], [["wait"] * 6], [[None] * 6]])
def test_what_is_no_whole_number_is_refused(actions):
    batch = open_batch(scenario("house"), [3])
    before = batch.digest()
    with pytest.raises(ActionError, match="whole numbers"):
        batch.step(actions)
    assert batch.digest() == before


def futures(batch: WorldBatch) -> list[tuple[str, bytes]]:
    """Per world what the tick did, apart from the memory of the order itself."""
    batch.worlds["last_success"] = 0
    batch.worlds["last_verb"] = 0
    found = []
    for w in range(batch.num_worlds):
        outcome = batch.outcomes[w]
        count = int(outcome.n_events)
        said = outcome.events[:count].tobytes() + outcome.event_value[:count].tobytes()
        found.append((batch.digest(w), said + outcome.reward.tobytes()))
    return found


@settings(max_examples=40 // PATIENCE, deadline=None)
@given(stages(strays=False))
def test_the_mask_is_exact(stage):
    """Everybody waits but one, who tries every action: legal does something, illegal nothing."""
    plan = stage.scenario.plan
    actions, n = len(plan.names.actions), len(plan.names.residents)
    batch = WorldBatch(plan, actions)
    batch.set_state(take(plan, np.repeat(stage.worlds, actions).view(np.recarray)))
    start = batch.get_state()
    mask = batch.views.action_mask[0].copy()
    assert mask[:, 0].all()
    for i in range(n):
        batch.set_state(start)
        orders = np.zeros((actions, n), int)
        orders[:, i] = np.arange(actions)
        step = batch.step(orders)
        if stage.world.alive[i]:
            np.testing.assert_array_equal(step.illegal[:, i], mask[i] == 0)
        waited, *others = futures(batch)
        for a, future in enumerate(others, start=1):
            # A release may come to the same as waiting: when the shift ends in this very tick.
            acted = future != waited or batch.outcomes[a].success[i] == 1
            assert acted == bool(mask[i, a]), (i, plan.names.actions[a])


# ------------------------------------------------------------------------------------ invariants


def assert_sound(batch: WorldBatch, w: int) -> None:
    """The state of one world makes sense."""
    world, n = batch.worlds[w], batch.num_residents
    m = int(world.n_objects)
    assert ((world.needs >= 0) & (world.needs <= 1)).all()
    assert (world.wallet >= 0).all()
    assert (world.ingredients >= 0).all()
    assert (world.stock >= 0).all()
    assert ((world.rivalry >= 0) & (world.rivalry <= 1)).all()
    assert (np.abs(world.trust) <= 1).all()
    assert (np.abs(world.familiarity) <= 1).all()
    assert not world.rivalry.diagonal().any()
    assert ((world.rivalry > 0).sum(axis=1) <= batch.plan.rules[0].max_edges).all()
    for name in world.dtype.names:
        assert np.isfinite(world[name]).all(), name
    things = [(int(world.object_x[o]), int(world.object_y[o])) for o in range(m)]
    cells = [(int(world.x[i]), int(world.y[i])) for i in range(n) if world.alive[i]]
    assert len({*cells, *things}) == len(cells) + m
    assert_owned(world, n, m)


def assert_owned(world, n: int, m: int) -> None:
    """What objects say of residents and residents of objects is the same."""
    users = {o: int(world.user[o]) for o in range(m) if world.user[o] != NONE}
    holders = {o: int(world.holder[o]) for o in range(m) if world.holder[o] != NONE}
    lines = {o: world.queue[o, : world.queue_length[o]].tolist() for o in range(m)}
    assert not users.keys() & holders.keys()
    busy = {int(world.busy_object[i]): i for i in range(n) if world.busy_affordance[i] != NONE}
    held = {int(o): i for i, o in enumerate(world.reserved_object[:n]) if o != NONE}
    waits = {i: int(o) for i, o in enumerate(world.queue_object[:n]) if o != NONE}
    assert users == busy
    assert holders == held
    assert {i: o for o, line in lines.items() for i in line} == waits
    assert sum(map(len, lines.values())) == len(waits)
    occupied = [*users.values(), *holders.values(), *waits]
    assert len(set(occupied)) == len(occupied)
    for o in range(m):
        assert (world.queue[o, world.queue_length[o] :] == NONE).all()
    for o, i in users.items():
        apart = abs(int(world.x[i] - world.object_x[o])) + abs(int(world.y[i] - world.object_y[o]))
        assert apart == 1, f"resident {i} uses object {o} from {apart} cells away"


def assert_sound_outcome(batch: WorldBatch, reward: np.ndarray) -> None:
    """Rewards, events and views of a step make sense."""
    assert np.isfinite(reward).all()
    np.testing.assert_allclose(batch.components.sum(-1), reward, atol=1e-6)
    features = batch.views.features
    assert np.isfinite(features).all()
    assert (np.abs(features) <= 1).all()
    for w in range(batch.num_worlds):
        outcome = batch.outcomes[w]
        by = outcome.events[: outcome.n_events, 1]
        assert np.bincount(by, minlength=1).max() <= EVENTS_PER_RESIDENT


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_breaks_in_a_thousand_random_ticks(name, seed):
    town, rng = scenario(name), np.random.default_rng(seed)
    batch = open_batch(town, [seed * 2, seed * 2 + 1])
    for tick in range(1000 // PATIENCE):
        step = batch.step(wild_orders(batch, rng))
        assert_sound_outcome(batch, step.reward)
        for w in range(2):
            assert_sound(batch, w)
        if tick % 50 == 0:
            twin = read_town(town.ground, batch.worlds[0])
            np.testing.assert_array_equal(batch.views.map[0], naive_map.observe_map(twin))
        assert (step.truncated == (tick + 1 >= town.config.ticks)).all()
        assert not step.terminated.any()


def test_random_play_meets_every_event():
    """The invariants above were watched in lively towns."""
    seen = set()
    for name in NAMES:
        batch, rng = open_batch(scenario(name), list(range(12))), np.random.default_rng(8)
        for _ in range(300 // PATIENCE):
            batch.step(wild_orders(batch, rng))
            seen |= {event.event for w in range(12) for event in batch.events(w)}
    later = {"exit", "affordance_failed"}  # nobody leaves, and the lights stay on
    expected = {kind.name.lower() for kind in EventKind} - later
    assert seen == expected if PATIENCE == 1 else seen <= expected


def test_who_is_pushed_aside_does_not_start_from_afar():
    """Rules 3.6: a start needs reach, also after a ghost step in the same tick."""
    town = build(CORRIDOR, movement={"ghost_step_after": 0})
    batch = open_batch(town, [0])
    names = town.plan.names.actions
    wait, request = names.index("wait"), names.index("request:shower")
    start, west = names.index("start:use_shower"), names.index("move:west")
    batch.step([[request, wait, wait, wait, wait]])
    batch.step([[start, west, wait, wait, wait]])
    assert_sound(batch, 0)


def test_every_reservation_lasts_equally_long():
    """Rules 3.5: who asked at a free object has as long to start as who was served in the line."""
    town = build(CORRIDOR, queues={"range": 9, "reservation_ticks": 5})
    batch = open_batch(town, [0])
    request = town.plan.names.actions.index("request:shower")
    batch.step([[request, request, 0, 0, 0]])
    reserved, lasted = {batch.events()[0].by: 1}, []
    for _ in range(12):
        batch.step([[0] * 5])
        for event in batch.events():
            if event.event == "queue_rotated":
                lasted.append(event.tick - reserved[event.by])
            if event.event == "reserved":
                reserved[event.by] = event.tick
    assert lasted == [5, 5]
