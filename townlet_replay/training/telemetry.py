"""Training logs: one JSON object per line and epoch, written, rotated, read back and checked.

``FILE`` is the newest part of a log, ``FILE.1`` the one before, and so on. Counters go on when a
run is restarted into the same file, so the parts read oldest first are one stream.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from townlet_replay.errors import TelemetryError
from townlet_replay.training.telemetry_reader import (
    Problem,
    ValidationReport,
    count_lines,
    log_files,
    parse_line,
    read_log,
    rotated,
    validate_log,
)
from townlet_replay.training.telemetry_schema import (
    NEWEST,
    EpochRecord,
    EpochRecordV11,
    record_class,
)

__all__ = [
    "Counters",
    "EpochRecord",
    "Problem",
    "TelemetryWriter",
    "ValidationReport",
    "log_files",
    "read_log",
    "validate_log",
]

_LOG = logging.getLogger(__name__)


class Counters(NamedTuple):
    """Where a log stands; a run that continues it counts on from here."""

    epoch: int = 0
    steps: int = 0
    cycle_id: int = 0
    records: int = 0
    """Lines written, those in rotated files included."""


class TelemetryWriter:
    """Appends epochs to a log; every line is flushed as it is written.

    A line torn by a crash is cut off when the log is opened again, and said so in
    :attr:`repaired` and a warning of the ``logging`` module.

    Args:
        path: newest file of the log; directories are made.
        frequency: write the epochs divisible by this, and the last one on :meth:`close`.
        max_entries: lines per file before it is rotated to ``.1``, ``.2``, ...; None: never.
        version: "1", "1.1" or "2".

    Attributes:
        resumed: counters of what was in the log before; zeros for a new one.
        repaired: what was cut off, in one sentence; None if nothing.

    Raises:
        TelemetryError: a setting is out of range, the file holds something else or another version,
            or it cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        frequency: int = 1,
        max_entries: int | None = None,
        version: str = NEWEST,
    ) -> None:
        self._record_class = record_class(version)
        for name, value in (("frequency", frequency), ("max_entries", max_entries)):
            if value is not None and value < 1:
                raise TelemetryError(f"{name} of a telemetry log must be 1 or more, found {value}.")
        self._path, self._frequency, self._max_entries = Path(path), frequency, max_entries
        self._pending: EpochRecord | None = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self.repaired = _repair(self._path)
            self.resumed = self._counters = self._resume(version)
            self._lines = count_lines(self._path)
            self._stream = self._path.open("ab", buffering=0)
        except OSError as error:
            raise _not_writable(self._path, error) from error

    def _resume(self, version: str) -> Counters:
        files = log_files(self._path)
        if not files:
            return Counters()
        total = sum(map(count_lines, files))
        newest = next((file for file in reversed(files) if count_lines(file)), None)
        if newest is None:
            return Counters()
        line = newest.read_bytes().splitlines()[-1]
        record, problems = parse_line(line, newest.name, count_lines(newest))
        if record is None or problems:
            raise TelemetryError(
                f"{problems[0]}; the log cannot be continued, choose another file."
            )
        if type(record) is not self._record_class:
            raise TelemetryError(
                f"{newest} is a log of version {record.telemetry_version:g}, not {version}; "
                "choose another file, or write that version."
            )
        if isinstance(record, EpochRecordV11):
            return Counters(
                record.epoch, record.steps, record.cycle_id, record.log_stream_offset + 1
            )
        return Counters(record.epoch, record.steps, 0, total)

    def write(self, record: EpochRecord) -> bool:
        """Take one epoch.

        Args:
            record: its ``log_stream_offset`` is set here; older versions have no
                place for some keys.

        Returns:
            Whether a line was written now.

        Raises:
            TelemetryError: epoch or steps go back, or the disk refuses.
        """
        last = self._pending or self._counters
        if record.epoch <= last.epoch or record.steps < last.steps:
            raise TelemetryError(
                f"Epoch {record.epoch} at {record.steps} steps does not follow epoch {last.epoch} "
                f"at {last.steps} steps in {self._path}; count on from writer.resumed, or choose "
                "another file."
            )
        self._pending = record
        if record.epoch % self._frequency:
            return False
        self._append(record)
        return True

    def _append(self, record: EpochRecord) -> None:
        offset = self._counters.records
        whole = record.model_copy(update={"log_stream_offset": offset})
        version = self._record_class.model_fields["telemetry_version"].default
        fields = {name: value for name, value in whole if name in self._record_class.model_fields}
        line = self._record_class(**fields | {"telemetry_version": version}).model_dump_json()
        try:
            if self._lines == self._max_entries:
                self._rotate()
            self._write_whole(line.encode() + b"\n")
        except OSError as error:
            raise _not_writable(self._path, error) from error
        self._lines += 1
        self._pending = None
        self._counters = Counters(record.epoch, record.steps, record.cycle_id, offset + 1)

    def _write_whole(self, line: bytes) -> None:
        start = self._path.stat().st_size
        if self._stream.write(line) != len(line):
            os.truncate(self._path, start)
            raise OSError(errno.ENOSPC, "the disk is full")

    def _rotate(self) -> None:
        """Shift ``FILE`` to ``.1``, ``.1`` to ``.2``, up to the first free number.

        Oldest first, so that a crash in between leaves a gap but never overwrites; the next
        rotation closes the gap.
        """
        self._stream.close()
        free = 1
        while rotated(self._path, free).exists():
            free += 1
        for number in range(free, 1, -1):
            rotated(self._path, number - 1).replace(rotated(self._path, number))
        self._path.replace(rotated(self._path, 1))
        self._stream = self._path.open("ab", buffering=0)
        self._lines = 0

    def close(self) -> None:
        """Write the last epoch if ``frequency`` left it out, and close the file."""
        if self._stream.closed:
            return
        if self._pending is not None:
            self._append(self._pending)
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _not_writable(path: Path, error: OSError) -> TelemetryError:
    return TelemetryError(f"The telemetry log {path} cannot be written: {error.strerror or error}.")


def _repair(path: Path) -> str | None:
    """Complete or cut off a last line without its end; say what was done."""
    content = path.read_bytes() if path.is_file() else b""
    if not content or content.endswith(b"\n"):
        return None
    kept, _, torn = content.rpartition(b"\n")
    line = content.count(b"\n") + 1
    record, problems = parse_line(torn, path.name, line)
    if record is not None and not problems:
        with path.open("ab") as stream:
            stream.write(b"\n")
        done = f"{path}:{line} was a whole record without a line end; the line end was added."
    elif _is_ours(kept, torn):
        os.truncate(path, len(kept) + bool(line > 1))
        done = f"{path}:{line} was cut short by a crash; its {len(torn)} bytes were removed."
    else:
        raise TelemetryError(f"{path}:{line} is not telemetry; choose another file for the log.")
    _LOG.warning("%s", done)
    return done


def _is_ours(kept: bytes, torn: bytes) -> bool:
    """Tell a log that broke off from somebody's file that happens to have this name."""
    if kept:
        return parse_line(kept.rpartition(b"\n")[2], "", 0)[0] is not None
    start = b'{"epoch":'
    return torn[: len(start)] == start[: len(torn)]
