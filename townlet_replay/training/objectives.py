"""Which objective a capture supports.

PPO's ratio needs the true log-probability of whoever acted, and an actor not far from the learner.
A deterministic script offers neither: log-probabilities of 0 make gradients vanish where learner
and script disagree, log-probabilities recomputed under the learner push half of the script's
actions down at full force. Both look healthy in every metric. So the pair is judged before
training (TRAINING, "Behaviour decides what is sound").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

import numpy as np

from townlet_replay.errors import TrainingError
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.sidecar import BehaviourKind
from townlet_replay.training.off_policy import log_probs_of

ObjectiveName = Literal["ppo", "decoupled_ppo", "vtrace_ppo", "awr", "bc", "ppo_bc"]
AuditVerdict = Literal["passed", "failed"]
OBJECTIVES: tuple[str, ...] = get_args(ObjectiveName)
# Below these effective sample sizes a ratio objective lives on a handful of rows.
MIN_ESS = {"ppo": 0.3, "decoupled_ppo": 0.1, "vtrace_ppo": 0.3}
# From here on a policy's capture is as good as fresh, and auto takes plain ppo.
FRESH_ESS = 0.9
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
    forged: tuple[str, ...] | None = None  # what the audit holds against the log-probabilities

    @property
    def audit(self) -> AuditVerdict | None:
        """How the audit ended; None: there was none."""
        if self.forged is None:
            return None
        return "failed" if self.forged else "passed"


class Objective(NamedTuple):
    """The verdict, to be written into every output of the run."""

    name: ObjectiveName
    requested: str
    reasons: tuple[str, ...]  # what speaks against it; with auto: against ppo
    biased: bool  # trained against these reasons
    ess: float | None
    audit: AuditVerdict | None = None  # None: there was none
    cloned: bool = False  # the capture was cloned first, and supports this now


def gather_evidence(
    rollout: Rollout,
    kinds: Iterable[BehaviourKind],
    network: TownletNetwork | None = None,
    forged: tuple[str, ...] | None = None,
) -> Evidence:
    """Look at a rollout before training on it.

    Args:
        rollout: packed segments.
        kinds: ``meta.behaviour.kind`` of the samples in it.
        network: the learner; None leaves the effective sample size unmeasured.
        forged: ``reasons`` of the audit of these samples.

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
        forged=forged,
    )


def initial_ess(network: TownletNetwork, rollout: Rollout) -> float:
    """Return ``(sum w)^2 / (N sum w^2)`` of the ratios ``w = pi / mu`` (Kish 1965), in (0, 1].

    Raises:
        TrainingError: the rollout does not fit the network.
    """
    log_ratio = log_probs_of(network, rollout).astype(np.float64) - rollout.old_log_probs
    weights = np.exp(log_ratio - log_ratio.max())  # a common factor cancels
    size = float(weights.sum()) ** 2 / (len(weights) * float((weights**2).sum()))
    return min(size, 1.0)


def choose_objective(
    evidence: Evidence, requested: str = "auto", *, accept_bias: bool = False
) -> Objective:
    """Decide what to train, or refuse.

    Args:
        evidence: from :func:`gather_evidence`.
        requested: ``"auto"`` takes ``ppo`` for a fresh policy's capture, ``decoupled_ppo`` for that
            of a policy not too far away, and ``bc`` for anything else.
        accept_bias: train an unsound pair all the same; the verdict is marked ``biased``. Numbers
            that are missing stay missing: those pairs are refused even so.

    Raises:
        TrainingError: unknown objective, or an unsound pair; names the reason and what is sound.
    """
    if requested not in ("auto", *OBJECTIVES):
        raise TrainingError(
            f"objective {requested!r} does not exist; there are: {', '.join(OBJECTIVES)}, "
            "and auto, which picks a sound one of them"
        )
    if requested == "auto":
        return _pick(evidence)
    name: ObjectiveName = next(name for name in get_args(ObjectiveName) if name == requested)
    missing, unsound = _missing(evidence, name), _unsound(evidence, name)
    reasons = (*missing, *unsound)
    if reasons and (missing or not accept_bias):
        raise TrainingError(_refusal(evidence, name, reasons, overridable=not missing))
    return Objective(name, requested, reasons, bool(reasons), evidence.ess, evidence.audit)


def choose_after_cloning(evidence: Evidence) -> Objective | None:
    """Return PPO if the capture of a noisy script supports it, now that it was cloned.

    Args:
        evidence: With the clone as the network.

    Returns:
        None: it does not, or not any more.
    """
    if evidence.kinds != ("script_eps",) or not _is_sound(evidence, "ppo"):
        return None
    return Objective("ppo", "auto", (), False, evidence.ess, evidence.audit, cloned=True)


def _pick(evidence: Evidence) -> Objective:
    def verdict(name: ObjectiveName, reasons: tuple[str, ...]) -> Objective:
        return Objective(name, "auto", reasons, False, evidence.ess, evidence.audit)

    against = (*_missing(evidence, "ppo"), *_unsound(evidence, "ppo"))
    if evidence.kinds != ("policy",):
        against = against or (
            f"it shows {', '.join(evidence.kinds)}, not a policy: clone that first",
        )
        return verdict("bc", against)
    if not against and (evidence.ess is None or evidence.ess >= FRESH_ESS):
        return verdict("ppo", ())
    if _is_sound(evidence, "decoupled_ppo"):
        stale = f"the effective sample size is {evidence.ess:.3f}, below {FRESH_ESS}: not fresh"
        return verdict("decoupled_ppo", against or (stale,))
    return verdict("bc", against)


def _is_sound(evidence: Evidence, name: str) -> bool:
    return not _missing(evidence, name) and not _unsound(evidence, name)


def _refusal(evidence: Evidence, name: str, reasons: tuple[str, ...], *, overridable: bool) -> str:
    others = [other for other in MIN_ESS if other != name and _is_sound(evidence, other)]
    remedy = f"use {', '.join([*others, 'awr', 'bc'])} (or auto), then train live"
    if overridable:
        remedy += "; or accept the bias, which marks every output"
    return f"{name} on this capture is not sound: {'; '.join(reasons)}. {remedy}"


def _missing(evidence: Evidence, name: str) -> tuple[str, ...]:
    """Reasons that nothing can override."""
    if name not in MIN_ESS:
        return ()
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


def _unsound(evidence: Evidence, name: str) -> tuple[str, ...]:
    """Reasons that make the result wrong, not impossible."""
    if name not in MIN_ESS:
        return ()
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
    reasons.extend(f"the audit failed: {reason}" for reason in evidence.forged or ())
    if evidence.ess is not None and evidence.ess < MIN_ESS[name]:
        reasons.append(
            f"the effective sample size is {evidence.ess:.3f}, below {MIN_ESS[name]}: the learner "
            "is too far from who acted"
        )
    return tuple(reasons)
