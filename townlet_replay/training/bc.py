"""Behaviour cloning: what to do with a capture whose log-probabilities support no ratio.

Cross-entropy on the recorded choices under the mask (Pomerleau 1991; the small entropy bonus as in
the ``imitation`` library), and a value head fitted to discounted returns, so that PPO may go on
from here with a critic that already means something.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from townlet_replay.errors import TrainingError
from townlet_replay.policy.masked import entropy, masked_log_probs
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.training.batches import (
    Batch,
    forbidden_rows,
    gradient_step,
    minibatches,
    row_chunks,
    to_batch,
)
from townlet_replay.training.gae import gae
from townlet_replay.training.settings import AtLeastOne, PacedSettings


class BCConfig(PacedSettings):
    """Settings of behaviour cloning."""

    learning_rate: float = Field(7e-4, gt=0, description="Adam step size, at first")
    gamma: float = Field(0.99, ge=0, le=1, description="discount per tick of the value targets")
    ent_coef: float = Field(1e-3, ge=0, description="weight of the entropy bonus")
    vf_coef: float = Field(0.5, ge=0, description="weight of the value error in target variances")
    max_grad_norm: float = Field(0.5, gt=0, description="clip of the global gradient norm")
    epochs: AtLeastOne = Field(20, description="passes over the training rows, at most")
    minibatch_size: AtLeastOne = Field(256, description="rows per gradient step")
    held_out: float = Field(0.1, ge=0, lt=1, description="share of segments never trained on")
    patience: AtLeastOne | None = Field(
        3, description="epochs without a better held-out loss before stopping; None: never stops"
    )
    adam_eps: float = Field(1e-5, gt=0, description="Adam's epsilon")


class BCEpoch(NamedTuple):
    """One pass. Losses and agreements are of the weights after it; NaN: nothing held out."""

    epoch: int  # from 1
    nll: float  # mean -log pi(label), nats, training rows
    nll_held_out: float
    agreement: float  # share of rows whose most probable action is the label
    agreement_held_out: float
    loss_value: float  # mean squared error during the pass, unit of reward squared
    entropy: float  # mean during the pass, nats
    grad_norm: float  # mean before clipping
    minibatches: int
    learning_rate: float


class BCResult(NamedTuple):
    """A finished cloning run; the network has the weights of ``best_epoch``."""

    epochs: tuple[BCEpoch, ...]
    best_epoch: int  # lowest held-out loss; the last one if nothing was held out
    rows: int  # trained on
    rows_held_out: int
    rows_without_label: int  # the label is against the mask: only the value head sees them
    stopped_early: bool


class _Lesson(NamedTuple):
    """Rows with labels in place of actions."""

    rollout: Rollout
    batch: Batch
    labelled: Tensor  # (N,) bool
    train: Tensor  # row numbers
    held_out: Tensor


class _Pass(NamedTuple):
    """Means over the minibatches of one pass."""

    loss_value: float
    entropy: float
    grad_norm: float
    minibatches: int


class _Score(NamedTuple):
    nll: float
    agreement: float


def make_bc_optimizer(network: TownletNetwork, config: BCConfig) -> torch.optim.Adam:
    """Return the optimizer of :func:`run_bc`."""
    return torch.optim.Adam(network.parameters(), lr=config.learning_rate, eps=config.adam_eps)


def run_bc(
    network: TownletNetwork,
    rollout: Rollout,
    config: BCConfig,
    rng: np.random.Generator,
    *,
    intent_actions: NDArray[np.int64] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> BCResult:
    """Train ``network`` in place to choose as the capture did.

    Whole segments are held out, since neighbouring rows of one life are nearly copies of each
    other. With ``patience`` the run stops when the held-out loss no longer falls, and the best
    weights are kept.

    Args:
        network: trained in place.
        rollout: packed segments; log-probabilities and values may be unknown.
        config: settings.
        rng: draws the held-out segments, then one permutation per epoch.
        intent_actions: ``(N,)`` labels instead of the actions: a noisy script's choice before the
            noise. Rows whose label is against the mask are not imitated.
        optimizer: to go on with; by default :func:`make_bc_optimizer`.

    Raises:
        TrainingError: the rollout does not fit the network, or no row has a usable label.
    """
    lesson = _prepare(network, rollout, config, rng, intent_actions)
    optimizer = optimizer or make_bc_optimizer(network, config)
    epochs: list[BCEpoch] = []
    best_epoch, best_weights = 0, _copy_weights(network)
    stopped = False
    for epoch in range(1, config.epochs + 1):
        optimizer.param_groups[0]["lr"] = config.learning_rates(1 - (epoch - 1) / config.epochs)
        done = _epoch(network, optimizer, lesson, config, rng)
        train, held_out = (
            _judge(network, lesson, index) for index in (lesson.train, lesson.held_out)
        )
        epochs.append(
            BCEpoch(
                epoch,
                nll=train.nll,
                nll_held_out=held_out.nll,
                agreement=train.agreement,
                agreement_held_out=held_out.agreement,
                learning_rate=optimizer.param_groups[0]["lr"],
                **done._asdict(),
            )
        )
        if not len(lesson.held_out) or config.patience is None:
            best_epoch = epoch
        elif best_epoch == 0 or epochs[-1].nll_held_out < epochs[best_epoch - 1].nll_held_out:
            best_epoch, best_weights = epoch, _copy_weights(network)
        elif epoch - best_epoch >= config.patience:
            stopped = True
            break
    if best_epoch < len(epochs):
        network.load_state_dict(best_weights)
    return BCResult(
        tuple(epochs),
        best_epoch,
        rows=len(lesson.train),
        rows_held_out=len(lesson.held_out),
        rows_without_label=int((~lesson.labelled).sum()),
        stopped_early=stopped,
    )


def value_targets(network: TownletNetwork, rollout: Rollout, batch: Batch, gamma: float) -> Tensor:
    """Return discounted returns ``(N,)`` for the value head.

    What followed a cut counts as ``gamma * V(final observation)``. Where a capture has no critic
    that value is unknown; the network's value of the last observation, one tick earlier, stands
    in, as in fitted value iteration (Ernst et al. 2005), so targets are to be renewed every epoch.
    """
    cut = rollout.truncations & ~rollout.terminations
    bootstrap = np.where(cut, rollout.bootstrap_values, np.float32(0.0))
    unknown = np.flatnonzero(np.isnan(bootstrap))
    if len(unknown):
        last = torch.from_numpy(unknown).to(network.device)
        if batch.segments is None:
            values = _values(network, batch.rows(last))
        else:  # what a row is worth depends on those before it
            values = _values(network, batch)[last]
        bootstrap[unknown] = values.cpu().numpy()
    estimates = gae(
        rollout.rewards,
        np.zeros(len(rollout.rewards), dtype=np.float32),
        rollout.terminations,
        rollout.truncations,
        bootstrap,
        gamma,
        1.0,
    )
    return torch.from_numpy(estimates.returns).to(network.device)


def _prepare(
    network: TownletNetwork,
    rollout: Rollout,
    config: BCConfig,
    rng: np.random.Generator,
    intent_actions: NDArray[np.int64] | None,
) -> _Lesson:
    if intent_actions is not None:
        if intent_actions.shape != rollout.actions.shape:
            raise TrainingError(
                f"intent_actions: expected shape {rollout.actions.shape}, one per row, "
                f"found {intent_actions.shape}"
            )
        rollout = rollout._replace(actions=intent_actions)
    batch = to_batch(network, rollout)
    labelled = ~forbidden_rows(rollout.action_mask, rollout.actions)
    held_out = _held_out_rows(rollout, config.held_out, rng)
    if not (labelled & ~held_out).any():
        raise TrainingError(
            "expected at least one training row whose label the mask allows, found none"
        )
    device = network.device
    return _Lesson(
        rollout,
        batch,
        torch.from_numpy(labelled).to(device),
        torch.from_numpy(np.flatnonzero(~held_out)).to(device),
        torch.from_numpy(np.flatnonzero(held_out)).to(device),
    )


def _held_out_rows(rollout: Rollout, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose whole segments, at least one if there are two and a share is asked for."""
    starts = rollout.segment_starts
    lengths = np.diff(np.append(starts, len(rollout.actions)))
    chosen = np.zeros(len(starts), dtype=np.bool_)
    if share > 0.0 and len(starts) > 1:
        count = min(max(round(share * len(starts)), 1), len(starts) - 1)
        chosen[rng.permutation(len(starts))[:count]] = True
    return np.repeat(chosen, lengths)


