"""A capture that is made of recorded samples: which ones, and its way to disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture, load_capture
from townlet_replay.metrics import sample_metrics
from townlet_replay.sample import ReplaySample, arrays_of, with_meta
from townlet_replay.sidecar import CaptureMetadata, Mode, SampleSource
from townlet_replay.tools.cutting import cut_rows
from townlet_replay.writer import DEFAULT_PREFIX, CaptureWriter, WriterSettings

Watch = Callable[[int], None]

# Manifest and metrics are written anew with every group of samples: groups must not be small.
_GROUP_BYTES = 64 * 2**20


class TickRange(NamedTuple):
    """Ticks, both ends included; ``None`` is open."""

    first: int | None = None
    last: int | None = None


EVERY_TICK = TickRange()


@dataclass(frozen=True)
class Pick:
    """One sample of a capture, whole or in part, perhaps under another number of its episode."""

    capture: Capture
    index: int
    ticks: TickRange = EVERY_TICK
    episode_id: int | None = None  # None: its own

    def read(self) -> ReplaySample | None:
        """Return the sample with its provenance, or ``None`` if no row is of these ticks.

        Raises:
            CaptureError: a file is missing, altered, unsafe or wrong; or the ticks of the sample
                do not ascend, so that a range of them is no run of rows.
        """
        sample = self.capture.sample(self.index)
        rows = _rows_of(sample, self.ticks)
        if not rows:
            return None
        meta, found = sample.meta, cut_rows(sample, rows.start, rows.stop)
        before = meta.source or SampleSource(
            manifest_sha256=self.capture.digest,
            sample=self.capture.manifest.samples[self.index].sample,
            first_row=0,
        )
        return with_meta(
            found,
            source=before.model_copy(update={"first_row": before.first_row + rows.start}),
            episode_id=meta.episode_id if self.episode_id is None else self.episode_id,
            metrics=found.meta.metrics or sample_metrics(found, None, None),
        )


@dataclass(frozen=True)
class Derived:
    """A capture to be: picks in its order. Nothing is read before it is iterated over."""

    metadata: CaptureMetadata
    picks: tuple[Pick, ...]

    def __iter__(self) -> Iterator[ReplaySample]:
        samples = (pick.read() for pick in self.picks)
        return (sample for sample in samples if sample is not None)

    def __len__(self) -> int:
        """Return the number of picks; fewer samples if a pick has no row of its ticks."""
        return len(self.picks)


def write_capture(
    derived: Derived,
    output: str | Path,
    *,
    prefix: str = DEFAULT_PREFIX,
    mode: Mode = "full",
    compress: bool = True,
    overwrite: bool = False,
    bundle: bool = False,
    watch: Watch | None = None,
) -> Capture:
    """Write a derived capture; stopped half-way, what is there is sound and lacks the rest.

    Args:
        derived: which samples.
        output: directory; not that of a capture that is read.
        prefix: what file names begin with.
        mode: how arrays are written.
        compress: deflate the arrays.
        overwrite: replace a capture of the same prefix.
        bundle: many samples in one file.
        watch: called with 1 after every pick.

    Raises:
        CaptureError: nothing to write, an input that is damaged or would be written into, a
            capture that is there already, or a disk that refuses.
    """
    settings = WriterSettings(prefix, derived.metadata, compress, overwrite, mode, bundle=bundle)
    writer = _writer(derived, Path(output), settings)
    return write_samples(_read(derived.picks, watch or _ignore), writer)


def write_captures(
    parts: Mapping[str, Derived],
    output: str | Path,
    *,
    prefix: str = DEFAULT_PREFIX,
    mode: Mode = "full",
    compress: bool = True,
    overwrite: bool = False,
    bundle: bool = False,
    watch: Watch | None = None,
) -> dict[str, Capture]:
    """Write several derived captures, each into a folder of its name; see :func:`write_capture`.

    Nothing is written before every folder was found to be free.
    """
    writers = {}
    for name, derived in parts.items():
        settings = WriterSettings(
            prefix, derived.metadata, compress, overwrite, mode, bundle=bundle
        )
        writers[name] = _writer(derived, Path(output) / name, settings)
    return {
        name: write_samples(_read(derived.picks, watch or _ignore), writers[name])
        for name, derived in parts.items()
    }


def _writer(derived: Derived, target: Path, settings: WriterSettings) -> CaptureWriter:
    if target.resolve() in {pick.capture.directory.resolve() for pick in derived.picks}:
        raise CaptureError(
            f"{target}: the capture that is read is in this directory, and inputs are never "
            "changed; choose another output directory"
        )
    return CaptureWriter(target, settings)


def _read(picks: Iterable[Pick], watch: Watch) -> Iterator[ReplaySample]:
    for pick in picks:
        sample = pick.read()
        if sample is not None:
            yield sample
        watch(1)


def write_samples(samples: Iterable[ReplaySample], writer: CaptureWriter) -> Capture:
    """Write ``samples`` as they come, whole episodes together.

    Raises:
        CaptureError: none came, one is damaged, or the disk refuses; says what is there already.
    """
    written = 0
    try:
        with writer:
            for group in _groups(samples):
                writer.write_episode(group)
                written += len(group)
    except OverflowError as error:
        raise CaptureError(
            f"{writer.directory}: metrics of the samples are too large to be summed up ({error})"
        ) from error
    except CaptureError as error:
        if not written:
            raise
        raise type(error)(
            f"{error}; {writer.manifest_path} is sound, but holds only the {written} samples "
            "before it"
        ) from error
    if not written:
        raise CaptureError(
            f"{writer.directory}: nothing to write: no row is left of what was chosen"
        )
    return load_capture(writer.manifest_path)


def _groups(samples: Iterable[ReplaySample]) -> Iterator[list[ReplaySample]]:
    """Yield whole episodes together, until they are of some size."""
    group: list[ReplaySample] = []
    size, episode = 0, -1
    for sample in samples:
        if size >= _GROUP_BYTES and sample.meta.episode_id != episode:
            yield group
            group, size = [], 0
        group.append(sample)
        size += sum(array.nbytes for array in arrays_of(sample).values())
        episode = sample.meta.episode_id
    if group:
        yield group


def _ignore(done: int) -> None:
    del done


def _rows_of(sample: ReplaySample, ticks: TickRange) -> range:
    """Return the run of rows whose ticks are in a range."""
    if ticks == EVERY_TICK:
        return range(sample.rows)
    numbers = sample.ticks
    if (numbers[1:] <= numbers[:-1]).any():
        row = int(np.flatnonzero(numbers[1:] <= numbers[:-1])[0])
        raise CaptureError(
            f"sample of agent {sample.meta.agent_id!r}, episode {sample.meta.episode_id}: "
            f"tick {numbers[row + 1]} follows tick {numbers[row]} (row {row + 1}); rows are cut "
            "out by ticks only where ticks ascend"
        )
    first = 0 if ticks.first is None else np.searchsorted(numbers, ticks.first)
    stop = sample.rows if ticks.last is None else np.searchsorted(numbers, ticks.last, "right")
    return range(int(first), int(stop))
