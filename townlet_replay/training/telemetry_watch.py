"""A training log watched while it grows: limits on its figures, and what to do beyond them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from townlet_env.errors import nearest
from townlet_replay.errors import TelemetryError
from townlet_replay.training.telemetry_reader import log_files, parse_line
from townlet_replay.training.telemetry_schema import RECORD_OF_VERSION, EpochRecordV1, keys_of

_RULE = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(<=|>=)\s*(\S+)\s*")


class Limit(NamedTuple):
    """What a figure should keep to."""

    key: str  # as in the file
    side: Literal["<=", ">="]
    bound: float
    remedy: str

    def broken_by(self, record: EpochRecordV1) -> float | None:
        """Return the figure of ``record`` if it is beyond the limit, else None."""
        value = record.model_dump(by_alias=True).get(self.key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        beyond = value > self.bound if self.side == "<=" else value < self.bound
        return float(value) if beyond else None


# Warnings of practice: Hilton et al. 2021, Engstrom et al. 2020, Huang et al. 2022.
DEFAULT_LIMITS = (
    Limit("kl_divergence", "<=", 0.1, "lower the learning rate, or set target_kl"),
    Limit("clip_fraction", "<=", 0.4, "lower the learning rate, or take fewer passes"),
    Limit("ess", ">=", 0.3, "the rows are too old: collect fresh ones, or use decoupled_ppo"),
    Limit("ratio_max", "<=", 50.0, "look for rows whose log-probs are not the actor's"),
    Limit("explained_variance", ">=", -1.0, "the critic is far off: check rewards and gamma"),
    Limit("entropy_normalised", ">=", 0.02, "the policy has collapsed: raise ent_coef"),
    Limit("grad_norm_max", "<=", 100.0, "look for extreme rewards, or lower the learning rate"),
)


class Alarm(NamedTuple):
    """One figure beyond its limit."""

    epoch: int
    limit: Limit
    found: float

    def __str__(self) -> str:
        limit = self.limit
        return (
            f"epoch {self.epoch}: {limit.key}: expected {limit.side} {limit.bound:g}, found "
            f"{self.found:.4g}; {limit.remedy}"
        )


def parse_limit(text: str) -> Limit:
    """Return the limit that a text such as ``"kl_divergence <= 0.05"`` states.

    Raises:
        TelemetryError: it states none, or no figure has that name.
    """
    match = _RULE.fullmatch(text)
    try:
        bound = float(match[3]) if match else None
    except ValueError:
        bound = None
    if match is None or bound is None:
        raise TelemetryError(
            f"limit {text!r}: expected KEY<=NUMBER or KEY>=NUMBER, such as kl_divergence<=0.05"
        )
    known = [key for record in RECORD_OF_VERSION.values() for key in keys_of(record)]
    if match[1] not in known:
        raise TelemetryError(f"limit {text!r}: no figure {match[1]!r}{nearest(match[1], known)}")
    side: Literal["<=", ">="] = "<=" if match[2] == "<=" else ">="
    return Limit(match[1], side, bound, "set by --limit")


def alarms_of(record: EpochRecordV1, limits: Sequence[Limit]) -> list[Alarm]:
    """Return the figures of one epoch that are beyond their limits."""
    found = []
    for limit in limits:
        value = limit.broken_by(record)
        if value is not None:
            found.append(Alarm(record.epoch, limit, value))
    return found


class LogFollower:
    """Reads the records of a log as they come, across rotations.

    Args:
        path: Newest file of the log; it need not be there yet.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._seen = 0  # lines taken, over all files of the log

    def new_records(self) -> list[EpochRecordV1]:
        """Return what was written since the last call; a line without its end waits.

        Raises:
            TelemetryError: a line does not follow its schema.
        """
        records: list[EpochRecordV1] = []
        number = 0
        for file in log_files(self._path):
            try:
                lines = file.read_bytes().splitlines(keepends=True)
            except FileNotFoundError:  # rotated meanwhile: the next call finds it
                return records
            for position, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break
                number += 1
                if number <= self._seen:
                    continue
                record, problems = parse_line(line, file.name, position)
                if record is None or problems:
                    raise TelemetryError(f"{problems[0]}; see townlet telemetry validate")
                self._seen = number
                records.append(record)
        return records


def follow(
    path: str | Path,
    interval: float,
    idle: float | None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[EpochRecordV1]:
    """Yield the records of a log, those to come included.

    Args:
        path: Newest file of the log; it need not be there yet.
        interval: Seconds between two looks.
        idle: Ends after so many seconds without a new record; None: never.
        sleep: Waits.

    Raises:
        TelemetryError: as ``LogFollower.new_records``.
    """
    follower, waited = LogFollower(path), 0.0
    while idle is None or waited < idle:
        records = follower.new_records()
        yield from records
        waited = 0.0 if records else waited + interval
        sleep(interval)
