"""The manifest of a capture, and a capture as the loaded thing it describes.

The manifest is written last: what it names is on disk. It holds the SHA-256 of every file, and its
last line its own, so that a file that was swapped, edited or cut is refused by name.

While a large capture is written, episodes are added to a journal beside the manifest, a line each,
and now and then the manifest is written anew with all of them: what an episode costs does not grow
with how many there are. A reader follows both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from townlet_replay.bundle import CaptureFiles
from townlet_replay.digests import damaged_arrays
from townlet_replay.entries import JOURNAL_SUFFIX, ManifestEntry, read_journal
from townlet_replay.errors import CaptureError
from townlet_replay.listing import MAX_LISTING_BYTES, digest_of, read_listing
from townlet_replay.metrics import CaptureMetrics, capture_totals
from townlet_replay.safe_files import sha256_of
from townlet_replay.sample import ReplaySample, Settle, decode_sample
from townlet_replay.sidecar import (
    SCHEMA_VERSION,
    CaptureMetadata,
    SampleMeta,
    SampleMetrics,
    write_document,
)
from townlet_replay.sidecar_reader import SidecarReader

MANIFEST_SUFFIX = "_manifest.json"
METRICS_SUFFIX = "_metrics.json"
LOG_SUFFIX = "_actions.json"  # of an action log
LOG_JOURNAL_SUFFIX = "_actions.ndjson"
MAX_SIDECAR_BYTES = 4 * 2**20

Watch = Callable[[int], None]
"""Called with 1 after every sample."""


class Manifest(BaseModel):
    """The list of the samples of a capture."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: str = SCHEMA_VERSION
    metadata: CaptureMetadata = CaptureMetadata()
    samples: tuple[ManifestEntry, ...]


def summary_files(
    prefix: str, manifest: Manifest, metrics: Mapping[str, SampleMetrics]
) -> dict[str, bytes]:
    """Return the metrics file and the manifest of a capture, in the order of writing.

    Args:
        prefix: what their names begin with.
        manifest: of at least one sample.
        metrics: by the path of the sample, in the order of the manifest.

    Raises:
        CaptureError: more samples than can be read again.
    """
    document = CaptureMetrics(totals=capture_totals([*metrics.values()]), samples=dict(metrics))
    files = {
        f"{prefix}{METRICS_SUFFIX}": write_document(document),
        f"{prefix}{MANIFEST_SUFFIX}": write_document(manifest),
    }
    for name, data in files.items():
        if len(data) > MAX_LISTING_BYTES:
            raise CaptureError(
                f"{name}: {len(manifest.samples)} samples need {len(data)} bytes, at most "
                f"{MAX_LISTING_BYTES} are read; go on in another directory, or with another prefix"
            )
    return files


class Damage(NamedTuple):
    """A file of a capture that cannot be used."""

    file: str  # path, relative to the manifest
    reason: str


