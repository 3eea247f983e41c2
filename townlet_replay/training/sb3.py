"""Stable-Baselines3 on captures: the same learners, fed from stored rows instead of live steps.

:class:`CapturePPO` and :class:`CaptureMaskablePPO` replace nothing but where rollouts come from.
Callbacks, loggers, ``learn``, ``save`` and ``load`` work as users know them, and a saved zip opens
as plain ``PPO`` or ``MaskablePPO``, ready for a live environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from townlet_replay.dataset import ReplayDataset
from townlet_replay.errors import TrainingError
from townlet_replay.rollout import Rollout
from townlet_replay.training.sb3_buffer import (
    CaptureSpaces,
    action_space_of,
    fill_rollout_buffer,
    observation_space_of,
)
from townlet_replay.training.sb3_tap import LiveUpdate, RolloutTap, load_update, save_update

__all__ = [
    "CaptureMaskablePPO",
    "CapturePPO",
    "CaptureSpaces",
    "LiveUpdate",
    "RolloutTap",
    "TownletExtractor",
    "action_space_of",
    "fill_rollout_buffer",
    "load_update",
    "observation_space_of",
    "save_update",
]

_LIVE_STEPS = 2048
"""Steps of a live rollout after the capture; the default of Stable-Baselines3."""


def _check_behaviour(rollout: Rollout) -> None:
    """Refuse log-probs that say the behaviour never chose."""
    chose = np.ones(len(rollout.rewards), np.bool_)
    if rollout.action_mask is not None:
        chose = rollout.action_mask.sum(axis=1) > 1
    if chose.any() and not rollout.old_log_probs[chose].any():
        raise TrainingError(
            "Every log-prob of the capture is 0: a deterministic script acted, and PPO's gradients "
            "vanish where the learner disagrees with it. Train on it with bc, or pass "
            "accept_bias=True if you mean it."
        )


class _CaptureLearner(OnPolicyAlgorithm):
    """``collect_rollouts`` from a data set, for any on-policy algorithm put after this class."""

    _batches: Iterator[Rollout | LiveUpdate] | None = None
    _dataset: Iterable[Rollout | LiveUpdate] = ()
    _ignore_masks = False
    _accept_bias = False

    @classmethod
    def from_dataset(
        cls,
        dataset: Iterable[Rollout | LiveUpdate],
        *,
        observation_space: spaces.Space[Any] | None = None,
        action_space: spaces.Space[Any] | None = None,
        ignore_masks: bool = False,
        accept_bias: bool = False,
        **settings: Any,
    ) -> Self:
        """Build a learner whose ``learn()`` goes round the batches of ``dataset``.

        Each batch is one update; ``total_timesteps`` counts rows, so ``epochs * rows`` goes round
        ``epochs`` times. A batch that is a :class:`LiveUpdate` also restores the minibatch order of
        the live update.

        Args:
            dataset: a ``ReplayDataset``, or a list of rollouts or live updates.
            observation_space: by default :func:`observation_space_of` the first batch.
            action_space: by default the vocabulary of the data set, or :func:`action_space_of`
                the first batch.
            ignore_masks: see :func:`fill_rollout_buffer`.
            accept_bias: train on log-probs that are all 0 although nothing can be learnt where
                learner and script disagree.
            settings: every setting of the algorithm; ``policy`` defaults to ``MultiInputPolicy`` or
                ``MlpPolicy``, ``n_steps`` is only used by live training afterwards.

        Raises:
            TrainingError: the data set is empty, can be read only once, or its spaces are unknown.
        """
        first, batches = _peek(dataset)
        observation_space = observation_space or observation_space_of(_rollout_of(first))
        action_space = action_space or _action_space(dataset, _rollout_of(first))
        policy = settings.pop("policy", _policy_for(observation_space))
        live_steps = settings.pop("n_steps", _LIVE_STEPS)
        env = CaptureSpaces(observation_space, action_space)
        # Batches bring their own length; this n_steps spares SB3's warning about a remainder.
        model = cls(policy=policy, env=env, n_steps=settings.get("batch_size") or 64, **settings)
        model.n_steps = live_steps
        model.feed(dataset, ignore_masks=ignore_masks, accept_bias=accept_bias)
        model._batches = batches  # a second peek would cost the data set one of its shuffles
        return model

    def feed(
        self,
        dataset: Iterable[Rollout | LiveUpdate],
        *,
        ignore_masks: bool = False,
        accept_bias: bool = False,
    ) -> Self:
        """Go on with another data set, for instance after ``load`` or with a fresh capture.

        Args:
            dataset: as in :meth:`from_dataset`.
            ignore_masks: as in :meth:`from_dataset`.
            accept_bias: as in :meth:`from_dataset`.

        Raises:
            TrainingError: the data set can be read only once.
        """
        _refuse_one_pass(dataset)
        if self.env is None:
            self.set_env(CaptureSpaces(self.observation_space, self.action_space))
        self._dataset, self._batches = dataset, None
        self._ignore_masks, self._accept_bias = ignore_masks, accept_bias
        return self

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
        use_masking: bool = True,
    ) -> bool:
        """Fill the buffer with the next batch and walk the callbacks through its rows.

        Args:
            env: not used, there is nothing to step.
            callback: ``on_step`` is called once per row, with ``rewards``, ``dones``, ``actions``
                and ``infos`` in its locals; ``infos[0]["episode"]`` sums up a segment at its end.
            rollout_buffer: takes the size of the batch.
            n_rollout_steps: not used, the batch has its own length.
            use_masking: False is the same as ``ignore_masks``.

        Returns:
            False if a callback asked to stop.

        Raises:
            TrainingError: the batch cannot be trained on, see :func:`fill_rollout_buffer`.
        """
        self.policy.set_training_mode(False)
        batch = self._next_batch()
        rollout = _rollout_of(batch)
        if not self._accept_bias:
            _check_behaviour(rollout)
        callback.on_rollout_start()
        ignore_masks = self._ignore_masks or not use_masking
        fill_rollout_buffer(rollout_buffer, rollout, gamma=self.gamma, ignore_masks=ignore_masks)
        if not self._walk(rollout, callback):
            return False
        callback.on_rollout_end()
        if isinstance(batch, LiveUpdate):
            batch.numpy_state.restore()
        return True

    def _next_batch(self) -> Rollout | LiveUpdate:
        batch = None if self._batches is None else next(self._batches, None)
        if batch is None:
            batch, self._batches = _peek(self._dataset)
            next(self._batches)
        return batch

    def _walk(self, rollout: Rollout, callback: BaseCallback) -> bool:
        """Report the rows one by one, as a live environment of one lane would."""
        closed = rollout.terminations | rollout.truncations
        starts = rollout.segment_starts
        returns = iter(np.add.reduceat(rollout.rewards, starts, dtype=np.float64).tolist())
        lengths = iter(np.diff(np.append(starts, len(closed))).tolist())
        for row, done in enumerate(closed):
            self.num_timesteps += 1
            infos: list[dict[str, Any]] = [{}]
            if done:
                infos[0]["episode"] = {"r": next(returns), "l": next(lengths)}
            dones = closed[row : row + 1]
            callback.update_locals(
                {
                    "actions": rollout.actions[row : row + 1],
                    "rewards": rollout.rewards[row : row + 1],
                    "dones": dones,
                    "infos": infos,
                }
            )
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
        return True

    def _excluded_save_params(self) -> list[str]:
        ours = ["_batches", "_dataset", "_ignore_masks", "_accept_bias"]
        return super()._excluded_save_params() + ours


def _policy_for(observation_space: spaces.Space[Any]) -> str:
    return "MultiInputPolicy" if isinstance(observation_space, spaces.Dict) else "MlpPolicy"


def _action_space(dataset: Iterable[Rollout | LiveUpdate], rollout: Rollout) -> spaces.Space[Any]:
    if isinstance(dataset, ReplayDataset) and dataset.action_lookup:
        return spaces.Discrete(dataset.action_dim)
    return action_space_of(rollout)


def _rollout_of(batch: Rollout | LiveUpdate) -> Rollout:
    return batch.rollout if isinstance(batch, LiveUpdate) else batch


def _refuse_one_pass(dataset: Iterable[Any]) -> None:
    if isinstance(dataset, Iterator):
        raise TrainingError(
            "The data set can be read only once, but learn() goes round it; pass a list or a "
            "ReplayDataset."
        )


def _peek(
    dataset: Iterable[Rollout | LiveUpdate],
) -> tuple[Rollout | LiveUpdate, Iterator[Rollout | LiveUpdate]]:
    """Return the first batch, and an iterator that starts with it."""
    _refuse_one_pass(dataset)
    batches = iter(dataset)
    first = next(batches, None)
    if first is None:
        raise TrainingError(
            "The data set has no batch to train on; record episodes first, or feed() one."
        )
    return first, chain([first], batches)


class CapturePPO(_CaptureLearner, PPO):
    """``stable_baselines3.PPO`` on captures without action masks."""


class CaptureMaskablePPO(_CaptureLearner, MaskablePPO):
    """``sb3_contrib.MaskablePPO`` on captures; rows without masks count as all legal.

    MaskablePPO divides the advantages of every minibatch by their deviation, which is NaN for a
    last minibatch of a single row, and so are the weights after it. Captures have any number of
    rows, so such an update uses the next smaller ``batch_size`` that leaves no row alone; the
    logger shows it as ``train/batch_size``.
    """

    def train(self) -> None:
        """Update the policy from the filled buffer, with a batch size that is sound for it.

        Raises:
            TrainingError: the whole batch is a single row.
        """
        asked, rows = self.batch_size, self.rollout_buffer.buffer_size
        self.batch_size = _without_a_lone_row(rows, asked) if self.normalize_advantage else asked
        self.logger.record("train/batch_size", self.batch_size or rows)
        try:
            super().train()
        finally:
            self.batch_size = asked


def _without_a_lone_row(rows: int, batch_size: int | None) -> int:
    """Return the batch size asked for, or the nearest sound one below, or else above it."""
    if rows == 1:
        raise TrainingError(
            "A batch of one row cannot be trained on: the deviation of its advantage is undefined; "
            "put more samples into a batch, or pass normalize_advantage=False."
        )
    size = min(batch_size or rows, rows)
    candidates = chain(range(size, 1, -1), range(size + 1, rows + 1))
    return next(candidate for candidate in candidates if rows % candidate != 1)


class TownletExtractor(BaseFeaturesExtractor):
    """Features of a Townlet observation: map -> linear -> ReLU, next to features -> linear -> ReLU.

    For ``policy_kwargs={"features_extractor_class": TownletExtractor}``. A zip saved with it needs
    this package to be loaded.

    Args:
        observation_space: Dict with ``features`` (F,) and, unless compact, ``map`` (C, H, W).
        map_width: outputs for the map.
        features_width: outputs for the features.

    Raises:
        TrainingError: the space is not one of Townlet's.
    """

    def __init__(
        self, observation_space: spaces.Space[Any], map_width: int = 64, features_width: int = 64
    ) -> None:
        if not isinstance(observation_space, spaces.Dict) or not (
            {"features"} <= set(observation_space.spaces) <= {"features", "map"}
        ):
            raise TrainingError(
                "TownletExtractor reads a Dict of 'features' and perhaps 'map', found "
                f"{observation_space}; leave features_extractor_class to Stable-Baselines3."
            )
        widths = {"features": features_width, "map": map_width}
        boxes = sorted(observation_space.items())
        super().__init__(observation_space, sum(widths[key] for key, _ in boxes))
        self.branches = nn.ModuleDict(
            {
                key: nn.Sequential(
                    nn.Flatten(), nn.Linear(spaces.flatdim(box), widths[key]), nn.ReLU()
                )
                for key, box in boxes
            }
        )

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """(N, ...) per key -> (N, features_dim)."""
        columns = [branch(observations[key]) for key, branch in self.branches.items()]
        return torch.cat(columns, dim=1)
