"""The charts of a report, as data: plotly draws them in the page, matplotlib beside the text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from townlet_replay.compare.findings import (
    AXES,
    Axis,
    Curve,
    Findings,
    Steps,
    estimate,
    final_scores,
)
from townlet_replay.compare.panels import COLOURS, MARKERS, Chart, Group, Reference, Series
from townlet_replay.compare.results import (
    ArmName,
    CaptureCard,
    Confusion,
    HealthPoint,
    Triptych,
)
from townlet_replay.compare.statistics import Estimate, Profile

_INK, _QUIET = "#1f4e79", "#9aa5b1"
_HEALTH = {
    "kl": "KL divergence (k3)",
    "clip_fraction": "share of clipped ratios",
    "entropy": "entropy, nats",
    "explained_variance": "explained variance of returns",
    "value_loss": "value loss",
    "grad_norm": "gradient norm (native only)",
}
_SHORT: dict[Axis, str] = {
    "live": "live steps",
    "total": "total steps",
    "gradient": "gradient steps",
    "seconds": "seconds",
}
_FEW = 3  # seeds; of fewer a band would fill the picture
_PLACES = ("on its own rows", "held-out lives", "own play in town")


def all_charts(findings: Findings) -> list[Chart]:
    """Return every chart there is something to draw for, in the order of the report."""
    charts = score_charts(findings)
    charts += [
        chart
        for greedy in (False, True)
        for axis in ("live", "total", "seconds")
        if (chart := curve_chart(findings, axis, greedy=greedy)) is not None
    ]
    profiles = findings.profiles()
    if profiles:
        charts.append(profile_chart(findings, profiles))
    charts += kpi_charts(findings)
    charts += [chart for axis in ("live", "total") for chart in threshold_charts(findings, axis)]
    for card in cards_of(findings):
        charts += card_charts(card)
    charts += health_charts(findings)
    charts += agreement_charts(findings)
    return charts


def cards_of(findings: Findings) -> tuple[CaptureCard, ...]:
    """Return what is known of the recordings: of the first seed of the arm that used most."""
    runs = [run for arm in findings.trained for run in arm.runs[:1] if run.cards]
    return max((run.cards for run in runs), key=len, default=())


def triptychs_of(findings: Findings) -> list[Triptych]:
    """Return how the clones agree with the script, by seed."""
    for arm in findings.trained:
        found = [run.triptych for run in arm.runs if run.triptych is not None]
        if found:
            return found
    return []


def curve_chart(findings: Findings, axis: Axis, *, greedy: bool) -> Chart | None:
    """Draw scores along one axis: thin lines are seeds, thick ones their interquartile mean."""
    curves = findings.curves(axis, greedy=greedy)
    if not curves:
        return None
    series = [one for curve in curves for one in _of_curve(curve)]
    values = [value for curve in curves for seed in curve.seeds for value in seed]
    mode = "greedy" if greedy else "sampled"
    return Chart(
        group="curves",
        title=f"{mode} play, {_SHORT[axis]}",
        x_label=AXES[axis],
        y_label=findings.unit,
        series=tuple(series),
        references=_levels(findings),
        # Bands of few seeds reach far: the seeds themselves say what is shown.
        y_range=around([*values, *(line.at for line in _levels(findings))]),
    )


def _of_curve(curve: Curve) -> list[Series]:
    colour = COLOURS[curve.arm]
    found = []
    if len(curve.seeds) >= _FEW and all(point.low is not None for point in curve.estimates):
        low = [point.low or 0.0 for point in curve.estimates]
        high = [point.high or 0.0 for point in curve.estimates]
        middle = [point.value for point in curve.estimates]
        found.append(Series("band", curve.arm, colour, curve.x, middle, low, high, faint=True))
    found += [Series("line", curve.arm, colour, curve.x, seed, faint=True) for seed in curve.seeds]
    middle = [point.value for point in curve.estimates]
    marker = MARKERS[curve.arm]
    return [*found, Series("line", curve.arm, colour, curve.x, middle, marker=marker)]


def _levels(findings: Findings, *, upright: bool = False) -> tuple[Reference, ...]:
    return () if findings.scale is None else both_levels(upright=upright)


def both_levels(*, upright: bool) -> tuple[Reference, ...]:
    """Return what normalised scores are measured by."""
    return (
        Reference("script", 1.0, COLOURS["script"], "dash", upright),
        Reference("random", 0.0, COLOURS["random"], "dot", upright),
    )


def around(values: Iterable[float]) -> tuple[float, float]:
    """Return a range that shows all numbers, with some room."""
    found = [value for value in values if np.isfinite(value)]
    low, high = min(found), max(found)
    room = 0.08 * (high - low) or 0.1
    return low - room, high + room


def profile_chart(findings: Findings, profiles: dict[ArmName, Profile]) -> Chart:
    """Draw which share of runs and episodes scores more than a threshold."""
    runs = {arm.name: len(arm.runs) for arm in findings.comparison.arms}
    series = [
        one
        for arm, profile in profiles.items()
        for one in profile_lines(arm, profile, banded=runs[arm] >= _FEW)
    ]
    return Chart(
        group="profile",
        title="final policies, sampled play",
        x_label=findings.unit,
        y_label="share of runs and episodes above",
        series=tuple(series),
        references=_levels(findings, upright=True),
        y_range=(-0.02, 1.02),
        wide=True,
    )


def profile_lines(arm: ArmName, profile: Profile, *, banded: bool) -> list[Series]:
    """Return the line of a profile, with its band if there is one and it is wanted."""
    colour, x = COLOURS[arm], profile.thresholds.tolist()
    line = Series("line", arm, colour, x, profile.shares.tolist())
    if not banded or not np.isfinite(profile.low).all():
        return [line]
    band = line._replace(
        kind="band",
        low=profile.low.tolist(),
        high=profile.high.tolist(),
        faint=True,
        shade=0.06,
    )
    return [band, line]


def score_charts(findings: Findings) -> list[Chart]:
    """Draw the final scores, sampled and greedy: dots with 95% intervals, and every seed."""
    charts = []
    for greedy in (False, True):
        of_arms = {
            arm.name: [findings.shown(value) for value in seeds]
            for arm in findings.trained
            if (seeds := final_scores(arm, greedy=greedy))
        }
        if of_arms:
            mode = "greedy" if greedy else "sampled"
            references = _levels(findings, upright=True)
            title = f"final policies, {mode} play"
            charts.append(score_chart("scores", title, findings.unit, of_arms, references))
    return charts


def score_chart(
    group: Group,
    title: str,
    unit: str,
    of_arms: Mapping[ArmName, ArrayLike],
    references: tuple[Reference, ...],
) -> Chart:
    """Draw every score of each arm, and their interquartile mean with its interval.

    Args:
        group: Of the chart.
        title: Of the chart.
        unit: Of the scores.
        of_arms: (n,) scores by arm, or (n, m) of n runs in m scenarios.
        references: What they are held against; in the picture like every score.
    """
    series, values = [], [line.at for line in references]
    for arm, table in of_arms.items():
        scores = np.ravel(table).tolist()
        values += scores
        names = [arm] * len(scores)
        series.append(Series("dots", arm, COLOURS[arm], scores, names, hollow=True))
        series.append(dot_of(arm, estimate(table)))
    low, high = around(values)
    room = 0.25 * (high - low)
    reach = (low - room, high + room)
    return Chart(group, title, unit, "", tuple(series), references, x_range=reach)


def dot_of(arm: ArmName, found: Estimate) -> Series:
    """Return an estimate as a dot with its interval."""
    dot = Series("dots", arm, COLOURS[arm], [found.value], [arm], marker=MARKERS[arm])
    if found.low is None or found.high is None:
        return dot
    return dot._replace(low=[found.low], high=[found.high])


def kpi_charts(findings: Findings) -> list[Chart]:
    """Draw one forest per key figure: dots with 95% intervals."""
    charts = []
    for name, of_arms in findings.kpis().items():
        series = [dot_of(arm, found) for arm, found in of_arms.items()]
        charts.append(
            Chart(
                group="kpis",
                title=name.replace("_", " "),
                x_label="per resident and episode" if name != "mean_need" else "0 to 1",
                y_label="",
                series=tuple(series),
                x_range=_kpi_range(findings, name),
            )
        )
    return charts


def _kpi_range(findings: Findings, name: str) -> tuple[float, float]:
    """Return what shows every seed; intervals of few seeds may reach beyond."""
    arms = (arm for arm in findings.comparison.arms if arm.runs)
    values = [point.sampled.kpis[name] for arm in arms for point in arm.finals]
    low, high = around(values)
    return low - 0.3 * (high - low), high + 0.3 * (high - low)


def threshold_charts(findings: Findings, axis: Axis) -> list[Chart]:
    """Draw when each run first scored as much as the script, or until when it was watched."""
    found = findings.steps_to(1.0, axis)
    if not found:
        return []
    series = [one for steps in found for one in _of_arrivals(steps)]
    return [
        Chart(
            group="thresholds",
            title=f"to the script's level, {_SHORT[axis]}",
            x_label=AXES[axis],
            y_label="",
            series=tuple(series),
        )
    ]


def _of_arrivals(steps: Steps) -> list[Series]:
    colour, found = COLOURS[steps.arm], []
    there = [a.steps for a in steps.arrivals if a.reached]
    never = [a.steps for a in steps.arrivals if not a.reached]
    names = [steps.arm] * len(steps.arrivals)
    if there:
        arms = names[: len(there)]
        found.append(Series("dots", "reached", colour, there, arms, marker=MARKERS[steps.arm]))
    if never:
        right = "triangle-right"
        arms = names[: len(never)]
        found.append(Series("dots", "not reached", colour, never, arms, marker=right, hollow=True))
    return found


def card_charts(card: CaptureCard) -> list[Chart]:
    """Draw the log-ratios of a recording, and what was done against what the policy would do."""
    edges = np.array(card.log_ratio_edges)
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    counts = [float(count) for count in card.log_ratio_counts]
    title = card.title[0].lower() + card.title[1:]
    ratios = Series("bars", "rows", _INK, middles, counts)
    taken = Series("bars", "taken", _QUIET, card.actions, card.taken)
    foreseen = Series("bars", "probable under the policy", _INK, card.actions, card.foreseen)
    return [
        Chart("capture", f"{title}: log(pi / mu)", "nats", "rows", (ratios,)),
        Chart("capture", f"{title}: actions", "", "share of rows", (taken, foreseen)),
    ]


def health_charts(findings: Findings) -> list[Chart]:
    """Draw one small panel per figure of PPO's health, all arms together."""
    charts = []
    for field, title in _HEALTH.items():
        series: list[Series] = []
        for arm in findings.trained:
            lines = [line for run in arm.runs if (line := _health_line(run.health, field))]
            series += [
                Series("line", arm.name, COLOURS[arm.name], *line, faint=True) for line in lines
            ]
            if lines:
                x, y = _middle(lines)
                series.append(Series("line", arm.name, COLOURS[arm.name], x, y))
        if series:
            charts.append(Chart("health", title, "gradient steps", "", tuple(series)))
    return charts


