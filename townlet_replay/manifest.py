"""The manifest of a capture, and a capture as the loaded thing it describes.

The manifest is written last: what it names is on disk. It holds the SHA-256 of every file, so that
a file that was swapped, edited or cut is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from townlet_replay.errors import CaptureError
from townlet_replay.metrics import CaptureMetrics
from townlet_replay.safe_files import inside, read_bytes, sha256_of
from townlet_replay.sample import ReplaySample, decode_sample
from townlet_replay.sidecar import SCHEMA_VERSION, CaptureMetadata, SampleMeta, read_document

MANIFEST_SUFFIX = "_manifest.json"
METRICS_SUFFIX = "_metrics.json"
LOG_SUFFIX = "_actions.json"  # of an action log
MAX_DOCUMENT_BYTES = 64 * 2**20


class ManifestEntry(BaseModel):
    """One sample of a capture."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        populate_by_name=True,
    )

    sample: str = Field(description="path of the NPZ, relative to the manifest")
    meta: str = Field(description="path of the sidecar")
    agent_id: str
    episode_id: int = Field(ge=0)
    rows: int = Field(ge=1)
    episode_return: float = Field(
        validation_alias="return",
        serialization_alias="return",
        description="sum of the raw rewards",
    )
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the NPZ")
    meta_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the sidecar")
    tags: tuple[str, ...] = ()


class Manifest(BaseModel):
    """The list of the samples of a capture."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: str = SCHEMA_VERSION
    metadata: CaptureMetadata = CaptureMetadata()
    samples: tuple[ManifestEntry, ...]


@dataclass(frozen=True)
class Capture:
    """A capture on disk: manifest and metrics in memory, samples read when asked for."""

    path: Path  # of the manifest
    manifest: Manifest

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
    def digest(self) -> str:
        """SHA-256 of the manifest, and through its digests of everything in the capture.

        Raises:
            CaptureError: the manifest is gone by now.
        """
        return sha256_of(read_bytes(self.path, MAX_DOCUMENT_BYTES))

    @cached_property
    def metrics(self) -> CaptureMetrics:
        """The metrics file.

        Raises:
            CaptureError: missing, damaged, or without a sample of the manifest.
        """
        path = self.directory / f"{self.prefix}{METRICS_SUFFIX}"
        metrics = read_document(CaptureMetrics, read_bytes(path, MAX_DOCUMENT_BYTES), str(path))
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
        path = inside(self.directory, entry.meta)
        data = self._read(path, entry.meta_sha256, MAX_DOCUMENT_BYTES)
        meta = read_document(SampleMeta, data, str(path))
        found = (meta.agent_id, meta.episode_id, meta.timesteps)
        if found != (entry.agent_id, entry.episode_id, entry.rows):
            raise CaptureError(
                f"{path}: agent, episode and rows are {found}, but {self.path} says "
                f"{(entry.agent_id, entry.episode_id, entry.rows)}"
            )
        return meta

    def sample(self, index: int) -> ReplaySample:
        """Read, check and return sample ``index``.

        Raises:
            CaptureError: a file is missing, altered, unsafe or wrong; the message names it.
        """
        entry = self.manifest.samples[index]
        meta = self.meta(index)
        path = inside(self.directory, entry.sample)
        return decode_sample(self._read(path, entry.sha256), meta, str(path))

    def check_files(self) -> None:
        """Refuse a capture with a missing file, without reading any.

        Raises:
            CaptureError: names the first file that is missing.
        """
        for entry in self.manifest.samples:
            for name in (entry.sample, entry.meta):
                path = inside(self.directory, name)
                if not path.is_file():
                    raise CaptureError(f"{path}: missing, but {self.path} lists it")

    def _read(self, path: Path, sha256: str, max_bytes: int | None = None) -> bytes:
        data = read_bytes(path) if max_bytes is None else read_bytes(path, max_bytes)
        if sha256_of(data) != sha256:
            raise CaptureError(
                f"{path}: altered since it was recorded: its SHA-256 is not the one in {self.path}"
            )
        return data


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
    """Read a manifest.

    Raises:
        CaptureError: missing, damaged, another schema version, no samples, or a sample twice.
    """
    data = read_bytes(Path(path), MAX_DOCUMENT_BYTES)
    manifest = read_document(Manifest, data, str(path))
    if not manifest.samples:
        raise CaptureError(f"{path}: lists no samples")
    names = [entry.sample for entry in manifest.samples]
    if len(set(names)) != len(names):
        raise CaptureError(f"{path}: lists a sample twice")
    return manifest


def load_capture(path: str | Path) -> Capture:
    """Open a capture by its directory or by its manifest.

    Raises:
        CaptureError: no capture there, or its manifest is unusable.
    """
    found = Path(path)
    if found.name.endswith(LOG_SUFFIX):
        found = found.parent
    manifest = found if found.name.endswith(MANIFEST_SUFFIX) else find_manifest(found)
    return Capture(manifest, load_manifest(manifest))
