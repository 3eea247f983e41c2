"""Compiling ahead: what ``townlet doctor --warm`` does, so that no later start waits."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.policies.batched import COMPILED
from townlet_env.policies.crew import Crew, with_policy
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.state import CAPACITIES
from townlet_replay.deflate import deflate
from townlet_replay.packing import pack, unpack
from townlet_replay.safe_files import MAX_FILE_BYTES


def warm_town(residents: int) -> None:
    """Compile the rules and the shipped policies for the capacity that ``residents`` need."""
    side = residents + 2
    street = "\n".join(("#" * side, "#" + "." * residents + "#", "#" * side))
    people = [{"id": f"resident_{i}", "cell": [1 + i, 1]} for i in range(residents)]
    changes: dict[str, Any] = {"map": street, "objects": [], "residents": people, "expect": []}
    config = load_scenario("observation_baseline", changes | {"jobs": {}})
    plan = compile_plan(config)
    for policy in COMPILED:
        batch, crew = WorldBatch(plan, 1), Crew(with_policy(config, policy), plan)
        batch.reset([0])
        batch.step(crew.decide(batch))
        batch.digest()


def warm_small() -> None:
    """Compile towns of the smallest capacity."""
    warm_town(1)


def warm_large() -> None:
    """Compile towns of the largest capacity."""
    warm_town(CAPACITIES[-1].residents)


def warm_learner() -> None:
    """Compile what the native learner needs; nothing where torch is not installed."""
    if find_spec("torch") is None:
        return
    from townlet_replay.training.config import TrainConfig
    from townlet_replay.training.harness import TrainingHarness

    live = {"steps": 64, "num_worlds": 1, "rollout_ticks": 16}
    with_minibatches = {"scenario": "queue_conflict", "live": live, "ppo": {"minibatch_size": 16}}
    TrainingHarness(TrainConfig.model_validate(with_minibatches)).run_live()


def warm_files() -> None:
    """Compile what packs, unpacks and deflates the arrays of captures."""
    deflate(b"", 1)
    numbers = np.arange(20, dtype=np.float32).reshape(10, 2)
    unpack(pack({"columns": numbers, "cells": numbers.astype(np.uint8)}), MAX_FILE_BYTES)


STEPS: dict[str, Callable[[], None]] = {
    "small towns and scripted residents": warm_small,
    "large towns": warm_large,
    "files of captures": warm_files,
    "the native learner": warm_learner,
}
