"""What a recording is worth to a learner: provenance, audit, and how far the policy is from it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.compare.course import kinds_of, rows_of
from townlet_replay.compare.exam import Examiner, all_log_probs, most_probable, rows_with_a_choice
from townlet_replay.compare.results import CaptureCard, Confusion, Triptych
from townlet_replay.dataset import ReplayDataset
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout, pack
from townlet_replay.training.audit import Audit, audit
from townlet_replay.training.bc import BCResult
from townlet_replay.training.judging import samples_of

_FAR = 5.0  # nats; what lies beyond is counted at the ends
_BINS = 40
_FEW_SEEDS = 8


class Words(NamedTuple):
    """What a card says of itself."""

    title: str
    policy: str
    source: str


def card_of(words: Words, dataset: ReplayDataset, network: TownletNetwork) -> CaptureCard:
    """Look at a recording, with a policy beside it.

    Raises:
        TrainingError: It does not fit the network.
    """
    samples = samples_of(dataset)
    rollout = pack(samples)
    told = dataset.metas[0].capture_metadata
    found = audit(samples)
    log_probs = all_log_probs(network, rollout)
    edges, counts, ess = _ratios(log_probs, rollout)
    names, taken, foreseen = _marginals(log_probs, rollout, dataset)
    seeds = dict.fromkeys(meta.capture_metadata.seed for meta in dataset.metas)
    return CaptureCard(
        **words._asdict(),
        scenario=told.scenario_name or told.config_id or "not told",
        behaviour=kinds_of(dataset),
        samples=dataset.count,
        rows=rows_of(dataset),
        seeds=tuple(seed for seed in seeds if seed is not None)[:_FEW_SEEDS],
        versions=dict(told.versions),
        audit=_verdict(found),
        reasons=found.reasons,
        audited_rows=found.rows,
        inverse=_finite(found.inverse),
        worst=None if found.worst is None else found.worst.what,
        worst_z=None if found.worst is None else _finite(found.worst.z),
        ess=ess,
        log_ratio_edges=tuple(edges.tolist()),
        log_ratio_counts=tuple(counts.tolist()),
        actions=names,
        taken=taken,
        foreseen=foreseen,
    )


def triptych_of(
    network: TownletNetwork, cloning: BCResult, dataset: ReplayDataset, examiner: Examiner
) -> Triptych:
    """Return how far a clone agrees with what it was shown, and with the script in town.

    Raises:
        TrainingError: The capture does not fit the network.
    """
    best = cloning.epochs[cloning.best_epoch - 1]
    return Triptych(
        train=_finite(best.agreement),
        held_out=_finite(best.agreement_held_out),
        own=examiner.agreement_in_town(network),
        confusion=_confusion(network, examiner.lesson, dataset),
    )


def _confusion(
    network: TownletNetwork, lesson: Rollout | None, dataset: ReplayDataset
) -> Confusion:
    if lesson is None:
        return Confusion(actions=(), counts=())
    rows = rows_with_a_choice(lesson)
    shown, chosen = lesson.actions[rows], most_probable(network, lesson)[rows]
    kinds = np.union1d(shown, chosen)
    counts = np.zeros((len(kinds), len(kinds)), np.int64)
    np.add.at(counts, (np.searchsorted(kinds, shown), np.searchsorted(kinds, chosen)), 1)
    lookup = dataset.metas[0].action_lookup
    return Confusion(
        actions=tuple(lookup.get(int(k), str(k)) for k in kinds),
        counts=tuple(tuple(row) for row in counts.tolist()),
    )


def _ratios(
    log_probs: NDArray[np.float32], rollout: Rollout
) -> tuple[NDArray[np.float64], NDArray[np.int64], float | None]:
    """Return edges and counts of log(pi / mu), and the effective sample size of pi / mu."""
    edges = np.linspace(-_FAR, _FAR, _BINS + 1)
    mu = rollout.old_log_probs.astype(np.float64)
    pi = log_probs[np.arange(len(mu)), rollout.actions].astype(np.float64)
    known = np.isfinite(mu)
    if not known.any():
        return edges, np.zeros(_BINS, np.int64), None
    apart = (pi - mu)[known]
    weights = np.exp(apart - apart.max())
    size = float(weights.sum()) ** 2 / (len(weights) * float((weights**2).sum()))
    counts, _ = np.histogram(np.clip(apart, -_FAR, _FAR), edges)
    return edges, counts, min(size, 1.0) if known.all() else None


def _marginals(
    log_probs: NDArray[np.float32], rollout: Rollout, dataset: ReplayDataset
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]:
    """Return the actions that occur, the share of rows that took each, and the mean of pi."""
    lookup = dataset.metas[0].action_lookup
    width = log_probs.shape[1]
    taken = np.bincount(rollout.actions, minlength=width) / len(rollout.actions)
    foreseen = np.exp(log_probs.astype(np.float64)).mean(axis=0)
    kept = np.flatnonzero((taken > 0.0) | (foreseen > 1e-3))
    names = tuple(lookup.get(int(k), str(k)) for k in kept)
    return names, tuple(taken[kept].tolist()), tuple(foreseen[kept].tolist())


def _verdict(found: Audit) -> Literal["passed", "failed", "nothing to audit"]:
    if not found.passed:
        return "failed"
    return "passed" if found.rows else "nothing to audit"


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
