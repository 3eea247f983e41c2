"""``make learn``: what is learnt on ``shared_flat``, three seeds per arm, with verdicts.

Scores are mean returns on seeds that nothing is trained or recorded on: chance is 0, the scenario's
own script 1. A learner has reached the script at the first examination, sampled, with a score of 1
or more. There a clone stops; who learns from nothing goes on to the end, to show how far it comes.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.callbacks import BaseCallback

from townlet_env.config.load import load_scenario
from townlet_replay import ReplayDataset, ReplayDatasetConfig, TrainingHarness
from townlet_replay.capture import CaptureSettings, capture_scenario
from townlet_replay.evaluation import evaluate, network_actor, sb3_actor, script_actor
from townlet_replay.training.config import TrainConfig, load_train_config
from townlet_replay.training.telemetry_schema import EpochRecord

SCENARIO = "shared_flat"
EVALUATION = range(1_000_000, 1_000_016)
STEPS = 300_000  # live agent steps at most
CENTRAL = "live native, central critic"
BETWEEN = 32_768  # agent steps between two examinations
FIRST_SEED = 1  # live settings were chosen on seeds 0, 10 and 11
BEYOND = 1.1  # the score that a live learner is to end with
EPISODES, CAPTURE_SEED = 64, 100  # of the noisy script that is cloned
CLONING: dict[str, Any] = {
    "epochs": 16,
    "patience": None,
    "learning_rate": 3e-3,
    "learning_rate_schedule": "cosine",
    "minibatch_size": 512,
    "vf_coef": 0.1,
}
# A clone has found its way already: it needs no more choice, and smaller steps.
GOING_ON = {
    "learning_rate": 1e-3,
    "learning_rate_schedule": "constant",
    "ent_coef": 0.01,
    "ent_coef_schedule": "constant",
}
CLONED: dict[str, Any] = {"bc": CLONING, "ppo": GOING_ON}


class Scale(NamedTuple):
    """Returns that normalise scores."""

    chance: float
    script: float

    def score(self, mean: float) -> float:
        """Return 0 for chance, 1 for the script."""
        return (mean - self.chance) / (self.script - self.chance)


class Run(NamedTuple):
    """One arm, one seed."""

    arm: str
    seed: int
    curve: list[tuple[int, float]]  # live agent steps, sampled score
    greedy: float | None = None  # of a clone, before it goes on live
    agreement: float | None = None  # held out
    captured: int = 0  # agent steps
    seconds: float = 0.0

    @property
    def reached(self) -> int | None:
        """Live agent steps to the script's level; None: never."""
        return next((steps for steps, score in self.curve if score >= 1.0), None)


class Task(NamedTuple):
    """What one process does."""

    arm: str
    seed: int
    scale: Scale
    capture: Path
    steps: int


def main(
    output: Path = Path("runs/learn.json"),
    seeds: int = 3,
    first: int = FIRST_SEED,
    steps: int = STEPS,
    jobs: int = 2,
) -> None:
    """Train all arms, print figures and verdicts; exit code 1 if one is missed."""
    began, console = time.perf_counter(), Console(width=110)
    scenario = load_scenario(SCENARIO)
    chance, script = script_actor(scenario, "random"), script_actor(scenario)
    means = (evaluate(scenario, actor, EVALUATION).mean for actor in (chance, script))
    scale = Scale(*means)
    console.print(f"mean return of chance {scale.chance:.2f}, of the script {scale.script:.2f}")
    with tempfile.TemporaryDirectory(prefix="townlet-learn-") as folder:
        capture = Path(folder) / "capture"
        settings = CaptureSettings(episodes=EPISODES, epsilon=0.1, seed=CAPTURE_SEED)
        capture_scenario(scenario, capture, settings)
        tasks = [
            Task(arm, seed, scale, capture, steps)
            for arm in ("clone, then live", "live sb3", "live native", CENTRAL)
            for seed in range(first, first + seeds)
        ]
        spawned = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=spawned) as pool:
            runs = []
            for run in pool.map(play, tasks):
                runs.append(run)
                console.print(_line(run))
    found = verdicts(runs)
    table = Table("claim", "found", "verdict")
    for claim, figure, met in found:
        table.add_row(claim, figure, "met" if met else "[bold]missed[/]")
    console.print(table)
    seconds = time.perf_counter() - began
    console.print(f"{seconds / 60:.1f} minutes, {jobs} processes")
    output.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "scale": scale._asdict(),
        "runs": [run._asdict() for run in runs],
        "verdicts": [{"claim": c, "found": f, "met": m} for c, f, m in found],
        "seconds": seconds,
    }
    output.write_text(json.dumps(document, indent=1), encoding="utf-8")
    if not all(met for *_, met in found):
        raise typer.Exit(1)


