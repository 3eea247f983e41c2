"""Figures of rows that say how well values and rewards go together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def explained_variance(values: NDArray[Any], returns: NDArray[Any]) -> float:
    """Return ``1 - Var(returns - values) / Var(returns)``; NaN if the returns are constant."""
    exact = returns.astype(np.float64)
    variance = float(exact.var())
    if variance == 0.0:
        return np.nan
    return 1.0 - float((exact - values.astype(np.float64)).var()) / variance


def correlation(left: NDArray[Any], right: NDArray[Any]) -> float:
    """Return Pearson's correlation of two rows of numbers; NaN if one of them is constant."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    spread = float(a.std() * b.std())
    if spread == 0.0:
        return np.nan
    return float(((a - a.mean()) * (b - b.mean())).mean()) / spread


def line_through(values: NDArray[Any], returns: NDArray[Any]) -> float:
    """Return the slope of the least-squares line of returns over values; NaN if undefined."""
    x, y = values.astype(np.float64), returns.astype(np.float64)
    variance = float(x.var())
    if variance == 0.0:
        return np.nan
    return float(((x - x.mean()) * (y - y.mean())).mean()) / variance
