"""``materialise`` and ``reobserve``: captures derived by living what was recorded again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from townlet_env.config.load import Source, validate
from townlet_env.config.schema import TownConfig
from townlet_env.views.spaces import ObservationVariant
from townlet_replay.action_block import LoggedEpisode
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture, load_capture
from townlet_replay.provenance import metadata_of
from townlet_replay.record_settings import RecordSettings
from townlet_replay.reliving.episodes import in_groups, play
from townlet_replay.reliving.lives import Lived, SampleMaker
from townlet_replay.reliving.stage import Stage
from townlet_replay.rerun import Rerun
from townlet_replay.rerun_sources import CaptureSource, LogSource
from townlet_replay.sample import ReplaySample, arrays_of, with_meta
from townlet_replay.sidecar import CaptureMetadata, Mode
from townlet_replay.verifying import (
    Mismatch,
    Watch,
    environment_of,
    ignore_ticks,
    is_of_towns,
    logged_mismatch,
    town_mismatch,
    verify,
)
from townlet_replay.writer import DEFAULT_PREFIX, CaptureWriter, WriterSettings

_GROUP_BYTES = 64 * 2**20  # of arrays that wait to be written


class Target(NamedTuple):
    """Where a derived capture goes, and how it is written."""

    directory: Path
    prefix: str | None = None  # None: that of the source
    mode: Mode = "full"
    compress: bool | None = None  # None: as it was recorded
    overwrite: bool = False


def materialise(
    source: LogSource, target: Target, *, env: Any = None, watch: Watch = ignore_ticks
) -> Capture:
    """Turn an action log into the capture that would have been recorded in its place.

    In mode ``full`` its files are byte for byte those of a recording in mode ``full``.

    Args:
        source: the log.
        target: where to.
        env: the environment of a log that is not of a town.
        watch: called with the ticks of every episode that is done.

    Raises:
        CaptureError: a file is damaged, what comes out is not what was recorded, or it cannot be
            written. Groups of episodes before that are on disk.
    """
    writer = _open_writer(source, target, source.metadata)
    for episode, samples, mismatch in _lived(source, env):
        if mismatch is not None:
            raise CaptureError(f"{source.path}: {mismatch}")
        writer.add(samples)
        watch(episode.ticks)
    return writer.finish()


def derive(source: LogSource, *, metrics: bool = False) -> Iterator[ReplaySample]:
    """Yield the samples of an action log of a town, lived again and compared; nothing is written.

    Args:
        source: the log.
        metrics: whether to sum each up in its sidecar, which takes longer than to derive it.

    Raises:
        CaptureError: not of a town, a file is damaged, or what comes out is not what was recorded.
    """
    if source.setup is None:
        raise CaptureError(f"{source.path}: not of a town; materialise it")
    for _, samples, mismatch in _lived(source, None, metrics=metrics):
        if mismatch is not None:
            raise CaptureError(f"{source.path}: {mismatch}")
        yield from samples


def _lived(source: LogSource, env: Any, *, metrics: bool = True) -> Iterator[_Derived]:
    """Yield every episode with its samples, and what is not as it was recorded."""
    if not is_of_towns(source, env):
        rerun = Rerun(environment_of(source, env), **source.recorder_settings)
        for episode in source.logged():
            played = rerun.play(source.script(episode))
            yield _Derived(episode, played.samples, logged_mismatch(episode, played))
        return
    assert source.setup is not None
    stage = Stage(source.setup, looks=True)
    maker = SampleMaker(source.setup, stage.plan, source.settings, source.metadata)
    for group in in_groups(((episode, None) for episode in source.logged()), stage):
        performed = play(stage, [episode for episode, _ in group])
        for world, (episode, _) in enumerate(group):
            lived = Lived(performed, world, episode)
            mismatch = town_mismatch(lived)
            samples = [] if mismatch else maker.samples(lived, metrics=metrics)
            yield _Derived(episode, samples, mismatch)


class _Derived(NamedTuple):
    """An episode that was lived again."""

    episode: LoggedEpisode
    samples: list[ReplaySample]
    mismatch: Mismatch | None


def reobserve(
    source: LogSource | CaptureSource,
    target: Target,
    *,
    variant: ObservationVariant | None = None,
    rewards: Mapping[str, float] | None = None,
    watch: Watch = ignore_ticks,
) -> Capture:
    """Derive the same behaviour as another observation or other reward weights would show it.

    The recorded town is lived beside, and what happens must be the same to the bit. Values are
    those of other rewards, and become unknown, where the rewards change.

    Args:
        source: an action log or capture of a town.
        target: where to.
        variant: observation variant; as recorded by default.
        rewards: settings of the scenario's section ``rewards``, by dotted key.
        watch: called with the ticks of every episode that is done.

    Raises:
        CaptureError: not of a town, not what was recorded, or a setting that changes what happens.
        ConfigError: an unknown setting or a wrong value.
    """
    if source.setup is None:
        raise CaptureError(f"{source.path}: not of a town, whose observations alone have variants")
    if isinstance(source, LogSource) and not is_of_towns(source):
        raise CaptureError(
            f"{source.path}: an action log of format 1.1; materialise it, and reobserve that"
        )
    if isinstance(source, CaptureSource):
        found = verify(source)
        if found.mismatch is not None:
            raise CaptureError(f"{source.path}: {found.mismatch}")
    setup = source.setup._replace(
        config=_reweighted(source.setup.config, rewards or {}),
        observation=variant or source.setup.observation,
    )
    stated = CaptureMetadata(
        policy_hash=source.metadata.policy_hash, captured_at=source.metadata.captured_at
    )
    metadata = metadata_of(setup.build(), stated)
    writer = _open_writer(source, target, metadata)
    settings = source.settings if isinstance(source, LogSource) else RecordSettings()
    stage = Stage(setup, looks=True, beside=source.setup if rewards else None)
    maker = SampleMaker(setup, stage.plan, settings, metadata)
    for group in in_groups(_episodes(source), stage):
        performed = play(stage, [episode for episode, _ in group])
        for world, (episode, recorded) in enumerate(group):
            lived = Lived(performed, world, _without_values(episode) if rewards else episode)
            _check_states(source, lived)
            samples = maker.samples(lived)
            writer.add([_as_recorded(sample, recorded) for sample in samples])
            watch(episode.ticks)
    return writer.finish()


def _episodes(
    source: LogSource | CaptureSource,
) -> Iterator[tuple[LoggedEpisode, dict[str, ReplaySample]]]:
    """Yield every episode, and its recorded samples by agent if they are there."""
    if isinstance(source, LogSource):
        for episode in source.logged():
            yield episode, {}
    else:
        for episode, samples in source.recorded():
            yield episode, {sample.meta.agent_id: sample for sample in samples}


def _check_states(source: LogSource | CaptureSource, lived: Lived) -> None:
    mismatch = town_mismatch(lived, seen=False) if isinstance(source, LogSource) else None
    if mismatch is not None:
        raise CaptureError(f"{source.path}: {mismatch}")


def _as_recorded(sample: ReplaySample, recorded: Mapping[str, ReplaySample]) -> ReplaySample:
    before = recorded.get(sample.meta.agent_id)
    if before is None:
        return sample
    return with_meta(sample, behaviour=before.meta.behaviour, tags=before.meta.tags)


def _without_values(episode: LoggedEpisode) -> LoggedEpisode:
    """Return the episode as if no critic had been there."""
    lives = tuple(
        life._replace(values=np.full_like(life.values, np.nan), last_value=np.nan)
        for life in episode.lives
    )
    return episode._replace(lives=lives)


def _reweighted(config: TownConfig, rewards: Mapping[str, float]) -> TownConfig:
    if not rewards:
        return config
    data = json.loads(config.model_dump_json(by_alias=True, exclude={"expect"}))
    for key, value in rewards.items():
        *path, last = key.split(".")
        section = data["rewards"]
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    return validate(TownConfig, data, Source("rewards of reobserve", {}))


class _Grouped:
    """Writes several episodes together: manifest and metrics are written anew every time."""

    def __init__(self, writer: CaptureWriter) -> None:
        self._writer = writer
        self._waiting: list[ReplaySample] = []
        self._bytes = 0

    def add(self, samples: list[ReplaySample]) -> None:
        """Take the samples of an episode; they are on disk once there are enough."""
        self._waiting += samples
        self._bytes += sum(a.nbytes for sample in samples for a in arrays_of(sample).values())
        if self._bytes >= _GROUP_BYTES:
            self._write()

    def finish(self) -> Capture:
        """Write what waits, and open the capture."""
        self._write()
        return load_capture(self._writer.manifest_path)

    def _write(self) -> None:
        self._writer.write_episode(self._waiting)
        self._waiting, self._bytes = [], 0


def _open_writer(
    source: LogSource | CaptureSource, target: Target, metadata: CaptureMetadata
) -> _Grouped:
    if target.directory.resolve() == source.path.parent.resolve():
        raise CaptureError(
            f"{target.directory}: what is read is in this directory, and inputs are never changed; "
            "choose another output directory"
        )
    log = source.opened if isinstance(source, LogSource) else None
    own = DEFAULT_PREFIX if log is None else log.prefix
    recorded = True if log is None else log.log.recording.compress
    settings = WriterSettings(
        prefix=target.prefix or own,
        metadata=metadata,
        compress=recorded if target.compress is None else target.compress,
        overwrite=target.overwrite,
        mode=target.mode,
    )
    return _Grouped(CaptureWriter(target.directory, settings))