@dataclass(frozen=True)
class Capture:
    """A capture on disk: manifest and metrics in memory, samples read when asked for."""

    path: Path  # of the manifest
    manifest: Manifest
    damaged: tuple[Damage, ...] = ()  # samples that were left out, and the metrics file

    def __len__(self) -> int:
        return len(self.manifest.samples)

    def __iter__(self) -> Iterator[ReplaySample]:
        return (self.sample(index) for index in range(len(self)))

    @property
    def directory(self) -> Path:
        """Where the manifest is; every path in it starts here."""
        return self.path.parent

    @property
    def prefix(self) -> str:
        """What the names of the files begin with."""
        return self.path.name.removesuffix(MANIFEST_SUFFIX)

    @cached_property
    def files(self) -> CaptureFiles:
        """The files that the manifest names, by their paths."""
        return CaptureFiles(self.directory)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of manifest and journal, and through their digests of the whole capture.

        Raises:
            CaptureError: the manifest is gone by now.
        """
        return digest_of(self.path, self.journal)

    @cached_property
    def _sidecars(self) -> SidecarReader:
        return SidecarReader()

    @property
    def journal(self) -> Path:
        """Where the journal is, if there is one."""
        return self.directory / f"{self.prefix}{JOURNAL_SUFFIX}"

    @cached_property
    def metrics(self) -> CaptureMetrics:
        """The metrics file, and what the journal adds.

        Raises:
            CaptureError: missing, damaged, or without a sample of the manifest.
        """
        path = self.directory / f"{self.prefix}{METRICS_SUFFIX}"
        metrics = read_listing(CaptureMetrics, path)
        added = read_journal(self.journal, len(metrics.samples))
        if added:
            samples = dict(metrics.samples)
            for line in added:
                samples.update(line.metrics)
            metrics = CaptureMetrics(totals=capture_totals([*samples.values()]), samples=samples)
        for entry in self.manifest.samples:
            if entry.sample not in metrics.samples:
                raise CaptureError(f"{path}: no metrics of {entry.sample}, which {self.path} lists")
        return metrics

    def meta(self, index: int) -> SampleMeta:
        """Return the sidecar of sample ``index``.

        Raises:
            CaptureError: missing, altered, or another sample than the manifest says.
        """
        entry = self.manifest.samples[index]
        path = os.path.join(self.directory, entry.meta)
        data = self.files.read(entry.meta, MAX_SIDECAR_BYTES)
        self._check(data, path, entry.meta_sha256)
        meta = self._sidecars.read(data, path)
        found = (meta.agent_id, meta.episode_id, meta.timesteps)
        if found != (entry.agent_id, entry.episode_id, entry.rows):
            raise CaptureError(
                f"{path}: agent, episode and rows are {found}, but {self.path} says "
                f"{(entry.agent_id, entry.episode_id, entry.rows)}"
            )
        return meta

    def sample(
        self, index: int, meta: SampleMeta | None = None, settle: Settle | None = None
    ) -> ReplaySample:
        """Read, check and return sample ``index``.

        Args:
            index: in the manifest.
            meta: its sidecar, if :meth:`meta` has read it before.
            settle: puts the arrays where they are to be.

        Raises:
            CaptureError: a file is missing, altered, unsafe or wrong; the message names it.
        """
        entry = self.manifest.samples[index]
        meta = meta or self.meta(index)
        path = os.path.join(self.directory, entry.sample)
        data = self.files.read(entry.sample)
        self._check(data, path, entry.sha256, meta)
        return decode_sample(data, meta, path, settle)

    def check_files(self) -> None:
        """Refuse a capture with a missing file, without reading any.

        Raises:
            CaptureError: names the first file that is missing.
        """
        names = (name for e in self.manifest.samples for name in (e.sample, e.meta))
        try:
            self.files.check(names)
        except CaptureError as error:
            raise CaptureError(f"{error}, but {self.path} lists it") from error

    def damage(self, watch: Watch | None = None) -> tuple[Damage, ...]:
        """Read every file and return those that cannot be, with the reason.

        Args:
            watch: called with 1 after every sample.
        """
        found = []
        for index, entry in enumerate(self.manifest.samples):
            try:
                self.sample(index)
            except CaptureError as error:
                found.append(Damage(entry.sample, str(error)))
            if watch is not None:
                watch(1)
        try:
            _ = self.metrics
        except CaptureError as error:
            found.append(Damage(f"{self.prefix}{METRICS_SUFFIX}", str(error)))
        return tuple(found)

    def without(self, damaged: tuple[Damage, ...]) -> Capture:
        """Return the capture as if the samples among these files were not in it.

        Raises:
            CaptureError: none is left.
        """
        bad = {damage.file for damage in damaged}
        sound = tuple(entry for entry in self.manifest.samples if entry.sample not in bad)
        if not sound:
            raise CaptureError(
                f"{self.path}: no sample can be read; the first: {damaged[0].reason}"
            )
        return Capture(self.path, self.manifest.model_copy(update={"samples": sound}), damaged)

    def _check(self, data: bytes, path: str, sha256: str, meta: SampleMeta | None = None) -> None:
        if sha256_of(data) == sha256:
            return
        arrays = [] if meta is None else damaged_arrays(data, meta)
        where = f" (damaged: {', '.join(arrays)})" if arrays else ""
        raise CaptureError(
            f"{path}: altered since it was recorded: its SHA-256 is not the one in "
            f"{self.path}{where}"
        )


def find_manifest(directory: str | Path) -> Path:
    """Return the only manifest of a capture directory, whatever its prefix.

    Raises:
        CaptureError: no such directory, no manifest, or more than one.
    """
    root = Path(directory)
    if not root.is_dir():
        raise CaptureError(f"{root}: expected the directory of a capture, found none")
    found = sorted(root.glob(f"*{MANIFEST_SUFFIX}"))
    log = None if found else find_log(root)
    if log is not None:
        raise CaptureError(
            f"{log}: an action log, which holds no observations; derive a capture from it with "
            "`townlet captures materialise`"
        )
    if not found:
        raise CaptureError(
            f"{root}: no capture here: expected a file named <prefix>{MANIFEST_SUFFIX}; "
            "record one with `townlet capture`, or name the directory that holds it"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise CaptureError(
            f"{root}: {len(found)} captures here ({names}); "
            "choose one with ReplayDatasetConfig.from_manifest"
        )
    return found[0]


def find_log(path: str | Path) -> Path | None:
    """Return the only action log at a path: the file itself, or one in a directory.

    Raises:
        CaptureError: several are there.
    """
    root = Path(path)
    if root.name.endswith(LOG_SUFFIX):
        return root
    found = sorted(root.glob(f"*{LOG_SUFFIX}")) if root.is_dir() else []
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise CaptureError(f"{root}: {len(found)} action logs here ({names}); name one of them")
    return found[0] if found else None


def load_manifest(path: str | Path) -> Manifest:
    """Read a manifest, and what the journal beside it adds.

    Raises:
        CaptureError: missing, damaged, another schema version, no samples, or a sample twice.
    """
    manifest = read_listing(Manifest, Path(path))
    added = read_journal(Capture(Path(path), manifest).journal, len(manifest.samples))
    if added:
        samples = [*manifest.samples, *(entry for line in added for entry in line.samples)]
        manifest = manifest.model_copy(update={"samples": tuple(samples)})
    if not manifest.samples:
        raise CaptureError(f"{path}: lists no samples")
    names = [entry.sample for entry in manifest.samples]
    if len(set(names)) != len(names):
        raise CaptureError(f"{path}: lists a sample twice")
    return manifest


def load_capture(path: str | Path, *, skip_damaged: bool = False) -> Capture:
    """Open a capture by its directory or by its manifest.

    Args:
        path: directory or manifest.
        skip_damaged: read every sample once and leave out those that cannot be read; which, says
            ``damaged`` of the capture. Otherwise reading such a sample is refused.

    Raises:
        CaptureError: no capture there, or its manifest is unusable, or no sample is sound.
    """
    found = Path(path)
    if found.name.endswith(LOG_SUFFIX):
        found = found.parent
    manifest = found if found.name.endswith(MANIFEST_SUFFIX) else find_manifest(found)
    capture = Capture(manifest, load_manifest(manifest))
    return capture.without(capture.damage()) if skip_damaged else capture
