"""Are the recorded log-probabilities those of whoever acted?

A ratio objective divides by them, and no health metric notices when they are wrong. Given the
history, every bounded function g of the chosen action has a known mean under the behaviour mu, so
the sum of ``g(a) - E_mu[g]`` is a martingale, and Freedman's inequality (1975, theorem 1.6) bounds
how far it strays. Here g says whether the action is k (calibration, for every k), or is the
log-probability itself (entropy consistency, cut off far down). That needs the whole distribution:
the behaviour's logits, or intent and epsilon of a noisy script. Without it there is only
``E_mu[1 / mu(a)]``, which is at most the number of legal actions: its mean is an e-value, and by
Markov's inequality rarely large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.sample import ReplaySample

FALSE_ALARM = 1e-3
"""Chance that an honest capture fails, at most, over all of its checks."""
LEAST_LOG_PROB = -8.0  # what is less likely counts as this in the check of entropies
TOLERANCE = 1e-3  # nats; float32 logits of size 1e3 round by 1e-4

Floats = NDArray[np.float64]


class Excess(NamedTuple):
    """One statistic against what the behaviour foresees."""

    what: str
    found: float  # sum over rows
    expected: float
    z: float  # in standard deviations
    p_value: float  # at most, two-sided


class Audit(NamedTuple):
    """What the log-probabilities of a capture are worth."""

    rows: int  # with a choice and a known log-probability
    calibrated: int  # of these: rows whose whole distribution is known
    inverse: float | None  # mean of 1 / (mu(a) legal actions); 1 expected with full support
    worst: Excess | None  # of the checks on whole distributions
    mismatched: int  # rows whose log-probability is not that of the recorded distribution
    reasons: tuple[str, ...]  # why they cannot be true; empty: nothing speaks against them

    @property
    def passed(self) -> bool:
        """Nothing speaks against the log-probabilities."""
        return not self.reasons


class _Rows(NamedTuple):
    """Rows with a choice and a known log-probability, of all samples."""

    log_probs: Floats  # (N,)
    actions: NDArray[np.int64]  # (N,)
    legal: NDArray[np.bool_]  # (N, A)
    behaviour: Floats  # (N, A) log mu; NaN in rows where it is unknown

    def only(self, kept: NDArray[np.bool_]) -> _Rows:
        return _Rows(
            self.log_probs[kept], self.actions[kept], self.legal[kept], self.behaviour[kept]
        )


def audit(samples: Sequence[ReplaySample]) -> Audit:
    """Hold recorded log-probabilities against the actions taken.

    Args:
        samples: of one vocabulary, with action ids.

    Returns:
        The findings; ``reasons`` is empty for at least 999 of 1,000 honest captures.
    """
    rows = _gather(samples)
    known = np.isfinite(rows.behaviour.max(axis=1))
    count, calibrated = len(rows.log_probs), int(known.sum())
    reasons: list[str] = []
    inverse = None
    if count:
        inverse = _inverse(rows)
        if inverse > 1 / FALSE_ALARM:
            reasons.append(
                f"the mean of 1 / (mu x legal actions) is {inverse:.3g} where 1 is expected: the "
                "log-probs are smaller than those of the actor (masks left out?)"
            )
    worst, mismatched = None, 0
    if calibrated:
        worst, mismatched = _hold_against(rows.only(known), reasons, samples)
    return Audit(count, calibrated, inverse, worst, mismatched, tuple(reasons))


def behaviour_log_probs(sample: ReplaySample) -> Floats | None:
    """Return log mu of every action, float64 ``(T, A)``; None if the sample does not tell.

    Illegal actions have minus infinity. Rows whose logits are unknown are NaN.
    """
    meta, legal = sample.meta, _legal(sample)
    if "behaviour_logits" in sample.extras:
        logits = sample.extras["behaviour_logits"].astype(np.float64)
        masked = np.where(legal, logits, -np.inf)
        top = masked.max(axis=1, keepdims=True)
        shifted = masked - top
        log_probs: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return log_probs
    epsilon = meta.behaviour.epsilon
    if meta.behaviour.kind != "script_eps" or epsilon is None:
        return None
    if epsilon < 1.0 and "intent_actions" not in sample.extras:
        return None
    mu = legal * (epsilon / legal.sum(axis=1, keepdims=True))
    if epsilon < 1.0:
        mu[np.arange(sample.rows), sample.extras["intent_actions"]] += 1.0 - epsilon
    with np.errstate(divide="ignore"):
        mixed: Floats = np.log(mu)
    return mixed


def _legal(sample: ReplaySample) -> NDArray[np.bool_]:
    if sample.action_mask is None:
        return np.ones((sample.rows, sample.meta.action_dim), np.bool_)
    legal: NDArray[np.bool_] = sample.action_mask != 0
    return legal


def _gather(samples: Sequence[ReplaySample]) -> _Rows:
    parts = []
    for sample in samples:
        legal = _legal(sample)
        kept = (legal.sum(axis=1) > 1) & ~np.isnan(sample.old_log_probs)
        behaviour = behaviour_log_probs(sample)
        if behaviour is None:
            behaviour = np.full(legal.shape, np.nan)
        log_probs = sample.old_log_probs.astype(np.float64)
        parts.append(
            _Rows(log_probs[kept], sample.actions[kept], legal[kept], behaviour[kept]),
        )
    return _Rows(
        np.concatenate([part.log_probs for part in parts]),
        np.concatenate([part.actions for part in parts]),
        np.concatenate([part.legal for part in parts]),
        np.concatenate([part.behaviour for part in parts]),
    )


def _inverse(rows: _Rows) -> float:
    with np.errstate(over="ignore"):
        return float(np.mean(np.exp(-rows.log_probs) / rows.legal.sum(axis=1)))


def _hold_against(
    rows: _Rows, reasons: list[str], samples: Sequence[ReplaySample]
) -> tuple[Excess, int]:
    """Add what speaks against ``rows``, all of whose distributions are known."""
    chosen = rows.behaviour[np.arange(len(rows.actions)), rows.actions]
    with np.errstate(invalid="ignore"):
        apart = ~(np.abs(chosen - rows.log_probs) <= TOLERANCE)
    mismatched = int(apart.sum())
    if mismatched:
        first = int(np.flatnonzero(apart)[0])
        reasons.append(
            f"{mismatched} of {len(apart)} log-probs are not those of the recorded distribution "
            f"(first: {rows.log_probs[first]:.4g} instead of {chosen[first]:.4g})"
        )
    lookup = samples[0].meta.action_lookup
    names = [lookup.get(k, str(k)) for k in range(rows.behaviour.shape[1])]
    checks = [*_calibration(rows, names), _entropy(rows)]
    worst = min(checks, key=lambda check: check.p_value)
    if worst.p_value * len(checks) < FALSE_ALARM:
        reasons.append(
            f"{worst.what}: {worst.found:.4g} where the recorded distributions foresee "
            f"{worst.expected:.4g} ({worst.z:+.1f} standard deviations): somebody else acted, or "
            "at another temperature"
        )
    return worst, mismatched


def _calibration(rows: _Rows, names: Sequence[str]) -> list[Excess]:
    """How often each action was taken, and how often it should have been."""
    mu = np.exp(rows.behaviour)
    taken = np.bincount(rows.actions, minlength=mu.shape[1])
    variances = (mu * (1.0 - mu)).sum(axis=0)
    return [
        _excess(f"action {name!r} taken", float(count), float(total), float(variance), 1.0)
        for name, count, total, variance in zip(
            names, taken, mu.sum(axis=0), variances, strict=True
        )
    ]


def _entropy(rows: _Rows) -> Excess:
    """How likely the actions taken were, all in all."""
    mu = np.exp(rows.behaviour)
    score = np.maximum(rows.behaviour, LEAST_LOG_PROB)
    means = (mu * score).sum(axis=1)
    variance = float((mu * (score - means[:, None]) ** 2).sum())
    found = float(score[np.arange(len(rows.actions)), rows.actions].sum())
    what = "log-probs of the actions taken, in sum"
    return _excess(what, found, float(means.sum()), variance, -LEAST_LOG_PROB)


def _excess(what: str, found: float, expected: float, variance: float, bound: float) -> Excess:
    """Bound the chance of straying so far (Freedman 1975): differences are at most ``bound``."""
    distance = abs(found - expected)
    if distance < 1e-6 * max(abs(expected), 1.0):  # rounding
        return Excess(what, found, expected, 0.0, 1.0)
    exponent = distance**2 / (2.0 * (variance + bound * distance / 3.0))
    z = math.copysign(distance / math.sqrt(max(variance, 1e-12)), found - expected)
    return Excess(what, found, expected, z, min(2.0 * math.exp(-exponent), 1.0))
