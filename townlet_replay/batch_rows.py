"""Rows of many lanes at once, in columns that are made once; a finished life becomes a sample."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.metrics import TownEvent, sample_metrics
from townlet_replay.sample import ReplaySample, with_metrics
from townlet_replay.sidecar import SampleMeta

NAN = float("nan")


class Row(NamedTuple):
    """One tick of all lanes, ``(S, ...)`` each."""

    observations: dict[str, NDArray[Any]]  # before the action
    mask: NDArray[np.int8]  # before the action
    actions: NDArray[np.int64]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    ticks: NDArray[np.int32]
    log_probs: NDArray[np.float32]  # NaN where unknown
    values: NDArray[np.float32]  # NaN without a critic
    optional: dict[str, NDArray[Any]]  # extras of the format, the same keys in every row


class Life(NamedTuple):
    """A finished life, copied out of the columns; T rows."""

    observations: dict[str, NDArray[Any]]
    mask: NDArray[np.int8]
    columns: dict[str, NDArray[Any]]  # the other arrays of the rows by name
    optional: dict[str, NDArray[Any]]
    final_observation: dict[str, NDArray[Any]]
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


_COLUMNS = ("actions", "rewards", "terminated", "truncated", "ticks", "log_probs", "values")


class LaneColumns:
    """Room for one life per lane.

    Args:
        first: A row like those to come; its values are not taken.
        ticks: Rows of the longest life.

    Attributes:
        rows: (S,) rows of the lane's life so far.
    """

    def __init__(self, first: Row, ticks: int) -> None:
        lanes = len(first.rewards)
        self.rows = np.zeros(lanes, np.int64)
        self._parts = {name: getattr(first, name) for name in _COLUMNS}
        self._parts |= {f"seen {key}": part for key, part in first.observations.items()}
        self._parts |= {f"extra {key}": part for key, part in first.optional.items()}
        self._parts["mask"] = first.mask
        self._columns = {
            name: np.zeros((lanes, ticks, *part.shape[1:]), part.dtype)
            for name, part in self._parts.items()
        }

    def add(self, row: Row, lanes: NDArray[np.int64]) -> None:
        """Add a row to the lives of ``lanes``."""
        at = self.rows[lanes]
        everybody = len(lanes) == len(self.rows) and bool((at == at[0]).all())
        for name, column in self._columns.items():
            part = _part(row, name)
            if everybody:
                column[:, at[0]] = part
            else:
                column[lanes, at] = part[lanes]
        self.rows[lanes] += 1

    def mark_cut(self, lane: int) -> None:
        """Close a life that goes on as truncated."""
        self._columns["truncated"][lane, self.rows[lane] - 1] = True

    def values(self, lane: int) -> NDArray[np.float32]:
        """Return the recorded values of a life, ``(T,)``."""
        values: NDArray[np.float32] = self._columns["values"][lane, : self.rows[lane]]
        return values

    def take(self, lane: int) -> dict[str, dict[str, NDArray[Any]]]:
        """Return copies of the rows of a life by group, and begin the next one."""
        count = int(self.rows[lane])
        self.rows[lane] = 0
        found: dict[str, dict[str, NDArray[Any]]] = {"seen": {}, "extra": {}, "columns": {}}
        for name, column in self._columns.items():
            group, _, key = name.partition(" ")
            table = found[group] if key else found["columns"]
            table[key or name] = column[lane, :count].copy()
        return found


def _part(row: Row, name: str) -> NDArray[Any]:
    group, _, key = name.partition(" ")
    if not key:
        part: NDArray[Any] = getattr(row, name)
        return part
    return (row.observations if group == "seen" else row.optional)[key]
