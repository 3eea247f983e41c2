"""Advantage-weighted regression: imitate what turned out well more than what did not.

Peng et al. 2019 (AWR), algorithm 1: cross-entropy on the recorded actions, each weighted by
``exp(advantage / beta)``. It needs no log-probabilities, so it may learn from whoever acted; from
one who always did the same in a state it learns no more than a clone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from townlet_replay.policy.masked import entropy, masked_log_probs
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.training.batches import Batch, gradient_step, minibatches, to_batch
from townlet_replay.training.gae import gae
from townlet_replay.training.ppo import check_legal
from townlet_replay.training.settings import AtLeastOne, PacedSettings


class AWRConfig(PacedSettings):
    """Settings of advantage-weighted regression."""

    learning_rate: float = Field(7e-4, gt=0, description="Adam step size, at first")
    gamma: float = Field(0.99, ge=0, le=1, description="discount per tick")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="trace decay of the returns")
    beta: float = Field(0.3, gt=0, description="temperature, in deviations of the advantage")
    max_weight: float = Field(20.0, gt=0, description="most a row can weigh")
    value_epochs: int = Field(5, ge=0, description="passes that fit the values alone, first")
    epochs: AtLeastOne = Field(15, description="passes over the rows")
    ent_coef: float = Field(1e-3, ge=0, description="weight of the entropy bonus")
    vf_coef: float = Field(0.5, ge=0, description="weight of the value error in target variances")
    max_grad_norm: float = Field(0.5, gt=0, description="clip of the global gradient norm")
    minibatch_size: AtLeastOne = Field(256, description="rows per gradient step")
    adam_eps: float = Field(1e-5, gt=0, description="Adam's epsilon")


class AWREpoch(NamedTuple):
    """One pass; means over its minibatches."""

    epoch: int  # from 1
    rows: int
    loss_policy: float  # mean of weight times -log pi(action)
    loss_value: float  # mean squared error, unit of reward squared
    entropy: float  # nats
    grad_norm: float  # before clipping
    minibatches: int
    weight_ess: float  # (sum w)^2 / (N sum w^2) of the weights, in (0, 1]
    learning_rate: float


class _Lesson(NamedTuple):
    batch: Batch
    returns: Tensor  # (N,)
    weights: Tensor  # (N,)
    scale: float  # variance of the returns


def run_awr(
    network: TownletNetwork,
    revalued: Callable[[], Rollout],
    config: AWRConfig,
    rng: np.random.Generator,
) -> tuple[AWREpoch, ...]:
    """Train ``network`` in place.

    Args:
        network: trained in place.
        revalued: gives the packed rows, with the present network's values of all observations;
            called before every pass.
        config: settings.
        rng: draws one permutation of the rows per pass.

    Raises:
        TrainingError: the rows do not fit the network, or an action is against its mask.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, eps=config.adam_eps)
    passes = config.value_epochs + config.epochs
    epochs: list[AWREpoch] = []
    for done in range(passes):
        rate = config.learning_rates(1 - done / passes)
        optimizer.param_groups[0]["lr"] = rate
        lesson = _lesson(network, revalued(), config)
        warming_up = done < config.value_epochs
        means = _epoch(network, optimizer, lesson, config, (rng, 0.0 if warming_up else 1.0))
        if warming_up:
            continue
        weights = lesson.weights.double()
        spread = float(weights.sum()) ** 2 / (len(weights) * float((weights**2).sum()))
        epochs.append(AWREpoch(len(epochs) + 1, len(weights), *means, spread, rate))
    return tuple(epochs)


def advantage_weights(advantages: NDArray[np.float32], config: AWRConfig) -> NDArray[np.float32]:
    """Return ``exp(A / beta)`` of standardised advantages ``(N,)``, at most ``max_weight``."""
    exact = advantages.astype(np.float64)
    standard = (exact - exact.mean()) / (exact.std() + 1e-8)
    capped = np.minimum(standard / config.beta, np.log(config.max_weight))
    weights: NDArray[np.float32] = np.exp(capped).astype(np.float32)
    return weights


def _lesson(network: TownletNetwork, rollout: Rollout, config: AWRConfig) -> _Lesson:
    check_legal(rollout)
    estimates = gae(
        rollout.rewards,
        rollout.values,
        rollout.terminations,
        rollout.truncations,
        rollout.bootstrap_values,
        config.gamma,
        config.gae_lambda,
    )
    return _Lesson(
        to_batch(network, rollout),
        torch.tensor(estimates.returns, device=network.device),
        torch.tensor(advantage_weights(estimates.advantages, config), device=network.device),
        float(estimates.returns.astype(np.float64).var()) or 1.0,
    )


def _orders(lesson: _Lesson, size: int, rng: np.random.Generator) -> Iterator[Tensor]:
    return minibatches(len(lesson.returns), size, rng, lesson.batch.segments)


def _epoch(
    network: TownletNetwork,
    optimizer: torch.optim.Optimizer,
    lesson: _Lesson,
    config: AWRConfig,
    course: tuple[np.random.Generator, float],
) -> tuple[float, float, float, float, int]:
    """Train on every row once; ``course`` is the order's stream, and the weight of the policy."""
    rng, weight = course
    figures = []
    for order in _orders(lesson, config.minibatch_size, rng):
        index = order.to(network.device)
        batch = lesson.batch.rows(index)
        logits, values = network(batch.observations)
        log_probs = masked_log_probs(logits, batch.mask)
        nll = functional.nll_loss(log_probs, batch.actions, reduction="none")
        imitation = (lesson.weights[index] * nll).mean()
        spread = entropy(log_probs, batch.mask).mean()
        error = functional.mse_loss(values, lesson.returns[index])
        policy = weight * (imitation - config.ent_coef * spread)
        loss = policy + config.vf_coef * error / lesson.scale
        norm = gradient_step(network, optimizer, loss, config.max_grad_norm)
        figures.append((imitation.item(), error.item(), spread.item(), norm))
    policy_loss, value_loss, entropies, norms = np.mean(figures, axis=0).tolist()
    return policy_loss, value_loss, entropies, norms, len(figures)
