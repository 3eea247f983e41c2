"""Means over training seeds, and scores between chance and script.

The unit of replication is the training seed: episodes of one trained policy shrink only that
policy's own error (Agarwal et al. 2021; Gorsane et al. 2022). So the scores of a policy are
averaged first, and what is shown is the mean of these averages with the lowest and the highest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from townlet_replay.compare.results import Arm, Comparison, Point

# Below this distance of script and chance a share of it says nothing.
_SMALLEST_GAP = 1e-6


class Spread(NamedTuple):
    """Scores of one arm: one number per training seed, and what they come to."""

    of_seeds: tuple[float, ...]
    mean: float
    lowest: float
    highest: float


class Scale(NamedTuple):
    """Scores that count as 0 and 1."""

    random: float
    script: float

    def normalised(self, score: float) -> float:
        """Return ``(score - random) / (script - random)``."""
        return (score - self.random) / (self.script - self.random)


def score(point: Point, *, greedy: bool) -> float | None:
    """Return the mean score of a policy; None if it does not act in this way."""
    play = point.played(greedy=greedy)
    return None if play is None else float(np.mean(play.scores))


def final_spread(arm: Arm, *, greedy: bool) -> Spread | None:
    """Return the final scores of an arm over its training seeds; None if there are none."""
    return spread_of([score(point, greedy=greedy) for point in arm.finals])


def spread_of(scores: Sequence[float | None]) -> Spread | None:
    """Return mean, lowest and highest of the scores that are there; None if none is."""
    known = tuple(value for value in scores if value is not None)
    if not known:
        return None
    return Spread(known, float(np.mean(known)), min(known), max(known))


def scale_of(comparison: Comparison) -> Scale | None:
    """Return what counts as 0 and 1; None without both references, or if they score alike."""
    references = [comparison.arm("random"), comparison.arm("script")]
    spreads = [final_spread(arm, greedy=False) for arm in references if arm is not None]
    if len(spreads) != 2 or spreads[0] is None or spreads[1] is None:
        return None
    scale = Scale(spreads[0].mean, spreads[1].mean)
    return scale if abs(scale.script - scale.random) > _SMALLEST_GAP else None
