"""Proximal policy optimisation with masks on packed rollouts.

Schulman et al. 2017 (PPO), eq. 7 and 9; the details of Engstrom et al. 2020 and Huang et al. 2022
as Stable-Baselines3's ``PPO`` and sb3-contrib's ``MaskablePPO`` resolve them, in their order of
operations: with the same rows, weights and permutations the updates agree to the last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from townlet_replay.errors import TrainingError
from townlet_replay.policy.masked import evaluate
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.training.batches import (
    Batch,
    forbidden_rows,
    gradient_step,
    minibatches,
    to_batch,
)
from townlet_replay.training.gae import Advantages, gae
from townlet_replay.training.schedules import Schedule, ScheduleKind
from townlet_replay.training.settings import AtLeastOne, PacedSettings
from townlet_replay.training.update_stats import Figures, Passes, UpdateStats, summary

# A minibatch whose k3 exceeds this multiple of target_kl ends the update (SB3, ppo.py).
KL_SLACK = 1.5
# Added to the deviation of a minibatch's advantages (SB3, ppo.py).
ADVANTAGE_EPS = 1e-8


class PPOConfig(PacedSettings):
    """Settings of one PPO update; Stable-Baselines3's defaults unless said otherwise."""

    gamma: float = Field(0.99, ge=0, le=1, description="discount per tick")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="trace decay of GAE")
    clip_range: float = Field(0.2, gt=0, description="how far a ratio may leave 1, at first")
    clip_range_schedule: ScheduleKind = Field(
        "constant", description="of the clip range, over the run"
    )
    clip_range_end: float = Field(0.0, ge=0, description="what a schedule comes to")
    clip_range_vf: float | None = Field(
        None, gt=0, description="how far a value may leave the recorded one; None: no clipping"
    )
    ent_coef: float = Field(
        0.01, ge=0, description="weight of the entropy bonus, at first (SB3: 0)"
    )
    ent_coef_schedule: ScheduleKind = Field("constant", description="of that weight, over the run")
    ent_coef_end: float = Field(0.0, ge=0, description="what a schedule comes to")
    vf_coef: float = Field(0.5, ge=0, description="weight of the mean squared value error")
    normalize_value: bool = Field(
        False, description="count that error in variances of the update's returns"
    )
    max_grad_norm: float = Field(0.5, gt=0, description="clip of the global gradient norm")
    epochs: AtLeastOne = Field(4, description="passes over the rollout per update (SB3: 10)")
    minibatch_size: AtLeastOne = Field(256, description="rows per gradient step (SB3: 64)")
    target_kl: float | None = Field(
        0.02, gt=0, description="stops above 1.5 times this k3; None: never stops (SB3)"
    )
    normalize_advantage: bool = Field(True, description="per minibatch, unbiased deviation")
    adam_eps: float = Field(1e-5, gt=0, description="Adam's epsilon; torch's own default is 1e-8")

    @property
    def clip_ranges(self) -> Schedule:
        """The clip range over the run."""
        return Schedule(self.clip_range_schedule, self.clip_range, self.clip_range_end)

    @property
    def ent_coefs(self) -> Schedule:
        """The weight of the entropy bonus over the run."""
        return Schedule(self.ent_coef_schedule, self.ent_coef, self.ent_coef_end)

    def at(self, remaining: float) -> PPOConfig:
        """Return the settings of an update when so much of the run remains, from 1 down to 0."""
        return self.model_copy(
            update={
                "learning_rate": self.learning_rates(remaining),
                "clip_range": self.clip_ranges(remaining),
                "ent_coef": self.ent_coefs(remaining),
            }
        )

    def in_variances_of(self, returns: NDArray[np.float32]) -> PPOConfig:
        """Return the settings of an update towards returns ``(N,)``, whatever their scale.

        The scale alone is normalised (van Hasselt et al. 2016): what is constant the bias of the
        value head learns by itself.
        """
        spread = float(returns.astype(np.float64).var())
        if not self.normalize_value or spread == 0.0:
            return self
        return self.model_copy(update={"vf_coef": self.vf_coef / spread})


class Stepper(Protocol):
    """Who trains: autograd, or the fused path."""

    def judge(self, index: Tensor) -> Figures:
        """Return the figures of the minibatch of rows ``index`` (B,), under the present weights."""

    def step(self, figures: Figures) -> float:
        """Step along the gradient of the minibatch judged last; return its norm before clipping.

        Raises:
            TrainingError: The gradient is not finite; the weights are left as they are.
        """


class Auxiliary(Protocol):
    """Something else that is to be learnt meanwhile, such as a demonstration."""

    def loss(self) -> Tensor:
        """Return a scalar that is added to the loss of a minibatch."""


