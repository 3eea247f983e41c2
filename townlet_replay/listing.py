"""Manifests and metrics files of any length, read piece by piece.

A document of up to 64 MiB may be laid out in any way. A longer one has to be as it is written: a
sample per line, and a seal at the end. Then a piece of it at a time is parsed, by the same rules,
and what is in memory beside the samples stays small; the first bad line is the last that is read.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter, ValidationError

from townlet_replay.entries import ManifestEntry
from townlet_replay.errors import CaptureError
from townlet_replay.safe_files import (
    MAX_FILE_BYTES,
    MAX_JSON_BYTES,
    check_json,
    first_problem,
    open_regular,
)
from townlet_replay.sidecar import SEAL_BYTES, Document, SampleMetrics, read_document, seal_of

MAX_LISTING_BYTES = MAX_FILE_BYTES

_MOST_LINE_BYTES = 2**20  # of one sample, or of what is before the first
_PIECE_BYTES = 4 * 2**20  # that are parsed at a time
_OPENING = re.compile(rb'"samples": ([\[{])\n')
_CLOSING = {b"[": b"],\n", b"{": b"},\n"}
_SAMPLES: dict[bytes, TypeAdapter[Any]] = {
    b"[": TypeAdapter(tuple[ManifestEntry, ...]),
    b"{": TypeAdapter(dict[str, SampleMetrics]),
}


def read_listing(kind: type[Document], path: Path) -> Document:
    """Return a manifest or a metrics file as its model.

    Args:
        kind: ``Manifest`` or ``CaptureMetrics``; their last field are the samples.
        path: of the file.

    Raises:
        CaptureError: missing, longer than ``MAX_LISTING_BYTES``, long and laid out in another way
            than it is written; or as :func:`~townlet_replay.sidecar.read_document`.
    """
    with open_regular(path, MAX_LISTING_BYTES) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size <= MAX_JSON_BYTES:
                return read_document(kind, file.read(size), str(path))
            return _read_long(kind, _Lines(file, size, str(path)), str(path))
        except OSError as error:
            raise CaptureError(f"{path}: cannot be read ({error.strerror})") from error


def digest_of(*paths: Path) -> str:
    """Return the SHA-256 of files one after the other, those that are there.

    Raises:
        CaptureError: the first is missing, or one cannot be read.
    """
    digest = hashlib.sha256()
    for path in (paths[0], *filter(os.path.lexists, paths[1:])):
        with open_regular(path, MAX_LISTING_BYTES) as file:
            try:
                while block := file.read(_PIECE_BYTES):
                    digest.update(block)
            except OSError as error:
                raise CaptureError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


class _Lines:
    """The lines of a sealed document before its seal, which is checked when they end."""

    def __init__(self, file: BinaryIO, size: int, where: str) -> None:
        self._file = file
        self._left = size - SEAL_BYTES
        self._where = where
        file.seek(self._left)
        seal = seal_of(file.read(SEAL_BYTES))
        if seal is None:
            raise CaptureError(
                f"{where}: {size} bytes without a SHA-256 in the last line; only documents of up "
                f"to {MAX_JSON_BYTES} bytes are read without one"
            )
        self._seal = seal
        file.seek(0)

    def __iter__(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        while self._left > 0:
            line = self._file.readline(_MOST_LINE_BYTES + 1)
            if len(line) > _MOST_LINE_BYTES:
                raise CaptureError(f"{self._where}: a line of more than {_MOST_LINE_BYTES} bytes")
            if not line:
                raise CaptureError(f"{self._where}: cut off while it was read")
            digest.update(line[: self._left])
            self._left -= len(line)
            yield line
        if digest.hexdigest() != self._seal:
            raise CaptureError(
                f"{self._where}: altered since it was written: its last line is not the SHA-256 "
                "of the rest"
            )


def _read_long(kind: type[Document], lines: _Lines, where: str) -> Document:
    following = iter(lines)
    head, bracket = _head(following, where)
    closing = _CLOSING[bracket]
    empty = head + b'"samples": ' + bracket + closing[:1] + b"\n}\n"
    document = read_document(kind, empty, where)
    parts = [
        _parse(_SAMPLES[bracket], bracket + piece + closing[:1], where)
        for piece in _pieces(following, closing, where)
    ]
    for _ in following:
        raise CaptureError(f"{where}: something follows the samples")
    return document.model_copy(update={"samples": _joined(parts, where)})


def _head(lines: Iterator[bytes], where: str) -> tuple[bytes, bytes]:
    """Return what is before the samples, and the bracket that opens them."""
    head: list[bytes] = []
    size = 0
    for line in lines:
        opening = _OPENING.fullmatch(line)
        if opening is not None:
            return b"".join(head), opening[1]
        head.append(line)
        size += len(line)
        if size > _MOST_LINE_BYTES:
            break
    raise CaptureError(f"{where}: no line begins the samples; long documents have one each")


def _pieces(lines: Iterator[bytes], closing: bytes, where: str) -> Iterator[bytes]:
    """Yield the samples, some whole lines at a time, without the comma behind the last."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if line == closing:
            yield b"".join(piece)
            return
        if size > _PIECE_BYTES:
            whole = b"".join(piece)
            if not whole.endswith(b",\n"):
                raise CaptureError(f"{where}: a line that is not of one sample")
            yield whole[:-2]
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    raise CaptureError(f"{where}: the samples do not end")


def _parse(adapter: TypeAdapter[Any], data: bytes, where: str) -> Any:
    check_json(data, where)
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        raise CaptureError(f"{where}: samples: {first_problem(error)}") from error


def _joined(parts: list[Any], where: str) -> Any:
    if not isinstance(parts[0], dict):
        return tuple(item for part in parts for item in part)
    table = {name: item for part in parts for name, item in part.items()}
    if len(table) != sum(map(len, parts)):
        raise CaptureError(f"{where}: not acceptable JSON: a sample appears twice")
    return table
