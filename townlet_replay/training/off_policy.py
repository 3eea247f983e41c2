"""Learning from rows that an older policy, or another one, made: what is aimed at instead.

*Decoupled PPO* (Hilton et al. 2021, eq. 2): the learner is kept near its own weights at ingestion
(the proximal policy), and rows are weighted by how likely those would have chosen the same.
*V-trace* (Espeholt et al. 2018, eq. 1) corrects the value targets as well; around it goes PPO's
clipping, as in IMPACT (Luo et al. 2020). Values are the learner's own in both: a critic's word
ages with it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from townlet_env.jit import kernel
from townlet_replay.policy.masked import evaluate
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.training.batches import row_chunks, to_batch
from townlet_replay.training.gae import Advantages
from townlet_replay.training.ppo import Aim, PPOConfig, estimate
from townlet_replay.training.settings import Settings

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


class OffPolicyConfig(Settings):
    """Limits of the importance weights pi / mu."""

    importance_cap: float = Field(2.0, gt=0, description="decoupled_ppo: most a row can weigh")
    rho_clip: float = Field(1.0, gt=0, description="vtrace_ppo: cap of the weight of a row")
    c_clip: float = Field(1.0, gt=0, description="vtrace_ppo: cap of the weight of a trace")


@torch.no_grad()
def log_probs_of(network: TownletNetwork, rollout: Rollout) -> Floats:
    """Return the log-probability that ``network`` gives to every action, float32 ``(N,)``.

    Raises:
        TrainingError: the rollout does not fit the network.
    """
    batch = to_batch(network, rollout)
    parts = []
    for rows in row_chunks(len(rollout.actions), batch.segments):
        part = batch.rows(rows)
        logits, _ = network(part.observations)
        parts.append(evaluate(logits, part.mask, part.actions).log_probs.cpu().numpy())
    return np.concatenate(parts)


def decoupled_aim(
    network: TownletNetwork, rollout: Rollout, ppo: PPOConfig, config: OffPolicyConfig
) -> Aim:
    """Return what decoupled PPO aims at.

    Args:
        network: at ingestion: the proximal policy.
        rollout: with the network's own values, and the log-probs of who acted.
        ppo: settings of the update.
        config: limits of the weights.

    Raises:
        TrainingError: the rollout does not fit the network.
    """
    proximal = log_probs_of(network, rollout)
    weights = np.minimum(_ratio(proximal, rollout), np.float32(config.importance_cap))
    return Aim(proximal, estimate(rollout, ppo), weights)


def vtrace_aim(
    network: TownletNetwork, rollout: Rollout, ppo: PPOConfig, config: OffPolicyConfig
) -> Aim:
    """Return what PPO around V-trace aims at; arguments and errors as ``decoupled_aim``.

    The weight rho stands in the advantages, and nowhere else.
    """
    proximal = log_probs_of(network, rollout)
    ratio = _ratio(proximal, rollout)
    rho = np.minimum(ratio, np.float32(config.rho_clip))
    trace = np.float32(ppo.gae_lambda) * np.minimum(ratio, np.float32(config.c_clip))
    return Aim(proximal, vtrace(rollout, rho, trace, ppo.gamma), None)


def vtrace(rollout: Rollout, rho: Floats, trace: Floats, gamma: float) -> Advantages:
    """Return V-trace policy advantages and value targets (Espeholt et al. 2018, eq. 1, sec. 4.2).

    With all weights 1 the targets are those of GAE(lambda), lambda being the trace.

    Args:
        rollout: packed segments; ``values`` are V, ``bootstrap_values`` V(final observation).
        rho: ``(N,)`` clipped importance weights of the rows.
        trace: ``(N,)`` clipped importance weights times lambda.
        gamma: discount per tick.
    """
    advantages = np.empty(len(rho), np.float32)
    targets = np.empty(len(rho), np.float32)
    _vtrace(
        rollout.rewards.astype(np.float64),
        rollout.values.astype(np.float64),
        np.where(rollout.terminations, 0.0, rollout.bootstrap_values.astype(np.float64)),
        rollout.terminations | rollout.truncations,
        (rho.astype(np.float64), trace.astype(np.float64)),
        gamma,
        (advantages, targets),
    )
    return Advantages(advantages, targets)


def _ratio(proximal: Floats, rollout: Rollout) -> Floats:
    # Nothing is ever weighted by more than the caps; e^30 is far beyond them and finite.
    ratio: Floats = np.exp(np.minimum(proximal - rollout.old_log_probs, np.float32(30.0)))
    return ratio


@kernel
def _vtrace(
    rewards: NDArray[np.float64],
    values: NDArray[np.float64],
    finals: NDArray[np.float64],
    ends: Flags,
    weights: tuple[NDArray[np.float64], NDArray[np.float64]],
    gamma: float,
    out: tuple[Floats, Floats],
) -> None:
    rho, trace = weights
    advantages, targets = out
    next_value = 0.0  # V of what followed
    next_target = 0.0
    excess = 0.0  # target - V of what followed
    for row in range(len(rewards) - 1, -1, -1):
        if ends[row]:
            next_value = next_target = finals[row]
            excess = 0.0
        delta = rho[row] * (rewards[row] + gamma * next_value - values[row])
        advantages[row] = rho[row] * (rewards[row] + gamma * next_target - values[row])
        excess = delta + gamma * trace[row] * excess
        next_value = values[row]
        next_target = values[row] + excess
        targets[row] = next_target