def _epoch(
    network: TownletNetwork,
    optimizer: torch.optim.Optimizer,
    lesson: _Lesson,
    config: BCConfig,
    rng: np.random.Generator,
) -> _Pass:
    """Train on every training row once."""
    targets = value_targets(network, lesson.rollout, lesson.batch, config.gamma)
    if config.vf_coef > 0.0:
        _centre_values(network, lesson, targets)
    # In units of the targets' variance the critic cannot drown the shared trunk.
    scale = float(targets[lesson.train].var(correction=0)) or 1.0
    figures = []
    together = _segments_of(lesson, lesson.train)
    for order in minibatches(len(lesson.train), config.minibatch_size, rng, together):
        index = lesson.train[order.to(network.device)]
        batch, labelled = lesson.batch.rows(index), lesson.labelled[index]
        logits, values = network(batch.observations)
        log_probs = masked_log_probs(logits, batch.mask)
        nll = functional.nll_loss(log_probs, batch.actions, reduction="none")
        imitation = torch.where(labelled, nll, 0.0).sum() / labelled.sum().clamp(min=1)
        spread = entropy(log_probs, batch.mask).mean()
        value = functional.mse_loss(values, targets[index])
        loss = imitation - config.ent_coef * spread + config.vf_coef * value / scale
        norm = gradient_step(network, optimizer, loss, config.max_grad_norm)
        figures.append((value.item(), spread.item(), norm))
    means = np.mean(figures, axis=0)
    return _Pass(float(means[0]), float(means[1]), float(means[2]), len(figures))