def _health_line(
    points: Sequence[HealthPoint], field: str
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    found = [(point.gradient_steps, getattr(point, field)) for point in points]
    known = [(float(x), float(y)) for x, y in found if y is not None]
    return (tuple(x for x, _ in known), tuple(y for _, y in known)) if known else None


def _middle(
    lines: Sequence[tuple[tuple[float, ...], tuple[float, ...]]],
) -> tuple[list[float], list[float]]:
    """Return the median over seeds, epoch by epoch."""
    length = min(len(x) for x, _ in lines)
    xs = np.median([x[:length] for x, _ in lines], axis=0)
    ys = np.median([y[:length] for _, y in lines], axis=0)
    return xs.tolist(), ys.tolist()


def agreement_charts(findings: Findings) -> list[Chart]:
    """Draw how far the clones agree with the script, and what they take for what."""
    found = triptychs_of(findings)
    if not found:
        return []
    series = []
    for number, one in enumerate(found):
        places = zip(_PLACES, (one.train, one.held_out, one.own), strict=True)
        known = [(place, value) for place, value in places if value is not None]
        x, y = [place for place, _ in known], [value for _, value in known]
        name = f"seed {findings.comparison.training_seeds[number]}"
        series.append(Series("line", name, COLOURS["bc"], x, y, marker="circle"))
    label = "share of choices as the script"
    charts = [
        Chart("agreement", "agreement of the clones", "", label, tuple(series), y_range=(0, 1.02))
    ]
    if found[0].confusion.actions:
        charts.append(_confusion_chart(found[0].confusion))
    return charts


def _confusion_chart(confusion: Confusion) -> Chart:
    names = confusion.actions
    heat = Series("heat", "rows", _INK, names, names, heights=confusion.counts)
    return Chart(
        group="confusion",
        title="script against clone, rows",
        x_label="clone",
        y_label="script",
        series=(heat,),
    )
