"""Capture == live, shown on the scenario at hand.

Rollouts of live training are stored, and a learner of another seed is trained on the files. After
every update weights and Adam's moments must be the same bits.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from townlet_replay.compare.course import Course
from townlet_replay.compare.results import ParityCheck
from townlet_replay.manifest import load_capture
from townlet_replay.policy.checkpoint import load_checkpoint
from townlet_replay.rollout import Rollout, pack
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness

OTHER_SEED = 1_000_003
"""Added to the seed of whoever replays."""


def check_native(course: Course) -> ParityCheck:
    """Store the rollouts of a native run, and train on them again.

    Raises:
        CaptureError: The rollouts cannot be written or read.
    """
    folder = fresh(course.directory / "captures" / "parity_native")
    updates = course.settings.parity_updates
    ticks = min(course.config.live.rollout_ticks, course.scenario.ticks)
    base = course.with_seed(course.config.seed)
    rollout = base.rollout.model_copy(
        update={"ticks": ticks, "cycles": updates, "save_dir": folder / "cycles"}
    )
    compute = base.compute.model_copy(update={"mode": "strict_sb3", "precision": "f32"})
    config = base.model_copy(update={"mode": "rollout", "rollout": rollout, "compute": compute})
    live: list[str] = []
    harness = TrainingHarness(config, lambda _: live.append(_bits_of(harness)))
    harness.save(folder / "start")
    harness.run_rollout_ppo()
    rollouts = [
        pack(tuple(load_capture(folder / "cycles" / f"cycle_{cycle:03d}")))
        for cycle in range(1, updates + 1)
    ]
    again = _replay_native(config, folder / "start", rollouts)
    return verdict("native", live, again, rollouts)


def _replay_native(config: TrainConfig, start: Path, rollouts: Sequence[Rollout]) -> list[str]:
    """Train on stored rollouts, and return the digests after each."""
    other = config.model_copy(update={"seed": config.seed + OTHER_SEED})
    harness = TrainingHarness(other)
    saved = load_checkpoint(start)
    harness.network.load_state_dict(saved.network.state_dict())
    generator, found = saved.generator(), []
    for number, rollout in enumerate(rollouts):
        harness.computing.follow(1.0 - number / len(rollouts))
        harness.computing.update(rollout, generator, None)
        found.append(_bits_of(harness))
    return found


def _bits_of(harness: TrainingHarness) -> str:
    return digest(harness.network.state_dict(), harness.optimizer.state_dict())


def digest(weights: dict[str, Tensor], optimizer: dict[str, Any]) -> str:
    """Return SHA-256 of weights and Adam's moments."""
    found = hashlib.sha256()
    for name, tensor in weights.items():
        found.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    for moments in optimizer["state"].values():
        for name in sorted(moments):
            found.update(torch.as_tensor(moments[name]).cpu().numpy().tobytes())
    return found.hexdigest()


def verdict(
    learner: Literal["native", "sb3"],
    live: Sequence[str],
    again: Sequence[str],
    rollouts: Sequence[Rollout],
) -> ParityCheck:
    """Count after how many updates the digests were the same, up to the first that is not."""
    same = [one == other for one, other in zip(live, again, strict=False)]
    equal = same.index(False) if False in same else len(same)
    return ParityCheck(
        learner=learner,
        updates=len(live),
        equal=equal,
        rows=sum(len(rollout.actions) for rollout in rollouts),
        terminations=sum(int(np.sum(rollout.terminations)) for rollout in rollouts),
        truncations=sum(int(np.sum(rollout.truncations)) for rollout in rollouts),
    )


def fresh(folder: Path) -> Path:
    """Return a folder in which nothing of an interrupted check is left."""
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder
