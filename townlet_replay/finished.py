"""A finished episode on its way to samples, in whatever thread it is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.episode import ROW_BYTES, Life, OpenEpisode
from townlet_replay.errors import CaptureError
from townlet_replay.frames import (
    NAN,
    Columns,
    Ending,
    SampleOrigin,
    columns_to_replay_sample,
    stack_actions,
)
from townlet_replay.metrics import TownEvent, sample_metrics
from townlet_replay.notes import NO_NOTES, Notes
from townlet_replay.record_settings import RecordSettings
from townlet_replay.sample import ReplaySample, with_metrics
from townlet_replay.sidecar import CaptureMetadata, CaptureNames
from townlet_replay.spaces import ActionFormat


class FinishedEpisode(NamedTuple):
    """Lives that nothing is added to any more, and what their samples say besides."""

    episode: OpenEpisode
    formats: Mapping[Any, ActionFormat]  # whose samples are wanted: everybody of these
    settings: RecordSettings
    names: CaptureNames
    metadata: CaptureMetadata  # of the capture

    @property
    def size(self) -> int:
        """Bytes of the rows."""
        lives = [self.episode.lives[agent] for agent in self.formats]
        return sum((life.sight.row_bytes + ROW_BYTES) * len(life.rows) for life in lives)

    def samples(self) -> list[ReplaySample | CaptureError]:
        """Return a sample per life, in order; or why it can be none."""
        metadata = self.episode.metadata(self.metadata)
        return [self._sample_or_why_not(agent, metadata) for agent in self.formats]

    def _sample_or_why_not(
        self, agent: object, metadata: CaptureMetadata
    ) -> ReplaySample | CaptureError:
        try:
            return self._sample(agent, metadata)
        except CaptureError as error:
            return error

    def _sample(self, agent: object, metadata: CaptureMetadata) -> ReplaySample:
        life, form = self.episode.lives[agent], self.formats[agent]
        told = _Told(agent, [row[0] for row in life.rows], self.episode.notes)
        behaviour = self.settings.behaviour_of(str(agent), log_probs_known=told.any_log_prob())
        unknown = 0.0 if behaviour.kind == "script" else NAN
        observation, mask = life.sight.ending(life.last)
        sample = columns_to_replay_sample(
            lambda: _columns(life, told, unknown),
            Ending(observation, life.final_value, mask),
            SampleOrigin(
                agent_id=str(agent),
                episode_id=self.episode.episode_id,
                action_dim=form.dim,
                names=self.names._replace(action_lookup=form.lookup),
                behaviour=behaviour,
                tags=self.settings.tags,
                capture_metadata=metadata,
            ),
        )
        events, illegal = (list(column) for column in list(zip(*life.rows, strict=True))[5:])
        return with_metrics(sample, sample_metrics(sample, _all_events(events), _count(illegal)))


class _Told:
    """What is known of the actions of one life, row by row."""

    def __init__(self, agent: object, steps: list[int], notes: Mapping[int, Notes]) -> None:
        self._agent = agent
        self.steps = steps
        self._rows = [notes.get(step, NO_NOTES) for step in steps] if notes else []

    def any_log_prob(self) -> bool:
        """Whether the log-prob of some action is known."""
        return not all(map(math.isnan, self._column("log_probs", NAN)))

    def log_probs(self, unknown: float) -> list[float]:
        """(T,), ``unknown`` where nothing was told."""
        found = self._column("log_probs", NAN)
        return [unknown if math.isnan(number) else number for number in found]

    def values(self) -> list[float]:
        """(T,), NaN where nothing was told."""
        return self._column("values", NAN)

    def logits(self) -> list[NDArray[np.float32] | None]:
        """T of them."""
        return self._column("logits", None)

    def intents(self) -> list[Any]:
        """T of them, or None."""
        return self._column("intents", None)

    def versions(self) -> list[int | None]:
        """T of them."""
        return [notes.policy_version for notes in self._rows]

    def _column(self, kind: str, unknown: Any) -> list[Any]:
        if not self._rows:
            return [unknown] * len(self.steps)
        return [getattr(notes, kind).get(self._agent, unknown) for notes in self._rows]


def _columns(life: Life, told: _Told, unknown: float) -> Columns:
    """Stack the rows of a life.

    Raises:
        ValueError: they do not fit each other.
    """
    if life.fault is not None:
        raise ValueError(life.fault)
    observations, masks = life.sight.before(told.steps)
    _, actions, rewards, ticks, components, _, _ = zip(*life.rows, strict=True)
    terminations = np.zeros(len(rewards), np.bool_)
    truncations = np.zeros(len(rewards), np.bool_)
    terminations[-1], truncations[-1] = life.terminated, life.truncated
    return Columns(
        observations=observations,
        action_mask=masks,
        actions=stack_actions("actions", actions),
        rewards=rewards,
        terminations=terminations,
        truncations=truncations,
        ticks=ticks,
        log_probs=told.log_probs(unknown),
        values=told.values(),
        logits=told.logits(),
        intents=told.intents(),
        reward_components=components,
        policy_versions=told.versions(),
    )


def _all_events(rows: list[Any]) -> list[TownEvent] | None:
    """Return the events of a life; ``None`` once an environment did not tell any."""
    if any(events is None for events in rows):
        return None
    return [event for events in rows for event in events]


def _count(refused: list[Any]) -> int | None:
    """Return how many actions were refused; ``None`` once that was not told."""
    return None if any(flag is None for flag in refused) else sum(refused)
