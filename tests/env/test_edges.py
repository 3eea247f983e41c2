"""Edges that random states seldom hit: limits and ranges, each met exactly, then by one."""

from __future__ import annotations

import numpy as np
import pytest
from env.towns import COMMON, HOUSE
from env.worlds import build

from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.ids import Perturbation

CALM = {"lives": {"enabled": False}, "arrivals": {"enabled": False}, "expect": []}


def stormy(limit, cooldown):
    """A town where everything befalls as often as it may; lengths are fixed."""
    kind = {"daily": 1440, "ticks": [5, 5], "cooldown": cooldown, "at": []}
    settings = {
        "max_at_once": limit,
        "price_spike": kind,
        "blackout": kind,
        "outage": kind,
        "meet": {**kind, "daily": 0},
    }
    return build({**HOUSE, **CALM}, perturbations=settings)


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_as_many_perturbations_as_allowed_and_not_one_more(limit):
    town = stormy(limit, cooldown=0)
    batch = WorldBatch(town.plan, 1)
    batch.reset([3])
    lasting = []
    for _ in range(40):
        batch.step(np.zeros((1, batch.num_residents), np.int64))
        lasting.append(int((batch.worlds[0].perturb_until[:3] != 0).sum()))
    assert max(lasting) == lasting[-1] == limit


@pytest.mark.parametrize("cooldown", [1, 4])
def test_a_perturbation_is_back_as_soon_as_its_cooldown_is_over(cooldown):
    town = stormy(3, cooldown)
    batch = WorldBatch(town.plan, 1)
    batch.reset([3])
    begun = []
    for tick in range(60):
        batch.step(np.zeros((1, batch.num_residents), np.int64))
        begun += [tick for event in batch.events() if event.event == "blackout"]
    assert set(np.diff(begun).tolist()) == {5 + cooldown}
    assert Perturbation.BLACKOUT < 3  # of the three that are counted


@pytest.mark.parametrize(("apart", "together"), [(3, True), (4, False)])
def test_company_is_kept_within_its_range(apart, together):
    """Two rest on benches; who is one cell too far away is no company."""
    town = build(
        {
            **HOUSE,
            **CALM,
            "map": "............\n............",
            "legend": {},
            "objects": [
                {"id": "bench_1", "kind": "bench", "cell": [0, 0]},
                {"id": "bench_2", "kind": "bench", "cell": [apart, 0]},
            ],
            "residents": [{"id": "ann", "cell": [0, 1]}, {"id": "bob", "cell": [apart, 1]}],
            "jobs": {},
        },
        ties={**COMMON["ties"], "company_range": 3},
    )
    batch, names = WorldBatch(town.plan, 1), town.plan.names.actions
    batch.reset([0])
    request, start = names.index("request:bench"), names.index("start:rest_bench")
    batch.step([[request, request]])
    batch.step([[start, start]])
    seen = set()
    for _ in range(12):
        batch.step([[0, 0]])
        seen |= {event.event for event in batch.events()}
    assert "affordance_finished" in seen
    assert ("company" in seen) == together
    assert (batch.worlds[0].familiarity[0, 1] > 0) == together
