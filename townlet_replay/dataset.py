"""A capture as batches for a learner: selected, checked for one vocabulary, shuffled by a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from townlet_replay.entries import ManifestEntry
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture, find_manifest, load_capture
from townlet_replay.metrics import row_mean
from townlet_replay.reading import Reading, ReadLimits, read_together
from townlet_replay.rollout import Rollout, as_rollout, check_together, pack
from townlet_replay.row_table import Minibatch, RowTable
from townlet_replay.safe_files import first_problem
from townlet_replay.sample import ReplaySample
from townlet_replay.sidecar import SampleMeta, SampleMetrics


class ReplayDatasetConfig(BaseModel):
    """Which samples of which capture, and in which batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest: Path
    batch_size: int = Field(default=1, ge=1, description="samples per batch")
    shuffle: bool = False
    seed: int = Field(default=0, ge=0, description="of the shuffle")
    streaming: bool = Field(default=False, description="read samples when their batch comes")
    workers: int = Field(default=2, ge=1, description="threads that read; changes nothing read")
    max_bytes: int = Field(
        default=8 * 2**30, ge=1, description="of rows in memory: of all, or of a streamed batch"
    )
    use_masks: bool = Field(default=True, description="False leaves action masks out of batches")
    agents: tuple[str, ...] | None = Field(default=None, description="only these agents")
    tags: tuple[str, ...] | None = Field(default=None, description="only samples with all of them")
    episodes: tuple[int, ...] | None = Field(default=None, description="only these episodes")
    action_lookup: dict[int, str] | None = Field(default=None, description="expected vocabulary")
    feature_names: tuple[str, ...] | None = Field(default=None, description="expected features")

    @classmethod
    def from_capture_dir(cls, path: str | Path, **settings: object) -> Self:
        """Return the settings for the only capture in a directory, whatever its prefix.

        Raises:
            CaptureError: no capture there, more than one, or a wrong setting.
        """
        return cls._checked(find_manifest(path), settings)

    @classmethod
    def from_manifest(cls, path: str | Path, **settings: object) -> Self:
        """Return the settings for the capture of a manifest.

        Raises:
            CaptureError: no such file, or a wrong setting.
        """
        if not Path(path).is_file():
            raise CaptureError(f"{path}: expected the manifest of a capture, found no file")
        return cls._checked(Path(path), settings)

    @classmethod
    def _checked(cls, manifest: Path, settings: dict[str, object]) -> Self:
        try:
            return cls.model_validate({**settings, "manifest": manifest})
        except ValidationError as error:
            raise CaptureError(f"settings of the data set: {first_problem(error)}") from error


