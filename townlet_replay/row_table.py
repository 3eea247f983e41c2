"""Rows of many samples in one array per name: read straight into place, drawn from at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.rollout import row_arrays
from townlet_replay.sample import ReplaySample


class Minibatch(NamedTuple):
    """B rows drawn one by one: each is whole, none follows from the one before it."""

    observations: dict[str, NDArray[Any]]  # key -> (B, ...)
    action_mask: NDArray[np.int8] | None  # (B, A)
    actions: NDArray[Any]  # (B,) int64 ids; (B, ...) for other action spaces
    rewards: NDArray[np.float32]  # (B,) raw
    terminations: NDArray[np.bool_]  # (B,)
    truncations: NDArray[np.bool_]  # (B,) the last row of a life that is not terminated
    old_log_probs: NDArray[np.float32]  # (B,) NaN unknown
    values: NDArray[np.float32]  # (B,) NaN without a critic
    positions: NDArray[np.int64]  # (B,) which sample of the data set the row is of
    steps: NDArray[np.int64]  # (B,) which row of that sample it is


class RowTable:
    """The rows of samples of one layout, one sample after the other.

    Args:
        columns: (N, ...) under the names of :func:`~townlet_replay.rollout.row_arrays`.
        lengths: rows of every sample; N in all.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]], lengths: Sequence[int]) -> None:
        self.columns = dict(columns)
        self.starts = np.cumsum([0, *lengths])  # (S + 1,) first row of every sample, and the end

    @classmethod
    def like(cls, sample: ReplaySample, lengths: Sequence[int]) -> Self:
        """Return a table of rows like those of ``sample``, which are still to come.

        Raises:
            MemoryError: there is not enough.
        """
        rows = sum(lengths)
        columns = {
            name: np.empty((rows, *array.shape[1:]), array.dtype)
            for name, array in row_arrays(sample).items()
        }
        return cls(columns, lengths)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def settle(self, arrays: Mapping[str, NDArray[Any]], position: int) -> dict[str, NDArray[Any]]:
        """Copy the rows of a sample into its place.

        Args:
            arrays: under their names in the file; those of another layout stay where they are.
            position: which of the samples it is.

        Returns:
            The arrays that the sample is to hold: the same numbers, rows in their place.
        """
        start, end = self.starts[position : position + 2].tolist()
        found = dict(arrays)
        for name, array in arrays.items():
            if name == "value_preds":  # one more than rows; of any shape yet
                _move(np.atleast_1d(array)[:-1], self.columns[name][start:end])
            elif name in self.columns and _move(array, self.columns[name][start:end]):
                found[name] = self.columns[name][start:end]
        return found

    def draw(
        self, rows: NDArray[np.int64], keys: Sequence[str], reuse: Minibatch | None = None
    ) -> Minibatch:
        """Copy rows out.

        Args:
            rows: (B,) numbers of rows of the table.
            keys: of the observations.
            reuse: of as many rows of this layout; its arrays are overwritten and returned.

        Raises:
            CaptureError: ``reuse`` is of another size or layout.
        """
        into = {} if reuse is None else _columns_of(reuse)
        found = {}
        for name, column in self.columns.items():
            out = into.get(name)
            if out is not None and (out.shape, out.dtype) != (
                (len(rows), *column.shape[1:]),
                column.dtype,
            ):
                raise CaptureError(
                    f"reuse: {name} is {out.dtype}{list(out.shape)}, expected {column.dtype}"
                    f"{[len(rows), *column.shape[1:]]}; pass a minibatch of as many rows of the "
                    "same data set"
                )
            # The numbers are in range, and without "clip" NumPy copies everything once more.
            found[name] = np.take(column, rows, axis=0, out=out, mode="clip")
        positions = np.searchsorted(self.starts, rows, side="right") - 1
        found["truncations"] &= ~found["terminations"]
        return Minibatch(
            observations={key: found.pop(key) for key in keys},
            action_mask=found.pop("action_mask", None),
            values=found.pop("value_preds"),
            **found,
            positions=positions,
            steps=rows - self.starts[positions],
        )


def _move(array: NDArray[Any], room: NDArray[Any]) -> bool:
    fits = array.shape == room.shape and array.dtype == room.dtype
    if fits:
        room[...] = array
    return fits


def _columns_of(batch: Minibatch) -> dict[str, NDArray[Any]]:
    arrays = {**batch.observations, **batch._asdict(), "value_preds": batch.values}
    return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
