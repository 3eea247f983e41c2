"""Writing a capture, one complete episode after the other.

An episode is on disk when :meth:`CaptureWriter.write_episode` returns: its samples first, then the
metrics, the manifest last, each file whole or absent. A reader follows the manifest, so it sees all
of an episode or nothing of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from townlet_replay.errors import CaptureError
from townlet_replay.manifest import (
    MANIFEST_SUFFIX,
    METRICS_SUFFIX,
    Manifest,
    ManifestEntry,
    load_manifest,
)
from townlet_replay.metrics import CaptureMetrics, capture_totals
from townlet_replay.safe_files import (
    inside,
    sha256_of,
    to_json,
    write_files,
)
from townlet_replay.sample import ReplaySample, encode_sample, written_as
from townlet_replay.sidecar import CaptureMetadata, Mode, SampleMetrics

DEFAULT_PREFIX = "rollout_sample"

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SLUG_LENGTH = 40


class WriterSettings(NamedTuple):
    """How a capture is written."""

    prefix: str = DEFAULT_PREFIX
    metadata: CaptureMetadata = CaptureMetadata()  # of the capture as a whole
    compress: bool = True
    overwrite: bool = False  # an older capture goes when the first new episode is complete
    mode: Mode = "full"


class CaptureWriter:
    """Adds episodes to a new capture in a directory."""

    def __init__(self, directory: str | Path, settings: WriterSettings | None = None) -> None:
        """Prepare to write; nothing is touched before the first episode.

        Args:
            directory: created when needed. Other captures in it, with other prefixes, stay.
            settings: prefix, metadata, compression, what to do with an older capture.

        Raises:
            CaptureError: a prefix that cannot begin a file name, or a capture with this prefix is
                there and ``overwrite`` is not set, or is there but cannot be read.
        """
        self.directory = Path(directory)
        self.settings = settings or WriterSettings()
        self._entries: list[ManifestEntry] = []
        self._metrics: dict[str, SampleMetrics] = {}
        self._written: dict[str, int] = {}  # samples per agent
        prefix = self.settings.prefix
        if not _PREFIX.fullmatch(prefix):
            raise CaptureError(
                f"the prefix {prefix!r} cannot begin a file name: expected a letter or digit, then "
                "up to 63 letters, digits, '_' or '-'"
            )
        self.manifest_path = self.directory / f"{prefix}{MANIFEST_SUFFIX}"
        self._old = self._older_files()

    def _older_files(self) -> list[str]:
        """Names of the files of the capture that is there, its manifest first."""
        if not self.manifest_path.exists():
            return []
        if not self.settings.overwrite:
            raise CaptureError(
                f"{self.manifest_path}: there is a capture already; choose another directory or "
                "prefix, or set overwrite=True (--overwrite) to replace it"
            )
        old = load_manifest(self.manifest_path)
        samples = [name for entry in old.samples for name in (entry.sample, entry.meta)]
        for name in samples:
            inside(self.directory, name)
        return [self.manifest_path.name, f"{self.settings.prefix}{METRICS_SUFFIX}", *samples]

    @property
    def episodes(self) -> int:
        """Number of episodes on disk."""
        return len({entry.episode_id for entry in self._entries})

    def write_episode(self, samples: Sequence[ReplaySample]) -> Manifest:
        """Write the samples of one episode and the manifest that names them.

        Returns:
            The manifest as it is on disk now.

        Raises:
            CaptureError: a sample without metrics, or the disk refuses. The episodes written before
                are intact, and the manifest lists exactly those.
        """
        files: dict[str, bytes] = {}
        entries: list[ManifestEntry] = []
        metrics: dict[str, SampleMetrics] = {}
        written = dict(self._written)
        for sample in samples:
            agent = sample.meta.agent_id
            stem = f"{self.settings.prefix}_{agent_slug(agent)}_{written.get(agent, 0):03d}"
            written[agent] = written.get(agent, 0) + 1
            entry, contents, summary = self._encode(sample, stem)
            entries.append(entry)
            files.update(contents)
            metrics[entry.sample] = summary
        if not entries:
            return self._manifest(self._entries)
        manifest = self._manifest([*self._entries, *entries])
        totals = capture_totals([*self._metrics.values(), *metrics.values()])
        document = CaptureMetrics(totals=totals, samples={**self._metrics, **metrics})
        summaries = {
            f"{self.settings.prefix}{METRICS_SUFFIX}": to_json(document),
            self.manifest_path.name: to_json(manifest),
        }
        if self._old:  # it goes, its manifest first, only when all that follows it is on disk
            write_files(self.directory, {**files, **summaries}, instead_of=self._old)
            self._old = []
        else:
            write_files(self.directory, files)
            write_files(self.directory, summaries)
        self._entries += entries
        self._metrics.update(metrics)
        self._written = written
        return manifest

    def _manifest(self, entries: Sequence[ManifestEntry]) -> Manifest:
        return Manifest(metadata=self.settings.metadata, samples=tuple(entries))

    def _encode(
        self, sample: ReplaySample, stem: str
    ) -> tuple[ManifestEntry, dict[str, bytes], SampleMetrics]:
        metrics = sample.meta.metrics
        if metrics is None:
            raise CaptureError(
                f"sample of agent {sample.meta.agent_id!r}, episode {sample.meta.episode_id}: has "
                "no metrics; add them with sample_metrics before it is written"
            )
        mode = self.settings.mode
        arrays = encode_sample(sample, compress=self.settings.compress, mode=mode)
        sidecar = to_json(written_as(sample.meta, mode, npz=sha256_of(arrays)))
        entry = ManifestEntry(
            sample=f"{stem}.npz",
            meta=f"{stem}.json",
            agent_id=sample.meta.agent_id,
            episode_id=sample.meta.episode_id,
            rows=sample.rows,
            episode_return=metrics.reward_sum,
            sha256=sha256_of(arrays),
            meta_sha256=sha256_of(sidecar),
            tags=sample.meta.tags,
        )
        return entry, {entry.sample: arrays, entry.meta: sidecar}, metrics


def agent_slug(agent_id: str) -> str:
    """Return a part of a file name for any agent id; different ids give different parts.

    Lower-case letters, digits, ``_`` and ``-`` stay. An id that has anything else, or is long, is
    cut down to those and gets a hash, so that no two ids meet on a disk that ignores case.
    """
    plain = re.sub(r"[^a-z0-9_-]", "-", agent_id.lower())[:_SLUG_LENGTH]
    if plain == agent_id and plain:
        return plain
    digest = hashlib.sha256(agent_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{plain}-{digest}"
