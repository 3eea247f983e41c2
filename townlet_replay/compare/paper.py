"""A page as one file: charts and their library inside, nothing fetched, nothing else run."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from townlet_replay.compare.panels import SHARED, Chart, Group
from townlet_replay.compare.plotly_charts import figure_of
from townlet_replay.errors import TrainingError
from townlet_replay.view.packed import as_json
from townlet_replay.view.shell import source_of

TEMPLATES = Path(__file__).parent / "templates"
GROUPS: tuple[Group, ...] = get_args(Group)

_SIGNS = {
    None: "\u2501",
    "circle": "\u25cf",
    "square": "\u25a0",
    "triangle-up": "\u25b2",
    "triangle-down": "\u25bc",
    "diamond": "\u25c6",
    "cross": "\u271a",
    "x": "\u2715",
}


def page_of(template: str, title: str, facts: Mapping[str, Any], charts: Sequence[Chart]) -> str:
    """Return a page.

    Names in results may come from strangers. Texts are escaped by the template; charts are JSON in
    which no character can end the element, and whose texts hold no tag that plotly reads. The
    page's policy lets the two scripts run whose SHA-256 it names, and no connection be made.

    Args:
        template: Name of a file that extends ``frame.html``.
        title: Of the window.
        facts: What the template shows.
        charts: What its places ``data-chart`` name by number.

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
    text: str = environment.get_template(template).render(
        **facts,
        title=title,
        policy=_policy(library, script),
        style=markup((TEMPLATES / "report.css").read_text("utf-8")),
        library=markup(library),
        script=markup(script),
        data=markup(as_json([figure_of(chart) for chart in charts])),
    )
    return text


def places_of(charts: Sequence[Chart]) -> dict[Group, list[dict[str, Any]]]:
    """Return what a template needs to place charts, by group; a group without charts is empty."""
    groups: dict[Group, list[dict[str, Any]]] = {name: [] for name in GROUPS}
    for number, chart in enumerate(charts):
        about = {"number": number, "title": chart.title, "wide": chart.wide}
        groups[chart.group].append(about)
    return groups


def keys_of(charts: Sequence[Chart]) -> dict[Group, list[tuple[str, str, str]]]:
    """Return sign, colour and name of everything in the legend that the charts of a group share."""
    return {group: _keys([c for c in charts if c.group == group]) for group in SHARED}


def _keys(charts: Sequence[Chart]) -> list[tuple[str, str, str]]:
    named = [s for chart in charts for s in chart.series if not s.faint and s.kind != "band"]
    found: dict[str, tuple[str, str, str]] = {}
    for series in named:
        found.setdefault(series.name, (_SIGNS[series.marker], series.colour, series.name))
    return list(found.values())


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
