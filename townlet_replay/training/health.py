"""How a network and the rows it was just trained on go together, besides what its losses say.

Everything here can be worked out again from the rows and the weights after the update.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_replay.policy.masked import entropy, masked_log_probs
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.training.batches import row_chunks, to_batch
from townlet_replay.training.figures import explained_variance, line_through
from townlet_replay.training.gae import gae


class AgentHealth(NamedTuple):
    """The rows of one agent."""

    rows: int
    segments: int
    reward_sum: float
    entropy: float  # mean over the rows, nats
    ess: float  # of pi / mu after the update, in (0, 1]; NaN if some mu is unknown


class Health(NamedTuple):
    """One update. NaN marks what is undefined."""

    rows: int
    explained_variance_mc: float  # of discounted returns of whole segments, by recorded values
    value_bias: float  # mean of recorded value - discounted return
    value_slope: float  # of discounted returns over recorded values; 1 is calibrated
    legal_share: float  # of the vocabulary, mean over the rows
    forced_share: float  # of the rows: a single action was legal
    illegal_mass: float  # probability of illegal actions before the mask, after the update
    entropy_normalised: float  # entropy / log(legal actions), over rows with a choice
    agents: dict[str, AgentHealth]  # by name; empty if the rows do not tell


class _Judged(NamedTuple):
    """What the network says of every row now, ``(N,)`` each."""

    log_probs: NDArray[np.float32]
    entropies: NDArray[np.float32]
    illegal_mass: NDArray[np.float32]


def examine(network: TownletNetwork, rollout: Rollout, gamma: float) -> Health:
    """Look at an update that has just been made.

    Args:
        network: after the update.
        rollout: the rows it was trained on.
        gamma: discount per tick.

    Raises:
        TrainingError: the rollout does not fit the network.
    """
    judged = _judge(network, rollout)
    returns = gae(
        rollout.rewards,
        np.zeros_like(rollout.values),
        rollout.terminations,
        rollout.truncations,
        rollout.bootstrap_values,
        gamma,
        1.0,
    ).returns
    count = network.spec.action_dim
    legal = np.full(len(rollout.actions), count)
    if rollout.action_mask is not None:
        legal = (rollout.action_mask != 0).sum(axis=1)
    choice = legal > 1
    values = rollout.values.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        normalised = judged.entropies[choice].astype(np.float64) / np.log(legal[choice])
    return Health(
        rows=len(legal),
        explained_variance_mc=explained_variance(rollout.values, returns),
        value_bias=float((values - returns).mean()),
        value_slope=line_through(rollout.values, returns),
        legal_share=float(legal.mean() / count),
        forced_share=float((~choice).mean()),
        illegal_mass=float(judged.illegal_mass.astype(np.float64).mean()),
        entropy_normalised=float(normalised.mean()) if choice.any() else np.nan,
        agents=_by_agent(rollout, judged),
    )


def effective_share(log_ratio: NDArray[np.float64]) -> float:
    """Return ``(sum w)^2 / (N sum w^2)`` of ``w = exp(log_ratio)`` (Kish 1965), in (0, 1]."""
    if np.isnan(log_ratio).any():
        return np.nan
    weights = np.exp(log_ratio - log_ratio.max())  # a common factor cancels
    return min(float(weights.sum()) ** 2 / (len(weights) * float((weights**2).sum())), 1.0)


def mean_health(parts: Sequence[Health]) -> Health | None:
    """Return what the updates of an epoch have in common, weighted by their rows."""
    if not parts:
        return None
    rows = np.array([part.rows for part in parts], np.float64)

    def mean(name: str) -> float:
        values = np.array([getattr(part, name) for part in parts], np.float64)
        known = ~np.isnan(values)
        return float(np.average(values[known], weights=rows[known])) if known.any() else np.nan

    names = [name for name in Health._fields if name not in ("rows", "agents")]
    agents: dict[str, list[AgentHealth]] = {}
    for part in parts:
        for name, found in part.agents.items():
            agents.setdefault(name, []).append(found)
    joined = {name: _joined(agents[name]) for name in sorted(agents)}
    return Health(rows=int(rows.sum()), agents=joined, **{name: mean(name) for name in names})


def _joined(parts: Sequence[AgentHealth]) -> AgentHealth:
    rows = np.array([part.rows for part in parts], np.float64)
    return AgentHealth(
        rows=int(rows.sum()),
        segments=sum(part.segments for part in parts),
        reward_sum=float(np.sum([part.reward_sum for part in parts])),
        entropy=float(np.average([part.entropy for part in parts], weights=rows)),
        ess=float(np.average([part.ess for part in parts], weights=rows)),
    )


@torch.no_grad()
def _judge(network: TownletNetwork, rollout: Rollout) -> _Judged:
    batch = to_batch(network, rollout)
    parts = []
    for rows in row_chunks(len(rollout.actions), batch.segments):
        part = batch.rows(rows)
        logits, _ = network(part.observations)
        log_probs = masked_log_probs(logits, part.mask)
        chosen = log_probs.gather(-1, part.actions.unsqueeze(-1)).squeeze(-1)
        outside = torch.zeros(len(chosen))
        if part.mask is not None:
            outside = (torch.softmax(logits, dim=-1) * (part.mask == 0)).sum(dim=-1)
        parts.append([t.cpu().numpy() for t in (chosen, entropy(log_probs, part.mask), outside)])
    return _Judged(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _by_agent(rollout: Rollout, judged: _Judged) -> dict[str, AgentHealth]:
    if not rollout.segment_agents:
        return {}
    lengths = np.diff(np.append(rollout.segment_starts, len(rollout.actions)))
    names = np.array(rollout.segment_agents)
    by_row = np.repeat(names, lengths)
    log_ratio = judged.log_probs.astype(np.float64) - rollout.old_log_probs
    found = {}
    for name in sorted(set(rollout.segment_agents)):
        rows = by_row == name
        found[name] = AgentHealth(
            rows=int(rows.sum()),
            segments=int((names == name).sum()),
            reward_sum=float(rollout.rewards[rows].astype(np.float64).sum()),
            entropy=float(judged.entropies[rows].astype(np.float64).mean()),
            ess=effective_share(log_ratio[rows]),
        )
    return found
