"""Mode ``actions``: what a recorder keeps of an episode when the rest can be derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from townlet_env.sim.random import episode_seed
from townlet_replay.action_log import (
    SCENARIO_SUFFIX,
    ActionLog,
    Arrays,
    HashChain,
    LoggedEpisode,
    LoggedSample,
    LoggedTown,
    Recording,
    array_digests,
    load_log,
    scenario_bytes,
)
from townlet_replay.determinism import check_repeatable, digest_of
from townlet_replay.episode import OpenEpisode
from townlet_replay.errors import CaptureError
from townlet_replay.lock import WriterLock
from townlet_replay.manifest import LOG_SUFFIX, MANIFEST_SUFFIX
from townlet_replay.npz import encode_npz
from townlet_replay.packed_file import PACKED
from townlet_replay.packing import pack
from townlet_replay.provenance import names_of, town_of
from townlet_replay.record_settings import RecordSettings
from townlet_replay.safe_files import inside, sha256_of, to_json, write_files
from townlet_replay.sample import ReplaySample
from townlet_replay.sidecar import CaptureMetadata, CaptureNames

if TYPE_CHECKING:
    from townlet_env.views.parallel import TownletParallelEnv

# Array of a sample -> what it is called in a log. They cannot be derived: the behaviour knew them.
ANNOTATIONS = {
    "behaviour_logits": "logits",
    "intent_actions": "intents",
    "policy_version": "versions",
}


@dataclass
class _Trace:
    """An episode as it happens."""

    seed: int
    chain: HashChain = field(default_factory=HashChain)
    actions: list[dict[str, Any]] = field(default_factory=list)  # by tick, as they are recorded


class ActionLogWriter:
    """Writes an action log; takes the place of a ``CaptureWriter`` in a recorder."""

    def __init__(
        self,
        env: Any,
        out: str | Path,
        settings: RecordSettings,
        metadata: CaptureMetadata,
        names: CaptureNames,
    ) -> None:
        """Probe ``env``, which is reset; nothing is written before the first episode.

        Raises:
            CaptureError: the environment is not deterministic or has no ``state_digest``, is a town
                in wrappers that change what is seen or done, names were given, or there is a
                capture already.
        """
        if names != names_of(env):
            raise CaptureError("names cannot be given in mode actions; name columns when deriving")
        self.directory = Path(out)
        self.settings = settings
        self.metadata = metadata
        self.manifest_path = self.directory / f"{settings.prefix}{LOG_SUFFIX}"
        self._lock = WriterLock(self.manifest_path, settings.prefix)
        self._old = self._older_files()
        self._env = env
        self._town = _bare_town(env)
        check_repeatable(_twin_of(self._town) if self._town is not None else env)
        self._base_seed, self._resets = 0, 0
        self._traces: dict[int, _Trace] = {}
        self._open: _Trace | None = None
        self._episodes: list[LoggedEpisode] = []

    def _older_files(self) -> list[str]:
        """Names of the files of the log that is there, its list of episodes first."""
        manifest = self.directory / f"{self.settings.prefix}{MANIFEST_SUFFIX}"
        there = [path for path in (manifest, self.manifest_path) if path.exists()]
        if not there:
            return []
        if manifest in there or not self.settings.overwrite:
            raise CaptureError(
                f"{there[0]}: there is a capture already; choose another directory or prefix"
                + ("" if manifest in there else ", or set overwrite=True (--overwrite)")
            )
        old = load_log(self.manifest_path).log
        names = [episode.file for episode in old.episodes]
        for name in names:
            inside(self.directory, name)
        return [self.manifest_path.name, *names]

    def seed_of_next(self, seed: int | None, options: dict[str, Any] | None) -> int | None:
        """Return the seed of the next ``reset``: an environment that picks its own gets one.

        A town tells afterwards which episode it plays, and does not use options.

        Raises:
            CaptureError: options, which no log keeps.
        """
        if self._town is not None:
            return seed
        if options:
            raise CaptureError(
                f"an action log keeps no options of reset, found {sorted(options)}; record in mode "
                "full or packed"
            )
        if seed is not None:
            self._base_seed, self._resets = seed, 0
        number, self._resets = self._resets, self._resets + 1
        return seed if seed is not None else episode_seed(self._base_seed, number) % 2**31

    def begin(self, episode: OpenEpisode) -> None:
        """Take note of an episode right after ``reset``."""
        assert episode.seed is not None
        self._open = self._traces[episode.episode_id] = _Trace(episode.seed)
        self._open.chain.add(digest_of(self._env))

    def step(self, actions: dict[Any, Any]) -> None:
        """Add a tick that was recorded."""
        if self._open is not None:
            self._open.actions.append({str(agent): action for agent, action in actions.items()})
            self._open.chain.add(digest_of(self._env))

    def write_episode(self, samples: Sequence[ReplaySample]) -> None:
        """Write the logs of the episodes that ``samples`` are of.

        Raises:
            DiskError: the disk refuses, or another writer was faster; the episodes written before
                are intact.
        """
        files: dict[str, bytes] = {}
        episodes: list[LoggedEpisode] = []
        for number, group in groupby(samples, key=lambda sample: sample.meta.episode_id):
            name = f"{self.settings.prefix}_episode_{len(self._episodes) + len(episodes):03d}.npz"
            files[name], episode = _encode(self._traces[number], list(group), name)
            episodes.append(episode)
        if not episodes:
            return
        log = ActionLog(
            metadata=self.metadata,
            town=self._logged_town(files),
            recording=Recording(
                behaviour=self.settings.behaviour,
                agents=self.settings.agents,
                tags=self.settings.tags,
                compress=self.settings.compress,
            ),
            episodes=(*self._episodes, *episodes),
        )
        listed = {self.manifest_path.name: to_json(log)}
        with self._lock.writing():
            if self._old:
                write_files(self.directory, {**files, **listed}, instead_of=self._old)
                self._old = []
            else:
                write_files(self.directory, files)
                write_files(self.directory, listed)
        self._episodes += episodes
        for episode in episodes:
            del self._traces[episode.episode_id]

    def close(self) -> None:
        """Let other writers write this log; a later episode takes the lock again."""
        self._lock.release()

    def _logged_town(self, files: dict[str, bytes]) -> LoggedTown | None:
        if self._town is None:
            return None
        name = f"{self.settings.prefix}{SCENARIO_SUFFIX}"
        scenario = scenario_bytes(self._town.config)
        if not self._episodes:
            files[name] = scenario
        return LoggedTown(
            scenario=name,
            sha256=sha256_of(scenario),
            observation=self._town.observation_variant,
            mask=self._town.mask_mode,
            details=self._town.details,
        )


def _bare_town(env: Any) -> TownletParallelEnv | None:
    """Return the town that ``env`` is, or that a ``ScriptedScenario`` is around."""
    town = town_of(env)
    if town is None:
        return None
    from townlet_env.wrappers import ScriptedScenario

    inner = env.env if isinstance(env, ScriptedScenario) else env
    is_bare = inner is town
    if not is_bare:
        raise CaptureError(
            "an action log of a town needs the town itself, or ScriptedScenario around it; found "
            f"{type(inner).__name__}, which may change what is seen or done"
        )
    return town


def _twin_of(town: TownletParallelEnv) -> TownletParallelEnv:
    return type(town)(
        town.config, observation=town.observation_variant, mask=town.mask_mode, details=town.details
    )


def _encode(trace: _Trace, samples: list[ReplaySample], name: str) -> tuple[bytes, LoggedEpisode]:
    """Return the file of an episode, and its entry."""
    lives = [sample.meta.agent_id for sample in samples]
    agents = list(dict.fromkeys([*(agent for tick in trace.actions for agent in tick)]))
    present = np.array([[agent in tick for agent in agents] for tick in trace.actions], np.bool_)
    arrays: Arrays = {
        "present": present.reshape(len(trace.actions), len(agents)),
        "checks": np.frombuffer(b"".join(trace.chain.checks), np.uint8).reshape(
            len(trace.chain.checks), -1
        ),
        "chain": np.frombuffer(trace.chain.value, np.uint8),
    }
    for k, agent in enumerate(agents):
        arrays[f"actions_{k}"] = np.array([t[agent] for t in trace.actions if agent in t])
        if agent in lives:
            arrays |= _annotations(samples[lives.index(agent)], k)
    data = encode_npz({PACKED: pack(arrays)}, compress=False)
    listed = tuple(
        LoggedSample(
            agent_id=sample.meta.agent_id,
            rows=sample.rows,
            episode_return=0.0 if sample.meta.metrics is None else sample.meta.metrics.reward_sum,
        )
        for sample in samples
    )
    return data, LoggedEpisode(
        file=name,
        sha256=sha256_of(data),
        episode_id=samples[0].meta.episode_id,
        seed=trace.seed,
        ticks=len(trace.actions),
        agents=tuple(agents),
        samples=listed,
    )


def _annotations(sample: ReplaySample, k: int) -> Arrays:
    arrays: Arrays = {
        f"log_probs_{k}": sample.old_log_probs,
        f"values_{k}": sample.value_preds,
        f"digests_{k}": array_digests(sample),
    }
    for array, name in ANNOTATIONS.items():
        if array in sample.extras:
            arrays[f"{name}_{k}"] = sample.extras[array]
    return arrays
