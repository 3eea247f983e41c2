"""The official checks of PettingZoo on every scenario, variant and mask; warnings are errors."""

import warnings

import numpy as np
import pettingzoo
import pytest
from env.mortal import MORTAL

with warnings.catch_warnings():
    # The checks import one of PettingZoo's own games in a way PettingZoo deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import (
        api_test,
        max_cycles_test,
        parallel_api_test,
        parallel_seed_test,
        seed_test,
        state_test,
    )

from townlet_env import townlet_v0
from townlet_env.config.load import list_scenarios
from townlet_env.views.spaces import MASK_MODES, OBSERVATION_VARIANTS

SCENARIOS = list_scenarios()

# What PettingZoo says of every Dict observation and of every name that is not `agent_0`: facts of
# the interface, stated in docs/SIMULATION.md, not faults.
DICT_WARNINGS = (
    "ignore:Observation is not a NumPy array",
    "ignore:Observation space for each agent probably should be gymnasium.spaces.box",
    "ignore:We recommend agents to be named in the format",
)
documented = pytest.mark.filterwarnings(*DICT_WARNINGS)
# Ids of newcomers who never came are possible agents all the same.
SPARE_IDS = "ignore:No agents present but not all possible_agents are terminated"
every_variant = pytest.mark.parametrize("observation", OBSERVATION_VARIANTS)
every_mask = pytest.mark.parametrize("mask", MASK_MODES)


def test_the_five_classics_are_here():
    assert set(SCENARIOS) >= {
        "kitchen_breakfast",
        "queue_conflict",
        "employment_punctuality",
        "rivalry_decay",
        "observation_baseline",
    }


@every_mask
@every_variant
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_parallel_api(scenario, observation, mask):
    env = townlet_v0.parallel_env(scenario, observation=observation, mask=mask)
    parallel_api_test(env, num_cycles=40)


@documented
@every_mask
@every_variant
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_aec_api(scenario, observation, mask):
    api_test(townlet_v0.env(scenario, observation=observation, mask=mask), num_cycles=20)


@documented
@pytest.mark.filterwarnings(SPARE_IDS)
@every_mask
def test_apis_where_people_leave_and_others_come(mask):
    settings = {"scenario": "queue_conflict", "mask": mask, **MORTAL}
    env = townlet_v0.parallel_env(**settings)
    parallel_api_test(env, num_cycles=300)
    assert "newcomer_1" in env.possible_agents
    assert env.batch.worlds["arrivals"][0] > 0
    api_test(townlet_v0.env(**settings), num_cycles=400)
    seed_test(lambda: townlet_v0.env(**settings), num_cycles=100)
    parallel_seed_test(lambda: townlet_v0.parallel_env(**settings), num_cycles=100)


@documented
@pytest.mark.parametrize("mask", ["obs", "info"])
def test_aec_api_without_wrappers(mask):
    api_test(townlet_v0.raw_env("queue_conflict", mask=mask), num_cycles=100)


@every_variant
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_parallel_seeds(scenario, observation):
    options = {"observation": observation, "details": True}
    parallel_seed_test(lambda: townlet_v0.parallel_env(scenario, **options), num_cycles=20)


@documented
@every_variant
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_aec_seeds(scenario, observation):
    seed_test(lambda: townlet_v0.env(scenario, observation=observation), num_cycles=8)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_max_cycles(scenario):
    class Module:
        """The module, with this scenario as its default; the check calls the functions itself."""

        @staticmethod
        def parallel_env(**settings):
            return townlet_v0.parallel_env(scenario, **settings)

        @staticmethod
        def env(**settings):
            return townlet_v0.env(scenario, **settings)

    max_cycles_test(Module)


@documented
@every_variant
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_state(scenario, observation):
    aec, parallel = (
        make(scenario, observation=observation)
        for make in (townlet_v0.env, townlet_v0.parallel_env)
    )
    state_test(aec, parallel, num_cycles=10)


@pytest.mark.parametrize("kind", ["parallel", "aec"])
def test_registry(kind):
    env = pettingzoo.make(kind, "townlet/townlet-v0", scenario="rivalry_decay")
    env.reset(seed=1)
    assert str(env) == "townlet_v0"
    assert env.unwrapped.config.name == "rivalry_decay" if kind == "parallel" else env.agents


def play(env, seed, ticks, sampler_seed):
    """Every observation, reward, flag, info and state hash of a run of masked random actions."""
    rng = np.random.default_rng(sampler_seed)
    observations, infos = env.reset(seed=seed)
    trail = [(observations, infos, env.state_digest())]
    for _ in range(ticks):
        if not env.agents:
            trail.append(env.reset())
        masks = env.action_masks()
        actions = {a: int(rng.choice(np.flatnonzero(masks[a]))) for a in env.agents}
        trail.append((actions, *env.step(actions), env.state_digest()))
    return trail


def same(left, right):
    """Exact equality of nested containers, dtypes included."""
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_own_determinism(scenario):
    """PettingZoo 1.27 compares one step and no reset; this compares all of them, and the state."""
    options = {"observation": "full", "details": True}
    first = play(townlet_v0.parallel_env(scenario, **options), 11, 150, 5)
    again = play(townlet_v0.parallel_env(scenario, **options), 11, 150, 5)
    assert same(first, again)


def test_own_determinism_would_notice():
    first = play(townlet_v0.parallel_env("queue_conflict"), 11, 100, 5)
    other = play(townlet_v0.parallel_env("queue_conflict"), 12, 100, 5)
    assert not same(first, other)
