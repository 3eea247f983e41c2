"""What the core promises: orders, exact masks, arrays of one's own, states where they belong."""

from __future__ import annotations

import naive_perturb
import naive_town
import numpy as np
import pytest
from env.play import assert_same_views, open_batch, unpacked, wild_orders
from env.soundness import assert_sound
from env.towns import CORRIDOR, HOUSE
from env.worlds import PATIENCE, build, scenario, stages
from hypothesis import HealthCheck, assume, given, settings

from townlet_env.errors import ActionError, SnapshotError
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.ids import EVENT_NAMES
from townlet_env.sim.snapshot import take


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


@pytest.mark.parametrize(
    "action",
    [None, -1, -(2**63), 96, 2**31, 2**32, 2**32 + 1, 2**63 - 1, 2**63, 2**64 - 1],
)
def test_numbers_that_are_no_action_are_wait(action):
    action = action or len(scenario("house").plan.names.actions)
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


@settings(
    max_examples=40 // PATIENCE,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much],
)
@given(stages(strays=False))
def test_the_mask_is_exact(stage):
    """Everybody waits but one, who tries every action: legal does something, illegal nothing."""
    plan, town = stage.scenario.plan, stage.town()
    naive_perturb.perturb_town(town, naive_town.new_tick([0] * len(town.people)))
    # A blackout that begins in the tick itself is something nobody sees coming.
    assume((town.power, town.water) == (stage.town().power, stage.town().water))
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


def test_random_play_meets_every_event():
    """The invariants are watched in lively towns."""
    seen = set()
    for name in ("house", "corridor", "plaza"):
        batch, rng = open_batch(scenario(name), list(range(12))), np.random.default_rng(8)
        for _ in range(500 // PATIENCE):
            batch.step(wild_orders(batch, rng))
            seen |= {event.event for w in range(12) for event in batch.events(w)}
    assert seen == set(EVENT_NAMES) if PATIENCE == 1 else seen <= set(EVENT_NAMES)


def test_who_is_pushed_aside_does_not_start_from_afar():
    """Rules 3.6: a start needs reach, also after a ghost step in the same tick."""
    town = build(CORRIDOR, movement={"ghost_step_after": 0})
    batch = open_batch(town, [0])
    names = town.plan.names.actions
    wait, request = names.index("wait"), names.index("request:shower")
    start, west = names.index("start:use_shower"), names.index("move:west")
    batch.step([[request, wait, wait, wait, wait]])
    batch.step([[start, west, wait, wait, wait]])
    assert_sound(unpacked(batch.worlds, 0), town)


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
