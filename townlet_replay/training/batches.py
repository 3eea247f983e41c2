"""What learners share: rollouts as tensors, the order of minibatches, the gradient step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from townlet_replay.errors import TrainingError
from townlet_replay.policy.central import TOWN
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.policy.recurrent import SEGMENT
from townlet_replay.rollout import Rollout

_ROWS_AT_ONCE = 4096  # bounds memory, not results


class Batch(NamedTuple):
    """What a policy needs to judge rows: what was seen, allowed and done."""

    observations: dict[str, Tensor]  # key -> (N, ...)
    mask: Tensor | None  # (N, A) int8
    actions: Tensor  # (N,) int64

    @property
    def segments(self) -> Tensor | None:
        """Which segment a row belongs to, (N,); None if the rows may be taken apart."""
        return self.observations.get(SEGMENT)

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
            or a mask of another width; or a central critic misses the town.
    """
    check_choices(network, rollout)
    if network.critic is not None and TOWN not in rollout.observations:
        raise TrainingError(
            "network.critic 'central': expected rows with what the whole town looked like, found "
            "none: captures do not hold it; train in mode live, or set network.critic own"
        )
    device, mask = network.device, rollout.action_mask
    observations = network.tensors(rollout.observations)
    if network.core is not None:
        lengths = np.diff(np.append(rollout.segment_starts, len(rollout.actions)))
        numbers = np.repeat(np.arange(len(lengths)), lengths)
        observations[SEGMENT] = torch.from_numpy(numbers).to(device)
    return Batch(
        observations,
        None if mask is None else torch.tensor(mask, device=device),
        torch.tensor(rollout.actions, dtype=torch.int64, device=device),
    )


def forbidden_rows(mask: NDArray[np.int8] | None, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say per row ``(N,)`` whether the mask forbids the action."""
    if mask is None:
        return np.zeros(len(actions), dtype=np.bool_)
    forbidden: NDArray[np.bool_] = mask[np.arange(len(actions)), actions] == 0
    return forbidden


def minibatches(
    rows: int, size: int, rng: np.random.Generator, segments: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield index tensors of at most ``size`` rows: a fresh permutation, cut in order.

    The last one may be shorter, down to a single row; none is dropped.

    Args:
        rows: How many there are.
        size: Of a minibatch.
        rng: Draws the permutation.
        segments: ``(rows,)`` of rows that must not be taken apart; whole segments are permuted
            then, and one that is longer than ``size`` is a minibatch by itself.
    """
    if segments is not None:
        yield from _whole_segments(_cuts(segments), size, rng)
        return
    order = torch.from_numpy(rng.permutation(rows))
    for start in range(0, rows, size):
        yield order[start : start + size]


def _whole_segments(
    cuts: NDArray[np.int64], size: int, rng: np.random.Generator
) -> Iterator[Tensor]:
    chosen: list[NDArray[np.int64]] = []
    count = 0
    for segment in rng.permutation(len(cuts) - 1):
        rows = np.arange(cuts[segment], cuts[segment + 1])
        if chosen and count + len(rows) > size:
            yield torch.from_numpy(np.concatenate(chosen))
            chosen, count = [], 0
        chosen.append(rows)
        count += len(rows)
    yield torch.from_numpy(np.concatenate(chosen))


def _cuts(segments: Tensor) -> NDArray[np.int64]:
    """Return where segments begin, and the number of rows."""
    numbers = segments.cpu().numpy()
    return np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1, [len(numbers)]])


def row_chunks(rows: int, segments: Tensor | None = None) -> list[slice]:
    """Cut ``rows`` into slices small enough to judge in one pass each.

    With ``segments`` they are cut between these, and a slice has at least one of them.
    """
    if segments is None:
        return [slice(start, start + _ROWS_AT_ONCE) for start in range(0, rows, _ROWS_AT_ONCE)]
    chunks, start, cuts = [], 0, _cuts(segments).tolist()
    for end, following in zip(cuts[1:], [*cuts[2:], None], strict=True):
        if following is None or following - start > _ROWS_AT_ONCE:
            chunks.append(slice(start, end))
            start = end
    return chunks


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
