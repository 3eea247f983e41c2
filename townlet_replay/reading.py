"""Many samples of a capture read at once: in several threads, and straight into one table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture
from townlet_replay.npz import looks_like_bomb
from townlet_replay.rollout import check_alike, row_arrays
from townlet_replay.row_table import RowTable
from townlet_replay.sample import ReplaySample, arrays_of, build_sample
from townlet_replay.side_by_side import side_by_side
from townlet_replay.sidecar import SampleMeta


class Reading(NamedTuple):
    """Samples in memory."""

    samples: tuple[ReplaySample, ...]
    table: RowTable | None  # of their rows, which are kept here only; None: of several layouts
    difference: str = ""  # between layouts, in words


class ReadLimits(NamedTuple):
    """What reading may use."""

    workers: int  # threads
    max_bytes: int  # of all rows together, if they are like those of the first sample


def read_together(
    capture: Capture, indices: Sequence[int], metas: Sequence[SampleMeta], limits: ReadLimits
) -> Reading:
    """Read, check and return samples.

    Args:
        capture: any.
        indices: of at least one sample, in the manifest.
        metas: their sidecars.
        limits: nothing read depends on the number of threads.

    Raises:
        CaptureError: a file is missing, altered, unsafe or wrong, or the rows are too many.
    """
    first = capture.sample(indices[0], metas[0])
    table = None
    if _are_plausible(capture, indices, metas, first):
        table = _room_for(capture, metas, first, limits.max_bytes)
    if len(indices) == 1:
        return Reading((first,), RowTable(row_arrays(first), [first.rows]))

    def read(number: int) -> ReplaySample:
        settle = None if table is None else partial(table.settle, position=number)
        if number > 0:
            return capture.sample(indices[number], metas[number], settle)
        return first if settle is None else build_sample(settle(arrays_of(first)), metas[0], "")

    samples = tuple(side_by_side(read, len(indices), limits.workers))
    try:
        for sample in samples:
            check_alike(first, sample)
    except CaptureError as error:
        return Reading(samples, None, str(error))
    return Reading(samples, table)


def _row_bytes(sample: ReplaySample) -> float:
    return sum(array.nbytes for array in row_arrays(sample).values()) / sample.rows


def _are_plausible(
    capture: Capture, indices: Sequence[int], metas: Sequence[SampleMeta], first: ReplaySample
) -> bool:
    """Say whether all files can hold what their sidecars claim, in rows like those of ``first``."""
    row_bytes = _row_bytes(first)
    for index, meta in zip(indices, metas, strict=True):
        declared = int(meta.timesteps * row_bytes)
        # With a size of 1, most are known to be small without asking for the size of a file.
        if looks_like_bomb(declared, 1):
            stored = capture.files.stored(capture.manifest.samples[index].sample)
            if looks_like_bomb(declared, stored):
                return False
    return True


def _room_for(
    capture: Capture, metas: Sequence[SampleMeta], first: ReplaySample, max_bytes: int
) -> RowTable:
    """Return an empty table for samples like ``first``."""
    lengths = [meta.timesteps for meta in metas]
    row_bytes = _row_bytes(first)
    needed = int(sum(lengths) * row_bytes)
    if needed > max_bytes:
        raise CaptureError(
            f"{capture.path}: {sum(lengths)} rows of {row_bytes:.0f} bytes need {needed} bytes in "
            f"memory, max_bytes allows {max_bytes}; read smaller batches with streaming=True, "
            "choose fewer samples, or raise max_bytes"
        )
    try:
        return RowTable.like(first, lengths)
    except MemoryError as error:
        raise CaptureError(
            f"{capture.path}: {needed} bytes for {sum(lengths)} rows are not to be had; read "
            "smaller batches with streaming=True, or choose fewer samples"
        ) from error
