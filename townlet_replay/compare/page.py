"""The report as one file: charts and their library inside, nothing fetched, nothing else run."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, get_args

from townlet_replay.compare import wording
from townlet_replay.compare.charts import all_charts, cards_of
from townlet_replay.compare.findings import Findings
from townlet_replay.compare.panels import Group
from townlet_replay.compare.plotly_charts import figure_of
from townlet_replay.errors import TrainingError
from townlet_replay.view.packed import as_json
from townlet_replay.view.shell import source_of

TEMPLATES = Path(__file__).parent / "templates"
_SECTIONS = {
    "verdict": "Verdict",
    "curves": "Learning curves",
    "profile": "Profile",
    "kpis": "Key figures",
    "thresholds": "Steps to a score",
    "equality": "Same or not",
    "capture": "Captures",
    "health": "Health",
    "agreement": "Agreement",
    "residents": "Residents",
    "everything": "Every seed",
}
_GROUPS: tuple[Group, ...] = get_args(Group)


def html_of(findings: Findings) -> str:
    """Return the page.

    Names in results may come from strangers. Texts are escaped by the template; charts are JSON in
    which no character can end the element, and whose texts hold no tag that plotly reads. The
    page's policy lets the two scripts run whose SHA-256 it names, and no connection be made.

    Raises:
        TrainingError: jinja2 or plotly is not installed.
    """
    jinja2, markup = _library("jinja2"), _library("markupsafe").Markup
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    library = _inline(_library("plotly.offline").get_plotlyjs())
    script = _inline((TEMPLATES / "report.js").read_text("utf-8"))
    facts = _facts(findings)
    found = facts["groups"]
    present = {name for name in _GROUPS if found[name]}
    sections = [
        (anchor, title)
        for anchor, title in _SECTIONS.items()
        if anchor in present
        or anchor in ("verdict", "residents", "everything")
        or (anchor == "equality" and facts["pairs"].rows)
    ]
    text: str = environment.get_template("report.html").render(
        **facts,
        sections=sections,
        policy=_policy(library, script),
        style=markup((TEMPLATES / "report.css").read_text("utf-8")),
        library=markup(library),
        script=markup(script),
        data=markup(_data(findings)),
    )
    return text


def _facts(findings: Findings) -> dict[str, Any]:
    """Return everything the template shows but the scripts."""
    comparison = findings.comparison
    groups: dict[Group, list[dict[str, Any]]] = {name: [] for name in _GROUPS}
    for number, chart in enumerate(all_charts(findings)):
        about = {"number": number, "title": chart.title, "wide": chart.wide}
        groups[chart.group].append(about)
    arms = comparison.arms
    return {
        "scenario": comparison.scenario,
        "complete": comparison.complete,
        "seeds": wording.seeds_in_words(findings),
        "scale": wording.scale_in_words(findings),
        "badges": wording.badges(findings),
        "verdict": wording.verdict_sheet(findings),
        "refused": [(arm.name, arm.refused) for arm in arms if arm.refused is not None],
        "ways": wording.way_sheet(findings),
        "capture": comparison.capture,
        "kpis": wording.kpi_sheet(findings),
        "thresholds": wording.threshold_sheet(findings),
        "pairs": wording.pair_sheet(findings),
        "cards": [
            (card.title, wording.card_sheet(card), groups["capture"][2 * k : 2 * k + 2])
            for k, card in enumerate(cards_of(findings))
        ],
        "stages": wording.stage_sheet(findings),
        "residents": wording.resident_sheet(findings),
        "scores": wording.score_sheet(findings),
        "every_seed": wording.seed_sheet(findings),
        "settings": json.dumps(comparison.training, indent=1),
        "groups": groups,
    }


def _data(findings: Findings) -> str:
    """Return the charts as JSON that cannot end its element."""
    figures = [figure_of(chart) for chart in all_charts(findings)]
    return as_json(figures)


def _inline(script: str) -> str:
    """Return a script that can stand inside an element: its own end is not to be found in it."""
    plain = script.replace("\r\n", "\n").replace("\r", "\n")
    return plain.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _policy(*scripts: str) -> str:
    """Return a content security policy that allows these scripts and no connection.

    Styles may be inline, as plotly writes its own; they can run nothing and fetch nothing.
    """
    names = " ".join(map(source_of, scripts))
    return (
        f"default-src 'none'; script-src {names}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise TrainingError(
            f'a report needs {package}: install it with "pip install townlet[report]"'
        ) from error
