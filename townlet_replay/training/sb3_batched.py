"""Stable-Baselines3's learners with one pass of the critic for all episodes that are cut at once.

Where time runs out Stable-Baselines3 values the last observation of every slot by itself (Pardo et
al. 2018); the slots of a batch of towns are cut together, and hundreds of passes of one row each
cost more than the rollout. The sums are the same but for rounding: a pass of many rows may round
otherwise than many passes of one, so parity to the bit belongs to the plain classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

CUT = "TimeLimit.truncated"


class _ValuedCuts(VecEnvWrapper):
    """Adds ``gamma V(terminal observation)`` to the reward of every slot that was cut by time."""

    def __init__(self, venv: VecEnv, model: OnPolicyAlgorithm) -> None:
        super().__init__(venv)
        self._model = model

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        seen, rewards, dones, infos = self.venv.step_wait()
        cut = [slot for slot in np.flatnonzero(dones).tolist() if infos[slot].get(CUT, False)]
        if cut:
            rewards = rewards.copy()
            rewards[cut] += self._model.gamma * self._values([infos[slot] for slot in cut])
            for slot in cut:
                infos[slot] = {**infos[slot], CUT: False}
        return seen, rewards, dones, infos

    @torch.no_grad()
    def _values(self, infos: list[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        ends = [info["terminal_observation"] for info in infos]
        together: Any = (
            {key: np.stack([end[key] for end in ends]) for key in ends[0]}
            if isinstance(ends[0], dict)
            else np.stack(ends)
        )
        tensors = self._model.policy.obs_to_tensor(together)[0]
        values: np.ndarray[Any, np.dtype[np.float32]] = (
            self._model.policy.predict_values(tensors).cpu().numpy().ravel()
        )
        return values


class BatchedPPO(PPO):
    """``stable_baselines3.PPO``, faster where many slots are cut together.

    Callbacks see the rewards of cut slots with the value of what followed added, and their infos
    without ``TimeLimit.truncated``.
    """

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect as PPO does, with one pass of the critic for all cut slots of a step."""
        valued = _ValuedCuts(env, self)
        return super().collect_rollouts(valued, callback, rollout_buffer, n_rollout_steps)


class BatchedMaskablePPO(MaskablePPO):
    """``sb3_contrib.MaskablePPO``; as :class:`BatchedPPO`."""

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
        use_masking: bool = True,
    ) -> bool:
        """Collect as MaskablePPO does, with one pass of the critic for all cut slots of a step."""
        valued = _ValuedCuts(env, self)
        return super().collect_rollouts(
            valued, callback, rollout_buffer, n_rollout_steps, use_masking
        )
