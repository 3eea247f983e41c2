"""A sound capture made of what a killed writer, a damaged disk or a lost manifest left.

Samples that are whole come into the manifest, whether the old one named them or nobody did, because
the writer was killed in between. What is not whole stays out and is told by name. A manifest that
was complete on disk but had not got its name yet is put in force: everything it names is there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from townlet_replay.bundle import (
    BUNDLE_NAME,
    BUNDLE_SUFFIX,
    Bundle,
    CaptureFiles,
    container,
    containers,
)
from townlet_replay.entries import JOURNAL_SUFFIX, ManifestEntry, entry_of
from townlet_replay.errors import CaptureError, DiskError
from townlet_replay.leftovers import final_name, leftovers, names_in, prefixes_in
from townlet_replay.lock import WriterLock
from townlet_replay.log_recovery import log_prefix
from townlet_replay.manifest import (
    LOG_SUFFIX,
    MANIFEST_SUFFIX,
    MAX_SIDECAR_BYTES,
    METRICS_SUFFIX,
    Capture,
    Damage,
    Manifest,
    Watch,
    load_manifest,
    summary_files,
)
from townlet_replay.safe_files import TEMPORARY_SUFFIX, inside, read_bytes, sha256_of, write_files
from townlet_replay.sample import decode_sample
from townlet_replay.sidecar import SampleMeta, SampleMetrics, read_document
from townlet_replay.tools.merging import common_metadata
from townlet_replay.writer import agent_slug


@dataclass(frozen=True)
class Recovery:
    """What was done for a capture."""

    capture: Capture  # as it is now
    found: tuple[str, ...]  # samples that the manifest did not name before
    lost: tuple[Damage, ...]  # samples, and files of samples, that are not whole
    changed: bool  # something was written or removed


class _Found(NamedTuple):
    """A whole sample on disk."""

    entry: ManifestEntry
    meta: SampleMeta
    metrics: SampleMetrics


def recover_capture(
    path: str | Path, prefix: str | None = None, watch: Watch | None = None
) -> Recovery:
    """Make a capture sound again: only whole samples, all of them, with manifest and metrics.

    Damaged files stay where they are, for whoever wants to look at them; temporary ones go.

    Args:
        path: directory of the capture.
        prefix: of the capture, where the directory holds several.
        watch: called with 1 after every sample that was read.

    Raises:
        DiskError: somebody is writing the capture, or the disk refuses.
        CaptureError: no capture of this prefix, several and no prefix, or no sample is whole.
    """
    directory = Path(path)
    chosen = _prefix_in(directory) if prefix is None else prefix
    if log_prefix(directory, chosen) is not None:
        raise CaptureError(
            f"{directory / chosen}{LOG_SUFFIX}: an action log, not a capture; recover_log of "
            "townlet_replay.log_recovery makes it sound, as does `townlet captures recover`"
        )
    lock = WriterLock(directory / f"{chosen}{MANIFEST_SUFFIX}", chosen)
    lock.acquire()
    try:
        return _Rescue(directory, chosen, watch or _ignore).run()
    finally:
        lock.release()


def _ignore(done: int) -> None:
    del done


def _prefix_in(directory: Path) -> str:
    if not directory.is_dir():
        raise CaptureError(f"{directory}: expected the directory of a capture, found none")
    names = names_in(directory)
    found = prefixes_in(names) or _prefixes_of_sidecars(directory, names)
    if not found:
        raise CaptureError(f"{directory}: nothing to recover: no file of a capture is here")
    if len(found) > 1:
        raise CaptureError(
            f"{directory}: {len(found)} captures here ({', '.join(sorted(found))}); "
            "choose one by its prefix (--prefix)"
        )
    return found.pop()


def _prefixes_of_sidecars(directory: Path, names: list[str]) -> set[str]:
    """Take the agent off the names of samples: what is left is the prefix."""
    found = {match[1] for name in names if (match := BUNDLE_NAME.fullmatch(final_name(name)))}
    for name in names:
        with contextlib.suppress(CaptureError):
            slug = agent_slug(_meta(directory / name).agent_id)
            stem = final_name(name).rpartition("_")[0]
            if stem.endswith(f"_{slug}"):
                found.add(stem.removesuffix(f"_{slug}"))
    return found


def _meta(path: Path) -> SampleMeta:
    if not path.name.endswith((".json", f".json{TEMPORARY_SUFFIX}")):
        raise CaptureError(f"{path}: not a sidecar")
    return read_document(SampleMeta, read_bytes(path, MAX_SIDECAR_BYTES), str(path))


class _Rescue:
    """One recovery, with the lock held."""

    def __init__(self, directory: Path, prefix: str, watch: Watch) -> None:
        self.directory = directory
        self.prefix = prefix
        self.watch = watch
        self.manifest_path = directory / f"{prefix}{MANIFEST_SUFFIX}"
        self.journal_path = directory / f"{prefix}{JOURNAL_SUFFIX}"
        self.files = CaptureFiles(directory)
        self.lost: list[Damage] = []

    def run(self) -> Recovery:
        finished = self._finish()
        before = self._manifest()
        kept = self._kept(before)
        found = self._unnamed(containers(before.samples if before else ()))
        if not kept and not found:
            first = f"; the first: {self.lost[0].reason}" if self.lost else ""
            raise CaptureError(f"{self.directory}: no sample is whole{first}")
        samples = [*kept, *sorted(found, key=_order)]
        manifest = Manifest(
            metadata=before.metadata
            if before
            else common_metadata(s.meta.capture_metadata for s in samples),
            samples=tuple(sample.entry for sample in samples),
        )
        changed = self._write(manifest, samples, unchanged=manifest.samples == _entries(before))
        return Recovery(
            capture=Capture(self.manifest_path, manifest),
            found=tuple(sample.entry.sample for sample in found),
            lost=tuple(self.lost),
            changed=changed or finished,
        )

    def _finish(self) -> bool:
        """Put a manifest in force that only waited for its name; tell whether there was one.

        One that lacks something of the manifest in force stays out: it is older, or of a capture
        that was to replace this one and has not begun to.
        """
        waiting = self._temporary(self.manifest_path.name)
        replacing = not self.manifest_path.exists()
        try:
            manifest = load_manifest(waiting)
            if not replacing and not {*load_manifest(self.manifest_path).samples} <= {
                *manifest.samples
            }:
                return False
            moves = [self._move(file, sums) for file, sums in _sums(manifest.samples).items()]
        except CaptureError:
            return False
        try:
            for source, target in moves:
                if source != target:
                    source.replace(target)
            waiting.replace(self.manifest_path)
            named = {self.manifest_path.name, *(target.name for _, target in moves)}
            for name in leftovers(self.directory, self.prefix, named) if replacing else ():
                (self.directory / name).unlink()  # of the capture that was being replaced
        except OSError as error:
            raise DiskError(f"{self.directory}: cannot be written ({error.strerror})") from error
        return True

    def _move(self, file: str, sums: dict[str, str]) -> tuple[Path, Path]:
        """Return where a file is, or a bundle of files, and where it belongs."""
        target = inside(self.directory, file)
        for source in (self._temporary(file), target):
            with contextlib.suppress(CaptureError):
                read = Bundle(source).read if target.suffix == BUNDLE_SUFFIX else None
                if all(
                    sha256_of(read(name.partition("/")[2]) if read else read_bytes(source))
                    == sha256
                    for name, sha256 in sums.items()
                ):
                    return source, target
        raise CaptureError(f"{target}: not whole")

    def _manifest(self) -> Manifest | None:
        if not self.manifest_path.exists():
            return None
        try:
            return load_manifest(self.manifest_path)
        except CaptureError as error:
            self.lost.append(Damage(self.manifest_path.name, str(error)))
            return None

    def _kept(self, before: Manifest | None) -> list[_Found]:
        """Return the samples of the old manifest that are as it says."""
        kept = []
        capture = Capture(self.manifest_path, before or Manifest(samples=()))
        for index, entry in enumerate(capture.manifest.samples):
            try:
                meta = capture.sample(index).meta
                kept.append(_Found(entry, meta, _metrics(meta, entry.meta)))
            except CaptureError as error:
                self.lost.append(Damage(entry.sample, str(error)))
            self.watch(1)
        return kept

    def _unnamed(self, named: list[str]) -> list[_Found]:
        """Return whole samples that no manifest names.

        Temporary files are none: they may be of a capture that was to replace this one.
        """
        rest = leftovers(self.directory, self.prefix, [*named, *self._summaries()])
        found = []
        whole = [n for n in rest if n == final_name(n)]
        loose = [*whole, *(path for n in whole for path in self._in_bundle(n))]
        stems = {n.rpartition(".")[0] for n in loose if not n.endswith(BUNDLE_SUFFIX)}
        for stem in sorted(stems):
            try:
                found.append(self._whole(stem))
            except CaptureError as error:
                self.lost.append(Damage(f"{stem}.npz", str(error)))
            self.watch(1)
        begun = [n for n in rest if n != final_name(n) and final_name(n) not in self._summaries()]
        for name in sorted({_npz(final_name(name)) for name in begun}):
            reason = f"{self.directory / name}: the writer was killed while it wrote it"
            self.lost.append(Damage(name, reason))
        return found

    def _in_bundle(self, name: str) -> list[str]:
        """Return the paths of what is in a bundle; nothing if ``name`` is none."""
        if not name.endswith(BUNDLE_SUFFIX):
            return []
        try:
            return [f"{name}/{part}" for part in Bundle(self.directory / name).places]
        except CaptureError as error:
            self.lost.append(Damage(name, str(error)))
            return []

    def _whole(self, stem: str) -> _Found:
        sidecar, arrays = (self.directory / f"{stem}.{end}" for end in ("json", "npz"))
        words = self.files.read(f"{stem}.json", MAX_SIDECAR_BYTES)
        meta = read_document(SampleMeta, words, str(sidecar))
        data = self.files.read(f"{stem}.npz")
        if sha256_of(data) != meta.digests.get("npz"):
            raise CaptureError(f"{arrays}: not as {sidecar.name} says: cut off, or altered")
        decode_sample(data, meta, str(arrays))
        metrics = _metrics(meta, sidecar.name)
        return _Found(
            entry_of(stem, meta, metrics, sha256_of(data), sha256_of(words)), meta, metrics
        )

    def _summaries(self) -> tuple[str, str, str]:
        return self.manifest_path.name, f"{self.prefix}{METRICS_SUFFIX}", self.journal_path.name

    def _temporary(self, name: str) -> Path:
        return self.directory / f".{name}{TEMPORARY_SUFFIX}"

    def _write(self, manifest: Manifest, samples: list[_Found], *, unchanged: bool) -> bool:
        rest = leftovers(self.directory, self.prefix, containers(manifest.samples))
        temporary = [name for name in rest if name != final_name(name)]
        if unchanged and not temporary and not self.journal_path.exists():
            with contextlib.suppress(CaptureError):
                _ = Capture(self.manifest_path, manifest).metrics
                return False
        metrics = {sample.entry.sample: sample.metrics for sample in samples}
        files = summary_files(self.prefix, manifest, metrics)
        # The journal goes first: it would not follow a manifest that lacks what is lost.
        gone = [name for name in temporary if final_name(name) not in files]
        write_files(self.directory, files, [*gone, self.journal_path.name])
        return True


def _npz(name: str) -> str:
    """Return the name that a lost file of a sample is told by."""
    return name if name.endswith(BUNDLE_SUFFIX) else f"{name.rpartition('.')[0]}.npz"


def _sums(entries: Iterable[ManifestEntry]) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of everything named, by path, by the file on disk that it is in."""
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        for path, sha256 in ((entry.sample, entry.sha256), (entry.meta, entry.meta_sha256)):
            found.setdefault(container(path), {})[path] = sha256
    return found


def _entries(manifest: Manifest | None) -> tuple[ManifestEntry, ...]:
    return () if manifest is None else manifest.samples


def _order(sample: _Found) -> tuple[int, str]:
    return sample.meta.episode_id, sample.entry.sample


def _metrics(meta: SampleMeta, where: str) -> SampleMetrics:
    if meta.metrics is None:
        raise CaptureError(f"{where}: holds no metrics")
    return meta.metrics
