"""The end of a growing training log, read piece by piece, across rotations and restarts.

A rotation moves bytes into another file but not within the log: read oldest first, the files are
one stream that only grows. So a place in the stream is all that has to be remembered. A log that
was begun anew does not have the last line that was read there, and is read from its beginning.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from townlet_replay.training.telemetry_reader import Problem, log_files, parse_line
from townlet_replay.training.telemetry_schema import EpochRecordV1

_TRIES = 5  # to see all files between two rotations


class LogTail:
    """Reads what was appended to a log since the last look.

    Args:
        path: Newest file of the log; it need not be there yet.

    Attributes:
        records: Every sound record of the log so far.
        problems: Every deviation so far; lines are counted over all files of the log.
        found: Whether there was a file at the last look.
        cut: Whether its last line had no end yet.
        beginnings: How often a log that had been read was begun anew, or went away.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self.beginnings = 0
        self.found = self.cut = False
        self._begin()

    def _begin(self) -> None:
        self.records: list[EpochRecordV1] = []
        self.problems: list[Problem] = []
        self._place = 0  # bytes of the stream that were read
        self._lines = 0
        self._last = b""  # the line that ends there
        self._first = ""  # digest of the first line

    @property
    def token(self) -> str:
        """Names the log as it is read now; another after it was begun anew."""
        return f"{self.beginnings}-{self._first}"

    def look(self) -> int:
        """Read what is new; a line without its end waits. Return how many records came.

        Raises:
            OSError: A file cannot be read.
        """
        with contextlib.ExitStack() as stack:
            files = self._opened(stack)
            if files is None:
                return 0
            if not self._goes_on(files):
                self.beginnings += 1
                self._begin()
            known = len(self.records)
            self.found = bool(files)
            self._take(_read(files, self._place, sum(map(_size, files)) - self._place))
        return len(self.records) - known

    def _opened(self, stack: contextlib.ExitStack) -> list[BinaryIO] | None:
        """Return the files, oldest first; None if they were rotated at every try."""
        for _ in range(_TRIES):
            try:
                files: list[BinaryIO] = [
                    stack.enter_context(path.open("rb")) for path in log_files(self._path)
                ]
                if list(map(_identity, files)) == list(_identities(self._path)):
                    return files
            except FileNotFoundError:
                continue
        return None

    def _goes_on(self, files: list[BinaryIO]) -> bool:
        end = len(self._last)
        return _read(files, self._place - end, end) == self._last

    def _take(self, new: bytes) -> None:
        whole = new[: new.rfind(b"\n") + 1]
        for line in whole.splitlines(keepends=True):
            self._lines += 1
            record, problems = parse_line(line, self._path.name, self._lines)
            self.problems += problems
            if record is not None and not problems:
                self.records.append(record)
            self._first = self._first or hashlib.sha256(line).hexdigest()[:16]
            self._last = line
        self._place += len(whole)
        self.cut = len(whole) < len(new)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _identity(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino


def _identities(path: Path) -> Iterator[tuple[int, int]]:
    for file in log_files(path):
        found = file.stat()
        yield found.st_dev, found.st_ino


def _read(files: list[BinaryIO], place: int, count: int) -> bytes:
    """Return bytes of the files as one stream; fewer if it ends before."""
    parts = []
    for file in files:
        size = _size(file)
        if place < size and count > 0:
            file.seek(place)
            part = file.read(min(count, size - place))
            parts.append(part)
            count -= len(part)
            place += len(part)
        place -= size
    return b"".join(parts)
