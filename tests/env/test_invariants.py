"""Nothing breaks in long lives: what is true of a town stays true, whatever befalls it."""

from __future__ import annotations

import collections
from types import SimpleNamespace

import numpy as np
import pytest
from env.play import open_batch, unpacked, upset, wild_orders
from env.soundness import Books, Lives, assert_sound, assert_sound_step, assert_sound_views
from env.worlds import PATIENCE, Scenario, scenario
from naive_town import Ground

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.policies.crew import Crew, with_policy
from townlet_env.sim.ids import EVENT_NAMES

# Happenings of every kind for towns that were written to be calm.
LIVELY = {
    "arrivals": {"enabled": True, "delay": [0, 9]},
    "lives": {"exit_gap": 20, "exits_per_day": 9, "grace_ticks": 15},
    "perturbations": {
        "price_spike": {"daily": 12, "ticks": [5, 40], "cooldown": 20},
        "blackout": {"daily": 6, "ticks": [2, 9], "cooldown": 20},
        "outage": {"daily": 6, "ticks": [2, 9], "cooldown": 20},
        "meet": {"daily": 24, "ticks": [9, 60], "cooldown": 5, "invite_cooldown": 60},
    },
}


def watched(
    town: Scenario, seed: int, ticks: int, upset_every: int = 0, sensible: float = 0.0
) -> collections.Counter:
    """Play, and hold every tick against all that must be true; count the events.

    A share ``sensible`` of the orders is what needs call for, the others are wild.
    """
    batch, rng = open_batch(town, [seed], channels=12), np.random.default_rng(seed)
    crew = Crew(with_policy(town.config, "needs_driven"), town.plan)
    books, lives, seen = Books(town), Lives(town), collections.Counter()
    world, outcome = unpacked(batch.worlds, 0), unpacked(batch.outcomes, 0)
    n = batch.num_residents
    for tick in range(ticks // PATIENCE):
        if upset_every and tick % upset_every == 0:
            upset(batch, town, rng)
        before = SimpleNamespace(**{name: getattr(world, name).copy() for name in Books.KEPT})
        orders = wild_orders(batch, rng)
        if sensible:
            orders = np.where(rng.random(orders.shape) < sensible, crew.decide(batch), orders)
        step = batch.step(orders)
        if tick % 3 == 0 or tick < 500:  # what is broken stays so
            assert_sound(world, town)
        assert_sound_step(outcome, world, town)
        assert_sound_views(batch.views, 0, world.alive[:n])
        books.assert_balanced(before, world, outcome)
        lives.assert_orderly(tick, world, outcome)
        assert (step.truncated[0] == (batch.alive[0] & (tick + 1 >= town.config.ticks))).all()
        seen.update(EVENT_NAMES[kind] for kind in outcome.events[: outcome.n_events, 0])
    assert len(lives.exits) == len(lives.gone)
    return seen


def test_ten_thousand_random_ticks_and_ten_thousand_more():
    """Wild lives, and some that are half sensible, in three towns; each event happens in one."""
    seen = watched(scenario("house"), 1, 10_000)
    for name in ("house", "corridor", "plaza"):
        seen += watched(scenario(name), 0, 2_000)
        seen += watched(scenario(name), 0, 2_000, sensible=0.5)
    assert PATIENCE > 1 or {name for name in EVENT_NAMES if not seen[name]} == set()


@pytest.mark.parametrize("name", ["house", "corridor", "plaza"])
def test_people_moved_by_hand_and_utilities_switched(name):
    watched(scenario(name), 1, 800, upset_every=7)


@pytest.mark.parametrize("name", list_scenarios())
def test_shipped_scenarios_made_lively(name):
    config = load_scenario(name, LIVELY)
    plan = compile_plan(config)
    watched(Scenario(config, plan, Ground(config, plan)), 2, 300)