class Aim(NamedTuple):
    """What an update aims at, if not at what plain PPO makes of the rollout."""

    anchors: NDArray[np.float32]  # (N,) log-probs that the ratios are taken to
    estimates: Advantages
    weights: NDArray[np.float32] | None = None  # (N,) of the rows in the policy's loss
    auxiliary: Auxiliary | None = None


class _Targets(NamedTuple):
    """What a minibatch is trained towards, ``(N,)`` each."""

    old_log_probs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor
    weights: Tensor | None

    def rows(self, index: Tensor) -> _Targets:
        return _Targets(
            self.old_log_probs[index],
            self.old_values[index],
            self.advantages[index],
            self.returns[index],
            None if self.weights is None else self.weights[index],
        )


def make_optimizer(
    network: TownletNetwork, config: PPOConfig, *, fused: bool = False
) -> torch.optim.Adam:
    """Return Adam as PPO uses it (Huang et al. 2022, detail 3: epsilon 1e-5).

    Args:
        network: Whose weights it moves.
        config: Settings.
        fused: One compiled pass per tensor: other roundings than Stable-Baselines3's, less time.
    """
    return torch.optim.Adam(
        network.parameters(), lr=config.learning_rate, eps=config.adam_eps, fused=fused or None
    )


def ppo_update(
    network: TownletNetwork,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    config: PPOConfig,
    rng: np.random.Generator,
    aim: Aim | None = None,
) -> UpdateStats:
    """Train ``network`` in place on one rollout.

    Advantages come from the recorded values, ratios from the recorded log-probabilities: neither is
    recomputed, which is what makes a capture as good as the live run it was taken from.

    Args:
        network: trained in place.
        optimizer: over ``network.parameters()``; its learning rate is left as it is.
        rollout: packed segments with log-probabilities and values of who acted.
        config: settings.
        rng: draws one permutation of the rows per epoch.
        aim: other anchors, weights and estimates than the rollout's own.

    Raises:
        TrainingError: the rollout has unknown log-probabilities or values, actions against their
            mask, or does not fit the network; or a gradient is not finite (the weights are then
            those of the step before).
    """
    prepared = prepare_update(network, optimizer, rollout, config, aim)
    rows = len(rollout.actions)
    passes = pass_over(rows, prepared.stepper, config, rng, prepared.segments)
    return summary(rollout, prepared.estimates, passes)


class PreparedUpdate(NamedTuple):
    """An update that only has to be gone through."""

    stepper: Stepper
    estimates: Advantages
    segments: Tensor | None  # (N,) of rows that must not be taken apart


def prepare_update(
    network: TownletNetwork,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    config: PPOConfig,
    aim: Aim | None = None,
) -> PreparedUpdate:
    """Check a rollout and lay it out for :func:`pass_over`; see :func:`ppo_update`."""
    check_known(rollout)
    batch = to_batch(network, rollout)
    check_legal(rollout)
    if aim is None:
        aim = Aim(rollout.old_log_probs, estimate(rollout, config))
    targets = _Targets(
        _column(aim.anchors, network),
        _column(rollout.values, network),
        _column(aim.estimates.advantages, network),
        _column(aim.estimates.returns, network),
        None if aim.weights is None else _column(aim.weights, network),
    )
    stepper = _Autograd(network, optimizer, (batch, targets), config, aim.auxiliary)
    return PreparedUpdate(stepper, aim.estimates, batch.segments)


def _column(array: NDArray[Any], network: TownletNetwork) -> Tensor:
    return torch.tensor(array, dtype=torch.float32, device=network.device)


class _Autograd:
    """Minibatches judged and stepped by torch."""

    def __init__(
        self,
        network: TownletNetwork,
        optimizer: torch.optim.Optimizer,
        data: tuple[Batch, _Targets],
        config: PPOConfig,
        auxiliary: Auxiliary | None,
    ) -> None:
        self._network = network
        self._optimizer = optimizer
        self._batch, self._targets = data
        self._config = config
        self._auxiliary = auxiliary
        self._loss = torch.tensor(0.0)

    def judge(self, index: Tensor) -> Figures:
        batch, targets = self._batch.rows(index), self._targets.rows(index)
        self._loss, figures = _loss(self._network, batch, targets, self._config)
        if self._auxiliary is not None:
            self._loss = self._loss + self._auxiliary.loss()
            figures = figures._replace(total=self._loss.item())
        return figures

    def step(self, figures: Figures) -> float:
        return gradient_step(self._network, self._optimizer, self._loss, self._config.max_grad_norm)


