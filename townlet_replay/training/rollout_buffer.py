"""What a capture of the current policy leaves in memory."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.capture import record_policy
from townlet_replay.manifest import Capture, load_capture
from townlet_replay.policy.runtime import PolicyRuntime
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

    @classmethod
    def record(
        cls,
        town: TownletParallelEnv,
        runtime: PolicyRuntime,
        course: tuple[int, int, int],
        save_dir: Path | None,
    ) -> RolloutBuffer:
        """Let a policy play, as files and back.

        Args:
            town: Told in detail.
            runtime: The policy.
            course: Ticks, seed of the first episode, and number of the policy's cycle.
            save_dir: Keeps the capture there; None: it is temporary.

        Raises:
            CaptureError: It cannot be written.
        """
        ticks, seed, version = course
        with tempfile.TemporaryDirectory(prefix="townlet-rollout-") as folder:
            out = Path(folder) / "capture" if save_dir is None else save_dir
            record_policy(town, runtime, out, ticks=ticks, seed=seed, version=version)
            return cls.read(load_capture(out), ticks, save_dir)

    @property
    def rows(self) -> int:
        """Agent steps."""
        return sum(sample.rows for sample in self.samples)

    def rollout(self) -> Rollout:
        """Return all samples packed for a learner."""
        return pack(self.samples)
