"""What a comparison says, as numbers: everything that the report shows is worked out here.

The unit of replication is the training seed: episodes of one trained policy shrink only that
policy's own error (Agarwal et al. 2021; Gorsane et al. 2022). So the scores of a policy are
averaged first, and intervals are over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from townlet_replay.compare.equivalence import MARGIN, Equivalence, equivalence
from townlet_replay.compare.results import REFERENCES, Arm, ArmName, Comparison, Play, Point, Run
from townlet_replay.compare.scores import Scale, scale_of, score
from townlet_replay.compare.statistics import (
    Estimate,
    Profile,
    bootstrap_interval,
    performance_profile,
    probability_of_improvement,
)
from townlet_replay.compare.thresholds import Arrival, arrival, survival

Axis = Literal["live", "total", "gradient", "seconds"]
AXES: dict[Axis, str] = {
    "live": "live agent steps",
    "total": "agent steps, captures charged",
    "gradient": "gradient steps",
    "seconds": "seconds of training",
}
THRESHOLDS = (0.5, 0.9, 1.0)
"""Of normalised scores: half way to the script, nearly there, there."""
BASELINES: tuple[ArmName, ...] = ("live_native", "live_sb3")
_PAIRS: tuple[tuple[ArmName, ArmName, str], ...] = (
    ("capture_native", "live_native", "training on captures against live, native learner"),
    ("capture_sb3", "live_sb3", "training on captures against live, Stable-Baselines3"),
    ("live_native", "live_sb3", "the two learners, live"),
    ("capture_native", "capture_sb3", "the two learners, on captures"),
)
_GRID = 81
_SEED = 20_260_101  # of the resamples


class Budget(NamedTuple):
    """What an arm took, mean over its seeds."""

    live: float
    captured: float
    gradient: float
    seconds: float | None  # of training, with recordings and clones
    evaluation: float | None  # seconds

    @property
    def total(self) -> float:
        """Agent steps with captures charged."""
        return self.live + self.captured


class Verdict(NamedTuple):
    """One line of the verdict table."""

    arm: Arm
    sampled: Estimate | None
    greedy: Estimate | None
    normalised: Estimate | None  # sampled
    normalised_greedy: Estimate | None
    improvement: Estimate | None  # on the baseline, sampled; None: it is the baseline, or none is
    budget: Budget | None


class Curve(NamedTuple):
    """One arm along one axis."""

    arm: ArmName
    x: tuple[float, ...]  # mean over seeds, by checkpoint
    seeds: tuple[tuple[float, ...], ...]  # score by seed and checkpoint
    estimates: tuple[Estimate, ...]


class Steps(NamedTuple):
    """How long the runs of one arm took to a threshold."""

    arm: ArmName
    threshold: float
    axis: Axis
    arrivals: tuple[Arrival, ...]
    median: int | None


class Pair(NamedTuple):
    """Two arms held against each other for equality."""

    first: ArmName
    second: ArmName
    question: str
    found: Equivalence


class Findings:
    """Works everything out, from the results alone; the same results give the same numbers."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.scale: Scale | None = scale_of(comparison)
        self.trained = tuple(
            arm for arm in comparison.arms if arm.name not in REFERENCES and arm.runs
        )
        self._clocks = {(clock.arm, clock.seed): clock for clock in comparison.wall_clock}

    @property
    def baseline(self) -> Arm | None:
        """The live arm that others are held against."""
        found = (self.comparison.arm(name) for name in BASELINES)
        return next((arm for arm in found if arm is not None and arm.runs), None)

    @property
    def seeds(self) -> int:
        """Training seeds of the arm that has most."""
        return max((len(arm.runs) for arm in self.trained), default=0)

    def verdicts(self) -> list[Verdict]:
        """Return a line per arm, in the order asked for."""
        return [self._verdict(arm) for arm in self.comparison.arms]

    def _verdict(self, arm: Arm) -> Verdict:
        sampled, greedy = (self._final(arm, greedy=greedy) for greedy in (False, True))
        base, improvement = self.baseline, None
        if base is not None and arm is not base and arm.runs and arm.name not in REFERENCES:
            mine, theirs = final_scores(arm), final_scores(base)
            improvement = probability_of_improvement(mine, theirs)
        return Verdict(
            arm=arm,
            sampled=sampled,
            greedy=greedy,
            normalised=self._normalised(sampled),
            normalised_greedy=self._normalised(greedy),
            improvement=improvement,
            budget=self._budget(arm),
        )

    def _final(self, arm: Arm, *, greedy: bool) -> Estimate | None:
        scores = final_scores(arm, greedy=greedy)
        return estimate(scores) if scores else None

    def _normalised(self, found: Estimate | None) -> Estimate | None:
        scale = self.scale
        if found is None or scale is None:
            return None
        ends = [None if end is None else scale.normalised(end) for end in found]
        low, high = sorted_ends(ends[1], ends[2])
        return Estimate(scale.normalised(found.value), low, high)

    def as_shown(self, found: Estimate) -> Estimate:
        """Return an estimate of returns as figures show it: normalised if that is possible."""
        return self._normalised(found) or found

    def _budget(self, arm: Arm) -> Budget | None:
        if not arm.runs:
            return None
        finals = arm.finals
        clocks = [self._clocks[arm.name, r.seed] for r in arm.runs if self._has_clock(arm, r)]
        return Budget(
            live=mean(point.live_steps for point in finals),
            captured=mean(point.captured_steps for point in finals),
            gradient=mean(point.gradient_steps for point in finals),
            seconds=mean(clock.training for clock in clocks) if clocks else None,
            evaluation=mean(clock.evaluation for clock in clocks) if clocks else None,
        )

    def _has_clock(self, arm: Arm, run: Run) -> bool:
        return (arm.name, run.seed) in self._clocks

    def curves(self, axis: Axis, *, greedy: bool) -> list[Curve]:
        """Return the learning curves of all trained arms, as normalised as can be."""
        return [self._curve(arm, axis, greedy=greedy) for arm in self.trained]

    def _curve(self, arm: Arm, axis: Axis, *, greedy: bool) -> Curve:
        length = min(len(run.points) for run in arm.runs)
        xs = np.array([self.along(arm, run, axis)[:length] for run in arm.runs])
        seeds = [
            tuple(self.shown(score(point, greedy=greedy)) for point in run.points[:length])
            for run in arm.runs
        ]
        estimates = [estimate(column) for column in zip(*seeds, strict=True)]
        return Curve(arm.name, tuple(xs.mean(axis=0).tolist()), tuple(seeds), tuple(estimates))

    def along(self, arm: Arm, run: Run, axis: Axis) -> tuple[float, ...]:
        """Return where the checkpoints of a run lie."""
        if axis == "seconds":
            clock = self._clocks.get((arm.name, run.seed))
            return clock.points if clock is not None else (0.0,) * len(run.points)
        steps: dict[str, Callable[[Point], int]] = {
            "live": lambda point: point.live_steps,
            "total": lambda point: point.total_steps,
            "gradient": lambda point: point.gradient_steps,
        }
        return tuple(float(steps[axis](point)) for point in run.points)

    def shown(self, raw: float | None) -> float:
        """Return a score as figures show it: normalised if that is possible."""
        value = float("nan") if raw is None else raw
        return value if self.scale is None else self.scale.normalised(value)

    @property
    def unit(self) -> str:
        """What :meth:`shown` returns, in words."""
        if self.scale is None:
            return "mean return per resident"
        return "normalised score"

    def profiles(self) -> dict[ArmName, Profile]:
        """Return the performance profile of every arm: runs x evaluation episodes, sampled."""
        tables = {
            arm.name: np.array(
                [[self.shown(s) for s in run.points[-1].sampled.scores] for run in arm.runs]
            )
            for arm in self.comparison.arms
            if arm.runs
        }
        if not tables:
            return {}
        lowest = min(float(table.min()) for table in tables.values())
        highest = max(float(table.max()) for table in tables.values())
        grid = np.linspace(lowest - 1e-6, highest, _GRID)
        return {name: performance_profile(table, grid) for name, table in tables.items()}

    def kpis(self) -> dict[str, dict[ArmName, Estimate]]:
        """Return the key figures of the final policies, sampled, by KPI and arm."""
        arms = [arm for arm in self.comparison.arms if arm.runs]
        names = dict.fromkeys(name for arm in arms for name in arm.finals[0].sampled.kpis)
        return {
            name: {
                arm.name: _not_negative([point.sampled.kpis[name] for point in arm.finals])
                for arm in arms
                if name in arm.finals[0].sampled.kpis
            }
            for name in names
        }

    def residents(self) -> dict[str, dict[ArmName, float]]:
        """Return the mean return of every resident, sampled, mean over seeds."""
        found: dict[str, dict[ArmName, float]] = {}
        for arm in self.comparison.arms:
            plays: list[Play] = [point.sampled for point in arm.finals]
            for name in plays[0].residents if plays else ():
                found.setdefault(name, {})[arm.name] = mean(p.residents[name] for p in plays)
        return found

    def steps_to(self, threshold: float, axis: Axis) -> list[Steps]:
        """Return how long every trained arm took to a normalised score, sampled play."""
        if self.scale is None:
            return []
        found = []
        for arm in self.trained:
            arrivals = tuple(
                arrival(
                    [int(x) for x in self.along(arm, run, axis)],
                    [self.shown(score(point, greedy=False)) for point in run.points],
                    threshold,
                )
                for run in arm.runs
            )
            median = survival(arrivals).median
            found.append(Steps(arm.name, threshold, axis, arrivals, median))
        return found

    def pairs(self) -> list[Pair]:
        """Hold arms against each other for equality, within 5% of what chance and script span."""
        if self.scale is None:
            return []
        margin = MARGIN * abs(self.scale.script - self.scale.random)
        found = []
        for one, other, question in _PAIRS:
            first, second = self.comparison.arm(one), self.comparison.arm(other)
            if first is None or second is None or not first.runs or not second.runs:
                continue
            digests = tuple(tuple(run.weights for run in arm.runs) for arm in (first, second))
            scores = final_scores(first), final_scores(second)
            apart = equivalence(*scores, margin, (digests[0], digests[1]))
            found.append(Pair(one, other, question, apart))
        return found


def final_scores(arm: Arm, *, greedy: bool = False) -> list[float]:
    """Return the final score of every seed; empty if it does not act in this way."""
    found = [score(point, greedy=greedy) for point in arm.finals]
    return [value for value in found if value is not None]


def estimate(scores: ArrayLike) -> Estimate:
    """Return the interquartile mean of scores, one per seed (and scenario), with its interval."""
    return bootstrap_interval(scores, np.random.default_rng(_SEED))


def _not_negative(values: Sequence[float]) -> Estimate:
    """Return the estimate of a figure that cannot be below 0; nor can its interval."""
    found = estimate(values)
    return found if found.low is None else found._replace(low=max(found.low, 0.0))


def mean(values: Iterable[float]) -> float:
    """Return the mean of at least one number."""
    return float(np.mean(list(values)))


def sorted_ends(low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """Return the ends of an interval in order: a scale may turn them around."""
    if low is None or high is None:
        return None, None
    return min(low, high), max(low, high)
