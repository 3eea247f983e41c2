"""Tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; bars and line ends inside cells are made harmless."""
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def code(text: object) -> str:
    """Return ``text`` set as code; nothing stays nothing."""
    return f"`{text}`" if text != "" else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
