"""What comparisons on several scenarios say together.

Scores are normalised in each scenario (random 0, script 1) and pooled over scenarios and training
seeds, as in Agarwal et al. (2021). All arms are judged on the same scenarios and on as many seeds:
a scenario that one of them lacks counts for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from townlet_replay.compare.findings import BASELINES, Budget, Findings, estimate, mean
from townlet_replay.compare.results import REFERENCES, Arm, ArmName, Comparison, Run
from townlet_replay.compare.scores import scale_of, score
from townlet_replay.compare.statistics import (
    Estimate,
    Floats,
    Profile,
    probability_of_improvement,
    profile_over_tasks,
)

_GRID = 121


class Place(NamedTuple):
    """One scenario of several."""

    name: str  # of the scenario, and of its folder
    comparison: Comparison | None  # None: there are no results
    trouble: str | None = None  # why it could not be compared

    @property
    def complete(self) -> bool:
        """Whether it was compared to its end."""
        found = self.comparison
        return self.trouble is None and found is not None and found.complete


class Line(NamedTuple):
    """What one arm comes to over the scenarios that count."""

    arm: ArmName
    sampled: Estimate  # interquartile mean of normalised scores
    greedy: Estimate
    median: float  # of the scenarios' means, sampled, as are the next two
    mean: float
    gap: float  # mean of what is missing to 1
    improvement: Estimate | None  # on the baseline, sampled; None: it is the baseline, or none is
    budget: Budget  # mean over scenarios


class Overall:
    """Works out what holds over scenarios; the same results give the same numbers.

    Args:
        places: The scenarios, in the order asked for.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = tuple(places)
        self.findings = {
            place.name: Findings(place.comparison)
            for place in places
            if place.comparison is not None
        }
        reasons = {place.name: _no_scale(place) for place in places}
        self.scaled = tuple(name for name, why in reasons.items() if why is None)
        scaled = [self.findings[name] for name in self.scaled]
        self.arms: tuple[ArmName, ...] = tuple(
            name for name in self._asked() if any(_runs(found, name) for found in scaled)
        )
        self.absent: dict[ArmName, str] = {
            name: _why_absent(scaled, name) for name in self._asked() if name not in self.arms
        }
        self.left_out: dict[str, str] = {}
        for place in places:
            why = reasons[place.name] or _lacking(self.findings[place.name], self.arms)
            if why is not None:
                self.left_out[place.name] = why
        self.counted = tuple(place.name for place in places if place.name not in self.left_out)
        shared = [self._shared_seeds(name) for name in self.counted]
        self.runs = min(map(len, shared), default=0) if self.arms else 0
        self.seeds = {
            name: seeds[: self.runs] for name, seeds in zip(self.counted, shared, strict=True)
        }

    def place(self, name: str) -> Place:
        """Return a scenario by its name."""
        return next(place for place in self.places if place.name == name)

    def _asked(self) -> list[ArmName]:
        asked = [
            name for found in self.findings.values() for name in found.comparison.settings.arms
        ]
        return [name for name in dict.fromkeys(asked) if name not in REFERENCES]

    def _shared_seeds(self, scenario: str) -> list[int]:
        return shared_seeds(self.findings[scenario], self.arms)

    @property
    def complete(self) -> bool:
        """Whether every scenario was compared to its end."""
        return all(place.complete for place in self.places)

    @property
    def baseline(self) -> ArmName | None:
        """The live arm that others are held against."""
        return next((name for name in BASELINES if name in self.arms), None)

    def scores(self, arm: ArmName, *, greedy: bool) -> Floats:
        """Return the final normalised scores of an arm, (runs, scenarios that count)."""
        columns = []
        for scenario, seeds in self.seeds.items():
            found = self.scores_in(scenario, arm, greedy=greedy)
            columns.append([found[seed] for seed in seeds])
        return np.array(columns, np.float64).T

    def scores_in(self, scenario: str, arm: ArmName, *, greedy: bool = False) -> dict[int, float]:
        """Return the final normalised scores of an arm in one scenario, by training seed."""
        found = self.findings[scenario]
        return {
            run.seed: found.shown(score(run.points[-1], greedy=greedy))
            for run in _runs(found, arm)
            if run.seed is not None
        }

    def lines(self) -> list[Line]:
        """Return a line per arm; none if nothing can be said over scenarios."""
        return [self._line(arm) for arm in self.arms] if self.runs else []

    def _line(self, arm: ArmName) -> Line:
        sampled, base = self.scores(arm, greedy=False), self.baseline
        improvement = None
        if base is not None and arm != base:
            improvement = probability_of_improvement(sampled, self.scores(base, greedy=False))
        return Line(
            arm=arm,
            sampled=estimate(sampled),
            greedy=estimate(self.scores(arm, greedy=True)),
            median=float(np.median(sampled.mean(axis=0))),
            mean=float(sampled.mean()),
            gap=float(np.maximum(0.0, 1.0 - sampled).mean()),
            improvement=improvement,
            budget=self._budget(arm),
        )

    def _budget(self, arm: ArmName) -> Budget:
        found = [
            line.budget
            for scenario in self.counted
            for line in self.findings[scenario].verdicts()
            if line.arm.name == arm and line.budget is not None
        ]
        return Budget(
            live=mean(budget.live for budget in found),
            captured=mean(budget.captured for budget in found),
            gradient=mean(budget.gradient for budget in found),
            seconds=None,
            evaluation=None,
        )

    def profiles(self) -> dict[ArmName, Profile]:
        """Return which share of final policies scores more than a threshold, sampled, by arm."""
        if not self.runs:
            return {}
        tables = {arm: self.scores(arm, greedy=False) for arm in self.arms}
        lowest = min(float(table.min()) for table in tables.values())
        highest = max(float(table.max()) for table in tables.values())
        grid = np.linspace(min(lowest, 0.0) - 0.05, max(highest, 1.0) + 0.05, _GRID)
        return {arm: profile_over_tasks(table, grid) for arm, table in tables.items()}


