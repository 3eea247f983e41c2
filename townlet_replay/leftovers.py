"""What a writer that was killed leaves: files that no manifest names, and temporary ones."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from townlet_replay.bundle import BUNDLE_SUFFIX, containers
from townlet_replay.entries import JOURNAL_SUFFIX
from townlet_replay.lock import LOCK_SUFFIX
from townlet_replay.manifest import LOG_SUFFIX, MANIFEST_SUFFIX, METRICS_SUFFIX, Capture
from townlet_replay.safe_files import TEMPORARY_SUFFIX

_SUMMARIES = "|".join(map(re.escape, (MANIFEST_SUFFIX, METRICS_SUFFIX, JOURNAL_SUFFIX)))
_SUMMARY = re.compile(
    rf"(\.?)(.+?)(?:{_SUMMARIES}|{re.escape(LOG_SUFFIX)})(?:{re.escape(TEMPORARY_SUFFIX)})?"
)
_LOCK = re.compile(rf"\.(.+){re.escape(LOCK_SUFFIX)}")


def names_in(directory: Path) -> list[str]:
    """Return the names of the regular files of a directory, sorted; links are left out."""
    if not directory.is_dir():
        return []
    return sorted(p.name for p in directory.iterdir() if p.is_file() and not p.is_symlink())


def final_name(name: str) -> str:
    """Return the name that a temporary file was to get; any other name as it is."""
    if name.startswith(".") and name.endswith(TEMPORARY_SUFFIX):
        return name[1:].removesuffix(TEMPORARY_SUFFIX)
    return name


def prefixes_in(names: Collection[str]) -> set[str]:
    """Return the prefixes of which something besides samples is there."""
    found = [_SUMMARY.fullmatch(name) or _LOCK.fullmatch(name) for name in names]
    return {match[match.re.groups] for match in found if match is not None}


def leftovers(directory: Path, prefix: str, named: Collection[str]) -> list[str]:
    """Return the files of a killed writer of this prefix, temporary ones included.

    What could belong to another capture in the directory, whose prefix begins like this one or is
    its beginning, is not among them, nor what could be of an action log.

    Args:
        directory: of the capture.
        prefix: of the capture.
        named: files of the capture that are no leftovers.
    """
    names = names_in(directory)
    others = prefixes_in(names) - {prefix}
    if f"{prefix}{LOG_SUFFIX}" in names or any(prefix.startswith(f"{o}_") for o in others):
        return []
    foreign = tuple(f"{other}_" for other in others if other.startswith(f"{prefix}_"))
    files = rf"_[a-z0-9_-]+_\d{{3,}}\.(?:npz|json|{BUNDLE_SUFFIX[1:]})"
    own = re.compile(rf"{re.escape(prefix)}(?:{files}|{_SUMMARIES})")
    return [
        name
        for name in names
        if own.fullmatch(final_name(name))
        and not final_name(name).startswith(foreign)
        and (name != final_name(name) or name not in named)
    ]


def capture_leftovers(capture: Capture) -> list[str]:
    """Return what killed writers of a capture left beside it; see :func:`leftovers`."""
    named = containers(capture.manifest.samples)
    named += [capture.path.name, f"{capture.prefix}{METRICS_SUFFIX}", capture.journal.name]
    return leftovers(capture.directory, capture.prefix, named)
