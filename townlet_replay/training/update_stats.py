"""What there is to say about one update, whoever computed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from townlet_replay.rollout import Rollout
from townlet_replay.training.figures import correlation, explained_variance
from townlet_replay.training.gae import Advantages


class UpdateStats(NamedTuple):
    """One update. Unless said otherwise: the mean over all minibatches of all epochs.

    NaN marks what is undefined (a correlation with a constant, the norm of no gradient).
    """

    loss_policy: float
    loss_value: float  # mean squared error, unweighted
    loss_entropy: float  # minus the mean entropy, unweighted
    loss_total: float  # as optimised
    clip_fraction: float  # share of rows with |ratio - 1| > clip_range
    kl_divergence: float  # k3 = mean(ratio - 1 - log ratio), never negative (Schulman 2020)
    kl_divergence_max: float  # of a minibatch
    ratio_mean: float
    ratio_max: float  # of a row
    ess: float  # (sum ratio)^2 / (N sum ratio^2), in (0, 1]
    ess_min: float  # of a minibatch
    batch_entropy_mean: float  # nats
    batch_entropy_std: float  # between minibatches
    grad_norm: float  # before clipping; of minibatches that were stepped
    grad_norm_max: float
    adv_mean: float  # over all rows, before normalisation
    adv_std: float
    explained_variance: float  # 1 - Var(returns - values) / Var(returns), recorded values (SB3)
    reward_advantage_corr: float  # Pearson, over all rows
    rows: int
    minibatches: int  # gradient steps taken
    epochs_completed: int
    stopped_early: bool  # by target_kl


class Figures(NamedTuple):
    """Figures of one minibatch, in the order they are stacked; names as in ``UpdateStats``."""

    policy: float
    value: float
    entropy: float
    total: float
    clipped: float
    kl: float
    ratio_mean: float
    ratio_max: float
    ess: float


class Passes(NamedTuple):
    """What the passes of one update were like."""

    figures: Sequence[Figures]  # of every minibatch, the one that stopped the update included
    norms: Sequence[float]  # of the gradients that were stepped, before clipping
    epochs_completed: int  # passes that were not stopped


def summary(rollout: Rollout, estimates: Advantages, passes: Passes) -> UpdateStats:
    """Return what there is to say about an update."""
    figures, norms, epochs_completed = passes
    table = np.array(figures, dtype=np.float64)  # (minibatches, figures)
    mean = Figures(*table.mean(axis=0).tolist())
    largest = Figures(*table.max(axis=0).tolist())
    smallest = Figures(*table.min(axis=0).tolist())
    advantages = estimates.advantages.astype(np.float64)
    return UpdateStats(
        loss_policy=mean.policy,
        loss_value=mean.value,
        loss_entropy=mean.entropy,
        loss_total=mean.total,
        clip_fraction=mean.clipped,
        kl_divergence=mean.kl,
        kl_divergence_max=largest.kl,
        ratio_mean=mean.ratio_mean,
        ratio_max=largest.ratio_max,
        ess=mean.ess,
        ess_min=smallest.ess,
        batch_entropy_mean=-mean.entropy,
        batch_entropy_std=float(table[:, Figures._fields.index("entropy")].std()),
        grad_norm=float(np.mean(norms)) if norms else np.nan,
        grad_norm_max=max(norms, default=np.nan),
        adv_mean=float(advantages.mean()),
        adv_std=float(advantages.std()),
        explained_variance=explained_variance(rollout.values, estimates.returns),
        reward_advantage_corr=correlation(rollout.rewards, estimates.advantages),
        rows=len(rollout.actions),
        minibatches=len(norms),
        epochs_completed=epochs_completed,
        stopped_early=len(norms) < len(figures),
    )