class ReplayDataset:
    """Iterates over :class:`~townlet_replay.rollout.Rollout` batches of a capture.

    Every iteration is one epoch, with an order of its own when ``shuffle`` is set: the order
    depends on (seed, epoch) only. ``len`` is the number of batches of an epoch.
    """

    def __init__(self, config: ReplayDatasetConfig) -> None:
        """Select and check the samples.

        Raises:
            CaptureError: nothing selected; a file missing, altered or unsafe; samples of different
                vocabularies, or of another one than the config expects.
        """
        self.config = config
        self.capture: Capture = load_capture(config.manifest)
        self.capture.check_files()
        self.indices = [
            index
            for index, entry in enumerate(self.capture.manifest.samples)
            if _selected(config, entry)
        ]
        if not self.indices:
            raise CaptureError(
                f"{config.manifest}: no sample is left after the choice of agents "
                f"{config.agents}, tags {config.tags}, episodes {config.episodes}"
            )
        self._epoch = 0
        self._metas = [self.capture.meta(index) for index in self.indices]
        self._check_names()
        self._held = None if config.streaming else self._read(range(self.count))

    def __len__(self) -> int:
        return math.ceil(self.count / self.config.batch_size)

    def __iter__(self) -> Iterator[Rollout]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        return self.batches(epoch)

    @property
    def count(self) -> int:
        """Number of samples selected."""
        return len(self.indices)

    @property
    def action_lookup(self) -> dict[int, str]:
        """Action id -> name; empty if actions are not ids."""
        return self._metas[0].action_lookup

    @property
    def action_dim(self) -> int:
        """Number of action ids, or of components of an action."""
        return self._metas[0].action_dim

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the columns of ``features``, if the environment names them."""
        return self._metas[0].feature_names

    @property
    def metas(self) -> tuple[SampleMeta, ...]:
        """Sidecars of the selected samples, in the order of the manifest."""
        return tuple(self._metas)

    def sample(self, position: int) -> ReplaySample:
        """Return the selected sample at ``position``, in the order of the manifest.

        Raises:
            CaptureError: streaming, and the file is missing, altered or unsafe by now.
        """
        if self._held is not None:
            return self._held.samples[position]
        return self.capture.sample(self.indices[position], self._metas[position])

    def batches(
        self, epoch: int, prepare: Callable[[ReplaySample], ReplaySample] | None = None
    ) -> Iterator[Rollout]:
        """Yield the batches of one epoch; the last may be smaller.

        Args:
            epoch: 0 or more; the same epoch always has the same order.
            prepare: applied to every sample before it is packed, to annotate it for instance.

        Raises:
            CaptureError: as :meth:`sample` and :func:`~townlet_replay.rollout.pack`.
        """
        order = self.order(epoch)
        size = self.config.batch_size
        for start in range(0, self.count, size):
            positions = order[start : start + size]
            if self._held is not None:
                samples = [self._held.samples[position] for position in positions]
                yield self._pack(Reading(tuple(samples), None), prepare)
            else:
                yield self._pack(self._read(positions), prepare)

    def order(self, epoch: int) -> list[int]:
        """Return the positions of the samples in the order of ``epoch``."""
        if not self.config.shuffle:
            return list(range(self.count))
        rng = np.random.default_rng([self.config.seed, epoch])
        return [int(position) for position in rng.permutation(self.count)]

    @cached_property
    def metrics(self) -> tuple[SampleMetrics, ...]:
        """Metrics of the selected samples, from the metrics file.

        Raises:
            CaptureError: the metrics file is missing, damaged or lacks a sample.
        """
        entries = self.capture.manifest.samples
        return tuple(self.capture.metrics.samples[entries[i].sample] for i in self.indices)

    def baselines(self) -> dict[str, float | None]:
        """Return what the recorded behaviour achieved, from the metrics file.

        ``baseline_sample_count``, ``baseline_reward_mean`` (per row), ``baseline_reward_sum``,
        ``baseline_reward_sum_mean`` (per sample), ``baseline_log_prob_mean`` (per row of the
        samples that know it; ``None`` if none does).

        Raises:
            CaptureError: as :attr:`metrics`.
        """
        rows = sum(metrics.timesteps for metrics in self.metrics)
        reward_sum = math.fsum(metrics.reward_sum for metrics in self.metrics)
        return {
            "baseline_sample_count": len(self.metrics),
            "baseline_reward_mean": reward_sum / rows,
            "baseline_reward_sum": reward_sum,
            "baseline_reward_sum_mean": reward_sum / len(self.metrics),
            "baseline_log_prob_mean": row_mean(
                (metrics.log_prob_mean, metrics.timesteps) for metrics in self.metrics
            ),
        }

    def sample_rows(
        self, rng: np.random.Generator, count: int, reuse: Minibatch | None = None
    ) -> Minibatch:
        """Return rows drawn from all rows of the selected samples, each as likely as any other.

        Args:
            rng: decides alone which rows.
            count: of rows, at least 1; a row can be among them twice.
            reuse: a minibatch of as many rows of this data set. Its arrays become those of the
                result, which costs less than new ones.

        Raises:
            CaptureError: nothing is kept in memory (``streaming``), samples of several layouts, or
                ``reuse`` is of another size.
        """
        if count < 1:
            raise CaptureError(f"expected to draw at least 1 row, found {count}")
        return self._draw(rng.integers(len(self._table), size=count), reuse)

    def minibatches(
        self, rng: np.random.Generator, size: int, *, reuse: bool = False
    ) -> Iterator[Minibatch]:
        """Yield every row of the selected samples once, in a random order; the last may be shorter.

        Args:
            rng: decides alone in which order.
            size: rows of a minibatch, at least 1.
            reuse: overwrite every minibatch with the next one.

        Raises:
            CaptureError: as :meth:`sample_rows`.
        """
        if size < 1:
            raise CaptureError(f"expected minibatches of at least 1 row, found {size}")
        order, batch = rng.permutation(len(self._table)), None
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            batch = self._draw(rows, batch if reuse and len(rows) == size else None)
            yield batch

    @cached_property
    def _table(self) -> RowTable:
        """All rows of the selected samples, which may be rows of one batch."""
        if self._held is None:
            raise CaptureError(
                f"{self.config.manifest}: no rows are kept to draw from with streaming=True; read "
                "it with streaming=False, or fewer samples of it"
            )
        if self._held.table is None:
            raise CaptureError(
                f"{self.config.manifest}: rows to draw from must be alike ({self._held.difference})"
            )
        check_together(self._held.samples, use_masks=self.config.use_masks)
        columns = dict(self._held.table.columns)
        if not self.config.use_masks:
            columns.pop("action_mask", None)
        return RowTable(columns, [meta.timesteps for meta in self._metas])

    def _draw(self, rows: NDArray[np.int64], reuse: Minibatch | None) -> Minibatch:
        return self._table.draw(rows, list(self.sample(0).observations), reuse)

    def _read(self, positions: Sequence[int]) -> Reading:
        return read_together(
            self.capture,
            [self.indices[position] for position in positions],
            [self._metas[position] for position in positions],
            ReadLimits(self.config.workers, self.config.max_bytes),
        )

    def _pack(
        self, read: Reading, prepare: Callable[[ReplaySample], ReplaySample] | None
    ) -> Rollout:
        """Return samples as a batch; rows that are in a table of their own are not copied."""
        masks = self.config.use_masks
        if prepare is not None:
            return pack([prepare(sample) for sample in read.samples], use_masks=masks)
        if read.table is None:
            return pack(read.samples, use_masks=masks)
        check_together(read.samples, use_masks=masks)
        return as_rollout(read.table.columns, read.samples, use_masks=masks)

    def _check_names(self) -> None:
        lookup, features = self.config.action_lookup, self.config.feature_names
        first = self._metas[0]
        for index, meta in zip(self.indices, self._metas, strict=True):
            where = f"{self.capture.directory}/{self.capture.manifest.samples[index].meta}"
            expected = first.action_lookup if lookup is None else lookup
            _check_lookup(where, expected, meta.action_lookup)
            _check_features(
                where, first.feature_names if features is None else features, meta.feature_names
            )


def _selected(config: ReplayDatasetConfig, entry: ManifestEntry) -> bool:
    return (
        (config.agents is None or entry.agent_id in config.agents)
        and (config.tags is None or set(config.tags) <= set(entry.tags))
        and (config.episodes is None or entry.episode_id in config.episodes)
    )


def _check_lookup(where: str, expected: dict[int, str], found: dict[int, str]) -> None:
    if expected == found:
        return
    for action in sorted(expected.keys() | found.keys()):
        if expected.get(action) != found.get(action):
            raise CaptureError(
                f"{where}: another action vocabulary: action {action} is {found.get(action)!r}, "
                f"expected {expected.get(action)!r}; use captures of one catalogue"
            )


def _check_features(
    where: str, expected: tuple[str, ...] | None, found: tuple[str, ...] | None
) -> None:
    if expected == found:
        return
    left, right = expected or (), found or ()
    column = next(
        (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b),
        min(len(left), len(right)),
    )
    raise CaptureError(
        f"{where}: another feature list: {len(right)} names, expected {len(left)}; column {column} "
        f"is {right[column : column + 1]}, expected {left[column : column + 1]}; "
        "use captures of one catalogue and observation"
    )
