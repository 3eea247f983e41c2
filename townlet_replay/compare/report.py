"""The report of a comparison: one page with everything in it, and its twin in Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from townlet_replay.compare.charts import all_charts
from townlet_replay.compare.findings import Findings
from townlet_replay.compare.panels import Chart
from townlet_replay.compare.results import Comparison
from townlet_replay.compare.wording import NONE, count, number
from townlet_replay.safe_files import write_files

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from townlet_replay.compare.statistics import Estimate

PAGE, TEXT = "report.html", "report.md"


def write_report(comparison: Comparison, directory: Path) -> Path:
    """Write ``report.html``, ``report.md`` and its pictures, and return the path of the first.

    Raises:
        CaptureError: The directory cannot be written.
        TrainingError: jinja2, plotly or matplotlib is not installed.
    """
    from townlet_replay.compare.page import html_of
    from townlet_replay.compare.pictures import picture_of
    from townlet_replay.compare.text import markdown

    findings = Findings(comparison)
    groups: dict[str, list[Chart]] = {}
    for chart in all_charts(findings):
        groups.setdefault(chart.group, []).append(chart)
    pictures = {f"{group}.png": picture_of(charts) for group, charts in groups.items()}
    text = markdown(findings, {group: f"{group}.png" for group in groups})
    files = {TEXT: text.encode("utf-8"), PAGE: html_of(findings).encode("utf-8")}
    write_files(directory, {**pictures, **files})
    return directory / PAGE


def summary_table(comparison: Comparison) -> RichTable:
    """Return the final scores as a table for a terminal of eighty columns."""
    from rich.table import Table

    table = Table()
    table.add_column("arm", no_wrap=True)
    for heading in ("sampled", "greedy", "nor-\nmalised", "live\nsteps", "captured\nsteps"):
        table.add_column(heading, justify="right")
    for line in Findings(comparison).verdicts():
        budget = line.budget
        if budget is None:
            table.add_row(line.arm.name, "refused", "", "", "", "")
            continue
        normalised = None if line.normalised is None else line.normalised.value
        scores = narrow(line.sampled), narrow(line.greedy), number(normalised, 2)
        table.add_row(line.arm.name, *scores, count(budget.live), count(budget.captured))
    return table


def stages_table(comparison: Comparison) -> RichTable:
    """Return what each stage of the capture arms did to agreement and scores."""
    from rich.table import Table

    from townlet_replay.compare.wording import stage_sheet

    table = Table()
    table.add_column("arm", no_wrap=True)
    table.add_column("stage")
    for heading in ("agrees with\ncapture", "sampled", "greedy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in stage_sheet(Findings(comparison)).rows:
        if row[0].startswith("capture"):
            table.add_row(*row)
    return table


def narrow(found: Estimate | None) -> str:
    """Return a figure, with its interval on a line below."""
    if found is None or found.low is None or found.high is None:
        return NONE if found is None else number(found.value)
    return f"{found.value:.3f}\n{found.low:.2f} to {found.high:.2f}"