def play(task: Task) -> Run:
    """Train one arm with one seed."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    arms: dict[str, Callable[[Task], Run]] = {
        "live native": live_native,
        "live sb3": live_sb3,
        "clone, then live": clone_then_live,
        CENTRAL: live_central,
    }
    return arms[task.arm](task)._replace(seconds=time.perf_counter() - began)


def config_of(task: Task, **changes: Any) -> TrainConfig:
    """Return the shipped settings with the seed of a task."""
    settings = {"seed": task.seed, "live": {"steps": task.steps}, **changes}
    return load_train_config(SCENARIO, settings)


class ReachedError(Exception):
    """The level of the script is reached: nothing more is to be shown."""


class Scout:
    """Examines a native learner every so many agent steps.

    Args:
        scale: Of the scores.
        between: Agent steps from one examination to the next.
        stop: At the script's level.
    """

    def __init__(self, scale: Scale, between: int, *, stop: bool) -> None:
        self.curve: list[tuple[int, float]] = []
        self.harness: TrainingHarness | None = None
        self._scale, self._between, self._stop = scale, between, stop

    def __call__(self, record: EpochRecord) -> None:
        """Look at what an update made."""
        harness = self.harness
        last = self.curve[-1][0] if self.curve else 0
        if harness is None:
            return
        over = harness.standing.live_steps >= harness.config.live.steps
        if harness.standing.live_steps < last + self._between and not over:
            return
        self.curve.append((harness.standing.live_steps, sampled(harness, self._scale)))
        if self._stop and self.curve[-1][1] >= 1.0:
            raise ReachedError


def sampled(harness: TrainingHarness, scale: Scale, *, greedy: bool = False) -> float:
    """Return the score of a network."""
    actor = network_actor(harness.network, seed=0, greedy=greedy)
    return scale.score(evaluate(load_scenario(SCENARIO), actor, EVALUATION).mean)


def train_live(harness: TrainingHarness, scout: Scout) -> None:
    """Train until the steps are used up, or the scout has seen enough."""
    scout.harness = harness
    try:
        harness.run_live()
    except ReachedError:
        return


def live_native(task: Task) -> Run:
    """PPO from fresh weights."""
    scout = Scout(task.scale, BETWEEN, stop=False)
    train_live(TrainingHarness(config_of(task), scout), scout)
    return Run(task.arm, task.seed, scout.curve)


def live_central(task: Task) -> Run:
    """PPO from fresh weights with a critic that sees the town: to look at, not a claim."""
    scout = Scout(task.scale, BETWEEN, stop=False)
    network = config_of(task).network.model_copy(update={"critic": "central"})
    config = config_of(task, network=network.model_dump(), compute={"mode": "autograd"})
    train_live(TrainingHarness(config, scout), scout)
    return Run(task.arm, task.seed, scout.curve)


def clone_then_live(task: Task) -> Run:
    """Clone the noisy script, then go on live; examined after every update."""
    scout = Scout(task.scale, 1, stop=True)
    harness = TrainingHarness(config_of(task, **CLONED), scout)
    settings = ReplayDatasetConfig.from_capture_dir(task.capture, batch_size=8)
    dataset = ReplayDataset(settings)
    cloning = harness.run_bc(dataset).cloning
    assert cloning is not None
    agreement = cloning.epochs[cloning.best_epoch - 1].agreement_held_out
    greedy = sampled(harness, task.scale, greedy=True)
    scout.curve.append((0, sampled(harness, task.scale)))
    if scout.curve[0][1] < 1.0:
        train_live(harness, scout)
    captured = sum(meta.timesteps for meta in dataset.metas)
    return Run(task.arm, task.seed, scout.curve, greedy, agreement, captured)


class Examination(BaseCallback):
    """Examines a model of Stable-Baselines3 every so many agent steps."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.curve: list[tuple[int, float]] = []
        self._scale = scale

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        last = self.curve[-1][0] if self.curve else 0
        if self.num_timesteps >= last + BETWEEN:
            self._examine()

    def _on_training_end(self) -> None:
        self._examine()

    def _examine(self) -> None:
        from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

        assert isinstance(self.model, OnPolicyAlgorithm)
        actor = sb3_actor(self.model, seed=0, greedy=False)
        mean = evaluate(load_scenario(SCENARIO), actor, EVALUATION).mean
        self.curve.append((self.num_timesteps, self._scale.score(mean)))


