"""A finished episode on its way to samples, in whatever thread it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.episode import Life, OpenEpisode
from townlet_replay.errors import CaptureError
from townlet_replay.frames import (
    NAN,
    Columns,
    Ending,
    SampleOrigin,
    columns_to_replay_sample,
    stack_actions,
)
from townlet_replay.metrics import sample_metrics
from townlet_replay.notes import NO_NOTES, Notes
from townlet_replay.record_settings import RecordSettings
from townlet_replay.rows import Table
from townlet_replay.sample import ReplaySample, with_metrics
from townlet_replay.sidecar import CaptureMetadata, CaptureNames
from townlet_replay.spaces import ActionFormat


class Origin(NamedTuple):
    """What the samples of a recording say besides their rows."""

    settings: RecordSettings
    names: CaptureNames
    metadata: CaptureMetadata  # of the capture


class FinishedEpisode:
    """Lives that nothing is added to any more.

    Args:
        episode: closed.
        formats: of the actions of those whose samples are wanted.
        origin: where they come from.
    """

    def __init__(
        self, episode: OpenEpisode, formats: Mapping[Any, ActionFormat], origin: Origin
    ) -> None:
        self._episode: OpenEpisode | None = episode
        self._formats = formats
        self._origin = origin
        self._made: list[ReplaySample | CaptureError] = []
        self.size = episode.size

    def samples(self) -> Sequence[ReplaySample | CaptureError]:
        """Return a sample per life, in order; or why it can be none. They are made once."""
        episode = self._episode
        if episode is not None:
            metadata = episode.metadata(self._origin.metadata)
            self._made = [self._sample_or_why_not(episode, a, metadata) for a in self._formats]
            self._episode = None
            episode.release()
        return self._made

    def _sample_or_why_not(
        self, episode: OpenEpisode, agent: object, metadata: CaptureMetadata
    ) -> ReplaySample | CaptureError:
        try:
            return self._sample(episode, agent, metadata)
        except CaptureError as error:
            return error

    def _sample(
        self, episode: OpenEpisode, agent: object, metadata: CaptureMetadata
    ) -> ReplaySample:
        life, form, settings = episode.lives[agent], self._formats[agent], self._origin.settings
        table = episode.table(agent)
        told = _Told(agent, table.steps, episode.notes)
        log_probs = told.numbers("log_probs")
        unknown = np.isnan(log_probs)
        behaviour = settings.behaviour_of(str(agent), log_probs_known=not unknown.all())
        if behaviour.kind == "script":
            log_probs[unknown] = 0.0
        observation, mask = life.sight.ending(life.last)
        final_value = episode.final_values.get(agent, NAN)
        sample = columns_to_replay_sample(
            lambda: _columns(life, table, told, log_probs),
            Ending(observation, final_value, mask),
            SampleOrigin(
                agent_id=str(agent),
                episode_id=episode.episode_id,
                action_dim=form.dim,
                names=self._origin.names._replace(action_lookup=form.lookup),
                behaviour=behaviour,
                tags=settings.tags,
                capture_metadata=metadata,
            ),
        )
        return with_metrics(sample, sample_metrics(sample, table.events, table.refused))


class _Told:
    """What is known of the actions of one life, row by row."""

    def __init__(self, agent: object, steps: Sequence[int], notes: Mapping[int, Notes]) -> None:
        self._agent = agent
        self._count = len(steps)
        self._rows = [notes.get(step, NO_NOTES) for step in steps] if notes else []

    def numbers(self, kind: str) -> NDArray[np.float64]:
        """(T,), NaN where nothing was told."""
        if not self._rows:
            return np.full(self._count, NAN)
        agent = self._agent
        return np.array([getattr(notes, kind).get(agent, NAN) for notes in self._rows])

    def others(self, kind: str) -> list[Any]:
        """Return T of them, None where nothing was told; nothing if no row of anybody has one."""
        tables = [getattr(notes, kind) for notes in self._rows]
        return [table.get(self._agent) for table in tables] if any(tables) else []

    def versions(self) -> list[int | None]:
        """Return T of them, None where nothing was told; or nothing."""
        return [notes.policy_version for notes in self._rows]


def _columns(life: Life, table: Table, told: _Told, log_probs: NDArray[np.float64]) -> Columns:
    """Return the rows of a life.

    Raises:
        ValueError: they do not fit each other.
    """
    if life.fault is not None:
        raise ValueError(life.fault)
    observations, masks = life.sight.before(table.steps)
    terminations = np.zeros(len(table.steps), np.bool_)
    truncations = np.zeros(len(table.steps), np.bool_)
    terminations[-1], truncations[-1] = life.terminated, life.truncated
    return Columns(
        observations=observations,
        action_mask=masks,
        actions=stack_actions("actions", table.actions),
        rewards=table.rewards,
        terminations=terminations,
        truncations=truncations,
        ticks=table.ticks,
        log_probs=log_probs,
        values=told.numbers("values"),
        logits=told.others("logits"),
        intents=told.others("intents"),
        reward_components=table.components,
        policy_versions=told.versions(),
    )
