"""The weight of the entropy bonus over a run, which Stable-Baselines3 keeps constant."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from townlet_replay.training.ppo import PPOConfig
from townlet_replay.training.schedules import Schedule


def follow_entropy(ppo: PPOConfig, steps: int) -> list[BaseCallback]:
    """Return who sets the weight before every update of a run of so many steps, if it changes."""
    return [] if ppo.ent_coef_schedule == "constant" else [_Follower(ppo.ent_coefs, steps)]


class _Follower(BaseCallback):
    def __init__(self, schedule: Schedule, steps: int) -> None:
        super().__init__()
        self._schedule, self._steps = schedule, steps

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        # Counted as its own schedules are, the rollout at hand included.
        model: Any = self.model
        model.ent_coef = self._schedule(1.0 - float(model.num_timesteps) / float(self._steps))
