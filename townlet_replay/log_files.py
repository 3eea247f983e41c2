"""What a killed writer of an action log leaves: files that no list names, and temporary ones."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from townlet_replay.leftovers import final_name, names_in
from townlet_replay.manifest import LOG_JOURNAL_SUFFIX, LOG_SUFFIX

EPISODES = r"_episodes_\d{3,}\.npz"


def log_leftovers(directory: Path, prefix: str, named: Collection[str]) -> list[str]:
    """Return the files of a killed writer of a log of this prefix, temporary ones included.

    Args:
        directory: of the log.
        prefix: of the log.
        named: files of the log that are no leftovers.
    """
    ends = "|".join([EPISODES, re.escape(LOG_SUFFIX), re.escape(LOG_JOURNAL_SUFFIX)])
    own = re.compile(rf"{re.escape(prefix)}(?:{ends}|_scenario\.json\.gz)")
    return [
        name
        for name in names_in(directory)
        if own.fullmatch(final_name(name)) and (name != final_name(name) or name not in named)
    ]
