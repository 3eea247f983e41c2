"""Numbers and verdicts in words: the same ones in every form of the report."""

from __future__ import annotations

from typing import NamedTuple

from townlet_replay.compare.equivalence import Equivalence
from townlet_replay.compare.findings import THRESHOLDS, Findings, Pair, Steps, Verdict
from townlet_replay.compare.results import CaptureCard, ParityCheck
from townlet_replay.compare.statistics import Estimate

NONE = "-"
_LEARNERS = {"native": "native learner", "sb3": "MaskablePPO"}


class Sheet(NamedTuple):
    """A table: the first ``texts`` columns are words, the others numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1


def number(value: float | None, digits: int = 3) -> str:
    """Return a number, or a dash."""
    return NONE if value is None else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """Return a count, with commas."""
    return NONE if value is None else f"{value:,.0f}"


def interval(found: Estimate | None, digits: int = 3) -> str:
    """Return a figure with its 95% interval."""
    if found is None:
        return NONE
    if found.low is None or found.high is None:
        return number(found.value, digits)
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def share(value: float | None) -> str:
    """Return a share in percent."""
    return NONE if value is None else f"{value:.1%}"


def seeds_in_words(findings: Findings) -> str:
    """Say what was replicated, and how far that carries."""
    found = findings.comparison
    seeds, episodes = found.training_seeds, found.evaluation_seeds
    caution = ""
    if len(seeds) < 5:
        caution = (
            f" {len(seeds)} seeds are few: intervals are wide on purpose, and tell arms apart only "
            "where these lie far from each other."
        )
    elif len(seeds) < 10:
        caution = " With fewer than ten seeds only large differences show."
    plural = "s" if len(seeds) > 1 else ""
    return (
        f"{len(seeds)} training seed{plural} ({', '.join(map(str, seeds))}), the unit of "
        f"replication.{caution} Every policy is played live on the same {len(episodes)} evaluation "
        f"seeds ({episodes[0]} to {episodes[-1]}), on which nothing was trained or captured."
    )


def scale_in_words(findings: Findings) -> str:
    """Say what 0 and 1 are."""
    scale = findings.scale
    if scale is None:
        return "Normalised scores need script and random arms that differ; there are none here."
    return (
        f"Normalised: random ({scale.random:.3f}) = 0, the scenario's scripts "
        f"({scale.script:.3f}) = 1. Scripts tell a story and need not be the best one can do, so "
        "more than 1 is possible."
    )


def verdict_sheet(findings: Findings) -> Sheet:
    """Return the verdict table."""
    base = findings.baseline
    better = "P(better)" if base is None else f"P(better than {base.name})"
    rows = [_verdict_row(line) for line in findings.verdicts()]
    head = ("arm", "seeds", "normalised, sampled", "normalised, greedy", better)
    budgets = ("live steps", "total steps", "gradient steps", "training, s")
    return Sheet((*head, *budgets), tuple(rows))


def _verdict_row(line: Verdict) -> tuple[str, ...]:
    arm, budget = line.arm, line.budget
    if budget is None:
        return (arm.name, "refused", *[NONE] * 7)
    return (
        arm.name,
        str(len(arm.runs)) if arm.runs[0].seed is not None else NONE,
        interval(line.normalised, 2),
        interval(line.normalised_greedy, 2),
        interval(line.improvement, 2),
        count(budget.live),
        count(budget.total),
        count(budget.gradient),
        number(budget.seconds, 1),
    )


def score_sheet(findings: Findings) -> Sheet:
    """Return returns as they are, and what evaluation took."""
    rows = [
        (
            line.arm.name,
            interval(line.sampled),
            interval(line.greedy),
            count(None if line.budget is None else line.budget.captured),
            number(None if line.budget is None else line.budget.evaluation, 1),
        )
        for line in findings.verdicts()
    ]
    head = ("arm", "return, sampled", "return, greedy", "captured steps", "evaluation, s")
    return Sheet(head, tuple(rows))


def seed_sheet(findings: Findings) -> Sheet:
    """Return the final score of every seed."""
    from townlet_replay.compare.scores import score

    rows = [
        (
            arm.name,
            NONE if run.seed is None else str(run.seed),
            *(number(score(run.points[-1], greedy=greedy)) for greedy in (False, True)),
            NONE if run.weights is None else run.weights[:12],
        )
        for arm in findings.comparison.arms
        for run in arm.runs
    ]
    head = ("arm", "training seed", "sampled", "greedy", "weights, SHA-256")
    return Sheet(head, tuple(rows))


def stage_sheet(findings: Findings) -> Sheet:
    """Return agreement and scores before and after each stage of training."""
    from townlet_replay.compare.scores import score, spread_of

    rows = []
    for arm in findings.trained:
        stages = dict.fromkeys(point.stage for point in arm.runs[0].points)
        for stage in stages:
            points = [[p for p in run.points if p.stage == stage][-1] for run in arm.runs]
            spreads = (
                spread_of([point.agreement for point in points]),
                spread_of([score(point, greedy=False) for point in points]),
                spread_of([score(point, greedy=True) for point in points]),
            )
            cells = [NONE if found is None else number(found.mean) for found in spreads]
            rows.append((arm.name, stage, *cells))
    head = ("arm", "stage", "agreement with the capture", "sampled", "greedy")
    return Sheet(head, tuple(rows), texts=2)


def threshold_sheet(findings: Findings) -> Sheet:
    """Return median steps to each threshold, live and in total."""
    found: dict[tuple[str, float], list[Steps]] = {}
    for threshold in THRESHOLDS:
        for axis in ("live", "total"):
            for steps in findings.steps_to(threshold, axis):
                found.setdefault((steps.arm, threshold), []).append(steps)
    order: list[str] = [arm.name for arm in findings.trained]
    rows = tuple(
        (
            arm,
            f"{threshold:g}",
            f"{sum(a.reached for a in both[0].arrivals)} of {len(both[0].arrivals)}",
            *(_median(steps) for steps in both),
        )
        for (arm, threshold), both in sorted(
            found.items(), key=lambda item: (order.index(item[0][0]), item[0][1])
        )
    )
    return Sheet(("arm", "score", "runs that got there", "median live", "median total"), rows)


def _median(steps: Steps) -> str:
    if steps.median is not None:
        return count(steps.median)
    return f"more than {count(max(found.steps for found in steps.arrivals))}"


def kpi_sheet(findings: Findings) -> Sheet:
    """Return the key figures by arm."""
    kpis = findings.kpis()
    arms = [arm.name for arm in findings.comparison.arms if arm.runs]
    rows = tuple((arm, *(interval(kpis[name].get(arm), 2) for name in kpis)) for arm in arms)
    return Sheet(("per resident and episode", *kpis), rows)


def resident_sheet(findings: Findings) -> Sheet:
    """Return the mean return by resident and arm."""
    arms = [arm.name for arm in findings.comparison.arms if arm.runs]
    rows = tuple(
        (resident, *(number(of_arms.get(arm)) for arm in arms))
        for resident, of_arms in findings.residents().items()
    )
    return Sheet(("resident", *arms), rows)


def pair_sheet(findings: Findings) -> Sheet:
    """Return what was held against each other for equality."""
    rows = tuple(_pair_row(pair) for pair in findings.pairs())
    head = ("question", "verdict", "difference", "90% interval", "p", "margin", "detectable")
    return Sheet(head, rows, texts=2)


def _pair_row(pair: Pair) -> tuple[str, ...]:
    found = pair.found
    known = found.low is not None and found.high is not None
    ends = f"{found.low:.3f} to {found.high:.3f}" if known else NONE
    return (
        f"{pair.first} against {pair.second}: {pair.question}",
        equality_in_words(found),
        f"{found.difference:+.3f}",
        ends,
        NONE if found.p_value is None else f"{found.p_value:.3f}",
        f"±{found.margin:.3f}",
        number(found.detectable),
    )


def equality_in_words(found: Equivalence) -> str:
    """Say what a comparison for equality came to."""
    return {
        "bitwise": "the same weights, to the bit",
        "equivalent": "equivalent within the margin",
        "different": "different",
        "open": "neither shown: too few seeds for this margin",
    }[found.verdict]


def badges(findings: Findings) -> list[tuple[bool, str]]:
    """Return whether capture == live held for each learner, and in words."""
    found = [(check.held, parity_in_words(check)) for check in findings.comparison.parity]
    refused = findings.comparison.parity_refused
    return found + [
        (False, f"{_LEARNERS[who]}: not checked: {why}") for who, why in refused.items()
    ]


def parity_in_words(check: ParityCheck) -> str:
    """Say what replaying stored rollouts came to."""
    learner = _LEARNERS[check.learner]
    data = (
        f"{check.rows:,} rows, {check.terminations} deaths, {check.truncations} lives cut by time "
        "or by the end of a rollout"
    )
    if check.held:
        return f"{learner}: bitwise through update {check.updates} ({data})"
    return f"{learner}: parts at update {check.equal + 1} of {check.updates} ({data})"


def way_sheet(findings: Findings) -> Sheet:
    """Return how each arm was trained."""
    rows = tuple((arm.name, arm.how) for arm in findings.comparison.arms if arm.runs)
    return Sheet(("arm", "how it was trained"), rows, texts=2)


def card_sheet(card: CaptureCard) -> Sheet:
    """Return provenance and audit of a recording."""
    worst = NONE if card.worst is None else f"{card.worst}, z = {number(card.worst_z, 1)}"
    seeds = ", ".join(map(str, card.seeds)) or NONE
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    rows = (
        ("source", card.source),
        ("scenario", card.scenario),
        ("who acted", card.behaviour),
        ("size", f"{card.samples:,} samples, {card.rows:,} agent steps"),
        ("episode seeds", seeds),
        ("versions", versions or NONE),
        ("audit of log-probs", f"{card.audit} ({card.audited_rows:,} rows with a choice)"),
        ("against them", "; ".join(card.reasons) or NONE),
        ("mean of 1 / (mu x legal)", f"{number(card.inverse)} (1 with full support)"),
        ("strays most", worst),
        ("effective sample size of pi / mu", number(card.ess)),
        ("held against", card.policy),
    )
    return Sheet(("what", "found"), rows, texts=2)