def pass_over(
    rows: int,
    stepper: Stepper,
    config: PPOConfig,
    rng: np.random.Generator,
    segments: Tensor | None = None,
) -> Passes:
    """Take a gradient step per minibatch, for ``config.epochs`` passes or until k3 is too large.

    Args:
        rows: Of the rollout.
        stepper: Who judges minibatches and takes the steps.
        config: Settings.
        rng: Draws one permutation of the rows per epoch.
        segments: As in ``minibatches``.
    """
    figures: list[Figures] = []
    norms: list[float] = []
    epochs_completed = 0
    stopped = False
    while epochs_completed < config.epochs and not stopped:
        for index in minibatches(rows, config.minibatch_size, rng, segments):
            figure = stepper.judge(index)
            figures.append(figure)
            if config.target_kl is not None and figure.kl > KL_SLACK * config.target_kl:
                stopped = True
                break
            norms.append(stepper.step(figure))
        else:
            epochs_completed += 1
    return Passes(figures, norms, epochs_completed)


def estimate(rollout: Rollout, config: PPOConfig) -> Advantages:
    """Return advantages and returns of a rollout from its recorded values."""
    return gae(
        rollout.rewards,
        rollout.values,
        rollout.terminations,
        rollout.truncations,
        rollout.bootstrap_values,
        config.gamma,
        config.gae_lambda,
    )


def check_known(rollout: Rollout) -> None:
    """Refuse a rollout with numbers that PPO needs and nobody knows.

    Raises:
        TrainingError: there are such numbers.
    """
    cut = rollout.truncations & ~rollout.terminations
    for name, array, remedy in (
        ("old_log_probs", rollout.old_log_probs, "clone the behaviour with bc instead"),
        ("values", rollout.values, "annotate the capture with a critic first"),
        ("bootstrap_values", rollout.bootstrap_values[cut], "annotate the capture first"),
        ("rewards", rollout.rewards, "repair the capture"),
    ):
        unknown = int(np.count_nonzero(~np.isfinite(array)))
        if unknown:
            raise TrainingError(
                f"{name}: expected finite numbers, found {unknown} unknown of {len(array)}; "
                f"PPO cannot use them, {remedy}"
            )


def check_legal(rollout: Rollout) -> None:
    """Refuse actions against their mask.

    Raises:
        TrainingError: there are such actions.
    """
    forbidden = np.flatnonzero(forbidden_rows(rollout.action_mask, rollout.actions))
    if len(forbidden):
        row = int(forbidden[0])
        raise TrainingError(
            f"row {row}: action {rollout.actions[row]} is forbidden by its mask ({len(forbidden)} "
            "such rows); PPO has no ratio for it: leave those rows out, or clone with bc"
        )


def _loss(
    network: TownletNetwork, batch: Batch, targets: _Targets, config: PPOConfig
) -> tuple[Tensor, Figures]:
    logits, values = network(batch.observations)
    log_probs, entropies = evaluate(logits, batch.mask, batch.actions)
    advantages = targets.advantages
    # The deviation of one row is undefined; sb3-contrib divides by it and poisons every weight.
    if config.normalize_advantage and len(advantages) > 1:
        advantages = standardised(advantages)
    ratio = torch.exp(log_probs - targets.old_log_probs)
    clipped = torch.clamp(ratio, 1 - config.clip_range, 1 + config.clip_range)
    gains = torch.min(advantages * ratio, advantages * clipped)
    policy = -(gains if targets.weights is None else targets.weights * gains).mean()
    value = functional.mse_loss(targets.returns, _near_old(values, targets, config.clip_range_vf))
    entropy = -torch.mean(entropies)
    total = policy + config.ent_coef * entropy + config.vf_coef * value
    with torch.no_grad():
        log_ratio = log_probs - targets.old_log_probs
        k3 = torch.mean((torch.exp(log_ratio) - 1) - log_ratio)
        outside = torch.mean((torch.abs(ratio - 1) > config.clip_range).float())
        ess = ratio.sum().square() / (len(ratio) * ratio.square().sum())
        figures = torch.stack(
            [policy, value, entropy, total, outside, k3, ratio.mean(), ratio.max(), ess]
        )
    return total, Figures(*figures.tolist())


def standardised(advantages: Tensor) -> Tensor:
    """Return the advantages of a minibatch with mean 0 and unbiased deviation 1."""
    return (advantages - advantages.mean()) / (advantages.std() + ADVANTAGE_EPS)


def _near_old(values: Tensor, targets: _Targets, clip_range: float | None) -> Tensor:
    """Clip values around the recorded ones; the clipped prediction alone is used, as in SB3."""
    if clip_range is None:
        return values
    old = targets.old_values
    return old + torch.clamp(values - old, -clip_range, clip_range)
