"""Every error the town raises on purpose.

::

    TownletError
    ├── ConfigError        a scenario, catalogue or override is wrong; names file and dotted key
    ├── ResetNeeded        ``step`` before ``reset``, or after every resident is done
    ├── ActionError        an action for nobody, or that is no whole number
    ├── SnapshotError      a state that does not belong to this environment
    └── (townlet_replay.errors)
        ├── CaptureError     a capture, sample or manifest is wrong; names file and array
        │   ├── DiskError      it cannot be written now; what could not be written is kept
        │   └── CaptureFullError  it has the size it may have
        ├── CheckpointError  weights that do not fit, or are damaged
        ├── TrainingError    settings or data that cannot be trained on
        └── TelemetryError   a log line that does not follow the schema

A message says what was expected, what was found, where, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class TownletError(Exception):
    """Base class of every error raised on purpose; the command line prints it without a trace."""


class ConfigError(TownletError):
    """A scenario, catalogue, training file or override is wrong."""


class ResetNeeded(TownletError):
    """``step`` was called on an environment that has no live episode."""


class ActionError(TownletError):
    """An action for somebody who does not live here, or that is no whole number."""


class SnapshotError(TownletError):
    """A saved state does not belong to the environment it is loaded into."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Say what ``word`` was probably meant to be.

    Returns:
        ``"; did you mean 'ticks'?"`` or, without a near match, the sorted list of known words.
    """
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"
