"""The page to watch a recording, as one file that needs nothing else: no server, no network."""

from __future__ import annotations

from pathlib import Path

from townlet_replay.safe_files import write_files
from townlet_replay.view.shell import page_of
from townlet_replay.view.town_film import Facts

BODY = "watch.html"
PROGRAMS = (
    "common.js",
    "watch_facts.js",
    "watch_town.js",
    "watch_rows.js",
    "watch_rewards.js",
    "watch_line.js",
    "watch_side.js",
    "watch.js",
)


def html_of(facts: Facts) -> str:
    """Return the page.

    Names and texts of a capture come from strangers: they are JSON inside the page, in which no
    character can end the element, and are only ever shown as text.

    Raises:
        CaptureError: jinja2 is not installed.
    """
    return page_of(f"{facts['title']}, episode {facts['episode']}", facts, BODY, PROGRAMS)


def write_page(facts: Facts, path: str | Path) -> Path:
    """Write the page, whole or not at all, and return where it is.

    Raises:
        CaptureError: jinja2 is not installed, or the disk refuses.
    """
    out = Path(path)
    write_files(out.parent, {out.name: html_of(facts).encode("utf-8")})
    return out