@torch.no_grad()
def _centre_values(network: TownletNetwork, lesson: _Lesson, targets: Tensor) -> None:
    """Shift the value head's bias so that the mean error is 0; steps of Adam would take thousands.

    The shift is output normalisation in closed form (van Hasselt et al. 2016, section 2).
    """
    train = lesson.batch.rows(lesson.train)
    network.value_head.bias.add_((targets[lesson.train] - _values(network, train)).mean())


@torch.no_grad()
def _values(network: TownletNetwork, batch: Batch) -> Tensor:
    """Return V of every row, ``(N,)``."""
    chunks = row_chunks(len(batch.actions), batch.segments)
    parts = [network(batch.rows(rows).observations)[1] for rows in chunks]
    return torch.cat(parts)


@torch.no_grad()
def _judge(network: TownletNetwork, lesson: _Lesson, index: Tensor) -> _Score:
    """Compare the policy with the labels of ``index``, rows without a label left out."""
    count = int(lesson.labelled[index].sum())
    if not count:
        return _Score(np.nan, np.nan)
    together = _segments_of(lesson, index)
    if together is None:  # rows by themselves need no others
        index = index[lesson.labelled[index]]
    loss, agreeing = 0.0, 0
    for rows in row_chunks(len(index), together):
        batch, labelled = lesson.batch.rows(index[rows]), lesson.labelled[index[rows]]
        log_probs = masked_log_probs(network(batch.observations)[0], batch.mask)[labelled]
        labels = batch.actions[labelled]
        loss += float(functional.nll_loss(log_probs, labels, reduction="sum"))
        agreeing += int((log_probs.argmax(dim=1) == labels).sum())
    return _Score(loss / count, agreeing / count)


def _segments_of(lesson: _Lesson, index: Tensor) -> Tensor | None:
    """Return which segments the rows of ``index`` belong to, if these must stay whole."""
    segments = lesson.batch.segments
    return None if segments is None else segments[index]


def _copy_weights(network: TownletNetwork) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
