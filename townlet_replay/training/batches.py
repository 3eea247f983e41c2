"""What learners share: rollouts as tensors, the order of minibatches, the gradient step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from townlet_replay.errors import TrainingError
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout

_ROWS_AT_ONCE = 4096  # bounds memory, not results


class Batch(NamedTuple):
    """What a policy needs to judge rows: what was seen, allowed and done."""

    observations: dict[str, Tensor]  # key -> (N, ...)
    mask: Tensor | None  # (N, A) int8
    actions: Tensor  # (N,) int64

    def rows(self, index: Tensor | slice) -> Batch:
        """Return the rows of ``index``, numbers ``(B,)`` or a slice."""
        return Batch(
            {key: tensor[index] for key, tensor in self.observations.items()},
            None if self.mask is None else self.mask[index],
            self.actions[index],
        )


def check_choices(network: TownletNetwork, rollout: Rollout) -> None:
    """Check actions and masks of a rollout against the network's vocabulary.

    Raises:
        TrainingError: no rows, an action outside the vocabulary or a mask of another width.
    """
    actions, choices = rollout.actions, network.spec.action_dim
    if actions.ndim != 1 or not len(actions):
        raise TrainingError(
            f"expected action ids of shape (N,), at least one, found {actions.shape}; "
            "only Discrete action spaces can be trained on"
        )
    if actions.min() < 0 or actions.max() >= choices:
        raise TrainingError(
            f"expected actions in 0..{choices - 1}, found {actions.min()}..{actions.max()}; "
            "the capture has another action vocabulary than the network"
        )
    mask = rollout.action_mask
    if mask is not None and mask.shape != (len(actions), choices):
        raise TrainingError(
            f"action_mask: expected shape {(len(actions), choices)}, found {mask.shape}"
        )


def to_batch(network: TownletNetwork, rollout: Rollout) -> Batch:
    """Check a rollout against the network and copy it to the network's device.

    Raises:
        TrainingError: no rows, an observation of another shape, an action outside the vocabulary
            or a mask of another width.
    """
    check_choices(network, rollout)
    device, mask = network.device, rollout.action_mask
    return Batch(
        network.spec.tensors(rollout.observations, device),
        None if mask is None else torch.tensor(mask, device=device),
        torch.tensor(rollout.actions, dtype=torch.int64, device=device),
    )


def forbidden_rows(mask: NDArray[np.int8] | None, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say per row ``(N,)`` whether the mask forbids the action."""
    if mask is None:
        return np.zeros(len(actions), dtype=np.bool_)
    forbidden: NDArray[np.bool_] = mask[np.arange(len(actions)), actions] == 0
    return forbidden


def minibatches(rows: int, size: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Yield index tensors of at most ``size`` rows: a fresh permutation, cut in order.

    The last one may be shorter, down to a single row; none is dropped.
    """
    order = torch.from_numpy(rng.permutation(rows))
    for start in range(0, rows, size):
        yield order[start : start + size]


def row_chunks(rows: int) -> list[slice]:
    """Cut ``rows`` into slices small enough to judge in one pass each."""
    return [slice(start, start + _ROWS_AT_ONCE) for start in range(0, rows, _ROWS_AT_ONCE)]


def gradient_step(
    network: TownletNetwork, optimizer: torch.optim.Optimizer, loss: Tensor, max_norm: float
) -> float:
    """Take one gradient step and return the global norm of the gradient before clipping.

    Raises:
        TrainingError: the gradient is not finite; the weights are left as they are.
    """
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(network.parameters(), max_norm))
    check_finite(norm, loss.item())
    optimizer.step()
    return norm


def check_finite(norm: float, loss: float) -> None:
    """Refuse a gradient that is not finite.

    Raises:
        TrainingError: it is not.
    """
    if not np.isfinite(norm):
        raise TrainingError(
            f"expected a finite gradient, found norm {norm} at loss {loss}; "
            "lower the learning rate or look for extreme rewards in the capture"
        )
