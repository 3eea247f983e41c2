"""What an episode costs when there are many: written, listed and read back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from benchmarks.report import Report
from townlet_replay.bench.measure import Clock
from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.manifest import load_capture
from townlet_replay.recorder import RecordReplay

SIZES = (100, 1_000, 10_000)
TICKS = 4
MEMORY = Path("/dev/shm")  # waiting for a disk would hide what an episode costs beside that
WRITTEN, LISTED, READ = "recorded", "listed, with metrics", "read and checked"


class Blink(ParallelEnv[str, np.ndarray, int]):
    """One agent, two actions, three numbers to see; over after four ticks."""

    metadata: ClassVar[dict[str, Any]] = {"name": "blink_v0"}

    def __init__(self) -> None:
        self.possible_agents = ["anna"]
        self.agents: list[str] = []
        self._tick = 0

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Return three numbers from 0 to 1."""
        return spaces.Box(0, 1, (3,), np.float32)

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return two actions."""
        return spaces.Discrete(2)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Begin an episode."""
        self.agents, self._tick = ["anna"], 0
        return {"anna": self._seen()}, {"anna": {}}

    def step(self, actions: dict[str, int]) -> tuple[dict[str, Any], ...]:
        """Let a tick pass; the reward is the action."""
        self._tick += 1
        over = self._tick == TICKS
        self.agents = [] if over else ["anna"]
        rewards = {"anna": float(actions["anna"])}
        return {"anna": self._seen()}, rewards, {"anna": over}, {"anna": False}, {"anna": {}}

    def _seen(self) -> np.ndarray:
        return np.full(3, self._tick / TICKS, np.float32)


def growth(what: str) -> str:
    """Return the name of a figure: what an episode costs among the most, to one among the least."""
    return f"an episode of {SIZES[-1]:,} to one of {SIZES[0]:,}, {what}"


def record(out: Path, episodes: int) -> None:
    """Record short episodes, one by one, as a learner's environment would."""
    with RecordReplay(Blink(), out) as env:
        for _ in range(episodes):
            env.reset()
            while env.agents:
                env.step({"anna": 1})


def enlist(out: Path) -> None:
    """Open a capture and its metrics."""
    _ = load_capture(out).metrics


def read(out: Path) -> None:
    """Read all rows in one batch."""
    settings = ReplayDatasetConfig.from_capture_dir(out, batch_size=1_000_000, streaming=True)
    next(iter(ReplayDataset(settings)))


def costs(out: Path, episodes: int) -> dict[str, tuple[float, float]]:
    """Return microseconds per episode, on the wall's clock and the processor's, by what is done."""
    acts: dict[str, Callable[[], None]] = {
        WRITTEN: lambda: record(out, episodes),
        LISTED: lambda: enlist(out),
        READ: lambda: read(out),
    }
    found = {}
    for name, act in acts.items():
        clock = Clock()
        with clock:
            act()
        found[name] = (clock.wall / episodes * 1e6, clock.processor / episodes * 1e6)
    return found


def measure(report: Report) -> None:
    """Take captures of more and more episodes; an episode is to cost the same in each."""
    found: dict[int, dict[str, tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        costs(Path(folder) / "warm", SIZES[0])
        for episodes in SIZES:
            found[episodes] = costs(Path(folder) / str(episodes), episodes)
            for name, (wall, processor) in found[episodes].items():
                what = f"an episode of {episodes:,}, {name}"
                report.figure(what, wall, "us")
                report.figure(f"{what}, processor", processor, "us")
    for name in (WRITTEN, LISTED, READ):
        wall, processor = (found[SIZES[-1]][name][k] / found[SIZES[0]][name][k] for k in (0, 1))
        report.figure(growth(name), wall, "x")
        report.figure(f"{growth(name)}, processor", processor, "x")
