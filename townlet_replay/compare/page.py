"""The report of a comparison as a page."""

from __future__ import annotations

import json
from typing import Any

from townlet_replay.compare import wording
from townlet_replay.compare.best import best_in_words, best_sheet
from townlet_replay.compare.charts import all_charts, cards_of
from townlet_replay.compare.findings import Findings
from townlet_replay.compare.paper import GROUPS, keys_of, page_of, places_of
from townlet_replay.compare.sentences import sentences

_SECTIONS = {
    "verdict": "Verdict",
    "curves": "Learning curves",
    "best": "Best checkpoint",
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


def html_of(findings: Findings) -> str:
    """Return the page.

    Raises:
        TrainingError: jinja2 or plotly is not installed.
    """
    facts = _facts(findings)
    found = facts["groups"]
    present = {name for name in GROUPS if found[name]}
    sections = [
        (anchor, title)
        for anchor, title in _SECTIONS.items()
        if anchor in present
        or anchor in ("verdict", "best", "residents", "everything")
        or (anchor == "equality" and facts["pairs"].rows)
    ]
    title = f"Comparison on {findings.comparison.scenario}"
    return page_of("report.html", title, {**facts, "sections": sections}, all_charts(findings))


def _facts(findings: Findings) -> dict[str, Any]:
    """Return everything the template shows but the scripts."""
    comparison = findings.comparison
    groups = places_of(all_charts(findings))
    arms = comparison.arms
    return {
        "scenario": comparison.scenario,
        "complete": comparison.complete,
        "seeds": wording.seeds_in_words(findings),
        "scale": wording.scale_in_words(findings),
        "sentences": sentences(findings),
        "badges": wording.badges(findings),
        "verdict": wording.verdict_sheet(findings),
        "refused": [(arm.name, arm.refused) for arm in arms if arm.refused is not None],
        "ways": wording.way_sheet(findings),
        "capture": comparison.capture,
        "best": best_sheet(findings),
        "best_how": best_in_words(findings),
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
        "keys": keys_of(all_charts(findings)),
    }