def live_sb3(task: Task) -> Run:
    """MaskablePPO from fresh weights, with the same settings."""
    from townlet_replay.training import sb3_runs

    examination = Examination(task.scale)
    sb3_runs.train_live(config_of(task, learner="sb3-maskable"), callbacks=[examination])
    return Run(task.arm, task.seed, examination.curve)


def verdicts(runs: Iterable[Run]) -> list[tuple[str, str, bool]]:
    """Return claim, figure, and whether it is met."""
    by_arm: dict[str, list[Run]] = {}
    for run in runs:
        by_arm.setdefault(run.arm, []).append(run)
    found = []
    for arm in ("live native", "live sb3"):
        steps = [run.reached for run in by_arm[arm]]
        claim = f"{arm}: the script within {STEPS:,} agent steps"
        found.append((claim, _all(steps), None not in steps))
        last = [run.curve[-1][1] for run in by_arm[arm]]
        scores = ", ".join(f"{score:.2f}" for score in last)
        claim = f"{arm}, to the end: a score of {BEYOND}"
        found.append((claim, scores, min(last) >= BEYOND))
    clones, scratch = by_arm["clone, then live"], by_arm["live native"]
    agreements = [run.agreement or 0.0 for run in clones]
    greedy = [run.greedy or 0.0 for run in clones]
    shares, best = (", ".join(f"{x:.3f}" for x in values) for values in (agreements, greedy))
    found.append(("clone: held-out agreement of 0.95", shares, min(agreements) >= 0.95))
    found.append(("clone, greedy: a score of 0.9", best, min(greedy) >= 0.9))
    # A run that never arrives counts as one that does at the end.
    alone = float(np.median([run.reached or STEPS for run in scratch]))
    arrived = [run.reached for run in clones]
    after = float(np.median([STEPS if steps is None else steps for steps in arrived]))
    fewer, charged = alone / max(after, 1.0), alone / (after + clones[0].captured)
    said = f"{_all(arrived)}: {fewer:.1f}x fewer, {charged:.1f}x with the capture"
    met = None not in arrived and fewer >= 3.0
    found.append(("clone, then live: the script with 3x fewer live steps", said, met))
    return found


def _line(run: Run) -> str:
    curve = ", ".join(f"{steps // 1000}k {score:.2f}" for steps, score in run.curve[-4:])
    more = ""
    if run.greedy is not None:
        more = f"; clone: agreement {run.agreement:.3f}, greedy {run.greedy:.2f}"
    return f"{run.arm}, seed {run.seed}: {curve}{more} ({run.seconds:.0f} s)"


def _all(steps: Iterable[int | None]) -> str:
    return ", ".join("never" if count is None else f"{count:,}" for count in steps)


if __name__ == "__main__":
    typer.run(main)
