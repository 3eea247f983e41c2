"""Capture == live of ``MaskablePPO``, shown on the scenario at hand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback

from townlet_env.views.sb3 import TownletVecEnv
from townlet_replay.compare.course import Course
from townlet_replay.compare.replaying import OTHER_SEED, digest, fresh, verdict
from townlet_replay.compare.results import ParityCheck
from townlet_replay.compare.sb3_arms import check_minibatches, load_weights, settings_of
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.sb3 import CaptureMaskablePPO, RolloutTap, load_update, save_update
from townlet_replay.training.sb3_entropy import follow_entropy

_FEW_WORLDS = 2


def check_sb3(course: Course) -> ParityCheck:
    """Store the rollouts of ``MaskablePPO``, and train another one on them.

    Raises:
        CaptureError: The rollouts cannot be written or read.
        TrainingError: An update would end with a minibatch of one row.
    """
    folder = fresh(course.directory / "captures" / "parity_sb3")
    config = course.with_seed(course.config.seed)
    ticks, updates = config.live.rollout_ticks, course.settings.parity_updates
    env = TownletVecEnv(course.scenario, _FEW_WORLDS, seed=config.seed)
    check_minibatches(config, env.num_envs * ticks)
    network = TrainingHarness(config).network
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You have specified a mini-batch size", UserWarning)
        model = MaskablePPO("MultiInputPolicy", env, n_steps=ticks, **settings_of(config, network))
    load_weights(model, network)
    rows, live = env.num_envs * ticks * updates, _Bits()
    paths: list[Path] = []

    def keep(update: Any) -> None:
        paths.append(folder / f"update_{len(paths) + 1:03d}.npz")
        save_update(paths[-1], update)

    model.learn(rows, callback=[RolloutTap(keep), *follow_entropy(config.ppo, rows), live])
    stored = [load_update(path) for path in paths]
    other = config.model_copy(update={"seed": config.seed + OTHER_SEED})
    learner = CaptureMaskablePPO.from_dataset(
        stored, action_space=env.action_space, **settings_of(other, network)
    )
    load_weights(learner, network)
    again = _Bits()
    learner.learn(rows, callback=[*follow_entropy(config.ppo, rows), again])
    return verdict("sb3", live.seen[1:], again.seen[1:], [update.rollout for update in stored])


class _Bits(BaseCallback):
    """The digests of a model before the first and after every update."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._note()

    def _on_training_end(self) -> None:
        self._note()

    def _note(self) -> None:
        policy: Any = self.model.policy
        self.seen.append(digest(policy.state_dict(), policy.optimizer.state_dict()))
