"""Whether two arms came to the same: to the bit, or within a margin that was said before.

A difference that is "not significant" says nothing when runs are few. Two one-sided tests turn the
burden of proof around (Schuirmann 1987): equal is what was shown to differ by less than the margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from townlet_replay.compare.student import t_cdf, t_quantile
from townlet_replay.errors import TrainingError

ALPHA = 0.05
MARGIN = 0.05
"""Of what lies between chance and script."""
_POWER = 0.8

Verdict = Literal["bitwise", "equivalent", "different", "open"]


class Equivalence(NamedTuple):
    """What a comparison of two arms for equality says.

    ``different`` is a difference that its 95% interval sets apart from 0 while nothing shows it to
    be within the margin. ``open``: neither was shown.
    """

    verdict: Verdict
    difference: float  # of means, first minus second
    low: float | None  # 90% interval: inside +- margin is what the two tests ask for
    high: float | None
    p_value: float | None  # the larger one of the two tests
    margin: float
    detectable: float | None  # a difference that 80 of 100 such experiments would notice


def equivalence(
    first: ArrayLike,
    second: ArrayLike,
    margin: float,
    digests: tuple[Sequence[str | None], Sequence[str | None]] = ((), ()),
    *,
    alpha: float = ALPHA,
) -> Equivalence:
    """Hold two arms against each other.

    Weights of the same SHA-256 under every seed need no statistics. Otherwise two one-sided tests
    of Welch's t (1947) at level ``alpha`` each.

    Args:
        first: (n,) scores, one per training seed.
        second: (k,)
        margin: Differences below it do not matter; in units of the scores.
        digests: Of the weights, per seed of each arm; None where there are none.
        alpha: Chance, at most, that arms which differ by the margin or more are called equivalent.

    Raises:
        TrainingError: The margin is not above 0, or there are no scores.
    """
    if not margin > 0.0:
        raise TrainingError(f"expected a margin above 0, found {margin}")
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if not one.size or not other.size:
        raise TrainingError("expected at least one score of either arm, found none")
    apart = float(one.mean() - other.mean())
    if _same(*digests):
        return Equivalence("bitwise", apart, apart, apart, 0.0, margin, None)
    if min(len(one), len(other)) < 2:
        return Equivalence("open", apart, None, None, None, margin, None)
    error, df = _welch(
        float(one.var(ddof=1)) / len(one),
        float(other.var(ddof=1)) / len(other),
        len(one),
        len(other),
    )
    if error == 0.0:
        verdict: Verdict = "equivalent" if abs(apart) < margin else "different"
        return Equivalence(verdict, apart, apart, apart, float(abs(apart) >= margin), margin, 0.0)
    p_value = 1.0 - t_cdf((margin - abs(apart)) / error, df)
    reach = error * t_quantile(1 - alpha, df)
    seen = error * t_quantile(1 - alpha / 2, df)
    verdict = "equivalent" if p_value < alpha else "different" if abs(apart) > seen else "open"
    detectable = seen + error * t_quantile(_POWER, df)
    return Equivalence(verdict, apart, apart - reach, apart + reach, p_value, margin, detectable)


def _same(first: Sequence[str | None], second: Sequence[str | None]) -> bool:
    return bool(first) and None not in first and tuple(first) == tuple(second)


def _welch(first: float, second: float, n: int, k: int) -> tuple[float, float]:
    """Return standard error and degrees of freedom (Satterthwaite 1946) of a difference.

    Args:
        first: Squared standard error of one mean.
        second: Of the other.
        n: Runs of one.
        k: Of the other.
    """
    both = first + second
    if both == 0.0:
        return 0.0, float(n + k - 2)
    return math.sqrt(both), both**2 / (first**2 / (n - 1) + second**2 / (k - 1))
