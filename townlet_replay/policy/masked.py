"""Categorical distributions over masked logits, in sb3-contrib's order of operations.

Rounding depends on the order in which floats are combined, and updates are compared bit for bit
with sb3-contrib's ``MaskableCategorical`` (``common/maskable/distributions.py``): normalise the
logits, put -1e8 where an action is illegal, normalise again. -1e8 instead of minus infinity keeps
every value and gradient finite (Huang & Ontañón 2022, "A closer look at invalid action masking").
Without a mask the single normalisation of ``torch.distributions.Categorical`` remains.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ILLEGAL_LOGIT = -1e8


class Evaluation(NamedTuple):
    """Given actions under a policy."""

    log_probs: Tensor  # (N,)
    entropies: Tensor  # (N,), nats


def masked_log_probs(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Return the log-probability of every action, ``(N, A)``.

    An illegal action gets about -1e8, whose exponential is exactly 0 in float32. In a row that
    allows nothing all are equal: float32 rounds them to 0, their softmax is uniform, their entropy
    0; finite, as in sb3-contrib.

    Args:
        logits: ``(N, A)``, unnormalised.
        mask: ``(N, A)``, nonzero where legal; None allows everything.
    """
    normalised = logits - logits.logsumexp(dim=-1, keepdim=True)
    if mask is None:
        return normalised
    illegal = torch.tensor(ILLEGAL_LOGIT, dtype=logits.dtype, device=logits.device)
    masked = torch.where(mask.bool(), normalised, illegal)
    return masked - masked.logsumexp(dim=-1, keepdim=True)


def evaluate(logits: Tensor, mask: Tensor | None, actions: Tensor) -> Evaluation:
    """Return log-probabilities of ``actions`` ``(N,)`` and the entropies.

    The gather precedes the entropy's softmax: autograd sums the gradients that flow into the
    log-probabilities in the order of the graph, and this is sb3-contrib's.
    """
    log_probs = masked_log_probs(logits, mask)
    chosen = log_probs.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)
    return Evaluation(chosen, entropy(log_probs, mask))


def entropy(log_probs: Tensor, mask: Tensor | None) -> Tensor:
    """Return the entropy of each row ``(N,)`` in nats; illegal actions contribute exactly 0."""
    weighted = log_probs * torch.softmax(log_probs, dim=-1)
    if mask is not None:
        weighted = torch.where(mask.bool(), weighted, torch.tensor(0.0, device=log_probs.device))
    return -weighted.sum(-1)


def draw_actions(log_probs: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw one action per row by inverting the cumulative distribution.

    One uniform number per row, drawn in row order: row k's draw does not depend on how many
    actions there are. An action of probability 0 is never drawn.

    Args:
        log_probs: ``(N, A)`` from :func:`masked_log_probs`.
        rng: the stream to draw from.

    Returns:
        ``(N,)`` action ids.
    """
    probabilities = np.exp(log_probs.astype(np.float64))
    cumulative = probabilities.cumsum(axis=1)
    # At most (1 - 2^-53) of the total, which rounds to less than the total: no draw falls outside.
    targets = rng.random((len(log_probs), 1)) * cumulative[:, -1:]
    actions: NDArray[np.int64] = (cumulative <= targets).sum(axis=1)
    return actions
