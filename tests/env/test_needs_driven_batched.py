"""The compiled form of ``needs_driven`` decides and remembers what the plain one does."""

import numpy as np
import pytest
from env.worlds import random_stage
from little_towns import little_town, with_policy

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.policies import Crew
from townlet_env.policies.batched import Crowd
from townlet_env.policies.kernels.decide import decide_worlds
from townlet_env.policies.kernels.judgement import MEMORY, NEEDS_DRIVEN, survey
from townlet_env.policies.needs_driven import NO_AIM, Memory, NeedsDriven
from townlet_env.policies.policy import Seat, Sight, look
from townlet_env.policies.simple import Random
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.ids import NONE


def crowd_of(plan, policy: str) -> Crowd:
    crowd = Crowd(plan)
    for slot in range(len(plan.names.residents)):
        crowd.seat(0, slot, policy)
    return crowd


@pytest.mark.parametrize("name", list_scenarios())
def test_whole_episodes_are_decided_alike(name):
    config = load_scenario(name)
    plan = compile_plan(config)
    batch, crowd = WorldBatch(plan, 1), crowd_of(plan, "needs_driven")
    batch.reset([config.seed])
    plain = [NeedsDriven(Seat(plan, who, slot)) for slot, who in enumerate(config.residents)]
    orders = np.zeros((1, len(plain)), np.int32)
    for tick in range(config.ticks):
        crowd.decide(batch, orders)
        for slot in np.flatnonzero(batch.alive[0]):
            assert plain[slot].act(look(batch, 0, slot)) == orders[0, slot], (tick, slot)
            assert plain[slot].get_memory() == crowd.get_memory(0, slot), (tick, slot)
        for slot in np.flatnonzero(~batch.alive[0]):
            plain[slot].reset()
        assert not batch.step(orders).illegal.any()


def test_random_residents_draw_the_same_actions(tmp_path):
    config = with_policy(load_scenario("shared_flat"), "random")
    plan = compile_plan(config)
    batch, crowd = WorldBatch(plan, 1), crowd_of(plan, "random")
    batch.reset([3])
    plain = [Random(Seat(plan, who, slot)) for slot, who in enumerate(config.residents)]
    orders = np.zeros((1, len(plain)), np.int32)
    for _ in range(200):
        crowd.decide(batch, orders)
        assert [plain[slot].act(look(batch, 0, slot)) for slot in range(4)] == orders[0].tolist()
        batch.step(orders)


def random_memory(stage, rng) -> Memory:
    """Return a memory that somebody may have who just got into this state, or was put there."""
    if rng.random() < 0.4:
        return NO_AIM
    affordance, rank = rng.integers(len(stage.scenario.plan.names.affordances)), rng.integers(6)
    return Memory(int(affordance), int(rank), int(rng.integers(0, 95)))


@pytest.mark.parametrize("name", ["house", "corridor", "plaza", "alone", "crowd"])
def test_any_state_is_decided_alike_from_any_memory(name):
    decided = set()
    for seed in range(60):
        stage = random_stage(name, seed / 60, seed)
        plan, rng = stage.scenario.plan, np.random.default_rng(seed)
        residents = stage.scenario.config.residents
        memory = np.zeros((1, len(residents)), MEMORY).view(np.recarray)
        plain = [NeedsDriven(Seat(plan, who, slot)) for slot, who in enumerate(residents)]
        for slot, policy in enumerate(plain):
            policy.set_memory(random_memory(stage, rng))
            memory[0, slot] = (NEEDS_DRIVEN, *policy.get_memory())
        orders = np.full((1, len(residents)), NONE, np.int32)
        tables = stage.worlds, plan.rules, plan.distance, survey(plan)
        decide_worlds(*tables, stage.mask[None], memory, orders)
        for slot in np.flatnonzero(stage.world.alive[: len(residents)]):
            sight = Sight(stage.world, stage.outcome, None, None, stage.mask[slot])
            assert plain[slot].act(sight) == orders[0, slot], (stage, slot)
            assert plain[slot].get_memory() == Memory(*memory[0, slot].tolist()[1:]), (stage, slot)
            decided.add(plan.names.actions[orders[0, slot]].partition(":")[0])
    expected = {"wait"} if name == "alone" else {"wait", "move", "request", "release", "chat"}
    assert decided >= expected


