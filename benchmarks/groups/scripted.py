"""Scripted residents: all at once in compiled code, against one by one in Python."""

from __future__ import annotations

import numpy as np

from benchmarks.report import Report
from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.policies.batched import Crowd
from townlet_env.policies.crew import Crew, scripted_residents, with_policy
from townlet_env.policies.policy import Seat, look
from townlet_env.policies.registry import build_policy
from townlet_env.sim.batch import WorldBatch
from townlet_replay.bench.measure import Arm, Clock, Play, timed

TOWN = "town_day"
POLICY = "needs_driven"
BATCHED = "needs_driven, compiled, 64 worlds"
ONE_BY_ONE = "needs_driven, one by one, 1 world"
WHOLE = "town of needs_driven residents, 64 worlds, decisions and ticks"


def _batch(worlds: int) -> WorldBatch:
    batch = WorldBatch(compile_plan(load_scenario(TOWN)), worlds)
    batch.reset(range(worlds))
    return batch


def batched(worlds: int = 64) -> Play:
    """Decisions of everybody in one call; the ticks between them are off the clock."""
    batch = _batch(worlds)
    crowd = Crowd(batch.plan)
    for w in range(worlds):
        for slot in range(batch.num_residents):
            crowd.seat(w, slot, POLICY)
    orders = np.zeros((worlds, batch.num_residents), np.int32)

    def act(clock: Clock) -> int:
        for _ in range(20):
            with clock:
                crowd.decide(batch, orders)
            batch.step(orders)
        return 20 * orders.size

    return lambda seconds: timed(act, seconds)


def one_by_one() -> Play:
    """The same policy asked resident by resident, as own policies are."""
    batch = _batch(1)
    names = batch.plan.names.residents
    residents = load_scenario(TOWN).residents
    seats = [Seat(batch.plan, resident, slot) for slot, resident in enumerate(residents)]
    policies = [build_policy(POLICY, seat) for seat in seats]

    def act(clock: Clock) -> int:
        for _ in range(20):
            with clock:
                told = [policy.act(look(batch, 0, slot)) for slot, policy in enumerate(policies)]
            batch.step(np.array([told]))
        return 20 * len(names)

    return lambda seconds: timed(act, seconds)


def whole(worlds: int = 64) -> Play:
    """Decisions and ticks together: what a capture of scripts costs before it is written."""
    config = with_policy(load_scenario(TOWN), POLICY)
    batch = _batch(worlds)
    crew = Crew(config, batch.plan, scripted_residents(config))

    def act(clock: Clock) -> int:
        with clock:
            for _ in range(20):
                batch.step(crew.decide(batch))
        return 20 * worlds * batch.num_residents

    return lambda seconds: timed(act, seconds)


def measure(report: Report) -> None:
    """Eight residents of ``town_day`` who all follow ``needs_driven``."""
    arms = [Arm(BATCHED, batched()), Arm(ONE_BY_ONE, one_by_one()), Arm(WHOLE, whole())]
    rates = report.take_turns(arms, "scripted policies")
    report.compare(rates, BATCHED, ONE_BY_ONE)
