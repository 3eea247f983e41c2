"""Pages with generated tables: found by their markers, rendered, compared, written.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from townlet_env.errors import ConfigError, nearest
from townlet_replay.reference import card, commands, programs, settings, town

TABLES: dict[str, Callable[[], str]] = {
    "actions": town.actions,
    "affordances": town.affordances,
    "features": town.features,
    "map channels": town.map_channels,
    "reward components": town.reward_components,
    "events": town.events,
    "scenarios": town.scenarios,
    "scenario keys": settings.scenario_keys,
    "object keys": settings.object_keys,
    "resident keys": settings.resident_keys,
    "job keys": settings.job_keys,
    "rule settings": settings.rule_settings,
    "training settings": settings.training_settings,
    "environment card": card.card,
    "observations": card.observations,
    "arguments": card.arguments,
    "sidecar": settings.sidecar,
    "manifest entry": settings.manifest_entry,
    "commands": commands.commands,
    "examples": programs.examples,
}

_MARKED = re.compile(
    r"(?P<begin><!-- table: (?P<name>[a-z ]+) -->\n).*?(?P<end><!-- end of table -->)", re.DOTALL
)


def pages(root: Path) -> list[Path]:
    """Return the README and every page of the documents, sorted."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def render(text: str) -> str:
    """Return the text of a page with its tables as the code has them now.

    Raises:
        ConfigError: A marker names a table that does not exist.
    """
    return _MARKED.sub(_table, text)


def _table(found: re.Match[str]) -> str:
    name = found["name"]
    if name not in TABLES:
        raise ConfigError(f"<!-- table: {name} -->: unknown table{nearest(name, TABLES)}")
    return f"{found['begin']}\n{TABLES[name]()}\n\n{found['end']}"


def refresh(root: Path, *, write: bool) -> list[Path]:
    """Return the pages whose tables differ from the code, written anew if asked for.

    Raises:
        ConfigError: There is no README, or a marker names a table that does not exist.
    """
    if not (root / "README.md").is_file():
        raise ConfigError(f"{root}: expected the folder of README.md and docs, found no README.md")
    changed = []
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        now = render(text)
        if now != text:
            changed.append(page)
            if write:
                page.write_text(now, encoding="utf-8")
    return changed
