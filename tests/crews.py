"""Scripted towns opened by hand, one tick at a time."""

import numpy as np

from townlet_env.config.compile import compile_plan
from townlet_env.policies import Crew
from townlet_env.sim.batch import WorldBatch


def opened(town) -> tuple[WorldBatch, Crew]:
    plan = compile_plan(town)
    batch = WorldBatch(plan, 1)
    batch.reset([0])
    crew = Crew(town, plan)
    crew.reset(0)
    return batch, crew


def act(batch: WorldBatch, crew: Crew, instead: dict[int, str] | None = None) -> dict[int, int]:
    """Live a tick; some slots do something else than their script says."""
    decided = crew.act(batch, 0)
    orders = np.zeros((1, batch.num_residents), np.int64)
    for slot, action in decided.items():
        orders[0, slot] = action
    for slot, name in (instead or {}).items():
        orders[0, slot] = batch.plan.names.actions.index(name)
    batch.step(orders)
    return decided
