"""What all formats share: the lives of a capture, taken apart into rows and ends, and put together.

Data sets of the field are tables of rows. A life has more than rows: what followed the last one,
its value, and the sidecar.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture
from townlet_replay.metrics import sample_metrics
from townlet_replay.rollout import check_alike
from townlet_replay.safe_files import first_problem, sync_directory
from townlet_replay.sample import FINAL, ReplaySample, arrays_of, build_sample, with_metrics
from townlet_replay.sidecar import SCHEMA_VERSION, CaptureMetadata, SampleMeta
from townlet_replay.tools.derived import write_samples
from townlet_replay.writer import CaptureWriter, WriterSettings

FINAL_VALUE = "segment_final_value"  # no observation can have this name
VALUES = "value_preds"


class Origin(BaseModel):
    """What a data set says about the capture it was."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: str = SCHEMA_VERSION
    metadata: CaptureMetadata = CaptureMetadata()


@dataclass(frozen=True)
class Lives:
    """The samples of a data set, one after the other."""

    metadata: CaptureMetadata  # of the capture as a whole
    count: int
    samples: Iterator[ReplaySample]

    def watched(self, step: Callable[[], object]) -> Lives:
        """Return the same lives; ``step`` is called when one has been dealt with."""
        return replace(self, samples=_watched(self.samples, step))


def _watched(samples: Iterator[ReplaySample], step: Callable[[], object]) -> Iterator[ReplaySample]:
    for sample in samples:
        yield sample
        step()


def lives_of(capture: Capture, agents: Sequence[str] = ()) -> Lives:
    """Return the lives of a capture that are alike enough for one data set.

    Args:
        capture: where they are.
        agents: only these; empty for all.

    Raises:
        CaptureError: an agent that is not in the capture. While iterating: a sample is unsound, or
            has other spaces than the first.
    """
    entries = capture.manifest.samples
    known = {entry.agent_id for entry in entries}
    strangers = [agent for agent in agents if agent not in known]
    if strangers:
        raise CaptureError(
            f"{capture.path}: no agent {strangers[0]!r}; it has {', '.join(sorted(known))}"
        )
    chosen = [i for i, entry in enumerate(entries) if not agents or entry.agent_id in agents]
    samples = (capture.sample(index) for index in chosen)
    return Lives(capture.manifest.metadata, len(chosen), _alike(samples))


def _alike(samples: Iterable[ReplaySample]) -> Iterator[ReplaySample]:
    first: ReplaySample | None = None
    for sample in samples:
        first = first or sample
        try:
            check_alike(first, sample)
            _check_components(first.meta, sample.meta)
        except CaptureError as error:
            raise CaptureError(
                f"{error}; one data set has one space: export groups of agents apart (--agent)"
            ) from error
        yield sample


def _check_components(first: SampleMeta, other: SampleMeta) -> None:
    if (first.reward_components or ()) != (other.reward_components or ()):
        raise CaptureError(
            f"sample of agent {other.agent_id!r}, episode {other.episode_id}: reward components "
            f"{other.reward_components}, expected {first.reward_components}"
        )


def write_capture(
    lives: Lives, directory: str | Path, settings: WriterSettings | None = None
) -> Capture:
    """Write ``lives`` as a new capture; stopped half-way, what is there is sound.

    Args:
        lives: what to write.
        directory: of the capture.
        settings: prefix, mode and so on; the metadata are those of ``lives``.

    Raises:
        CaptureError: a life is unsound, a capture of this prefix is there, or the disk refuses.
    """
    settings = (settings or WriterSettings())._replace(metadata=lives.metadata)
    return write_samples(map(_measured, lives.samples), CaptureWriter(directory, settings))


def _measured(life: ReplaySample) -> ReplaySample:
    try:
        metrics = life.meta.metrics or sample_metrics(life, None, None)
    except ValidationError as error:
        raise CaptureError(
            f"sample of agent {life.meta.agent_id!r}, episode {life.meta.episode_id}: its metrics "
            f"cannot be: {first_problem(error)}"
        ) from error
    return with_metrics(life, metrics)


class Parts(NamedTuple):
    """A sample, sorted by how often its arrays come."""

    rows: dict[str, NDArray[Any]]  # name -> (T, ...)
    ends: dict[str, NDArray[Any]]  # name -> (...): what followed the last row, and its value
    meta: SampleMeta


def take_apart(sample: ReplaySample) -> Parts:
    """Return the arrays of ``sample`` as rows and ends."""
    arrays = arrays_of(sample)
    ends = {name: arrays.pop(name) for name in list(arrays) if name.startswith(FINAL)}
    ends[FINAL_VALUE] = arrays[VALUES][-1, ...]
    arrays[VALUES] = arrays[VALUES][:-1]
    return Parts(arrays, ends, sample.meta)


def put_together(parts: Parts, where: str) -> ReplaySample:
    """Return the sample that :func:`take_apart` took apart, with every check.

    Args:
        parts: rows and ends.
        where: the source, for the message.

    Raises:
        CaptureError: an array is missing or unknown, or the arrays contradict each other.
    """
    missing = [name for name in (FINAL_VALUE,) if name not in parts.ends]
    missing += [name for name in (VALUES,) if name not in parts.rows]
    if missing:
        raise CaptureError(f"{where}: no array {missing[0]!r}; it is part of every life")
    ends = {name: array for name, array in parts.ends.items() if name != FINAL_VALUE}
    values = np.append(parts.rows[VALUES], parts.ends[FINAL_VALUE])
    return build_sample({**parts.rows, **ends, VALUES: values}, parts.meta, where)


def unknown_like(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of this shape and type that says nothing: NaN, -1, or false."""
    nothing = {"f": np.nan, "i": -1}.get(array.dtype.kind, 0)
    return np.full(array.shape, nothing, array.dtype)


def library(name: str, extra: str) -> Any:
    """Import the library of a format.

    Raises:
        CaptureError: not installed; names the extra.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise CaptureError(
            f"{name.partition('.')[0]} is not installed: pip install 'townlet[{extra}]'"
        ) from error


def check_absent(output: Path) -> None:
    """Refuse an output that exists.

    Raises:
        CaptureError: names it.
    """
    if output.exists() or output.is_symlink():
        raise CaptureError(f"{output}: exists already; choose another --output, or remove it")


@contextlib.contextmanager
def whole_directory(output: Path) -> Iterator[Path]:
    """Fill a directory that appears under its name when the block ends well, or not at all.

    Raises:
        CaptureError: the output exists, or the disk refuses.
    """
    check_absent(output)
    place = output.absolute().parent
    temporary = place / f".{output.name}.tmp"
    try:
        place.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)  # of an export that was killed
        temporary.mkdir()
        yield temporary
        for path in temporary.rglob("*"):
            _sync(path)
        temporary.rename(output)
        sync_directory(place)
    except OSError as error:
        raise CaptureError(f"{output}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: Path) -> None:
    if path.is_dir():
        sync_directory(path)
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())
