"""Which objective a capture supports.

PPO's ratio needs the true log-probability of whoever acted, and an actor not far from the learner.
A deterministic script offers neither: log-probabilities of 0 make gradients vanish where learner
and script disagree, log-probabilities recomputed under the learner push half of the script's
actions down at full force. Both look healthy in every metric. So the pair is judged before
training (TRAINING, "Behaviour decides what is sound").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import torch

from townlet_replay.errors import TrainingError
from townlet_replay.policy.masked import evaluate
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.sidecar import BehaviourKind
from townlet_replay.training.batches import row_chunks, to_batch

OBJECTIVES = ("ppo", "bc")
# Below this effective sample size a ratio objective lives on a handful of rows.
MIN_ESS = 0.3
# Share of certain choices, where there was a choice, that marks log-probabilities as made up.
MAX_CERTAIN_SHARE = 0.01


class Evidence(NamedTuple):
    """What a capture says about itself, and how far the learner is from it."""

    kinds: tuple[BehaviourKind, ...]  # behaviours in the capture, sorted, each once
    rows: int
    unknown_log_probs: int  # rows with NaN
    certain_share: float  # of the rows with a choice: log-probability 0
    unknown_values: int  # rows whose value, or bootstrap value, is NaN
    ess: float | None  # of the learner's initial ratios, in (0, 1]; None: not measured


class Objective(NamedTuple):
    """The verdict, to be written into every output of the run."""

    name: Literal["ppo", "bc"]
    requested: str
    reasons: tuple[str, ...]  # what speaks against ppo on this capture
    biased: bool  # trained against these reasons
    ess: float | None


def gather_evidence(
    rollout: Rollout, kinds: Iterable[BehaviourKind], network: TownletNetwork | None = None
) -> Evidence:
    """Look at a rollout before training on it.

    Args:
        rollout: packed segments.
        kinds: ``meta.behaviour.kind`` of the samples in it.
        network: the learner; None leaves the effective sample size unmeasured.

    Raises:
        TrainingError: the rollout does not fit the network.
    """
    log_probs = rollout.old_log_probs
    choice = np.ones(len(log_probs), dtype=np.bool_)
    if rollout.action_mask is not None:
        choice = (rollout.action_mask != 0).sum(axis=1) > 1
    known = not np.isnan(log_probs).any()
    unknown_values = np.isnan(rollout.values) | np.isnan(rollout.bootstrap_values)
    return Evidence(
        kinds=tuple(sorted(set(kinds))),
        rows=len(log_probs),
        unknown_log_probs=int(np.isnan(log_probs).sum()),
        certain_share=float((log_probs[choice] == 0.0).mean()) if choice.any() else 0.0,
        unknown_values=int(unknown_values.sum()),
        ess=initial_ess(network, rollout) if network is not None and known else None,
    )


@torch.no_grad()
def initial_ess(network: TownletNetwork, rollout: Rollout) -> float:
    """Return ``(sum w)^2 / (N sum w^2)`` of the ratios ``w = pi / mu`` (Kish 1965), in (0, 1].

    Raises:
        TrainingError: the rollout does not fit the network.
    """
    batch = to_batch(network, rollout)
    log_ratios = []
    for rows in row_chunks(len(rollout.actions)):
        part = batch.rows(rows)
        logits, _ = network(part.observations)
        log_ratios.append(evaluate(logits, part.mask, part.actions).log_probs.cpu().numpy())
    log_ratio = np.concatenate(log_ratios).astype(np.float64) - rollout.old_log_probs
    weights = np.exp(log_ratio - log_ratio.max())  # a common factor cancels
    size = float(weights.sum()) ** 2 / (len(weights) * float((weights**2).sum()))
    return min(size, 1.0)


def choose_objective(
    evidence: Evidence, requested: str = "auto", *, accept_bias: bool = False
) -> Objective:
    """Decide what to train, or refuse.

    Args:
        evidence: from :func:`gather_evidence`.
        requested: ``"auto"`` takes ``ppo`` where nothing speaks against it and ``bc`` elsewhere.
        accept_bias: train an unsound pair all the same; the verdict is marked ``biased``. Numbers
            that are missing stay missing: those pairs are refused even so.

    Raises:
        TrainingError: unknown objective, or an unsound pair; names the reason and what is sound.
    """
    if requested not in ("auto", *OBJECTIVES):
        raise TrainingError(
            f"objective {requested!r} does not exist; there are: {', '.join(OBJECTIVES)}, "
            "and auto, which picks the sound one of them"
        )
    missing, unsound = _missing(evidence), _unsound(evidence)
    reasons = (*missing, *unsound)
    if requested == "auto" and not reasons and evidence.kinds != ("policy",):
        reasons = (f"it shows {', '.join(evidence.kinds)}, not a policy: clone that first",)
    if requested == "bc" or (requested == "auto" and reasons):
        return Objective("bc", requested, reasons, biased=False, ess=evidence.ess)
    if not reasons:
        return Objective("ppo", requested, reasons, biased=False, ess=evidence.ess)
    if missing or not accept_bias:
        remedy = "use bc (or auto), then train live"
        if not missing:
            remedy += "; or accept the bias, which marks every output"
        raise TrainingError(f"ppo on this capture is not sound: {'; '.join(reasons)}. {remedy}")
    return Objective("ppo", requested, reasons, biased=True, ess=evidence.ess)


def _missing(evidence: Evidence) -> tuple[str, ...]:
    """Reasons that nothing can override."""
    reasons = []
    if evidence.unknown_log_probs:
        reasons.append(
            f"{evidence.unknown_log_probs} of {evidence.rows} log-probabilities are unknown (NaN)"
        )
    if evidence.unknown_values:
        reasons.append(
            f"the values of {evidence.unknown_values} rows are unknown (NaN), no critic watched: "
            "annotate the capture with a policy first"
        )
    return tuple(reasons)


def _unsound(evidence: Evidence) -> tuple[str, ...]:
    """Reasons that make the result wrong, not impossible."""
    reasons = []
    if "script" in evidence.kinds:
        reasons.append("a deterministic script acted, which has no probabilities to compare with")
    if "unknown" in evidence.kinds:
        reasons.append("who acted is unknown, so its log-probabilities cannot be trusted")
    if evidence.certain_share > MAX_CERTAIN_SHARE:
        reasons.append(
            f"{evidence.certain_share:.0%} of the choices have log-probability 0: a deterministic "
            "actor supports no ratio"
        )
    if evidence.ess is not None and evidence.ess < MIN_ESS:
        reasons.append(
            f"the effective sample size is {evidence.ess:.3f}, below {MIN_ESS}: the learner is too "
            "far from who acted"
        )
    return tuple(reasons)