def shared_seeds(found: Findings, arms: Sequence[ArmName]) -> list[int]:
    """Return the training seeds of a scenario that all arms have finished, rising."""
    seeds = [{run.seed for run in _runs(found, name)} for name in arms]
    return sorted(seed for seed in set.intersection(*seeds) if seed is not None) if seeds else []


def _runs(found: Findings, name: ArmName) -> tuple[Run, ...]:
    arm = found.comparison.arm(name)
    return () if arm is None else arm.runs


def _no_scale(place: Place) -> str | None:
    """Return why scores of a scenario cannot be normalised; None: they can."""
    if place.trouble is not None or place.comparison is None:
        return place.trouble or "it has not begun"
    for name in REFERENCES:
        arm = place.comparison.arm(name)
        if arm is None or not arm.runs:
            return f"{name}: {_why_no_runs(place.comparison, name)}"
    scale = scale_of(place.comparison)
    if scale is None or scale.script < scale.random:
        return "the script scores no more than random, so there is nothing to measure scores by"
    return None


def _why_no_runs(comparison: Comparison, name: ArmName) -> str:
    arm: Arm | None = comparison.arm(name)
    if arm is not None and arm.refused is not None:
        return f"refused: {arm.refused}"
    return "not asked for" if name not in comparison.settings.arms else "no finished run"


def _lacking(found: Findings, arms: Sequence[ArmName]) -> str | None:
    """Return which arms a scenario lacks that others have; None: it has all of them."""
    told = found.comparison
    reasons = [f"{name}: {_why_no_runs(told, name)}" for name in arms if not _runs(found, name)]
    if reasons:
        return "; ".join(reasons)
    if arms and not shared_seeds(found, arms):
        return "no training seed that all arms have finished"
    return None


def _why_absent(scaled: Sequence[Findings], name: ArmName) -> str:
    """Return why an arm has no run in any scenario that has a scale."""
    scenarios: dict[str, list[str]] = {}
    for found in scaled:
        why = _why_no_runs(found.comparison, name)
        scenarios.setdefault(why, []).append(found.comparison.scenario)
    reasons = [f"{why} ({', '.join(names)})" for why, names in scenarios.items()]
    return "; ".join(reasons) or "no scenario has a scale"
