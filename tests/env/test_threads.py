"""Threads share the worlds of a batch: the same bits, and errors that arrive."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from env.worlds import PATIENCE, scenario

from townlet_env.errors import ConfigError
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.threads import LEAST_WORLDS, Team, cut


def test_slices_cover_all_worlds_once():
    for worlds in (1, 15, 32, 33, 100, 257):
        for threads in (1, 2, 3, 8):
            slices = cut(worlds, threads)
            covered = [w for some in slices for w in range(worlds)[some]]
            assert covered == list(range(worlds))
            sizes = [some.stop - some.start for some in slices]
            assert len(slices) == 1 or min(sizes) >= LEAST_WORLDS
    assert len(cut(256, 1)) == 1
    assert len(cut(256, 2)) == 8


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_the_same_bits_with_any_number_of_threads(threads):
    """Two batches live the same ticks; one of them is stepped by several threads."""
    plan, worlds = scenario("house").plan, 5 * LEAST_WORLDS // PATIENCE + LEAST_WORLDS
    one, many = WorldBatch(plan, worlds), WorldBatch(plan, worlds, threads=threads)
    for batch in (one, many):
        batch.reset(range(worlds))
    rng = np.random.default_rng(threads)
    for _ in range(60 // PATIENCE):
        orders = rng.integers(-1, 31, (worlds, one.num_residents))
        for found, expected in zip(many.step(orders), one.step(orders), strict=True):
            np.testing.assert_array_equal(found, expected)
        for found, expected in zip(many.views, one.views, strict=True):
            np.testing.assert_array_equal(found, expected)
    assert [many.digest(w) for w in range(worlds)] == [one.digest(w) for w in range(worlds)]


def test_every_task_is_done_once_by_whoever_is_free():
    """A caller held up in one task does not hold up the others, which a helper does meanwhile."""
    done: list[int] = []
    others_done = threading.Event()

    def hold_up() -> None:
        assert others_done.wait(60)

    def note(k: int) -> None:
        done.append(k)
        if len(done) == 7:
            others_done.set()

    team = Team(2)
    team.do([hold_up, *(lambda k=k: note(k) for k in range(7))])
    assert sorted(done) == list(range(7))


def test_errors_of_helpers_arrive():
    """Whichever thread meets the broken task, the caller hears of it."""

    def break_down() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        Team(3).do([break_down] * 6)


def test_no_thread_is_refused():
    with pytest.raises(ConfigError, match="threads: expected at least 1, found 0"):
        WorldBatch(scenario("house").plan, 1, threads=0)
