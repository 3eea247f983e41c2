"""How many steps it takes to a score, where some runs never get there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Arrival(NamedTuple):
    """When a run reached the threshold, or until when it was watched."""

    steps: int
    reached: bool


class Survival(NamedTuple):
    """Share of runs that have not arrived yet; a step function, 1 before the first of ``steps``."""

    steps: tuple[int, ...]  # where somebody arrives, rising
    shares: tuple[float, ...]  # from there on

    @property
    def median(self) -> int | None:
        """Steps after which half of the runs have arrived; None: fewer did."""
        return next(
            (
                step
                for step, share in zip(self.steps, self.shares, strict=True)
                if share <= 0.5 + 1e-12
            ),
            None,
        )


def arrival(steps: Sequence[int], scores: Sequence[float], threshold: float) -> Arrival:
    """Return the first examination at which a score is there.

    Examinations lie apart, and a single good one counts: what is found is the first *sighting*.

    Args:
        steps: Of the examinations, rising; at least one.
        scores: At each of them.
        threshold: What is to be reached.
    """
    found = next((k for k, score in enumerate(scores) if score >= threshold), None)
    return Arrival(steps[-1], False) if found is None else Arrival(steps[found], True)


def survival(arrivals: Sequence[Arrival]) -> Survival:
    """Return the product-limit estimate of Kaplan and Meier (1958).

    A run that was stopped before it arrived counts as long as it was watched, and no longer.
    """
    times = np.array([found.steps for found in arrivals], np.int64)
    reached = np.array([found.reached for found in arrivals], np.bool_)
    events = np.unique(times[reached])
    share, shares = 1.0, []
    for when in events:
        at_risk = int((times >= when).sum())
        share *= 1.0 - int((times[reached] == when).sum()) / at_risk
        shares.append(share)
    return Survival(tuple(int(when) for when in events), tuple(shares))
