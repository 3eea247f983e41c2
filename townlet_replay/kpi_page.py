"""Key figures as Markdown, and the page that shows them.

They stand between ``<!-- kpis: SCENARIO -->`` and ``<!-- end of kpis -->``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from townlet_env.errors import ConfigError
from townlet_env.kpis import KPIS, Floats, Kpis
from townlet_replay.reference.markdown import code, table

_END = "<!-- end of kpis -->"


def kpi_rows(found: Sequence[Kpis]) -> list[list[str]]:
    """Return figure, meaning and one cell per policy: the mean over seeds, lowest and highest."""
    return [[kpi.title, kpi.meaning, *(_range(kpis.of(kpi)) for kpis in found)] for kpi in KPIS]


def finish_rows(found: Sequence[Kpis]) -> list[list[str]]:
    """Return affordance and one cell per policy: finished a day in the seed with the fewest."""
    names = found[0].affordances
    fewest = [kpis.fewest_a_day for kpis in found]
    return [[name, *(f"{counts[a]:g}" for counts in fewest)] for a, name in enumerate(names)]


def kpi_tables(found: Sequence[Kpis]) -> str:
    """Return both tables as Markdown."""
    policies = [code(kpis.policy) for kpis in found]
    finishes = [[code(name), *cells] for name, *cells in finish_rows(found)]
    return "\n\n".join(
        (
            f"{len(found[0].seeds)} seeds; mean over seeds (lowest to highest):",
            table(("figure", "meaning", *policies), kpi_rows(found)),
            "Finished a day by all residents together, in the seed with the fewest:",
            table(("affordance", *policies), finishes),
        )
    )


def with_kpis(text: str, scenario: str, found: Sequence[Kpis]) -> str:
    """Return the text of a page with the figures of a scenario as they are now."""
    now = f"{_begin(scenario)}\n\n{kpi_tables(found)}\n\n{_END}"
    return _place(scenario).sub(lambda _: now, text)


def write_kpis(page: Path, scenario: str, found: Sequence[Kpis]) -> None:
    """Write the figures of a scenario into a page; ``check_page`` says whether that can be."""
    text = page.read_text(encoding="utf-8")
    page.write_text(with_kpis(text, scenario, found), encoding="utf-8")


def check_page(page: Path, scenario: str) -> None:
    """Find the place for the figures of a scenario.

    Raises:
        ConfigError: The page is not there, or has no place for them.
    """
    if not page.is_file():
        raise ConfigError(f"{page}: expected a page of Markdown, found none")
    if not _place(scenario).search(page.read_text(encoding="utf-8")):
        raise ConfigError(
            f"{page}: expected a line {_begin(scenario)} and after it one {_END}, found none"
        )


def _begin(scenario: str) -> str:
    return f"<!-- kpis: {scenario} -->"


def _place(scenario: str) -> re.Pattern[str]:
    return re.compile(f"{re.escape(_begin(scenario))}\n.*?{re.escape(_END)}", re.DOTALL)


def _range(figures: Floats) -> str:
    """Return the mean, lowest and highest; a blank where there is nothing to measure."""
    if np.isnan(figures).any():
        return ""
    mean, low, high = (f"{value:.3f}" for value in (figures.mean(), figures.min(), figures.max()))
    return mean if low == high else f"{mean} ({low} to {high})"
