"""``make bench``: ratios, each taken side by side in one run.

Every pair alternates A B A B; a ratio is the median over the rounds. Absolute figures depend on
the machine and on what else it does, and are printed only beside their peer.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mpe2 import simple_spread_v3
from rich.console import Console
from rich.progress import track
from rich.table import Table

from townlet_env import townlet_v0
from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.sim.batch import WorldBatch
from townlet_env.views.sb3 import make_vec_env
from townlet_replay.recorder import RecordReplay
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.sb3_runs import train_live

ROUNDS = 5
SCENARIO = "queue_conflict"
RESULTS = Path(__file__).parent / "results" / "bench.json"

Rate = Callable[[], float]
"""Runs once and returns agent steps per second."""


class Pair(NamedTuple):
    """Two things measured in turn."""

    name: str
    ours: Rate
    peer: Rate


def batch_core() -> float:
    """256 worlds, masked random actions drawn outside the clock, observations written."""
    worlds, ticks = 256, 60
    batch = WorldBatch(compile_plan(load_scenario(SCENARIO)), worlds)
    batch.reset(range(worlds))
    rng = np.random.default_rng(0)
    spent = 0.0
    for _ in range(ticks):
        masks = batch.views.action_mask
        actions = (rng.random(masks.shape) * masks).argmax(axis=-1)
        before = time.perf_counter()
        batch.step(actions)
        spent += time.perf_counter() - before
    return worlds * batch.num_residents * ticks / spent


def dict_view() -> float:
    """One world through the PettingZoo view, everybody waiting."""
    env = townlet_v0.parallel_env(SCENARIO, max_ticks=100_000)
    env.reset(seed=0)
    ticks, orders = 3000, dict.fromkeys(env.agents, 0)
    before = time.perf_counter()
    for _ in range(ticks):
        env.step(orders)
    return ticks * len(orders) / (time.perf_counter() - before)


def sb3_view() -> float:
    """1,024 slots through the Stable-Baselines3 view, fresh arrays."""
    venv = make_vec_env(SCENARIO, 342)
    venv.reset()
    ticks, orders = 40, np.zeros(venv.num_envs, np.int64)
    before = time.perf_counter()
    for _ in range(ticks):
        venv.step(orders)
    return ticks * venv.num_envs / (time.perf_counter() - before)


def mpe2_spread() -> float:
    """MPE2's simple_spread_v3 through its own parallel view."""
    env = simple_spread_v3.parallel_env(max_cycles=100_000)
    env.reset(seed=0)
    ticks, orders = 600, dict.fromkeys(env.agents, 0)
    before = time.perf_counter()
    for _ in range(ticks):
        env.step(orders)
    return ticks * len(orders) / (time.perf_counter() - before)


def recorded() -> float:
    """One world through the PettingZoo view with everything recorded, files included."""
    with tempfile.TemporaryDirectory() as folder:
        env = RecordReplay(townlet_v0.parallel_env(SCENARIO, max_ticks=1500), Path(folder) / "out")
        before = time.perf_counter()
        env.reset(seed=0)
        orders = dict.fromkeys(env.agents, 0)
        while env.agents:
            env.step(orders)
        env.close()
        return 1500 * len(orders) / (time.perf_counter() - before)


def _training(**changes: object) -> TrainConfig:
    live = {"steps": 24_576, "num_worlds": 32, "rollout_ticks": 64}
    ppo = {"minibatch_size": 1024, "target_kl": None}
    return TrainConfig.model_validate({"scenario": SCENARIO, "live": live, "ppo": ppo, **changes})


def native_ppo() -> float:
    """The native learner live, rollouts and four epochs per update."""
    harness = TrainingHarness(_training())
    before = time.perf_counter()
    harness.run_live()
    return harness.live_steps / (time.perf_counter() - before)


def sb3_ppo() -> float:
    """MaskablePPO live with the same steps, settings and layer widths."""
    before = time.perf_counter()
    model = train_live(_training(learner="sb3-maskable"))
    return float(model.num_timesteps / (time.perf_counter() - before))


PAIRS = (
    Pair("batch core, 256 worlds / MPE2 spread", batch_core, mpe2_spread),
    Pair("PettingZoo view, one world / MPE2 spread", dict_view, mpe2_spread),
    Pair("SB3 view, 1,026 slots / MPE2 spread", sb3_view, mpe2_spread),
    Pair("PettingZoo view recorded / not recorded", recorded, dict_view),
    Pair("native PPO / SB3 MaskablePPO, end to end", native_ppo, sb3_ppo),
)


def measure(pair: Pair) -> dict[str, float | str]:
    """Warm both up once, then alternate."""
    pair.ours()
    pair.peer()
    rounds = [(pair.ours(), pair.peer()) for _ in range(ROUNDS)]
    return {
        "name": pair.name,
        "ratio": statistics.median(ours / peer for ours, peer in rounds),
        "lowest": min(ours / peer for ours, peer in rounds),
        "highest": max(ours / peer for ours, peer in rounds),
        "ours_per_second": statistics.median(ours for ours, _ in rounds),
        "peer_per_second": statistics.median(peer for _, peer in rounds),
    }


def main() -> None:
    """Measure all pairs, print them and keep them."""
    torch.set_num_threads(1)
    console = Console()
    rows = [measure(pair) for pair in track(PAIRS, "measuring", console=console)]
    table = Table("ours / peer", "ratio", "lowest", "highest", "ours, steps/s", "peer, steps/s")
    for row in rows:
        figures = [f"{row[key]:.2f}" for key in ("ratio", "lowest", "highest")]
        rates = [f"{row[key]:,.0f}" for key in ("ours_per_second", "peer_per_second")]
        table.add_row(str(row["name"]), *figures, *rates)
    console.print(table)
    names = ("numpy", "numba", "torch", "stable-baselines3", "mpe2", "townlet")
    document = {
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in names},
        "rounds": ROUNDS,
        "pairs": rows,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"kept in {RESULTS.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
