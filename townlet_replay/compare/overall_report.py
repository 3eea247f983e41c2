"""The report over several scenarios, in all its forms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from townlet_replay.compare.overall import Line, Overall
from townlet_replay.compare.overall_charts import overall_charts
from townlet_replay.compare.panels import Chart
from townlet_replay.compare.report import PAGE, TEXT, narrow
from townlet_replay.compare.results import ArmName, ParityCheck
from townlet_replay.compare.statistics import Estimate
from townlet_replay.safe_files import to_json, write_files
from townlet_replay.training.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table as RichTable

OVERALL = "overall.json"


class Figure(Settings):
    """A figure with its 95% interval; None: too few runs to say."""

    value: float
    low: float | None
    high: float | None


class ArmOverall(Settings):
    """One arm over the scenarios that count."""

    arm: ArmName
    iqm: Figure = Field(description="interquartile mean of normalised scores, sampled")
    iqm_greedy: Figure
    improvement: Figure | None = Field(description="on the baseline; None: it is the baseline")
    median: float = Field(description="of the scenarios' means, sampled")
    mean: float
    optimality_gap: float = Field(description="mean of what is missing to 1")
    live_steps: float = Field(description="mean over scenarios and seeds")
    captured_steps: float
    gradient_steps: float


class ArmScores(Settings):
    """Final normalised scores of one arm in one scenario, by training seed."""

    arm: ArmName
    seeds: tuple[int, ...]
    sampled: tuple[float, ...]
    greedy: tuple[float | None, ...]


class ScenarioOverall(Settings):
    """One scenario."""

    scenario: str
    digest: str | None = Field(description="of the scenario; None: there are no results")
    complete: bool
    left_out: str | None = Field(description="why it does not count; None: it counts")
    seeds: tuple[int, ...] = Field(description="training seeds that count")
    random: float | None = Field(description="mean return that is 0")
    script: float | None = Field(description="mean return that is 1")
    scores: tuple[ArmScores, ...] = Field(description="none without a scale")
    refused: dict[ArmName, str]
    parity: tuple[ParityCheck, ...]
    parity_refused: dict[str, str]


class OverallResults(Settings):
    """Everything the report over scenarios is made of."""

    complete: bool = Field(description="False: something was interrupted or failed")
    counted: tuple[str, ...] = Field(description="scenarios in the figures")
    runs: int = Field(description="training seeds per scenario in the figures")
    baseline: ArmName | None
    arms: tuple[ArmOverall, ...]
    absent: dict[ArmName, str] = Field(description="arms that were not shown, and why")
    scenarios: tuple[ScenarioOverall, ...]


def results_of(overall: Overall) -> OverallResults:
    """Return what ``overall.json`` holds."""
    return OverallResults(
        complete=overall.complete,
        counted=overall.counted,
        runs=overall.runs,
        baseline=overall.baseline,
        arms=tuple(_arm(line) for line in overall.lines()),
        absent=overall.absent,
        scenarios=tuple(_scenario(overall, place.name) for place in overall.places),
    )


def _arm(line: Line) -> ArmOverall:
    return ArmOverall(
        arm=line.arm,
        iqm=_figure(line.sampled),
        iqm_greedy=_figure(line.greedy),
        improvement=None if line.improvement is None else _figure(line.improvement),
        median=line.median,
        mean=line.mean,
        optimality_gap=line.gap,
        live_steps=line.budget.live,
        captured_steps=line.budget.captured,
        gradient_steps=line.budget.gradient,
    )


def _figure(found: Estimate) -> Figure:
    return Figure(**found._asdict())


def _scenario(overall: Overall, name: str) -> ScenarioOverall:
    found, place = overall.findings.get(name), overall.place(name)
    comparison = place.comparison
    scale = None if found is None else found.scale
    scaled = name in overall.scaled
    return ScenarioOverall(
        scenario=name,
        digest=None if comparison is None else comparison.scenario_digest,
        complete=place.complete,
        left_out=overall.left_out.get(name),
        seeds=tuple(overall.seeds.get(name, ())),
        random=None if scale is None else scale.random,
        script=None if scale is None else scale.script,
        scores=tuple(_scores(overall, name, arm) for arm in overall.arms if scaled),
        refused={
            arm.name: arm.refused
            for arm in (() if comparison is None else comparison.arms)
            if arm.refused is not None
        },
        parity=() if comparison is None else comparison.parity,
        parity_refused={} if comparison is None else comparison.parity_refused,
    )


def _scores(overall: Overall, scenario: str, arm: ArmName) -> ArmScores:
    by_seed = [overall.scores_in(scenario, arm, greedy=greedy) for greedy in (False, True)]
    return ArmScores(
        arm=arm,
        seeds=tuple(by_seed[0]),
        sampled=tuple(by_seed[0].values()),
        greedy=tuple(by_seed[1].values()),
    )


def write_overall(overall: Overall, directory: Path) -> Path:
    """Write ``report.html``, ``report.md``, its pictures and ``overall.json``.

    Returns:
        The path of the page.

    Raises:
        CaptureError: The directory cannot be written.
        TrainingError: jinja2, plotly or matplotlib is not installed.
    """
    from townlet_replay.compare.overall_page import html_of
    from townlet_replay.compare.overall_text import markdown
    from townlet_replay.compare.pictures import picture_of

    charts = overall_charts(overall)
    groups: dict[str, list[Chart]] = {}
    for chart in charts:
        groups.setdefault(chart.group, []).append(chart)
    pictures = {f"{group}.png": picture_of(found) for group, found in groups.items()}
    text = markdown(overall, {group: f"{group}.png" for group in groups})
    page = html_of(overall, charts)
    files = {TEXT: text.encode("utf-8"), PAGE: page.encode("utf-8")}
    write_files(directory, {**pictures, **files, OVERALL: to_json(results_of(overall))})
    return directory / PAGE


def overall_table(overall: Overall) -> RichTable:
    """Return the figures over scenarios as a table for a terminal of eighty columns."""
    from rich.table import Table

    table = Table()
    table.add_column("arm", no_wrap=True)
    for heading in ("IQM,\nsampled", "IQM,\ngreedy", "P(better)", "median", "gap"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in overall.lines():
        estimates = (narrow(found) for found in (line.sampled, line.greedy, line.improvement))
        table.add_row(line.arm, *estimates, f"{line.median:.2f}", f"{line.gap:.2f}")
    return table
