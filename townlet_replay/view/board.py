"""The page of training logs: as a file, or live while training runs.

A live page holds nothing but the shell and asks for ``/records`` again and again. For each log it
tells how many records it has, and the token of the log that they are of; it gets what came since,
or everything if that log was begun anew.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import numpy as np

from townlet_replay.errors import TelemetryError
from townlet_replay.safe_files import write_files
from townlet_replay.training.telemetry_tail import LogTail
from townlet_replay.training.telemetry_watch import Limit
from townlet_replay.view.packed import as_json
from townlet_replay.view.panels import (
    AGENT_FIGURES,
    AGENT_PANELS,
    COLUMN_KEYS,
    PANELS,
    WORDS,
    agents_of,
    meanings,
    numbers_of,
)
from townlet_replay.view.serving import Answer, Route, page_route
from townlet_replay.view.shell import page_of

BODY = "board.html"
PROGRAMS = ("common.js", "board_data.js", "board_chart.js", "board_table.js", "board.js")
MOST = 2000  # records in one answer; the page asks for the rest at once

RECORDS = "/records"

Json = dict[str, Any]


class _Have(NamedTuple):
    """What a page has of a log."""

    token: str = ""
    records: int = 0


class Board:
    """Several logs, and what is shown of them.

    Args:
        paths: Newest file of each; they need not be there yet.
        limits: Drawn, and what is beyond them is marked.
    """

    def __init__(self, paths: Sequence[str | Path], limits: Sequence[Limit]) -> None:
        self._paths, self._limits = [Path(path) for path in paths], limits
        self._tails = [LogTail(path) for path in self._paths]
        self._lock = threading.Lock()  # the server answers in threads

    def page(self) -> str:
        """Return the page with everything that is in the logs now.

        Raises:
            TelemetryError: A log is not there, has no record, or cannot be read.
            CaptureError: jinja2 is not installed.
        """
        logs = []
        for path, tail in zip(self._paths, self._tails, strict=True):
            try:
                tail.look()
            except OSError as error:
                raise TelemetryError(f"The log {path} cannot be read: {error}.") from error
            if not tail.records:
                said = f": {tail.problems[0]}" if tail.problems else ""
                raise TelemetryError(f"There is no record of training at {path}{said}.")
            logs.append(_with_arrays(self._part(tail, 0, len(tail.records))))
        return page_of(self._title(), self._facts(logs, 0.0), BODY, PROGRAMS)

    def live_page(self, interval: float) -> str:
        """Return the page that asks for records every ``interval`` seconds.

        Raises:
            CaptureError: jinja2 is not installed.
        """
        return page_of(self._title(), self._facts([], interval), BODY, PROGRAMS, asks=True)

    def routes(self, interval: float) -> dict[str, Route]:
        """Return what a server answers.

        Raises:
            CaptureError: jinja2 is not installed.
        """
        return {
            "/": page_route(self.live_page(interval)),
            RECORDS: lambda query: Answer(
                "application/json", as_json(self.records(query)).encode("ascii")
            ),
        }

    def records(self, query: str) -> list[Json]:
        """Return what came since: a part for each log, in their order.

        Args:
            query: ``have=TOKEN:RECORDS`` for each log, in their order; what is missing or is none
                counts as nothing.
        """
        have = list(map(_have, parse_qs(query, keep_blank_values=True).get("have", [])))
        have += [_Have()] * (len(self._tails) - len(have))
        with self._lock:
            parts = [self._since(k, had) for k, had in enumerate(have[: len(self._tails)])]
        return [
            part | {"name": name} for part, name in zip(parts, _names(self._paths), strict=True)
        ]

    def _since(self, k: int, had: _Have) -> Json:
        tail, failed = self._tails[k], ""
        try:
            tail.look()
        except OSError as error:
            failed = f"cannot be read: {error.strerror or error}"
        known = had.token == tail.token and 0 <= had.records <= len(tail.records)
        first = had.records if known else 0
        part = self._part(tail, first, min(len(tail.records), first + MOST))
        return part | ({"problem": failed} if failed else {})

    def _part(self, tail: LogTail, first: int, end: int) -> Json:
        """Return records ``first`` to ``end`` of a log, column by column."""
        records = tail.records[first:end]
        rows = [numbers_of(record) for record in records]
        columns = {key: [row[key] for row in rows] for key in COLUMN_KEYS}
        names: dict[str, int] = {}
        agents = [
            [names.setdefault(name, len(names)), first + place, *figures]
            for place, record in enumerate(records)
            for name, figures in agents_of(record).items()
        ]
        newest = records[-1].model_dump(by_alias=True) if records else {}
        return {
            "token": tail.token,
            "first": first,
            "count": len(records),
            "total": len(tail.records),
            "columns": {
                key: column
                for key, column in columns.items()
                if any(value is not None for value in column)
            },
            "names": list(names),
            "agents": agents,
            "newest": {key: newest[key] for key in WORDS if key in newest and key != "agents"},
            "problems": len(tail.problems),
            "problem": str(tail.problems[0]) if tail.problems else "",
            "note": _note(tail),
        }

    def _facts(self, parts: list[Json], interval: float) -> Json:
        return {
            "logs": _names(self._paths),
            "parts": parts,
            "interval": interval,
            "panels": [
                {"title": panel.title, "curves": [curve._asdict() for curve in panel.curves]}
                for panel in PANELS
            ],
            "agentFigures": AGENT_FIGURES,
            "agentPanels": [
                {"title": panel.title, "figure": AGENT_FIGURES.index(panel.figure)}
                for panel in AGENT_PANELS
            ],
            "limits": [limit._asdict() for limit in self._limits],
            "keys": meanings(),
        }

    def _title(self) -> str:
        return f"Training: {', '.join(_names(self._paths))}"


def write_board(board: Board, path: str | Path) -> Path:
    """Write the page with everything that is in the logs now, and return where it is.

    Raises:
        TelemetryError: A log is not there, has no record, or cannot be read.
        CaptureError: jinja2 is not installed, or the disk refuses.
    """
    out = Path(path)
    write_files(out.parent, {out.name: board.page().encode("utf-8")})
    return out


def _note(tail: LogTail) -> str:
    """Return what there is to know of a log that is no mistake in it."""
    said = []
    if not tail.found:
        said.append("no such file yet")
    elif not tail.records and not tail.problems:
        said.append("no epoch yet")
    if tail.cut:
        said.append("the last line has no end yet and is left out")
    if tail.beginnings and tail.found:
        said.append("was begun anew; what was there before is gone")
    elif tail.beginnings:
        said.append("what was there before is gone")
    return ", ".join(said)


def _have(text: str) -> _Have:
    token, _, count = text.rpartition(":")
    return _Have(token, int(count)) if count.isascii() and count.isdigit() else _Have()


def _names(paths: Sequence[Path]) -> list[str]:
    """Return names of logs that differ: the last parts of their paths, as few as will do."""
    whole = [path.absolute().parts for path in paths]
    deepest = max(map(len, whole))
    for depth in range(1, deepest + 1):
        names = ["/".join(parts[-depth:]) for parts in whole]
        if len(set(names)) == len(set(whole)):
            break
    return names


def _with_arrays(part: Json) -> Json:
    """Return a part whose numbers are arrays; NaN stands for what was not measured."""
    columns = {key: np.array(column, np.float64) for key, column in part["columns"].items()}
    width = 2 + len(AGENT_FIGURES)
    agents = np.array(part["agents"], np.float64).reshape(-1, width)
    return part | {"columns": columns, "agents": agents}
