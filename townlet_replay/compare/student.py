"""Student's t distribution, for intervals of few runs."""

from __future__ import annotations

import math

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_HALVINGS = 60


def t_cdf(t: float, df: float) -> float:
    """Return P(T <= t) for ``df`` degrees of freedom, which need not be whole.

    With t = sqrt(df) tan(u) the density becomes a power of the cosine, which Gauss and Legendre's
    nodes integrate to about ten digits (Student 1908; Abramowitz and Stegun 1964, 26.7).

    Raises:
        ValueError: ``df`` is not above 0.
    """
    if not df > 0.0:
        raise ValueError(f"expected degrees of freedom above 0, found {df}")
    if not math.isfinite(t):
        return 1.0 if t > 0.0 else 0.0
    angle = math.atan(abs(t) / math.sqrt(df))
    u = angle * (_NODES + 1.0) / 2.0
    area = angle / 2.0 * float(_WEIGHTS @ np.cos(u) ** (df - 1.0))
    scale = math.exp(math.lgamma((df + 1.0) / 2.0) - math.lgamma(df / 2.0)) / math.sqrt(math.pi)
    upper = 0.5 + scale * area
    return upper if t >= 0.0 else 1.0 - upper


def t_quantile(probability: float, df: float) -> float:
    """Return t with P(T <= t) = ``probability``.

    Raises:
        ValueError: The probability is not inside (0, 1), or ``df`` not above 0.
    """
    if not 0.0 < probability < 1.0:
        raise ValueError(f"expected a probability inside (0, 1), found {probability}")
    if probability < 0.5:
        return -t_quantile(1.0 - probability, df)
    low, high = 0.0, 1.0
    while t_cdf(high, df) < probability:
        low, high = high, 2.0 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if t_cdf(middle, df) < probability else (low, middle)
    return (low + high) / 2.0
