"""A training log in one table: first, last, extremes and mean of every figure."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from townlet_replay.training.telemetry_reader import log_files, read_log
from townlet_replay.training.telemetry_schema import EpochRecordV1, EpochRecordV11, keys_of

_COUNTERS = ("epoch", "telemetry_version", "data_mode", "cycle_id", "log_stream_offset")
_WORDS = ("objective", "biased", "audit", "agents")
_COLUMNS = ("first", "last", "lowest", "highest", "mean", "unmeasured")


@dataclass(frozen=True)
class Figure:
    """One key over the epochs of a log."""

    key: str
    first: float | None
    last: float | None
    lowest: float | None
    highest: float | None
    mean: float | None
    unmeasured: int
    """Epochs in which it was null."""


@dataclass(frozen=True)
class Summary:
    """What :func:`summarise` saw; renders itself as text, Markdown or JSON."""

    log: str
    files: int
    records: int
    first_epoch: int
    last_epoch: int
    steps: int
    version: str
    data_modes: tuple[str, ...]
    cycles: int
    figures: tuple[Figure, ...]

    def headline(self) -> str:
        """Say in one sentence what the log is."""
        source = f" from {' and '.join(self.data_modes)}" if self.data_modes else ""
        cycles = f" in {self.cycles} cycles" if self.cycles > 1 else ""
        files = f" in {self.files} files" if self.files > 1 else ""
        return (
            f"{self.log}: {self.records} records{files}, epochs {self.first_epoch} to "
            f"{self.last_epoch}{cycles}, {self.steps} steps{source}, version {self.version}"
        )

    def text(self) -> str:
        """Render as an aligned table."""
        rows = [("key", *_COLUMNS), *(_cells(figure) for figure in self.figures)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            )
            for row in rows
        ]
        return "\n".join([self.headline(), "", *lines])

    def markdown(self) -> str:
        """Render as a Markdown table."""
        rows = [("key", *_COLUMNS), ("---", *("---:" for _ in _COLUMNS))]
        rows += [_cells(figure) for figure in self.figures]
        table = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([f"**{self.headline()}**", "", *table])

    def json(self) -> str:
        """Render as one JSON object."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)


def _cells(figure: Figure) -> tuple[str, ...]:
    numbers = (figure.first, figure.last, figure.lowest, figure.highest, figure.mean)
    shown = ("-" if number is None else f"{number:.6g}" for number in numbers)
    return (figure.key, *shown, str(figure.unmeasured))


def summarise(path: str | Path) -> Summary:
    """Sum up a log, rotated files included.

    Raises:
        TelemetryError: there is no such log, it is empty, or a line does not follow the schema.
    """
    records = read_log(path)
    last = records[-1]
    newer = [record for record in records if isinstance(record, EpochRecordV11)]
    return Summary(
        log=Path(path).name,
        files=len(log_files(path)),
        records=len(records),
        first_epoch=records[0].epoch,
        last_epoch=last.epoch,
        steps=last.steps,
        version=f"{last.telemetry_version:g}",
        data_modes=tuple(sorted({record.data_mode for record in newer})),
        cycles=len({record.cycle_id for record in newer}),
        figures=tuple(
            _figure(key, series(records, name))
            for key, name in keys_of(type(last)).items()
            if key not in (*_COUNTERS, *_WORDS)
        ),
    )


def series(records: list[EpochRecordV1], name: str) -> list[float | None]:
    """Return one field of every record."""
    return [record.model_dump(by_alias=False)[name] for record in records]


def _figure(key: str, values: list[float | None]) -> Figure:
    known = [value for value in values if value is not None]
    return Figure(
        key=key,
        first=values[0],
        last=values[-1],
        lowest=min(known, default=None),
        highest=max(known, default=None),
        mean=math.fsum(known) / len(known) if known else None,
        unmeasured=len(values) - len(known),
    )
