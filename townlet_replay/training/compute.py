"""Three ways to compute one native learner: fused, by autograd, or bit for bit like the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import numpy as np
import torch
from pydantic import JsonValue

from townlet_replay.errors import TrainingError
from townlet_replay.policy.fused_actor import FusedActor
from townlet_replay.policy.fused_kernels import Bytes
from townlet_replay.policy.fused_net import FusedNetwork, refusal
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.rollout import Rollout
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.fused import FusedPPO
from townlet_replay.training.gae import Advantages
from townlet_replay.training.live import Actor
from townlet_replay.training.ppo import (
    Aim,
    PPOConfig,
    Stepper,
    estimate,
    make_optimizer,
    pass_over,
    ppo_update,
    prepare_update,
)
from townlet_replay.training.torch_settings import fast_products, keep_freed_memory, torch_threads
from townlet_replay.training.trace import Trace
from townlet_replay.training.update_stats import UpdateStats, summary

_LOG = logging.getLogger(__name__)

ComputeMode = Literal["fused", "autograd", "strict_sb3"]


def resolve(config: TrainConfig, network: TownletNetwork) -> ComputeMode:
    """Return how a run is computed.

    A network that cannot be fused is trained by autograd, which the log says.

    Raises:
        TrainingError: bfloat16 was asked for, and nothing would be fused; or the bits of
            Stable-Baselines3 were, for a network that it does not have.
    """
    settings = config.compute
    mode: ComputeMode
    if settings.mode == "auto":
        alone = _is_special(network) or config.mode == "live"
        mode = "fused" if alone else "strict_sb3"
    else:
        mode = settings.mode
    if mode == "strict_sb3" and _is_special(network):
        raise TrainingError(
            "compute 'strict_sb3': expected a network that Stable-Baselines3 has as well, found "
            "one with a recurrent core or a central critic; set compute autograd (or auto), or "
            "leave network.recurrent and network.critic out"
        )
    reason = refusal(network) if mode == "fused" else None
    if reason is not None:
        _LOG.warning("the network cannot be fused, %s; it is trained by autograd", reason)
        mode = "autograd"
    if settings.precision == "bf16" and mode != "fused":
        raise TrainingError(
            f"precision 'bf16': expected compute mode fused, found {mode!r} (mode of the run: "
            f"{config.mode!r}); set compute fused, or precision f32"
        )
    return mode


def _is_special(network: TownletNetwork) -> bool:
    """Tell whether a network has parts that Stable-Baselines3 knows nothing of."""
    return network.core is not None or network.critic is not None


class Computing:
    """One network, its optimizer, and how both are computed.

    Args:
        network: What is trained.
        config: Settings of the run.

    Attributes:
        mode: How it is computed.
        optimizer: Adam over the network's parameters.
        settings: Of the next update.
        trace: Is told of every update; None: there is none.
    """

    def __init__(self, network: TownletNetwork, config: TrainConfig) -> None:
        self.mode = resolve(config, network)
        self.settings = config.ppo
        self.trace = None if config.trace is None else Trace(config.trace)
        self._network = network
        self._config = config
        self._fused = FusedNetwork(network, config.compute.precision) if self._is_fused else None
        self._keeps_memory = (
            self.mode == "autograd" and config.compute.keep_memory and keep_freed_memory()
        )
        self.renew_optimizer()

    def renew_optimizer(self) -> None:
        """Begin with fresh moments."""
        settings, threads = self._config.ppo, self._config.compute.threads
        self.optimizer = make_optimizer(self._network, settings, fused=self.mode == "autograd")
        self._learner = None
        if self._fused is not None:
            self._learner = FusedPPO(self._fused, self.optimizer, settings, threads)

    def follow(self, remaining: float) -> None:
        """Set what follows a schedule to what is due when so much of the run remains."""
        self.settings = self._config.ppo.at(remaining)
        self.optimizer.param_groups[0]["lr"] = self.settings.learning_rate

    def actor(self, seed: int) -> Actor:
        """Return who acts in live rollouts, after the next ``refresh``."""
        if self._fused is None:
            return PolicyRuntime(self._network, seed=seed)
        return FusedActor(self._fused, seed)

    def refresh(self) -> None:
        """Let actors see the weights, which others may have changed."""
        if self._fused is not None:
            self._fused.refresh()

    @property
    def reference(self) -> Bytes | None:
        """The map that fused products are counted from, which their roundings depend on."""
        return None if self._fused is None else self._fused.reference.copy()

    @reference.setter
    def reference(self, reference: Bytes | None) -> None:
        if self._fused is not None and reference is not None:
            self._fused.reference[:] = reference

    def update(
        self, rollout: Rollout, rng: np.random.Generator, aim: Aim | None = None
    ) -> UpdateStats:
        """Train on one rollout; see ``ppo_update``.

        Raises:
            TrainingError: As ``ppo_update``, or an ``aim`` while computing is fused.
        """
        settings = self.settings
        if settings.normalize_value:
            estimates = estimate(rollout, settings) if aim is None else aim.estimates
            settings = settings.in_variances_of(estimates.returns)
        with self.session():
            if self._learner is not None:
                self._learner.watch = self._watch if self.trace is not None else None
                if aim is not None:
                    raise TrainingError(
                        "compute 'fused': expected objective ppo or bc, found another one; set "
                        "compute autograd (or auto)"
                    )
                return self._learner.update(rollout, rng, settings)
            update = ppo_update if self.trace is None else self._traced_update
            return update(self._network, self.optimizer, rollout, settings, rng, aim)

    def _traced_update(
        self,
        network: TownletNetwork,
        optimizer: torch.optim.Optimizer,
        rollout: Rollout,
        config: PPOConfig,
        rng: np.random.Generator,
        aim: Aim | None,
    ) -> UpdateStats:
        """Do what ``ppo_update`` does, and tell the trace."""
        prepared = prepare_update(network, optimizer, rollout, config, aim)
        estimates = prepared.estimates
        watched = self._watch(prepared.stepper, rollout, estimates)
        passes = pass_over(len(rollout.actions), watched, config, rng, prepared.segments)
        return summary(rollout, estimates, passes)

    def _watch(self, stepper: Stepper, rollout: Rollout, estimates: Advantages) -> Stepper:
        if self.trace is None:
            return stepper
        return self.trace.watch(stepper, (rollout, estimates), self._network, self.optimizer)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Set torch as this way of computing wants it meanwhile."""
        with ExitStack() as stack:
            # The fused path has threads of its own, each for whole chunks.
            stack.enter_context(
                torch_threads(1 if self._is_fused else self._config.compute.threads)
            )
            if self.mode != "strict_sb3":
                stack.enter_context(fast_products())
            yield

    def report(self) -> dict[str, JsonValue]:
        """Return what the outcome of a run depends on besides its other settings."""
        return {
            "mode": self.mode,
            "precision": self._config.compute.precision,
            "threads": self._config.compute.threads,
            "keep_memory": self._keeps_memory,
        }

    @property
    def _is_fused(self) -> bool:
        return self.mode == "fused"
