"""Rows of many lanes at once, in columns that are made once; a finished life becomes a sample."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.metrics import TownEvent, sample_metrics
from townlet_replay.sample import ReplaySample, with_metrics
from townlet_replay.sidecar import SampleMeta

NAN = float("nan")

Arrays = dict[str, NDArray[Any]]


class Row(NamedTuple):
    """One tick of all lanes, ``(S, ...)`` each."""

    actions: NDArray[np.int64]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    ticks: NDArray[np.int32]
    log_probs: NDArray[np.float32]  # NaN where unknown
    values: NDArray[np.float32]  # NaN without a critic
    optional: Arrays  # extras of the format, the same keys in every row


class Taken(NamedTuple):
    """Copies of the columns of one life, T rows each."""

    seen: Arrays
    rest: Arrays  # all others by the names of a row
    extra: Arrays
    final: Arrays  # what was seen after the last row


class Life(NamedTuple):
    """A finished life, copied out of the columns; T rows."""

    observations: Arrays
    mask: NDArray[np.int8]
    columns: Arrays  # the other arrays of the rows by name
    optional: Arrays
    final_observation: Arrays
    final_mask: NDArray[np.int8]
    final_value: float
    events: tuple[TownEvent, ...] | None
    illegal: int

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        tables = (self.observations, self.columns, self.optional)
        return self.mask.nbytes + sum(a.nbytes for table in tables for a in table.values())

    def sample(self, meta: SampleMeta) -> ReplaySample:
        """Return the life as a sample, with its metrics.

        Raises:
            CaptureError: the rows contradict each other or ``meta``.
        """
        columns, rows = self.columns, meta.timesteps
        forbidden = self.mask[np.arange(rows), np.clip(columns["actions"], 0, None)] == 0
        extras = dict(self.optional)
        if forbidden.any():
            extras["illegal_actions"] = forbidden
        extras["final_action_mask"] = self.final_mask
        sample = ReplaySample(
            observations=self.observations,
            action_mask=self.mask,
            actions=columns["actions"],
            rewards=columns["rewards"],
            terminations=columns["terminated"],
            truncations=columns["truncated"],
            old_log_probs=columns["log_probs"],
            value_preds=np.append(columns["values"], np.float32(self._last_value())),
            ticks=columns["ticks"],
            final_observation=self.final_observation,
            extras=extras,
            meta=meta,
        )
        return with_metrics(sample, sample_metrics(sample, self.events, self.illegal))

    def _last_value(self) -> float:
        if not self.columns["terminated"][-1]:
            return self.final_value
        return NAN if np.isnan(self.columns["values"]).all() else 0.0


class LaneColumns:
    """Room for one life per lane, and for what is seen after its last row.

    Args:
        lanes: Number of them, S.
        ticks: Rows of the longest life.

    Attributes:
        rows: (S,) rows of the lane's life so far.
    """

    def __init__(self, lanes: int, ticks: int) -> None:
        self.rows = np.zeros(lanes, np.int64)
        self._ticks = ticks
        self._seen: Arrays = {}
        self._rest: Arrays = {}
        self._extra: Arrays = {}

    def look(self, seen: Arrays) -> None:
        """Take down what every lane sees: of its next row, or what followed its last one."""
        self._put(self._seen, seen, np.arange(len(self.rows)))

    def add(self, row: Row, lanes: NDArray[np.int64]) -> None:
        """Add a row to the lives of ``lanes``; what they saw was taken down before."""
        parts = row._asdict()
        self._put(self._extra, parts.pop("optional"), lanes)
        self._put(self._rest, parts, lanes)
        self.rows[lanes] += 1

    def _put(self, columns: Arrays, parts: Arrays, lanes: NDArray[np.int64]) -> None:
        if not columns:
            shape = (len(self.rows), self._ticks + 1)
            for name, part in parts.items():
                columns[name] = np.empty((*shape, *part.shape[1:]), part.dtype)
        at = self.rows[lanes]
        everybody = len(lanes) == len(self.rows) and bool((at == at[0]).all())
        for name, column in columns.items():
            if everybody:
                column[:, at[0]] = parts[name]
            else:
                column[lanes, at] = parts[name][lanes]

    def mark_cut(self, lane: int) -> None:
        """Close a life that goes on as truncated."""
        self._rest["truncated"][lane, self.rows[lane] - 1] = True

    def valued(self, lanes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell whose last row has a value."""
        valued: NDArray[np.bool_] = ~np.isnan(self._rest["values"][lanes, self.rows[lanes] - 1])
        return valued

    def seen(self, lanes: NDArray[np.int64]) -> Arrays:
        """Return what lanes see now, each ``(len(lanes), ...)``."""
        return {name: column[lanes, self.rows[lanes]] for name, column in self._seen.items()}

    def take(self, lane: int) -> Taken:
        """Return copies of a life and of what followed it, and begin the next one."""
        count = int(self.rows[lane])
        self.rows[lane] = 0
        seen, rest, extra = (
            {name: column[lane, :count].copy() for name, column in columns.items()}
            for columns in (self._seen, self._rest, self._extra)
        )
        final = {name: column[lane, count].copy() for name, column in self._seen.items()}
        return Taken(seen, rest, extra, final)
