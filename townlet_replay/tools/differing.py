"""``diff``: what two captures do not share, down to the first row and field of every sample."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.manifest import Capture
from townlet_replay.sample import FINAL, ReplaySample, arrays_of
from townlet_replay.sidecar import SampleMeta
from townlet_replay.tools.comparing import ABSENT, Difference, differences
from townlet_replay.tools.derived import Watch

# How and by whom a sample was written, not what it says.
_OF_THE_FILE = {"schema_version", "mode", "digests", "source"}


class Life(NamedTuple):
    """Whose sample it is; ``copy`` counts further samples of the same agent and episode."""

    agent_id: str
    episode_id: int
    copy: int = 0

    def __str__(self) -> str:
        again = f", sample {self.copy + 1}" if self.copy else ""
        return f"{self.agent_id}, episode {self.episode_id}{again}"


class ArrayDifference(NamedTuple):
    """Where one array of a sample begins to differ."""

    array: str
    row: int | None  # None: not the same shape and type, or an array without rows
    field: str  # the place within the row, such as ``[3] hunger``; may be empty
    left: str
    right: str
    rows: int  # rows that differ; 0 without rows

    def __str__(self) -> str:
        values = f"{self.array}{self.field}: {self.left} and {self.right}"
        if self.row is None:
            return values
        return f"row {self.row}: {values}; {self.rows} rows of {self.array} differ"


@dataclass(frozen=True)
class SampleDifference:
    """What two samples of the same life do not share."""

    life: Life
    sidecar: tuple[Difference, ...]
    arrays: tuple[ArrayDifference, ...]  # by first row


@dataclass(frozen=True)
class CaptureDifference:
    """What two captures do not share."""

    metadata: tuple[Difference, ...]
    only_left: tuple[Life, ...]
    only_right: tuple[Life, ...]
    reordered: bool  # samples that both have come in another order
    samples: tuple[SampleDifference, ...]

    @property
    def same(self) -> bool:
        """Whether there is no difference at all."""
        missing = self.only_left or self.only_right
        return not (self.metadata or missing or self.reordered or self.samples)


def diff_captures(left: Capture, right: Capture, watch: Watch | None = None) -> CaptureDifference:
    """Compare two captures, bit by bit and field by field.

    Samples are paired by agent and episode. How files are called and written makes no difference,
    nor where copied samples come from (``source``). Samples of the same digests are not read.

    Args:
        left: one.
        right: the other.
        watch: called with 1 after every pair of samples.

    Raises:
        CaptureError: a file is missing, altered, unsafe or wrong.
    """
    places, others = _lives(left), _lives(right)
    shared = [life for life in places if life in others]
    found = []
    for life in shared:
        difference = _compare(life, (left, places[life]), (right, others[life]))
        if difference is not None:
            found.append(difference)
        if watch is not None:
            watch(1)
    ours, theirs = (capture.manifest.metadata.model_dump() for capture in (left, right))
    return CaptureDifference(
        metadata=tuple(differences(ours, theirs, "metadata")),
        only_left=tuple(life for life in places if life not in others),
        only_right=tuple(life for life in others if life not in places),
        reordered=shared != [life for life in others if life in places],
        samples=tuple(found),
    )


def _lives(capture: Capture) -> dict[Life, int]:
    seen: Counter[tuple[str, int]] = Counter()
    found = {}
    for index, entry in enumerate(capture.manifest.samples):
        key = entry.agent_id, entry.episode_id
        found[Life(*key, seen[key])] = index
        seen[key] += 1
    return found


def _compare(
    life: Life, left: tuple[Capture, int], right: tuple[Capture, int]
) -> SampleDifference | None:
    one, other = (capture.manifest.samples[index] for capture, index in (left, right))
    if (one.sha256, one.meta_sha256) == (other.sha256, other.meta_sha256):
        return None
    ours, theirs = (_said(capture.meta(index)) for capture, index in (left, right))
    sidecar = tuple(differences(ours, theirs))
    arrays: tuple[ArrayDifference, ...] = ()
    if one.sha256 != other.sha256:
        arrays = compare_arrays(left[0].sample(left[1]), right[0].sample(right[1]))
    return SampleDifference(life, sidecar, arrays) if sidecar or arrays else None


def _said(meta: SampleMeta) -> dict[str, Any]:
    return meta.model_dump(exclude=_OF_THE_FILE)


def compare_arrays(left: ReplaySample, right: ReplaySample) -> tuple[ArrayDifference, ...]:
    """Return where every array begins to differ, in the order of these rows."""
    ours, theirs = arrays_of(left), arrays_of(right)
    found = [
        difference
        for name in dict.fromkeys([*ours, *theirs])
        if (difference := _compare_array(name, ours.get(name), theirs.get(name), left.meta))
    ]
    return tuple(sorted(found, key=lambda d: -1 if d.row is None else d.row))


def _compare_array(
    name: str, left: NDArray[Any] | None, right: NDArray[Any] | None, meta: SampleMeta
) -> ArrayDifference | None:
    if left is None or right is None or (left.dtype, left.shape) != (right.dtype, right.shape):
        return ArrayDifference(name, None, "", _form(left), _form(right), 0)
    if left.tobytes() == right.tobytes():
        return None
    differ = _bytes(left) != _bytes(right)  # (elements,): NaN is NaN, and -0.0 is not 0.0
    place = np.unravel_index(int(differ.argmax()), left.shape)
    row, rows, inside = None, 0, place
    if not name.startswith(FINAL):
        row, inside = int(place[0]), place[1:]
        rows = int(differ.reshape(left.shape[0], -1).any(axis=1).sum())
    one, other = (_value(name, array[place], meta) for array in (left, right))
    return ArrayDifference(name, row, _field(name, inside, meta), one, other, rows)


def _bytes(array: NDArray[Any]) -> NDArray[Any]:
    """Return the elements as raw bytes, comparable one by one."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(f"V{array.dtype.itemsize}")


def _form(array: NDArray[Any] | None) -> str:
    return ABSENT if array is None else f"{array.dtype}{list(array.shape)}"


def _value(name: str, value: Any, meta: SampleMeta) -> str:
    action = meta.action_lookup.get(int(value)) if name in {"actions", "intent_actions"} else None
    return str(value) if action is None else f"{value} ({action})"


def _field(name: str, place: tuple[Any, ...], meta: SampleMeta) -> str:
    if not place:
        return ""
    index = "".join(f"[{int(i)}]" for i in place)
    columns = {
        "features": meta.feature_names,
        "action_mask": tuple(meta.action_lookup[i] for i in sorted(meta.action_lookup)),
        "reward_components": meta.reward_components,
    }.get(name.removeprefix(FINAL))
    return f"{index} {columns[int(place[-1])]}" if columns and len(place) == 1 else index
