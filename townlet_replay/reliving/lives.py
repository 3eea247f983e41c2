"""Rows of a play become samples: those that a recorder would have written."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_env.sim.ids import EVENT_NAMES, NONE, REWARD_COMPONENTS
from townlet_env.sim.plan import Plan
from townlet_env.views.spaces import map_channels
from townlet_replay.action_block import LoggedEpisode, LoggedLife
from townlet_replay.metrics import TownEvent, sample_metrics
from townlet_replay.record_settings import RecordSettings
from townlet_replay.reliving.kernels import ILLEGAL, TERMINATED, TRUNCATED
from townlet_replay.reliving.stage import Play
from townlet_replay.sample import ReplaySample, with_metrics
from townlet_replay.sidecar import CaptureMetadata, SampleMeta
from townlet_replay.town_setup import TownSetup

_MASK = "action_mask"


class Known(NamedTuple):
    """What the behaviour knew of one agent's T rows; it cannot be derived."""

    log_probs: NDArray[np.float32]  # (T,)
    values: NDArray[np.float32]  # (T + 1,)
    logits: NDArray[np.float32] | None = None  # (T, A)
    intents: NDArray[Any] | None = None  # like the actions
    versions: NDArray[np.int64] | None = None  # (T,)


def known_of(life: LoggedLife) -> Known:
    """Return what the behaviour knew of a life."""
    values = np.empty(life.rows + 1, np.float32)
    values[:-1], values[-1] = life.values, life.last_value
    return Known(life.log_probs, values, life.logits, life.intents, life.versions)


class Lived(NamedTuple):
    """An episode of a play."""

    play: Play
    world: int
    episode: LoggedEpisode

    def slot_of(self, life: LoggedLife) -> int | None:
        """Return where somebody was; ``None`` if they were not there before their first row."""
        place = (self.world, life.agent_id)
        slot = self.play.slots.get(place)
        return None if slot is None or life.ticks[0] < self.play.arrived[place] else slot

    def reward_sum(self, life: LoggedLife, slot: int) -> float:
        """Return the sum of the rewards of a life, one added after the other, in doubles."""
        rewards = self.play.rewards[self.world, slot, _rows_of(life)]
        return float(np.add.accumulate(rewards, dtype=np.float64)[-1])

    def end_of(self, life: LoggedLife, slot: int) -> int:
        """Return the tick after which nothing follows in a life.

        Somebody who does not act any more still sees what happens, until they leave.
        """
        last = int(life.ticks[-1])
        flags = self.play.flags[self.world, slot, last : self.episode.ticks]
        ends = np.flatnonzero(flags & TERMINATED)
        return last + int(ends[0]) + 1 if len(ends) else self.episode.ticks


def _rows_of(life: LoggedLife) -> Any:
    """Return the ticks of a life, as a slice if it has no gaps."""
    first, last = int(life.ticks[0]), int(life.ticks[-1])
    return slice(first, last + 1) if last - first + 1 == life.rows else life.ticks


