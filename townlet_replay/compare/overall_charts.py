"""The charts of several scenarios, as data."""

from __future__ import annotations

from townlet_replay.compare.charts import both_levels, dot_of, profile_lines, score_chart
from townlet_replay.compare.overall import Overall
from townlet_replay.compare.panels import Chart, Reference

_UNIT = "normalised score"


def overall_charts(overall: Overall) -> list[Chart]:
    """Return every chart there is something to draw for, in the order of the report."""
    charts = _forests(overall)
    improvement = _improvement(overall)
    charts += [] if improvement is None else [improvement]
    profiles = overall.profiles()
    if profiles:
        series = [
            one
            for arm, profile in profiles.items()
            for one in profile_lines(arm, profile, banded=True)
        ]
        charts.append(
            Chart(
                group="profile",
                title="final policies, sampled play",
                x_label=_UNIT,
                y_label="share of policies above",
                series=tuple(series),
                references=both_levels(upright=True),
                y_range=(-0.02, 1.02),
                wide=True,
            )
        )
    return charts + _scenarios(overall)


def _forests(overall: Overall) -> list[Chart]:
    """Draw the interquartile means over scenarios, with the scores they are made of."""
    if not overall.runs:
        return []
    levels = both_levels(upright=True)
    return [
        score_chart(
            "overall",
            f"over scenarios, {'greedy' if greedy else 'sampled'} play",
            _UNIT,
            {arm: overall.scores(arm, greedy=greedy) for arm in overall.arms},
            levels,
        )
        for greedy in (False, True)
    ]


def _improvement(overall: Overall) -> Chart | None:
    found = [(line.arm, line.improvement) for line in overall.lines()]
    series = tuple(dot_of(arm, better) for arm, better in found if better is not None)
    if not series:
        return None
    return Chart(
        group="overall",
        title=f"better than {overall.baseline}",
        x_label="probability of improvement, sampled play",
        y_label="",
        series=series,
        references=(Reference("even", 0.5, "#7a7a7a", "dot", upright=True),),
        x_range=(-0.03, 1.03),
    )


def _scenarios(overall: Overall) -> list[Chart]:
    """Draw the scores in each scenario that has a scale, in a panel of its own."""
    charts = []
    for name, found in overall.findings.items():
        tables = {
            arm: list(scores.values())
            for arm in overall.arms
            if (scores := overall.scores_in(name, arm))
        }
        if name in overall.scaled and tables:
            title = name if name in overall.counted else f"{name} (left out)"
            levels = both_levels(upright=True)
            charts.append(score_chart("scenarios", title, found.unit, tables, levels))
    return charts
