"""One NPZ for a whole capture: rows of all lives in turn, and arrays that say where each begins.

``segment_starts`` (S,) is the first row of every life; ``segment_sidecars`` are the bytes of a JSON
document with the sidecar of every life. Arrays of rows (N, ...) and of ends (S, ...) have the names
they have in a capture, and ``segment_final_value`` (S,) is what ends ``value_preds`` there. An
optional array that some lives lack is NaN, -1 or false there; ``segment_has_<name>`` (S,) says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.exchange.lives import (
    FINAL_VALUE,
    VALUES,
    Lives,
    Origin,
    Parts,
    check_absent,
    put_together,
    take_apart,
    unknown_like,
)
from townlet_replay.npz import MAX_TOTAL_BYTES, encode_npz
from townlet_replay.npz_reader import decode_npz
from townlet_replay.safe_files import MAX_JSON_BYTES, read_bytes, to_json, write_files
from townlet_replay.sample import EXTRA_ARRAYS, FINAL, ReplaySample
from townlet_replay.sidecar import SampleMeta, read_document

STARTS = "segment_starts"
SIDECARS = "segment_sidecars"
HAS = "segment_has_"

_Arrays = Mapping[str, NDArray[Any]]
_Join = Callable[[Sequence[NDArray[Any]]], NDArray[Any]]


class Sidecars(Origin):
    """What a flat file says in words."""

    sidecars: tuple[SampleMeta, ...]


def write(lives: Lives, output: Path) -> None:
    """Write ``lives`` as one NPZ, which NumPy reads in one call.

    Raises:
        CaptureError: more than 2 GiB of arrays, or the output exists or cannot be written.
    """
    check_absent(output)
    parts: list[Parts] = []
    held = 0
    for sample in lives.samples:
        parts.append(take_apart(sample))
        held += sum(array.nbytes for part in parts[-1][:2] for array in part.values())
        if held > MAX_TOTAL_BYTES:
            raise CaptureError(
                f"{output}: more than {MAX_TOTAL_BYTES} bytes of arrays do not go into one NPZ; "
                "export to parquet or minari, or fewer agents (--agent)"
            )
    words = to_json(Sidecars(metadata=lives.metadata, sidecars=tuple(p.meta for p in parts)))
    if len(words) > MAX_JSON_BYTES:
        raise CaptureError(
            f"{output}: the sidecars of {len(parts)} lives do not go into one NPZ; "
            "export to parquet or minari, or fewer agents (--agent)"
        )
    rows = [part.meta.timesteps for part in parts]
    arrays = {
        **_tables([part.rows for part in parts], [(count,) for count in rows], np.concatenate),
        **_tables([part.ends for part in parts], [() for _ in rows], np.stack),
        STARTS: np.cumsum([0, *rows[:-1]]),
        SIDECARS: np.frombuffer(words, np.uint8),
    }
    write_files(output.parent, {output.name: encode_npz(arrays, compress=True)})


def _tables(
    parts: Sequence[_Arrays], leading: Sequence[tuple[int, ...]], join: _Join
) -> dict[str, NDArray[Any]]:
    """Join the arrays of every name; what some lives lack says nothing there, and gets a companion.

    Args:
        parts: name -> array of every life.
        leading: what the shapes of every life begin with: (T,) of rows, () of ends.
        join: of the arrays of one name.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, like in {name: array for arrays in parts for name, array in arrays.items()}.items():
        here = np.array([name in arrays for arrays in parts])
        tail = like.shape[len(leading[0]) :]
        found[name] = join(
            [
                arrays[name]
                if name in arrays
                else unknown_like(np.empty((*begin, *tail), like.dtype))
                for arrays, begin in zip(parts, leading, strict=True)
            ]
        )
        if not here.all():
            found[f"{HAS}{name}"] = here
    return found


def read(source: Path) -> Lives:
    """Read a flat NPZ that :func:`write` wrote.

    Raises:
        CaptureError: not one, unsafe or damaged. While iterating: a life is unsound.
    """
    where = str(source)
    arrays = decode_npz(read_bytes(source), where)
    for name in (STARTS, SIDECARS, VALUES, FINAL_VALUE):
        if name not in arrays:
            raise CaptureError(f"{where}: no array {name!r}; expected what `--to npz` writes")
    words = arrays.pop(SIDECARS)
    if words.dtype != np.uint8 or words.ndim != 1:
        raise CaptureError(f"{where}: {SIDECARS} is {words.dtype}{list(words.shape)}, not bytes")
    document = read_document(Sidecars, words.tobytes(), f"{where}: {SIDECARS}")
    count = len(document.sidecars)
    rows = [meta.timesteps for meta in document.sidecars]
    starts = np.cumsum([0, *rows])
    found = arrays.pop(STARTS)
    if found.dtype.kind not in "iu" or not count or not np.array_equal(found, starts[:-1]):
        raise CaptureError(
            f"{where}: {STARTS} are {found[:5].tolist() if found.ndim else found}, but the "
            f"sidecars tell of {count} lives of {rows[:5]} rows"
        )
    has = {name: arrays.pop(f"{HAS}{name}") for name in EXTRA_ARRAYS if f"{HAS}{name}" in arrays}
    for name, array in has.items():
        if array.dtype != np.bool_ or array.shape != (count,):
            raise CaptureError(
                f"{where}: {HAS}{name} is {array.dtype}{list(array.shape)}, expected bool[{count}]"
            )
    for name, array in arrays.items():
        expected = count if _of_ends(name) else int(starts[-1])
        if array.shape[:1] != (expected,):
            raise CaptureError(
                f"{where}: {name} has shape {list(array.shape)}, expected {expected} rows"
            )
    return Lives(document.metadata, count, _lives(arrays, has, document.sidecars, where))


def _of_ends(name: str) -> bool:
    return name == FINAL_VALUE or name.startswith(FINAL)


def _lives(
    arrays: _Arrays, has: _Arrays, sidecars: Sequence[SampleMeta], where: str
) -> Iterator[ReplaySample]:
    start = 0
    for index, meta in enumerate(sidecars):
        here = [name for name in arrays if name not in has or has[name][index]]
        stop = start + meta.timesteps
        parts = Parts(
            {name: arrays[name][start:stop] for name in here if not _of_ends(name)},
            {name: arrays[name][index, ...] for name in here if _of_ends(name)},
            meta,
        )
        yield put_together(parts, f"{where}: life {index}")
        start = stop
