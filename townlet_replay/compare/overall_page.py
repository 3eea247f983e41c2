"""The report over several scenarios as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from townlet_replay.compare import overall_wording as words
from townlet_replay.compare.overall import Overall
from townlet_replay.compare.panels import Chart
from townlet_replay.compare.paper import keys_of, page_of, places_of
from townlet_replay.compare.report import PAGE


def html_of(overall: Overall, charts: Sequence[Chart]) -> str:
    """Return the page.

    Args:
        overall: What it is about.
        charts: Of it; see ``overall_charts``.

    Raises:
        TrainingError: jinja2 or plotly is not installed.
    """
    return page_of("overall.html", title_of(overall), _facts(overall, charts), charts)


def title_of(overall: Overall) -> str:
    """Return what the report is called."""
    return f"Comparison on {words.plural(len(overall.places), 'scenario')}"


def link_to(scenario: str, name: str) -> str:
    """Return the address of a scenario's own report, from beside the one over all.

    Args:
        scenario: Its folder.
        name: Of the file.
    """
    return f"./{quote(scenario, safe='')}/{name}"


def _facts(overall: Overall, charts: Sequence[Chart]) -> dict[str, Any]:
    """Return everything the template shows but the scripts."""
    standing = words.standing_sheet(overall)
    links = [
        None if place.comparison is None else link_to(place.name, PAGE) for place in overall.places
    ]
    return {
        "words": words,
        "complete": overall.complete,
        "counted": words.counted_in_words(overall),
        "badges": words.badges(overall),
        "troubles": words.troubles(overall),
        "verdict": words.overall_sheet(overall),
        "by_scenario": words.scenario_sheet(overall),
        "better": words.improvement_sheet(overall),
        "better_in_words": words.better_in_words(overall),
        "standing": standing,
        "standing_rows": list(zip(links, standing.rows, strict=True)),
        "groups": places_of(charts),
        "keys": keys_of(charts),
    }
