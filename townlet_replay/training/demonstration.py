"""A capture that is imitated while PPO learns from its own rollouts, less and less.

Rajeswaran et al. 2018 (DAPG), eq. 5: a demonstration's cross-entropy is added to the loss, with a
weight that falls to 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from townlet_replay.errors import TrainingError
from townlet_replay.policy.masked import masked_log_probs
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.training.batches import Batch, forbidden_rows, minibatches, to_batch
from townlet_replay.training.settings import Settings


class DemonstrationConfig(Settings):
    """How strongly, and for how long, ppo_bc imitates."""

    weight: float = Field(0.5, ge=0, description="of the cross-entropy, in the first cycle")
    share: float = Field(0.25, gt=0, le=1, description="of the cycles until it has fallen to 0")

    def weight_at(self, remaining: float) -> float:
        """Return the weight when so much of the run remains: linear, 0 from ``share`` on."""
        return self.weight * max(0.0, 1.0 - (1.0 - remaining) / self.share)


class Demonstration:
    """Rows to imitate, a minibatch at a time, without end.

    Args:
        network: Whose vocabulary the rows must fit.
        rollout: What somebody did; ``actions`` are the labels. Rows whose label is against the
            mask are left out.
        size: Rows per minibatch.
        rng: Draws one permutation per pass.
        weight: Of the loss.

    Raises:
        TrainingError: The rows do not fit the network, or none has a usable label.
    """

    def __init__(
        self,
        network: TownletNetwork,
        rollout: Rollout,
        size: int,
        rng: np.random.Generator,
        weight: float,
    ) -> None:
        usable = np.flatnonzero(~forbidden_rows(rollout.action_mask, rollout.actions))
        if not len(usable):
            raise TrainingError("expected a row whose label the mask allows, found none")
        self._network = network
        self._batch = to_batch(network, rollout)
        if self._batch.segments is None:
            self._batch = self._batch.rows(torch.from_numpy(usable).to(network.device))
        self._size = size
        self._rng = rng
        self._order = self._endless()
        self.weight = weight

    def loss(self) -> Tensor:
        """Return the weighted cross-entropy of the next minibatch."""
        batch = self._batch.rows(next(self._order))
        return self.weight * imitation_loss(self._network, batch)

    def _endless(self) -> Iterator[Tensor]:
        while True:
            rows, segments = len(self._batch.actions), self._batch.segments
            for order in minibatches(rows, self._size, self._rng, segments):
                yield order.to(self._network.device)


def imitation_loss(network: TownletNetwork, batch: Batch) -> Tensor:
    """Return the mean of -log pi(action), over the rows whose action the mask allows."""
    logits, _ = network(batch.observations)
    log_probs = masked_log_probs(logits, batch.mask)
    if batch.segments is None or batch.mask is None:
        return functional.nll_loss(log_probs, batch.actions)
    usable = batch.mask.gather(1, batch.actions[:, None])[:, 0] != 0  # others only lead there
    losses = functional.nll_loss(log_probs, batch.actions, reduction="none")
    return torch.where(usable, losses, 0.0).sum() / usable.sum().clamp(min=1)
