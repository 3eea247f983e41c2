"""What a capture of the current policy leaves in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from townlet_replay.manifest import Capture
from townlet_replay.rollout import Rollout, pack
from townlet_replay.sample import ReplaySample
from townlet_replay.sidecar import SampleMetrics


@dataclass(frozen=True)
class RolloutBuffer:
    """Samples of one capture, read back from the files that were written.

    Attributes:
        samples: One per life and episode.
        metrics: Of the samples, in the same order.
        ticks: Ticks that were captured.
        directory: Where the capture is kept; None if it was temporary.
    """

    samples: tuple[ReplaySample, ...]
    metrics: tuple[SampleMetrics, ...]
    ticks: int
    directory: Path | None

    @classmethod
    def read(cls, capture: Capture, ticks: int, directory: Path | None) -> RolloutBuffer:
        """Read every sample of a capture.

        Raises:
            CaptureError: A file is missing, altered or wrong.
        """
        entries = capture.manifest.samples
        metrics = tuple(capture.metrics.samples[entry.sample] for entry in entries)
        return cls(tuple(capture), metrics, ticks, directory)

    @property
    def rows(self) -> int:
        """Agent steps."""
        return sum(sample.rows for sample in self.samples)

    def rollout(self) -> Rollout:
        """Return all samples packed for a learner."""
        return pack(self.samples)