def test_the_crew_decides_for_one_world_as_for_all(tmp_path):
    config = with_policy(load_scenario("shared_flat"), "needs_driven")
    mixed = [
        resident.model_copy(update={"policy": policy})
        for resident, policy in zip(
            config.residents, ("needs_driven", "random", "needs_driven", "idle"), strict=True
        )
    ]
    config = config.model_copy(update={"residents": mixed})
    plan = compile_plan(config)
    batch = WorldBatch(plan, 3)
    batch.reset([1, 2, 3])
    together, apart = Crew(config, plan), Crew(config, plan)
    for _ in range(120):
        orders = together.decide(batch)
        for w in (2, 0, 1):
            assert apart.act(batch, w) == dict(enumerate(orders[w].tolist()))
            assert apart.get_memory(w) == together.get_memory(w)
        batch.step(orders)
    assert len({batch.digest(w) for w in range(3)}) == 3


def test_only_the_scripted_slots_are_written(tmp_path):
    config = load_scenario("shared_flat")
    plan = compile_plan(config)
    batch = WorldBatch(plan, 2)
    batch.reset([1, 2])
    crew, did = Crew(config, plan, ["ben"]), 0
    for _ in range(30):
        orders = crew.decide(batch)
        assert not orders[:, [0, 2, 3]].any()
        did += np.count_nonzero(orders[:, 1])
        batch.step(orders)
    assert did > 10


def test_a_crew_of_nobody_decides_nothing():
    config = load_scenario("shared_flat")
    batch = WorldBatch(compile_plan(config), 2)
    batch.reset([1, 2])
    crew = Crew(config, batch.plan, [])
    assert not crew.decide(batch).any()
    assert crew.act(batch, 1) == {}


def leaving_town(tmp_path, policy: str, then: str):
    """Ana, who has nothing, faints soon; a newcomer with some money comes at once."""
    return little_town(
        tmp_path,
        [
            {"id": "ana", "cell": [4, 2], "wallet": 0, "needs": {"hunger": 0.05}, "policy": policy},
            {"id": "bo", "cell": [6, 2], "policy": "idle"},
        ],
        ticks=200,
        lives={"grace_ticks": 0},
        arrivals={"enabled": True, "delay": [3, 3], "policy": then},
    )


@pytest.mark.parametrize(
    ("policy", "then"),
    [("needs_driven", "needs_driven"), ("idle", "needs_driven"), ("needs_driven", "idle")],
)
def test_newcomers_follow_the_policy_of_arrivals_with_nothing_to_remember(tmp_path, policy, then):
    town = leaving_town(tmp_path, policy, then)
    plan = compile_plan(town)
    batch, crew = WorldBatch(plan, 1), Crew(town, plan)
    batch.reset([0])
    crew.reset(0)
    while batch.alive[0, 0]:
        batch.step(crew.decide(batch))
    while not batch.alive[0, 0]:
        assert crew.act(batch, 0) == {1: 0}
        batch.step(crew.decide(batch))
    assert batch.worlds[0].newcomer[0] == 1
    twin = Crew(town, plan)
    did = []
    for _ in range(60):
        orders = crew.decide(batch)
        assert twin.decide(batch).tolist() == orders.tolist()  # who never knew Ana decides alike
        did.append(orders[0, 0])
        batch.step(orders)
    assert any(did) == (then == "needs_driven")
    assert crew.get_memory(0)[0].newcomer == 1


def test_a_crew_with_newcomers_goes_on_from_its_memory_and_begins_anew(tmp_path):
    town = leaving_town(tmp_path, "needs_driven", "random")
    plan = compile_plan(town)
    batch, crew = WorldBatch(plan, 1), Crew(town, plan)
    batch.reset([0])
    while batch.worlds[0].newcomer[0] == 0:
        batch.step(crew.decide(batch))
    other = Crew(town, plan)
    other.set_memory(crew.get_memory(0), 0)
    assert other.get_memory(0) == crew.get_memory(0)
    assert other.decide(batch).tolist() == crew.decide(batch).tolist()
    batch.reset([0])
    crew.reset(0)
    assert crew.get_memory(0) == Crew(town, plan).get_memory(0)
