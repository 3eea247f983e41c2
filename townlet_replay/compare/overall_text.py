"""The report over several scenarios as Markdown, with pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping

from townlet_replay.compare import overall_wording as words
from townlet_replay.compare.overall import Overall
from townlet_replay.compare.overall_page import link_to, title_of
from townlet_replay.compare.report import TEXT
from townlet_replay.compare.text import escaped, table
from townlet_replay.compare.wording import Sheet

_DESCRIBED = {
    "overall": "Interquartile means over scenarios with 95% intervals",
    "profile": "Performance profile over scenarios",
    "scenarios": "Scores in each scenario",
}


def markdown(overall: Overall, pictures: Mapping[str, str]) -> str:
    """Return the text of the report.

    Args:
        overall: What it is about.
        pictures: Group of charts -> name of the file beside the text.
    """
    state = "" if overall.complete else f"\n**{words.INCOMPLETE}**\n"
    parity = words.badges(overall)
    parts = [
        f"# {title_of(overall)}\n{state}",
        "## Verdict\n",
        f"{escaped(words.counted_in_words(overall))}\n",
        *_list(words.troubles(overall)),
        *_sheet(words.overall_sheet(overall), words.VERDICT),
        _image(pictures, "overall"),
        *_part("Performance profile", words.PROFILE, _image(pictures, "profile")),
        "## Scenario by scenario\n",
        *_sheet(words.scenario_sheet(overall), words.BY_SCENARIO),
        *_sheet(words.improvement_sheet(overall), words.better_in_words(overall)),
        _image(pictures, "scenarios"),
        "## Scenarios\n",
        f"{words.STANDING}\n",
        _standing(overall),
        *([f"{words.PARITY}\n"] if parity else []),
        *_list([text for _, text in parity]),
    ]
    return "\n".join(part for part in parts if part)


def _list(sentences: list[str]) -> list[str]:
    return ["".join(f"- {escaped(sentence)}\n" for sentence in sentences)] if sentences else []


def _part(title: str, text: str, body: str) -> list[str]:
    return [f"## {title}\n", f"{text}\n", body] if body else []


def _sheet(sheet: Sheet, text: str) -> list[str]:
    return [f"{text}\n", table(sheet)] if sheet.rows else []


def _standing(overall: Overall) -> str:
    """Return the table of scenarios, each leading to its own report."""
    sheet = words.standing_sheet(overall)
    lines = table(sheet).splitlines()
    rows = []
    for place, line in zip(overall.places, lines[2:], strict=True):
        cell = escaped(place.name)
        target = link_to(place.name, TEXT).replace("(", "%28").replace(")", "%29")
        link = cell if place.comparison is None else f"[{cell}]({target})"
        rows.append(line.replace(f"| {cell} |", f"| {link} |", 1))
    return "\n".join([*lines[:2], *rows]) + "\n"


def _image(pictures: Mapping[str, str], group: str) -> str:
    return f"![{_DESCRIBED[group]}]({pictures[group]})\n" if group in pictures else ""
