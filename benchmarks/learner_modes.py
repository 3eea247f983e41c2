"""``python -m benchmarks.learner_modes``: the native learner's modes learn alike.

Trains every mode with the same seeds and settings, and plots the mean reward of each episode.
Reported is how far a mode's mean lies from strict_sb3's, in standard errors of the difference
between seeds: within 2 the curves cannot be told apart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.views.lanes import Lanes
from townlet_replay.capture import town_spec
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.training.compute import Computing
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.live import LiveCollector

RESULTS = Path(__file__).parent / "results" / "learner_modes.json"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "learner_modes.png"
MODES: dict[str, dict[str, str]] = {
    "strict_sb3": {"mode": "strict_sb3"},
    "autograd": {"mode": "autograd"},
    "fused f32": {"mode": "fused"},
    "fused bf16": {"mode": "fused", "precision": "bf16"},
}
COLOURS = ("#4c566a", "#2e7dd1", "#d1762e", "#3f9b57")

Curves = npt.NDArray[np.float64]


class Course(NamedTuple):
    """What all modes have in common."""

    scenario: str
    steps: int
    worlds: int = 8
    cuts: int = 5  # rollouts per episode

    def config(self, mode: str, seed: int) -> TrainConfig:
        """Return the settings of one run."""
        return TrainConfig.model_validate(
            {
                "scenario": self.scenario,
                "seed": seed,
                "ppo": {"learning_rate": 1e-3, "minibatch_size": 512, "target_kl": None},
                "compute": MODES[mode],
            }
        )


def learn(course: Course, mode: str, seed: int) -> list[float]:
    """Return the mean reward per agent step of one run, episode by episode.

    All worlds begin together, so that a mean over part of an episode would tell the time of day.
    """
    config = course.config(mode, seed)
    scenario = load_scenario(config.scenario)
    plan = compile_plan(scenario)
    network = TownletNetwork(town_spec(plan), config.network, seed)
    computing = Computing(network, config)
    lanes = Lanes(scenario, plan, course.worlds)
    rng = np.random.default_rng([seed, 1])
    means = []
    with computing.session():
        collector = LiveCollector(lanes, computing.actor(seed), seed)
        while collector.steps < course.steps:
            rewards = []
            for _ in range(course.cuts):
                rollout = collector.collect(scenario.ticks // course.cuts)
                rewards.append(float(rollout.rewards.mean()))
                computing.update(rollout, rng)
            means.append(float(np.mean(rewards)))
    return means


def plot(course: Course, curves: dict[str, Curves], path: Path) -> None:
    """Draw a band of seeds and a mean per mode."""
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for (mode, runs), colour in zip(curves.items(), COLOURS, strict=True):
        steps = np.linspace(0, course.steps, runs.shape[1] + 1)[1:] / 1000
        axes.fill_between(steps, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.12)
        axes.plot(steps, runs.mean(axis=0), color=colour, label=mode, linewidth=1.6)
    axes.set_xlabel("thousand agent steps")
    axes.set_ylabel("mean reward per agent step")
    axes.set_title(
        f"{course.scenario}: one learner in four modes, {len(runs)} seeds each (mean and range)"
    )
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.savefig(path)


def distances(curves: dict[str, Curves]) -> list[dict[str, Any]]:
    """Return how far each mode is from strict_sb3 over the last quarter of the run."""
    tails = {mode: runs[:, -(runs.shape[1] // 4) :].mean(axis=1) for mode, runs in curves.items()}
    strict = tails["strict_sb3"]
    rows = []
    for mode, tail in tails.items():
        variances = tail.var(ddof=1) / len(tail) + strict.var(ddof=1) / len(strict)
        rows.append(
            {
                "mode": mode,
                "last quarter": float(tail.mean()),
                "lowest seed": float(tail.min()),
                "highest seed": float(tail.max()),
                "standard errors from strict_sb3": float(
                    (tail.mean() - strict.mean()) / np.sqrt(variances)
                ),
            }
        )
    return rows


def main(
    scenario: str = "shared_flat",
    steps: int = 250_000,
    seeds: Annotated[int, typer.Option(min=2)] = 5,
    picture: Path = PICTURE,
    keep: Annotated[bool, typer.Option(help="Write figures beside the other results.")] = True,
) -> None:
    """Train all modes, plot and compare them."""
    console = Console(width=120)
    course = Course(scenario, steps)
    runs: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
    for seed in track(range(seeds), "training", console=console):
        for mode, found in runs.items():
            found.append(learn(course, mode, seed))
    curves = {mode: np.array(found) for mode, found in runs.items()}
    plot(course, curves, picture)
    rows = distances(curves)
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{c:.4f}" if isinstance(c, float) else str(c) for c in row.values()))
    console.print(table)
    if keep:
        RESULTS.parent.mkdir(exist_ok=True)
        document = {"scenario": scenario, "steps": steps, "seeds": seeds, "modes": rows}
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
