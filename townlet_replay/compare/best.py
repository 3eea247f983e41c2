"""Scores of the best checkpoint, without the bias of choosing and reporting on the same episodes.

The highest of several noisy means lies above the true score of whichever checkpoint it belongs to.
So each half of the evaluation episodes (even and odd places) is scored by the checkpoint that the
other half chose. Given the choice, such a score has the expectation of the checkpoint chosen; half
the episodes choose less well than all would, so that it lies below the truly best one, if anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from townlet_replay.compare.findings import Findings, estimate
from townlet_replay.compare.results import Arm, Run
from townlet_replay.compare.statistics import Estimate
from townlet_replay.compare.wording import NONE, Sheet, count, interval
from townlet_replay.errors import TrainingError

HOW = (
    "Each half of the evaluation episodes (even and odd places) is scored by the checkpoint, "
    "untrained and final ones included, that has the highest mean on the other half, for every "
    "seed and way to act on its own, so that no checkpoint is chosen on the episodes it reports; "
    "live steps are the median of these choices."
)
"""How the table is computed, in one sentence."""


class Crossed(NamedTuple):
    """What checkpoints come to that are chosen on the other half of the episodes."""

    score: float
    by_even: int  # checkpoint chosen on the even places, reported on the odd ones
    by_odd: int


class Best(NamedTuple):
    """The best checkpoints of an arm."""

    score: Estimate  # as figures show it: normalised if that is possible
    live_steps: float  # median over seeds and both choices


def crossed(scores: ArrayLike) -> Crossed | None:
    """Return the mean of all episodes, each scored by the checkpoint the other half chose.

    Of an even number of episodes that is the mean of both halves; a half that has one episode more
    counts that much more, so that a single checkpoint gets its plain mean. Of checkpoints that are
    alike the first is chosen.

    Args:
        scores: (k, e): k checkpoints, in the order of training, on the same e episodes.

    Returns:
        None if there are fewer than two episodes.

    Raises:
        TrainingError: There is no checkpoint, or the scores are no table.
    """
    table = np.asarray(scores, np.float64)
    if table.ndim != 2 or len(table) == 0:
        raise TrainingError(
            f"expected scores by checkpoint and episode, found an array of shape {table.shape}"
        )
    if table.shape[1] < 2:
        return None
    by_even = int(table[:, ::2].mean(axis=1).argmax())
    by_odd = int(table[:, 1::2].mean(axis=1).argmax())
    reported = table[by_odd].copy()
    reported[1::2] = table[by_even, 1::2]
    return Crossed(float(reported.mean()), by_even, by_odd)


def best_of(findings: Findings, arm: Arm, *, greedy: bool) -> Best | None:
    """Return the best checkpoints of an arm over its training seeds.

    Returns:
        None if it has no run, does not act in this way, or was played on fewer than two episodes.
    """
    scores, steps = [], []
    for run in arm.runs:
        rows, live = _played(run, greedy=greedy)
        found = crossed(rows) if rows else None
        if found is None:
            continue
        scores.append(found.score)
        steps += [live[found.by_even], live[found.by_odd]]
    if not scores:
        return None
    return Best(findings.as_shown(estimate(scores)), float(np.median(steps)))


def _played(run: Run, *, greedy: bool) -> tuple[list[Sequence[float]], list[int]]:
    """Return the scores and the live steps of the checkpoints that act in this way."""
    plays = [(point.played(greedy=greedy), point.live_steps) for point in run.points]
    known = [(play.scores, steps) for play, steps in plays if play is not None]
    return [scores for scores, _ in known], [steps for _, steps in known]


def best_sheet(findings: Findings) -> Sheet:
    """Return final scores beside those of the best checkpoints, sampled and greedy."""
    rows = []
    for line in findings.verdicts():
        if not line.arm.runs:
            continue
        cells: list[str] = [line.arm.name]
        for final, greedy in ((line.sampled, False), (line.greedy, True)):
            shown = None if final is None else findings.as_shown(final)
            best = best_of(findings, line.arm, greedy=greedy)
            cells.append(interval(shown, 2))
            cells += (
                [NONE, NONE] if best is None else [interval(best.score, 2), count(best.live_steps)]
            )
        rows.append(tuple(cells))
    ways = [
        heading
        for way in ("sampled", "greedy")
        for heading in (f"final, {way}", f"best checkpoint, {way}", "at live steps")
    ]
    return Sheet(("arm", *ways), tuple(rows))


def best_in_words(findings: Findings) -> str:
    """Say what the table shows and how it is computed."""
    return f"As {findings.unit}, interquartile mean over seeds with its 95% interval. {HOW}"