class SampleMaker:
    """Makes samples of the lives of plays.

    Args:
        setup: the town that was played.
        plan: its compiled scenario.
        settings: of the recording.
        metadata: of the capture.
    """

    def __init__(
        self, setup: TownSetup, plan: Plan, settings: RecordSettings, metadata: CaptureMetadata
    ) -> None:
        self._setup, self._settings, self._metadata = setup, settings, metadata
        self._affordances = plan.names.affordances
        lookup = dict(enumerate(plan.names.actions))
        self._common = SampleMeta(
            agent_id="",
            episode_id=0,
            feature_names=plan.names.features,
            map_channels=map_channels(setup.observation),
            reward_components=REWARD_COMPONENTS,
            action_lookup=lookup,
            action_dim=len(lookup),
            timesteps=1,
            value_pred_steps=2,
            tags=settings.tags,
        )

    def samples(self, lived: Lived, *, metrics: bool = True) -> list[ReplaySample]:
        """Return the samples of an episode; without those who were not there.

        Args:
            lived: in a play with looks.
            metrics: whether to sum each up in its sidecar.

        Raises:
            CaptureError: what the behaviour knew does not fit the rows.
        """
        origin = self._metadata.model_copy(update={"seed": lived.episode.seed})
        found = []
        for life in lived.episode.samples:
            slot = lived.slot_of(life)
            if slot is not None:
                found.append(self._sample(lived, life, slot, origin, metrics=metrics))
        return found

    def _sample(
        self, lived: Lived, life: LoggedLife, slot: int, origin: CaptureMetadata, *, metrics: bool
    ) -> ReplaySample:
        play, world, rows, known = lived.play, lived.world, _rows_of(life), known_of(life)
        end = lived.end_of(life, slot)
        looks = {key: part[world, slot] for key, part in play.looks.items()}
        mask = looks.pop(_MASK)
        own = _Own(play.flags[world, slot], play.components[world, slot], mask)
        sample = ReplaySample(
            observations={key: looks[key][rows].copy() for key in sorted(looks)},
            action_mask=None if self._setup.mask == "none" else mask[rows].copy(),
            actions=life.actions,
            rewards=play.rewards[world, slot, rows],
            terminations=_only_last(life.rows, bool(own.flags[end - 1] & TERMINATED)),
            truncations=_only_last(
                life.rows,
                bool(own.flags[life.ticks[-1]] & TRUNCATED or not own.flags[end - 1] & TERMINATED),
            ),
            old_log_probs=known.log_probs,
            value_preds=known.values,
            ticks=(life.ticks + 1).astype(np.int32),
            final_observation={key: looks[key][end].copy() for key in sorted(looks)},
            extras=self._extras(own, life, known, end),
            meta=self._meta(life, lived.episode.episode_id, origin),
        )
        if not metrics:
            return sample
        events = self._events(lived, life, slot) if self._setup.details else None
        illegal = int(np.count_nonzero(own.flags[rows] & ILLEGAL))
        return with_metrics(sample, sample_metrics(sample, events, illegal))

    def _extras(
        self, own: _Own, life: LoggedLife, known: Known, end: int
    ) -> dict[str, NDArray[Any]]:
        extras, rows = dict[str, NDArray[Any]](), _rows_of(life)
        if known.logits is not None:
            extras["behaviour_logits"] = known.logits
        if known.intents is not None:
            extras["intent_actions"] = known.intents
        if self._setup.details:
            extras["reward_components"] = own.components[rows]
        if known.versions is not None:
            extras["policy_version"] = known.versions
        if self._setup.mask != "none":
            forbidden = own.mask[life.ticks, life.actions] == 0
            if forbidden.any():
                extras["illegal_actions"] = forbidden
            extras["final_action_mask"] = own.mask[end].copy()
        return extras

    def _meta(self, life: LoggedLife, number: int, origin: CaptureMetadata) -> SampleMeta:
        known = not bool(np.isnan(life.log_probs).all())
        changes = {
            "agent_id": life.agent_id,
            "episode_id": number,
            "timesteps": life.rows,
            "value_pred_steps": life.rows + 1,
            "behaviour": self._settings.behaviour_of(life.agent_id, log_probs_known=known),
            "capture_metadata": origin,
        }
        return self._common.model_copy(update=changes)

    def _events(self, lived: Lived, life: LoggedLife, slot: int) -> list[TownEvent]:
        """Return what a resident did in its rows, as far as it is counted."""
        places, values = lived.play.events
        which = np.flatnonzero((places[:, 0] == lived.world) & (places[:, 3] == slot))
        which = which[np.isin(places[which, 1], life.ticks)]
        found: list[TownEvent] = []
        for place, value in zip(places[which].tolist(), values[which].tolist(), strict=True):
            *_, kind, _, affordance = place
            name = None if affordance == NONE else self._affordances[affordance]
            found.append({"event": EVENT_NAMES[kind], "affordance": name, "value": value})
        return found


class _Own(NamedTuple):
    """What a play kept of one slot."""

    flags: NDArray[np.uint8]  # (T,)
    components: NDArray[np.float32]  # (T, 8)
    mask: NDArray[np.int8]  # (T + 1, A)


def _only_last(rows: int, last: bool) -> NDArray[np.bool_]:
    flags = np.zeros(rows, np.bool_)
    flags[-1] = last
    return flags
