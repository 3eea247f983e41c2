"""Training logs read back: every line checked, rotated files followed as one stream."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from townlet_env.errors import nearest
from townlet_replay.errors import TelemetryError
from townlet_replay.training.telemetry_schema import (
    RECORD_OF_VERSION,
    EpochRecordV1,
    EpochRecordV11,
    keys_of,
)


class Problem(NamedTuple):
    """One deviation from the schema."""

    file: str
    line: int
    """Counts from 1."""
    key: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class ValidationReport:
    """What :func:`validate_log` saw."""

    files: tuple[str, ...]
    """Oldest first."""
    records: int
    versions: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """True if every line follows its schema and the stream has no gap."""
        return not self.problems


def rotated(path: Path, number: int) -> Path:
    """Name the part of a log that was rotated out ``number`` times."""
    return path.with_name(f"{path.name}.{number}")


def log_files(path: str | Path) -> list[Path]:
    """Return the files of a log, oldest first; empty if there are none."""
    newest = Path(path)
    prefix = newest.name + "."
    numbers = sorted(
        int(number)
        for file in newest.parent.glob("*")
        if file.name.startswith(prefix) and (number := file.name.removeprefix(prefix)).isdecimal()
    )
    older = [rotated(newest, number) for number in reversed(numbers)]
    return [*older, newest] if newest.is_file() else older


def count_lines(path: Path) -> int:
    """Count the ended lines of a file; 0 if there is none."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def parse_line(line: bytes, file: str, number: int) -> tuple[EpochRecordV1 | None, list[Problem]]:
    """Return the record in a line if it is one, and every deviation of it."""
    try:
        keys = _DECODER.decode(line.decode())
    except (ValueError, RecursionError) as error:
        text = line[:40].decode(errors="replace")
        return None, [Problem(file, number, "line", f"a JSON object ({error})", repr(text))]
    if not isinstance(keys, dict):
        return None, [Problem(file, number, "line", "a JSON object", _short(keys))]
    version = keys.get("telemetry_version")
    known = isinstance(version, int | float) and not isinstance(version, bool)
    model = RECORD_OF_VERSION.get(f"{version:g}") if known else None
    if model is None:
        found = _short(version) if "telemetry_version" in keys else "no such key"
        versions = " or ".join(RECORD_OF_VERSION)
        return None, [Problem(file, number, "telemetry_version", versions, found)]
    deviations = list(_unwritable(keys, model))
    record = None
    try:
        record = model.model_validate(keys, by_name=False)
    except ValidationError as error:
        deviations += _deviations(error, keys, model)
    problems = [Problem(file, number, key, *deviation) for key, *deviation in deviations]
    return (None if problems else record), problems


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key appears twice")
    return keys


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _unwritable(keys: dict[str, Any], model: type[EpochRecordV1]) -> Iterator[tuple[str, str, str]]:
    """Yield (key, expected, found) of what no log writes, though a model would take it."""
    for key in keys_of(model):
        if key not in keys:
            yield key, "a value or null", "no such key"
    for key, value in keys.items():
        if not isinstance(value, float):
            continue
        if not math.isfinite(value):
            yield key, "a finite number or null", _short(value)
        elif value == 0 and math.copysign(1, value) < 0:
            yield key, "0.0", "-0.0"


def _deviations(
    error: ValidationError, keys: dict[str, Any], model: type[EpochRecordV1]
) -> Iterator[tuple[str, str, str]]:
    """Yield (key, expected, found) of what a model refused."""
    for problem in error.errors(include_url=False):
        key = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            yield key, f"no key of this name{nearest(key, keys_of(model))}", "the key"
        elif key in keys:
            yield key, problem["msg"].removeprefix("Input should be "), _short(keys[key])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _examine(files: Iterable[Path]) -> Iterator[tuple[EpochRecordV1 | None, list[Problem]]]:
    """Yield every line's record and problems, over all files as one stream."""
    previous: EpochRecordV1 | None = None
    for file in files:
        content = file.read_bytes()
        for number, line in enumerate(content.splitlines(keepends=True), start=1):
            record, problems = parse_line(line, file.name, number)
            if not line.endswith(b"\n"):
                cut = "a line end; opening the log for writing repairs it"
                problems.append(Problem(file.name, number, "line", cut, "the end of the file"))
            if record is not None and previous is not None:
                problems += [
                    Problem(file.name, number, key, *deviation)
                    for key, *deviation in _breaks(previous, record)
                ]
            previous = record or previous
            yield record, problems


def _breaks(before: EpochRecordV1, after: EpochRecordV1) -> Iterator[tuple[str, str, str]]:
    """Yield (key, expected, found) where one record does not follow the other."""
    if type(before) is not type(after):
        versions = f"{before.telemetry_version:g}", f"{after.telemetry_version:g}"
        yield "telemetry_version", f"{versions[0]} as in the line before", versions[1]
    if after.epoch <= before.epoch:
        yield "epoch", f"more than {before.epoch}", str(after.epoch)
    if after.steps < before.steps:
        yield "steps", f"{before.steps} or more", str(after.steps)
    if isinstance(before, EpochRecordV11) and isinstance(after, EpochRecordV11):
        expected = before.log_stream_offset + 1
        if after.log_stream_offset != expected:
            yield (
                "log_stream_offset",
                f"{expected}, lines are missing",
                str(after.log_stream_offset),
            )


def _existing_files(path: str | Path) -> list[Path]:
    files = log_files(path)
    if not files:
        raise TelemetryError(f"There is no telemetry log at {path}.")
    return files


def validate_log(path: str | Path) -> ValidationReport:
    """Check every line of a log, rotated files included, against its schema.

    Raises:
        TelemetryError: there is no such log, or it cannot be read.
    """
    files = _existing_files(path)
    try:
        lines = list(_examine(files))
    except OSError as error:
        raise TelemetryError(f"The telemetry log {path} cannot be read: {error}.") from error
    problems = [problem for _, found in lines for problem in found]
    if not lines:
        problems.append(Problem(files[-1].name, 1, "line", "at least one record", "an empty file"))
    versions = {f"{record.telemetry_version:g}" for record, _ in lines if record is not None}
    return ValidationReport(
        tuple(file.name for file in files), len(lines), tuple(sorted(versions)), tuple(problems)
    )


def read_log(path: str | Path) -> list[EpochRecordV1]:
    """Return the epochs of a log, oldest first, following the rotated files.

    Raises:
        TelemetryError: there is no such log, it has no record, or a line does not follow the
            schema.
    """
    files = _existing_files(path)
    records = []
    try:
        for record, problems in _examine(files):
            if record is None or problems:
                raise TelemetryError(f"{problems[0]}; see townlet telemetry validate {path}")
            records.append(record)
    except OSError as error:
        raise TelemetryError(f"The telemetry log {path} cannot be read: {error}.") from error
    if not records:
        raise TelemetryError(f"The telemetry log {path} has no record yet.")
    return records
