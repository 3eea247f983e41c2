"""``materialise`` and ``reobserve``: captures derived by living what was recorded again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pettingzoo.utils.wrappers import BaseParallelWrapper

from townlet_env.config.load import Source, validate
from townlet_env.config.schema import TownConfig
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.views.spaces import ObservationVariant
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture, load_capture
from townlet_replay.provenance import metadata_of
from townlet_replay.rerun import Known, Rerun, Script
from townlet_replay.rerun_sources import CaptureSource, LogSource
from townlet_replay.sample import ReplaySample, arrays_of, with_meta
from townlet_replay.sidecar import CaptureMetadata, Mode
from townlet_replay.verifying import (
    Watch,
    environment_of,
    ignore_ticks,
    logged_mismatch,
    verify,
)
from townlet_replay.writer import DEFAULT_PREFIX, CaptureWriter, WriterSettings

_GROUP_BYTES = 64 * 2**20  # of arrays that wait to be written
_OF_REWARDS = "potential"  # the one part of a town's state that follows from reward weights


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
    rerun = Rerun(environment_of(source, env), **source.recorder_settings)
    for episode, script, arrays in source.episodes():
        played = rerun.play(script)
        mismatch = logged_mismatch(episode, arrays, played)
        if mismatch is not None:
            raise CaptureError(f"{source.path}: {mismatch}")
        writer.add(played.samples)
        watch(episode.ticks)
    return writer.finish()


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
    if isinstance(source, CaptureSource):
        found = verify(source)
        if found.mismatch is not None:
            raise CaptureError(f"{source.path}: {found.mismatch}")
    setup = source.setup._replace(
        config=_reweighted(source.setup.config, rewards or {}),
        observation=variant or source.setup.observation,
    )
    town = setup.build()
    stated = CaptureMetadata(
        policy_hash=source.metadata.policy_hash, captured_at=source.metadata.captured_at
    )
    metadata = metadata_of(town, stated)
    writer = _open_writer(source, target, metadata)
    settings = source.recorder_settings if isinstance(source, LogSource) else {}
    beside = _Beside(town, source.setup.build())
    rerun = Rerun(beside, **{**settings, "metadata": metadata})
    for script, recorded in _scripts(source):
        played = rerun.play(_without_values(script) if rewards else script)
        if played.wrong_tick is not None:
            raise CaptureError(
                f"{source.path}: episode {script.episode_id}: another state at tick "
                f"{played.wrong_tick} than was recorded"
            )
        writer.add([_as_recorded(sample, recorded) for sample in played.samples])
        watch(len(script.actions))
    return writer.finish()


def _scripts(source: LogSource | CaptureSource) -> Any:
    """Yield every episode, and its recorded samples by agent if they are there."""
    if isinstance(source, LogSource):
        for _, script, _ in source.episodes():
            yield script, {}
    else:
        for samples, script in source.episodes():
            yield script, {sample.meta.agent_id: sample for sample in samples}


def _as_recorded(sample: ReplaySample, recorded: Mapping[str, ReplaySample]) -> ReplaySample:
    before = recorded.get(sample.meta.agent_id)
    if before is None:
        return sample
    return with_meta(sample, behaviour=before.meta.behaviour, tags=before.meta.tags)


def _without_values(script: Script) -> Script:
    known = {agent: _unvalued(of_agent) for agent, of_agent in script.known.items()}
    return script.knowing(known)


def _unvalued(known: Known) -> Known:
    return known._replace(values=np.full_like(known.values, np.nan))


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


class _Beside(BaseParallelWrapper):  # type: ignore[misc]
    """A town, and beside it the recorded one, in which the same must happen."""

    def __init__(self, town: TownletParallelEnv, recorded: TownletParallelEnv) -> None:
        super().__init__(town)
        self._town, self._recorded = town, recorded

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Open the same episode in both."""
        self._recorded.reset(seed=seed, options=options)
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: dict[str, int | None]) -> Any:
        """Live one tick in both."""
        self._recorded.step(actions)
        returned = self.env.step(actions)
        one, other = self._town.batch.worlds[0], self._recorded.batch.worlds[0]
        for name in one.dtype.names:
            if name != _OF_REWARDS and one[name].tobytes() != other[name].tobytes():
                raise CaptureError(
                    f"these settings change what happens: {name!r} of the town is another at tick "
                    f"{int(one.tick)}; only what is seen and what is rewarded can be derived anew"
                )
        return returned

    def state_digest(self) -> str:
        """Return that of the recorded town."""
        return self._recorded.state_digest()
