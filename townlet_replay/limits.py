"""How large a capture and its files may grow, and what gives way then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from townlet_replay.entries import ManifestEntry
from townlet_replay.sample import ReplaySample
from townlet_replay.tools.cutting import cut_rows

WhenFull = Literal["stop", "drop_oldest"]


class Limits(NamedTuple):
    """Of one capture; ``None`` is no limit."""

    rows_per_file: int | None = None  # a longer life is cut, each piece a sample of its own
    bytes: int | None = None  # of all files together
    when_full: WhenFull = "stop"

    def pieces(self, samples: Sequence[ReplaySample]) -> Iterator[ReplaySample]:
        """Yield the samples, long ones in pieces that a learner can use as they are."""
        for sample in samples:
            step = self.rows_per_file or sample.rows
            for start in range(0, sample.rows, step):
                yield cut_rows(sample, start, min(start + step, sample.rows))


def without_oldest(entries: Sequence[ManifestEntry]) -> list[ManifestEntry]:
    """Return the entries without those of the episode that was written first."""
    oldest = entries[0].episode_id
    return [entry for entry in entries if entry.episode_id != oldest]
