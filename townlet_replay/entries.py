"""How a capture lists its samples: one entry each, in the manifest or in the journal beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from townlet_replay.errors import CaptureError
from townlet_replay.safe_files import (
    MAX_FILE_BYTES,
    MAX_JSON_BYTES,
    check_json,
    first_problem,
    open_regular,
    sha256_of,
)
from townlet_replay.sidecar import SampleMeta, SampleMetrics

JOURNAL_SUFFIX = "_journal.ndjson"


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


def entry_of(
    stem: str, meta: SampleMeta, metrics: SampleMetrics, sha256: str, meta_sha256: str
) -> ManifestEntry:
    """Return the entry of the sample in the files ``<stem>.npz`` and ``<stem>.json``.

    Args:
        stem: of both names.
        meta: the sidecar.
        metrics: of the sample.
        sha256: of the NPZ.
        meta_sha256: of the sidecar.
    """
    return ManifestEntry(
        sample=f"{stem}.npz",
        meta=f"{stem}.json",
        agent_id=meta.agent_id,
        episode_id=meta.episode_id,
        rows=meta.timesteps,
        episode_return=metrics.reward_sum,
        sha256=sha256,
        meta_sha256=meta_sha256,
        tags=meta.tags,
    )


class JournalLine(BaseModel):
    """An episode that was added after the manifest was written."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    after: int = Field(ge=0, description="samples of the capture before these")
    samples: tuple[ManifestEntry, ...]
    metrics: dict[str, SampleMetrics]

    def encode(self) -> bytes:
        """Return the line: SHA-256 of the JSON, a space, the JSON."""
        return sealed_line(self.model_dump_json(by_alias=True))


def sealed_line(text: str) -> bytes:
    """Return a line of a journal: SHA-256 of the JSON, a space, the JSON."""
    body = text.encode("utf-8")
    return sha256_of(body).encode("ascii") + b" " + body + b"\n"


def sealed_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield where a line of a journal is, for messages, and its JSON.

    A last line that was cut off is left out: what it tells had not been acknowledged.

    Args:
        path: of the journal; there need be none.

    Raises:
        CaptureError: a line is altered.
    """
    if not os.path.lexists(path):
        return
    with open_regular(path, MAX_FILE_BYTES) as file:
        for number, line in enumerate(iter(lambda: _line(file, path), b""), 1):
            where = f"{path}: line {number}"
            if not line.endswith(b"\n"):
                return
            digest, _, body = line[:-1].partition(b" ")
            if sha256_of(body).encode("ascii") != digest:
                raise CaptureError(
                    f"{where}: altered since it was written: not the SHA-256 it says"
                )
            check_json(body, where)
            yield where, body


def _line(file: BinaryIO, path: Path) -> bytes:
    try:
        line = file.readline(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read ({error.strerror})") from error
    if len(line) > MAX_JSON_BYTES:
        raise CaptureError(f"{path}: a line of more than {MAX_JSON_BYTES} bytes")
    return line


def read_journal(path: Path, count: int) -> list[JournalLine]:
    """Return what a journal adds to the first ``count`` samples of a capture.

    Args:
        path: of the journal; there need be none.
        count: samples that are known already.

    Raises:
        CaptureError: a line is altered, or does not follow the one before.
    """
    found = []
    for where, body in sealed_lines(path):
        try:
            added = JournalLine.model_validate_json(body)
        except ValidationError as error:
            raise CaptureError(f"{where}: {first_problem(error)}") from error
        after = added.after + len(added.samples)
        if after <= count:  # the manifest has it by now
            continue
        if added.after != count:
            raise CaptureError(f"{where}: follows sample {added.after}, expected {count}")
        count = after
        found.append(added)
    return found
