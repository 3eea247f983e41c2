"""Writing a capture, one complete episode after the other.

An episode is on disk when :meth:`CaptureWriter.write_episode` returns: its samples first, then the
metrics, the manifest last, each file whole or absent. A reader follows the manifest, so it sees all
of an episode or nothing of it. In a large capture a line of the journal stands for the manifest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from townlet_replay.bundle import Shelf, containers
from townlet_replay.digests import member_digests
from townlet_replay.entries import JOURNAL_SUFFIX, JournalLine, ManifestEntry, entry_of
from townlet_replay.errors import CaptureError, CaptureFullError, DiskError
from townlet_replay.leftovers import final_name, leftovers
from townlet_replay.limits import Limits, without_oldest
from townlet_replay.lock import WriterLock
from townlet_replay.manifest import (
    MANIFEST_SUFFIX,
    METRICS_SUFFIX,
    Manifest,
    load_manifest,
    summary_files,
)
from townlet_replay.safe_files import append, inside, remove_files, sha256_of, write_files
from townlet_replay.sample import ReplaySample, encode_sample, written_as
from townlet_replay.sidecar import CaptureMetadata, Mode, SampleMeta, SampleMetrics, write_document

DEFAULT_PREFIX = "rollout_sample"
SHORT = 256  # samples in a manifest that is written anew with every episode

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SLUG_LENGTH = 40


class WriterSettings(NamedTuple):
    """How a capture is written."""

    prefix: str = DEFAULT_PREFIX
    metadata: CaptureMetadata = CaptureMetadata()  # of the capture as a whole
    compress: bool = True
    overwrite: bool = False  # an older capture goes when the first new episode is complete
    mode: Mode = "full"
    limits: Limits = Limits()
    bundle: bool = False  # the samples written together are one file; not where bytes are limited


class _Encoded(NamedTuple):
    """A sample as bytes, before it has a name."""

    arrays: bytes  # the NPZ
    sidecar: bytes
    meta: SampleMeta
    metrics: SampleMetrics
    sha256: str
    sidecar_sha256: str

    def entry(self, stem: str) -> ManifestEntry:
        """Return what is listed of it."""
        return entry_of(stem, self.meta, self.metrics, self.sha256, self.sidecar_sha256)


class CaptureWriter:
    """Adds episodes to a new capture in a directory.

    From its first episode until it is closed, or gone, no other writer may write this capture.
    """

    def __init__(self, directory: str | Path, settings: WriterSettings | None = None) -> None:
        """Prepare to write; nothing is touched before the first episode.

        Args:
            directory: created when needed. Other captures in it, with other prefixes, stay.
            settings: prefix, metadata, compression, what to do with an older capture.

        Raises:
            CaptureError: a prefix that cannot begin a file name, or a capture with this prefix is
                there and ``overwrite`` is not set, or is being written, or cannot be read.
        """
        self.directory = Path(directory)
        self.settings = settings or WriterSettings()
        self._entries: list[ManifestEntry] = []
        self._metrics: dict[str, SampleMetrics] = {}
        self._written: dict[str, int] = {}  # samples per agent
        self._sizes: dict[str, int] = {}  # bytes by name, of samples and sidecars
        self._bundles = 0  # that were written
        prefix = self.settings.prefix
        if not _PREFIX.fullmatch(prefix):
            raise CaptureError(
                f"the prefix {prefix!r} cannot begin a file name: expected a letter or digit, then "
                "up to 63 letters, digits, '_' or '-'"
            )
        self.manifest_path = self.directory / f"{prefix}{MANIFEST_SUFFIX}"
        self._journal_path = self.directory / f"{prefix}{JOURNAL_SUFFIX}"
        self._journal_size = 0  # bytes
        self._in_manifest = 0  # samples
        self._lock = WriterLock(self.manifest_path, prefix)
        self._check_free()
        self._begun = False  # has written over what was there
        self._tried: set[str] = set()  # names of files that could not be written, or not all

    def _check_free(self) -> None:
        """Refuse to write over something without being told to, or over what cannot be read."""
        found = self._files_there()
        if self.manifest_path.name in found:
            there = f"{self.manifest_path}: there is a capture already"
        else:
            samples = [name for name in found if name == final_name(name)]
            if not samples:
                return
            there = (
                f"{self.directory}: {samples[0]} is there without a manifest, left by a recording "
                "that was killed; recover it (townlet captures recover)"
            )
        if not self.settings.overwrite:
            raise CaptureError(
                f"{there}; choose another directory or prefix, or set overwrite=True (--overwrite) "
                "to replace it"
            )
        self._lock.acquire()  # to see at once whether somebody is still writing it
        self._lock.release()

    def _files_there(self) -> list[str]:
        """Names of the files of the capture that is there, its manifest first, and of leftovers."""
        if not self.manifest_path.exists():
            return leftovers(self.directory, self.settings.prefix, ())
        names = [self.manifest_path.name, f"{self.settings.prefix}{METRICS_SUFFIX}"]
        names.append(self._journal_path.name)
        if self.settings.overwrite:
            names += containers(load_manifest(self.manifest_path).samples)
            for name in names:
                inside(self.directory, name)
        return names + leftovers(self.directory, self.settings.prefix, names)

    @property
    def episodes(self) -> int:
        """Number of episodes on disk."""
        return len({entry.episode_id for entry in self._entries})

    def write_episode(self, samples: Sequence[ReplaySample]) -> None:
        """Write the samples of one episode, then what names them: the manifest, or the journal.

        Raises:
            DiskError: the disk refuses, or another writer was faster. The episodes written before
                are intact, and the manifest lists exactly those.
            CaptureFullError: the capture has the size it may have.
            CaptureError: a sample without metrics, or too large.
        """
        files: dict[str, bytes] = {}
        entries: list[ManifestEntry] = []
        metrics: dict[str, SampleMetrics] = {}
        written = dict(self._written)
        shelf = Shelf(self.settings.prefix, self._bundles) if self.settings.bundle else None
        for encoded in map(self._encode, self.settings.limits.pieces(samples)):
            agent = encoded.meta.agent_id
            stem = f"{self.settings.prefix}_{agent_slug(agent)}_{written.get(agent, 0):03d}"
            written[agent] = written.get(agent, 0) + 1
            entry = encoded.entry(shelf.path(stem) if shelf else stem)
            entries.append(entry)
            contents = {entry.sample: encoded.arrays, entry.meta: encoded.sidecar}
            (shelf.add if shelf else files.update)(contents)
            metrics[entry.sample] = encoded.metrics
        if not entries:
            return
        if shelf is not None:
            files = shelf.bundles()
        if self.settings.limits.bytes is None:
            self._add(files, entries, metrics)
        else:
            self._add_what_fits(files, entries, metrics)
        self._written = written
        self._bundles += len(files) if shelf else 0

    def _add(
        self,
        files: dict[str, bytes],
        entries: list[ManifestEntry],
        metrics: dict[str, SampleMetrics],
    ) -> None:
        """Add an episode; most of the time the cost does not depend on how many there are."""
        count = len(self._entries)
        if self._manifest_is_due(count + len(entries)):
            everything = [*self._entries, *entries]
            summaries = self._summaries(everything, {**self._metrics, **metrics})
            with self._lock.writing():
                self._put(files, summaries, len(everything))
        else:
            line = JournalLine(after=count, samples=tuple(entries), metrics=metrics).encode()
            with self._lock.writing(), self._own(files):
                write_files(self.directory, files)
                self._note(line)
        self._entries += entries
        self._metrics.update(metrics)

    def _add_what_fits(
        self,
        files: dict[str, bytes],
        entries: list[ManifestEntry],
        metrics: dict[str, SampleMetrics],
    ) -> None:
        """Add an episode to a capture of limited size, in place of the oldest ones if need be."""
        everything = {**self._metrics, **metrics}
        kept = self._fitting([*self._entries, *entries], everything, files)
        names = {name for entry in kept for name in (entry.sample, entry.meta)}
        everything = {entry.sample: everything[entry.sample] for entry in kept}
        summaries = self._summaries(kept, everything)
        with self._lock.writing():
            self._put({n: files[n] for n in files if n in names}, summaries, len(kept))
            remove_files(self.directory, [n for n in self._sizes if n not in names])
        self._sizes |= {name: len(content) for name, content in files.items()}
        self._sizes = {name: size for name, size in self._sizes.items() if name in names}
        self._entries = kept
        self._metrics = everything

    def _fitting(
        self,
        entries: list[ManifestEntry],
        metrics: dict[str, SampleMetrics],
        files: dict[str, bytes],
    ) -> list[ManifestEntry]:
        """Return the entries that may be in the capture: all, or without the oldest episodes."""
        limits = self.settings.limits
        if limits.bytes is None:
            return entries
        sizes = self._sizes | {name: len(content) for name, content in files.items()}
        while True:
            kept = {entry.sample: metrics[entry.sample] for entry in entries}
            summaries = self._summaries(entries, kept)
            total = sum(map(len, summaries.values()))
            total += sum(sizes[entry.sample] + sizes[entry.meta] for entry in entries)
            if total <= limits.bytes:
                return entries
            fewer = without_oldest(entries)
            if limits.when_full == "stop" or not fewer:
                raise CaptureFullError(
                    f"{self.manifest_path}: full: with the next episode it would have {total} "
                    f"bytes, the limit is {limits.bytes} (max_bytes); what is in it "
                    f"(episodes: {self.episodes}) is sound"
                )
            entries = fewer

    def _summaries(
        self, entries: Sequence[ManifestEntry], metrics: Mapping[str, SampleMetrics]
    ) -> dict[str, bytes]:
        manifest = Manifest(metadata=self.settings.metadata, samples=tuple(entries))
        return summary_files(self.settings.prefix, manifest, metrics)

    def close(self) -> None:
        """Let other writers write this capture; a later episode takes the lock again.

        Raises:
            DiskError: the disk refuses the manifest; the episodes in the journal are safe there.
        """
        try:
            if self._journal_size:
                summaries = self._summaries(self._entries, self._metrics)
                with self._lock.writing():
                    self._put({}, summaries, len(self._entries))
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _manifest_is_due(self, samples: int) -> bool:
        """Whether it is written with these many samples: always while it is short.

        Later only when it has grown by a quarter, so that in the long run an episode costs the
        same whatever their number. Where bytes are counted there is no journal.
        """
        return samples <= SHORT or samples > self._in_manifest * 5 // 4

    def _note(self, line: bytes) -> None:
        append(self._journal_path, line, self._journal_size)
        self._journal_size += len(line)

    def _put(self, files: dict[str, bytes], summaries: dict[str, bytes], count: int) -> None:
        """Write samples, and the manifest with all ``count`` entries."""
        self._replace(files, summaries)
        if self._journal_size:  # the manifest has it all
            try:
                self._journal_path.unlink(missing_ok=True)
            except OSError as error:
                raise DiskError(
                    f"{self._journal_path}: cannot be removed ({error.strerror})"
                ) from error
        self._journal_size, self._in_manifest = 0, count

    def _replace(self, files: dict[str, bytes], summaries: dict[str, bytes]) -> None:
        if self._begun:
            with self._own(files):
                write_files(self.directory, files)
                write_files(self.directory, summaries)
            return
        # What is there goes, its manifest first, only when all that follows it is on disk.
        new = {**files, **summaries}
        old = [
            name
            for name in self._files_there()
            if name == final_name(name) or final_name(name) not in new
        ]
        with self._own(files.keys() - old):
            write_files(self.directory, new, instead_of=old)
        self._begun = True

    @contextmanager
    def _own(self, names: Collection[str]) -> Iterator[None]:
        """Write files of these names inside; those of other captures are not written over.

        The prefixes ``a`` and ``a_b`` have a name in common if agents are called ``b_c`` and ``c``.
        """
        for name in names:
            if name not in self._tried and (self.directory / name).exists():
                raise CaptureError(
                    f"{self.directory / name}: is there already, from another capture in the "
                    f"directory whose prefix begins like {self.settings.prefix!r} or the other way "
                    "round; choose another prefix or directory"
                )
        try:
            yield
        except BaseException:
            self._tried.update(names)
            raise

    def _encode(self, sample: ReplaySample) -> _Encoded:
        metrics = sample.meta.metrics
        if metrics is None:
            raise CaptureError(
                f"sample of agent {sample.meta.agent_id!r}, episode {sample.meta.episode_id}: has "
                "no metrics; add them with sample_metrics before it is written"
            )
        mode = self.settings.mode
        arrays = encode_sample(sample, compress=self.settings.compress, mode=mode)
        # Packed arrays have checksums beside them; those of a full file are found by these.
        digests = {"npz": sha256_of(arrays), **(member_digests(sample) if mode == "full" else {})}
        sidecar = write_document(written_as(sample.meta, mode, **digests))
        return _Encoded(arrays, sidecar, sample.meta, metrics, digests["npz"], sha256_of(sidecar))


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
