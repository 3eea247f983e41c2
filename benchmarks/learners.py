"""``python -m benchmarks.learners``: who trains how fast, side by side in one run.

Everybody learns the same town with the same network, settings, rollouts and minibatches; arms take
turns, round by round. A ratio is the median over the rounds, each arm with the number of threads
that suits it best. Ratios of processor time (one thread) hold on a busy machine as well.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.sb3_runs import train_live
from townlet_replay.training.torch_settings import torch_threads

RESULTS = Path(__file__).parent / "results" / "learners.json"
WORLDS, TICKS = 64, 64
PEERS = ("SB3 PPO", "SB3 MaskablePPO")
PLAIN = "SB3 PPO on MPE2 through SuperSuit"

Train = Callable[[int], None]
"""Makes so many agent steps, with the updates on them."""


class Speed(NamedTuple):
    """Agent steps per second."""

    wall: float
    processor: float


class Arm(NamedTuple):
    """One learner with a number of threads."""

    name: str
    threads: int
    train: Train


def settings(scenario: str, minibatch: int, **changes: Any) -> TrainConfig:
    """Return what all arms have in common."""
    live = {"steps": 1, "num_worlds": WORLDS, "rollout_ticks": TICKS}
    ppo = {"minibatch_size": minibatch, "epochs": 4, "target_kl": None}
    return TrainConfig.model_validate({"scenario": scenario, "live": live, "ppo": ppo, **changes})


def native(config: TrainConfig) -> Train:
    """Return the native learner, warm."""
    harness = TrainingHarness(config)
    harness.run_live()

    def train(steps: int) -> None:
        harness.run_live(steps)

    return train


def stable_baselines(config: TrainConfig) -> Train:
    """Return a learner of Stable-Baselines3 on the array view of the town, warm."""
    model = train_live(config)

    def train(steps: int) -> None:
        with torch_threads(config.compute.threads):
            model.learn(steps, reset_num_timesteps=False)

    return train


def plain_python(minibatch: int, threads: int) -> Train:
    """Return SB3's PPO on MPE2's simple_spread with 8 agents, the way its users vectorise it."""
    import supersuit
    from mpe2 import simple_spread_v3
    from stable_baselines3 import PPO

    env = simple_spread_v3.parallel_env(N=8, max_cycles=100)
    env = supersuit.pettingzoo_env_to_vec_env_v1(env)
    venv = supersuit.concat_vec_envs_v1(env, 32, num_cpus=1, base_class="stable_baselines3")
    model = PPO("MlpPolicy", venv, n_steps=TICKS, batch_size=minibatch, n_epochs=4, device="cpu")

    def train(steps: int) -> None:
        with torch_threads(threads):
            model.learn(steps, reset_num_timesteps=False)

    return train


def arms(scenario: str, minibatch: int, threads: int) -> list[Arm]:
    """Return all arms with a number of threads."""
    found = []
    for name, learner in zip(PEERS, ("sb3", "sb3-maskable"), strict=True):
        config = settings(scenario, minibatch, learner=learner, compute={"threads": threads})
        found.append(Arm(name, threads, stable_baselines(config)))
    for name, compute in (
        ("native strict_sb3", {"mode": "strict_sb3"}),
        ("native autograd", {"mode": "autograd"}),
        ("native fused f32", {"mode": "fused"}),
        ("native fused bf16", {"mode": "fused", "precision": "bf16"}),
    ):
        config = settings(scenario, minibatch, compute={**compute, "threads": threads})
        found.append(Arm(name, threads, native(config)))
    if find_spec("supersuit") is not None:
        found.append(Arm(PLAIN, threads, plain_python(minibatch, threads)))
    return found


def measure(train: Train, steps: int) -> Speed:
    """Train once and return the speed."""
    wall, processor = time.perf_counter(), time.process_time()
    train(steps)
    return Speed(steps / (time.perf_counter() - wall), steps / (time.process_time() - processor))


def best(speeds: dict[tuple[str, int], list[Speed]], name: str) -> tuple[int, list[float]]:
    """Return the number of threads that suits an arm, and its speeds."""
    by_threads = {
        threads: [speed.wall for speed in rounds]
        for (arm, threads), rounds in speeds.items()
        if arm == name
    }
    threads = max(by_threads, key=lambda count: statistics.median(by_threads[count]))
    return threads, by_threads[threads]


def summary(speeds: dict[tuple[str, int], list[Speed]]) -> list[dict[str, Any]]:
    """Return one row per arm."""
    rows = []
    names = list(dict.fromkeys(name for name, _ in speeds))
    least = min(threads for _, threads in speeds)
    for name in names:
        threads, ours = best(speeds, name)
        row: dict[str, Any] = {
            "arm": name,
            "threads": threads,
            "steps_per_second": statistics.median(ours),
        }
        for peer in (*PEERS, *([PLAIN] if PLAIN in names else [])):
            theirs = best(speeds, peer)[1]
            row[f"/ {peer}"] = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
            pairs = zip(speeds[name, least], speeds[peer, least], strict=True)
            ratio = statistics.median(a.processor / b.processor for a, b in pairs)
            row[f"/ {peer}, processor time"] = ratio
        rows.append(row)
    return rows


def main(
    scenario: str = "shared_flat",
    minibatch: int = 2048,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    updates: Annotated[int, typer.Option(min=1, help="Rollouts per arm and round.")] = 4,
    threads: Annotated[str, typer.Option(help="Numbers of threads to try.")] = "1,2",
    keep: Annotated[bool, typer.Option(help="Write the results.")] = True,
) -> None:
    """Measure all arms, print them and keep them."""
    console = Console(width=150)
    runners = [arm for count in threads.split(",") for arm in arms(scenario, minibatch, int(count))]
    harness = TrainingHarness(settings(scenario, minibatch))
    steps = WORLDS * TICKS * len(harness.plan.names.residents) * updates
    speeds: dict[tuple[str, int], list[Speed]] = {(arm.name, arm.threads): [] for arm in runners}
    for _ in track(range(rounds), "measuring", console=console):
        for arm in runners:
            # The slowest by far has nothing to warm up: one rollout tells its speed.
            wanted = steps // updates if arm.name == PLAIN else steps
            speeds[arm.name, arm.threads].append(measure(arm.train, wanted))
    rows = summary(speeds)
    table = Table(*rows[0])
    for row in rows:
        cells = [f"{cell:,.2f}" if isinstance(cell, float) else str(cell) for cell in row.values()]
        table.add_row(*cells)
    console.print(table)
    if keep:
        names = ("numpy", "numba", "torch", "stable-baselines3", "sb3-contrib", "townlet")
        document = {
            "machine": {"system": platform.platform(), "cores": os.cpu_count()},
            "versions": {name: version(name) for name in names},
            "scenario": scenario,
            "minibatch": minibatch,
            "rounds": rounds,
            "arms": rows,
        }
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
