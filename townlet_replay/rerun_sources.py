"""What can be lived again: an action log, or a capture of a town that has everybody's rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.config.schema import TownConfig
from townlet_env.jit import kernel_digest
from townlet_env.views.spaces import MaskMode
from townlet_replay.action_block import (
    ARRAY_DIGEST_BYTES,
    ActionsOf,
    LoggedEpisode,
    LoggedLife,
)
from townlet_replay.action_log import OpenLog, load_log
from townlet_replay.errors import CaptureError
from townlet_replay.hash_chain import CHECK_BYTES, ChainKind
from townlet_replay.manifest import Capture, find_log, load_capture
from townlet_replay.record_settings import RecordSettings
from townlet_replay.reliving.lives import known_of
from townlet_replay.rerun import Script
from townlet_replay.sample import ReplaySample
from townlet_replay.sidecar import CaptureMetadata
from townlet_replay.town_setup import TownSetup, variant_of


@dataclass(frozen=True)
class LogSource:
    """An action log.

    Attributes:
        setup: The town; ``None`` if the caller has to bring the environment.
    """

    opened: OpenLog
    setup: TownSetup | None

    @property
    def path(self) -> Path:
        """The file that lists the episodes."""
        return self.opened.path

    @property
    def metadata(self) -> CaptureMetadata:
        """Where it comes from."""
        return self.opened.log.metadata

    @property
    def recorder_settings(self) -> dict[str, Any]:
        """Settings of a recorder that derives the same samples."""
        recording = self.opened.log.recording
        return {
            "behaviour": recording.behaviour,
            "agents": recording.agents,
            "tags": recording.tags,
            "metadata": self.metadata,
        }

    @property
    def settings(self) -> RecordSettings:
        """The same, checked."""
        return RecordSettings(**self.recorder_settings)

    @property
    def kind(self) -> ChainKind:
        """How states were hashed; ``states`` are lived again many at once."""
        return self.opened.log.chain

    def ticks(self) -> int:
        """Return the ticks of all episodes."""
        return self.opened.count("ticks")

    def logged(self) -> Iterator[LoggedEpisode]:
        """Yield every episode.

        Raises:
            CaptureError: a file is missing, altered or wrong.
        """
        return self.opened.episodes()

    def script(self, episode: LoggedEpisode) -> Script:
        """Return how an episode is lived again tick by tick."""
        known = {life.agent_id: known_of(life) for life in episode.samples}
        return replace(
            script_of(episode),
            known=known,
            kind=self.kind,
            checks=episode.checks,
            chain=episode.chain,
        )


def script_of(episode: LoggedEpisode) -> Script:
    """Return what was done in an episode, tick by tick."""
    actions: list[dict[str, Any]] = [{} for _ in range(episode.ticks)]
    for life in episode.lives:
        for tick, action in zip(life.ticks.tolist(), life.actions, strict=True):
            actions[tick][life.agent_id] = action
    return Script(episode.episode_id, episode.seed, actions)


@dataclass(frozen=True)
class CaptureSource:
    """A capture of a town."""

    capture: Capture
    setup: TownSetup

    @property
    def path(self) -> Path:
        """The manifest."""
        return self.capture.path

    @property
    def metadata(self) -> CaptureMetadata:
        """Where it comes from."""
        return self.capture.manifest.metadata

    def ticks(self) -> int:
        """Return the ticks of all episodes: the rows of whoever has most."""
        longest: dict[int, int] = {}
        for entry in self.capture.manifest.samples:
            longest[entry.episode_id] = max(longest.get(entry.episode_id, 0), entry.rows)
        return sum(longest.values())

    def recorded(
        self, *, everybody: bool = True
    ) -> Iterator[tuple[LoggedEpisode, list[ReplaySample]]]:
        """Yield every episode: what was done in it, and its samples.

        Args:
            everybody: refuse an episode without the rows of everybody who was there.

        Raises:
            CaptureError: a file is missing, altered or wrong, or rows are of a part of an episode.
        """
        groups: dict[int, list[int]] = {}
        for index, entry in enumerate(self.capture.manifest.samples):
            groups.setdefault(entry.episode_id, []).append(index)
        residents = [resident.id for resident in self.setup.config.residents if everybody]
        for indices in groups.values():
            samples = [self.capture.sample(index) for index in indices]
            yield _captured_episode(samples, residents, self.path), samples

    def script(self, episode: LoggedEpisode) -> Script:
        """Return how an episode is lived again tick by tick."""
        known = {life.agent_id: known_of(life) for life in episode.lives}
        return replace(script_of(episode), known=known)


def _captured_episode(
    samples: list[ReplaySample], residents: list[str], path: Path
) -> LoggedEpisode:
    meta = samples[0].meta
    where = f"{path}: episode {meta.episode_id}"
    origin = meta.capture_metadata
    if any(sample.meta.source is not None for sample in samples):
        raise CaptureError(f"{where}: cut or merged from other captures; verify those")
    if origin.seed is None or (meta.schema_version == "1.0" and meta.episode_id > 0):
        raise CaptureError(f"{where}: the seed of this episode is not known, so it cannot be lived")
    lives = [sample.meta.agent_id for sample in samples]
    if len(set(lives)) != len(lives):
        twice = next(agent for agent in lives if lives.count(agent) > 1)
        raise CaptureError(
            f"{where}: the life of {twice!r} is in pieces (max_rows_per_file), which are not put "
            "together; record an action log instead"
        )
    missing = [name for name in residents if name not in lives]
    if missing:
        raise CaptureError(
            f"{where}: no rows of {', '.join(missing)}, so what they did is not known; an episode "
            "is lived again from the rows of everybody"
        )
    for sample in samples:
        if (np.diff(sample.ticks) < 1).any() or sample.ticks[0] < 1:
            raise CaptureError(f"{where}: ticks of {sample.meta.agent_id!r} do not ascend from 1")
    return LoggedEpisode(
        episode_id=meta.episode_id,
        seed=origin.seed,
        ticks=int(max(sample.ticks[-1] for sample in samples)),
        lives=tuple(_captured_life(sample) for sample in samples),
        checks=np.zeros((0, CHECK_BYTES), np.uint8),
        chain=b"",
        seen=b"",
    )


def _captured_life(sample: ReplaySample) -> LoggedLife:
    return LoggedLife(
        actions_of=ActionsOf(sample.meta.agent_id, dim=sample.meta.action_dim),
        ticks=sample.ticks.astype(np.int64) - 1,
        actions=sample.actions,
        sampled=True,
        episode_return=0.0,
        log_probs=sample.old_log_probs,
        values=sample.value_preds[:-1],
        last_value=float(sample.value_preds[-1]),
        logits=sample.extras.get("behaviour_logits"),
        intents=sample.extras.get("intent_actions"),
        versions=sample.extras.get("policy_version"),
        digests=np.zeros((0, ARRAY_DIGEST_BYTES), np.uint8),
    )


def open_source(
    path: str | Path, *, config: TownConfig | None = None, other_kernel: bool = False
) -> LogSource | CaptureSource:
    """Open an action log, or else a capture of a town.

    Args:
        path: directory, or the file that lists what is in it.
        config: the scenario of a capture, if it is none of the shipped ones as they are.
        other_kernel: go on if other simulation code recorded it.

    Raises:
        CaptureError: nothing there, damaged, not of a town, of another scenario, or of other code.
    """
    if find_log(path) is not None:
        opened = load_log(path)
        source = LogSource(opened, _logged_setup(opened))
        _check_kernel(source.metadata, source.path, other_kernel)
        return source
    capture = load_capture(path)
    _check_kernel(capture.manifest.metadata, capture.path, other_kernel)
    return CaptureSource(capture, _captured_setup(capture, config))


def _logged_setup(opened: OpenLog) -> TownSetup | None:
    town = opened.log.town
    if town is None:
        return None
    return TownSetup(opened.config(), town.observation, town.mask, town.details)


def _check_kernel(metadata: CaptureMetadata, path: Path, other_kernel: bool) -> None:
    recorded, here = metadata.kernel_digest, kernel_digest()
    if recorded not in (None, here) and not other_kernel:
        raise CaptureError(
            f"{path}: recorded by other simulation code (kernel digest {recorded}, here {here}); "
            "use the version that recorded it, or try all the same with --other-kernel: the "
            "comparison decides"
        )


def _captured_setup(capture: Capture, config: TownConfig | None) -> TownSetup:
    origin = capture.manifest.metadata
    if origin.kernel_digest is None or origin.config_digest is None:
        raise CaptureError(f"{capture.path}: not a capture of a town")
    if config is None:
        if origin.config_id not in list_scenarios():
            raise CaptureError(
                f"{capture.path}: {origin.config_id!r} is no shipped scenario; give its file "
                "with --config"
            )
        config = load_scenario(str(origin.config_id))
    if origin.ticks is not None and origin.ticks != config.ticks:
        config = config.model_copy(update={"ticks": origin.ticks})
    if config.digest() != origin.config_digest:
        raise CaptureError(
            f"{capture.path}: recorded in another scenario than {config.name!r} is now (config "
            f"digest {origin.config_digest}, here {config.digest()}); give its file with --config"
        )
    first = capture.sample(0)
    try:
        variant = variant_of(first.meta.map_channels or ())
    except CaptureError as error:
        raise CaptureError(f"{capture.path}: {error}") from error
    mask: MaskMode = "none" if first.action_mask is None else "obs"
    return TownSetup(config, variant, mask, "reward_components" in first.extras)
