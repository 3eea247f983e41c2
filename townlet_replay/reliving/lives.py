"""Rows of a play become samples: those that a recorder would have written."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_env.sim.ids import EVENT_NAMES, NONE, REWARD_COMPONENTS, EventKind
from townlet_env.sim.plan import Plan
from townlet_env.views.spaces import map_channels
from townlet_replay.metrics import TownEvent, sample_metrics
from townlet_replay.record_settings import RecordSettings
from townlet_replay.reliving.stage import Play
from townlet_replay.sample import ReplaySample, with_metrics
from townlet_replay.sidecar import CaptureMetadata, SampleMeta
from townlet_replay.town_setup import TownSetup

_MASK = "action_mask"
# The events that metrics are made of.
_COUNTED = (EventKind.SHIFT_LATE, EventKind.QUEUE_CONFLICT, EventKind.AFFORDANCE_FINISHED)


class Known(NamedTuple):
    """What the behaviour knew of one agent's T rows; it cannot be derived."""

    log_probs: NDArray[np.float32]  # (T,)
    values: NDArray[np.float32]  # (T + 1,)
    logits: NDArray[np.float32] | None = None  # (T, A)
    intents: NDArray[Any] | None = None  # like the actions
    versions: NDArray[np.int64] | None = None  # (T,)


class Life(NamedTuple):
    """A life of a play that becomes a sample."""

    world: int
    agent_id: str
    ticks: NDArray[np.int64]  # (T,) in which it acted, from 0
    actions: NDArray[np.int64]  # (T,)
    length: int  # ticks of the episode
    known: Known


def end_of(play: Play, life: Life) -> int | None:
    """Return the tick after which nothing follows in a life; ``None`` if it was not there.

    Somebody who does not act any more still sees what happens, until they leave.
    """
    place = (life.world, life.agent_id)
    slot = play.slots.get(place)
    if slot is None or life.ticks[0] < play.arrived[place]:
        return None
    last = int(life.ticks[-1])
    ends = np.flatnonzero(play.terminated[life.world, slot, last : life.length])
    return last + int(ends[0]) + 1 if len(ends) else life.length


def reward_sum(play: Play, life: Life) -> float:
    """Return the sum of the rewards of a life, added one after the other in double precision."""
    rewards = play.rewards[life.world, play.slots[life.world, life.agent_id], life.ticks]
    return float(np.add.accumulate(rewards, dtype=np.float64)[-1])


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

    def sample(
        self, play: Play, life: Life, end: int, origin: tuple[int, int], *, metrics: bool = True
    ) -> ReplaySample:
        """Return the sample of a life.

        Args:
            play: with looks.
            life: whose rows are wanted.
            end: of :func:`end_of`.
            origin: number and seed of the episode.
            metrics: whether to sum it up in the sidecar.

        Raises:
            CaptureError: what the behaviour knew does not fit the rows.
        """
        w, slot = life.world, play.slots[life.world, life.agent_id]
        ticks, known = life.ticks, life.known
        rows: Any = ticks
        if len(ticks) == ticks[-1] - ticks[0] + 1:
            rows = slice(int(ticks[0]), int(ticks[-1]) + 1)  # no copies
        looks = {key: part[w, slot] for key, part in play.looks.items()}
        mask = looks.pop(_MASK, None)
        if self._setup.mask == "none":
            mask = None
        terminations, truncations = self._ends(play, life, slot, end)
        sample = ReplaySample(
            observations={key: looks[key][rows] for key in sorted(looks)},
            action_mask=None if mask is None else mask[rows],
            actions=life.actions,
            rewards=play.rewards[w, slot, rows],
            terminations=terminations,
            truncations=truncations,
            old_log_probs=known.log_probs,
            value_preds=known.values,
            ticks=(ticks + 1).astype(np.int32),
            final_observation={key: looks[key][end].copy() for key in sorted(looks)},
            extras=self._extras(play, life, slot, rows, None if mask is None else mask[end]),
            meta=self._meta(life, origin),
        )
        if not metrics:
            return sample
        events = self._events(play, life, slot) if self._setup.details else None
        illegal = int(np.count_nonzero(play.illegal[w, slot, rows]))
        return with_metrics(sample, sample_metrics(sample, events, illegal))

    def _ends(
        self, play: Play, life: Life, slot: int, end: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        terminations, truncations = (np.zeros(len(life.ticks), np.bool_) for _ in range(2))
        terminations[-1] = play.terminated[life.world, slot, end - 1]
        truncations[-1] = (
            play.truncated[life.world, slot, int(life.ticks[-1])] or not terminations[-1]
        )
        return terminations, truncations

    def _extras(
        self, play: Play, life: Life, slot: int, rows: Any, final_mask: NDArray[np.int8] | None
    ) -> dict[str, NDArray[Any]]:
        known, extras = life.known, dict[str, NDArray[Any]]()
        if known.logits is not None:
            extras["behaviour_logits"] = known.logits
        if known.intents is not None:
            extras["intent_actions"] = known.intents
        if self._setup.details and play.components is not None:
            extras["reward_components"] = play.components[life.world, slot, rows]
        if known.versions is not None:
            extras["policy_version"] = known.versions
        if final_mask is not None:
            mask = play.looks[_MASK][life.world, slot, rows]
            forbidden = mask[np.arange(len(mask)), life.actions] == 0
            if forbidden.any():
                extras["illegal_actions"] = forbidden
            extras["final_action_mask"] = final_mask.copy()
        return extras

    def _meta(self, life: Life, origin: tuple[int, int]) -> SampleMeta:
        number, seed = origin
        rows = len(life.ticks)
        known = not bool(np.isnan(life.known.log_probs).all())
        changes = {
            "agent_id": life.agent_id,
            "episode_id": number,
            "timesteps": rows,
            "value_pred_steps": rows + 1,
            "behaviour": self._settings.behaviour_of(life.agent_id, log_probs_known=known),
            "capture_metadata": self._metadata.model_copy(update={"seed": seed}),
        }
        return self._common.model_copy(update=changes)

    def _events(self, play: Play, life: Life, slot: int) -> list[TownEvent]:
        """Return what a resident did in its rows, as far as it is counted."""
        events = play.events
        assert events is not None
        mine = (events.world == life.world) & (events.codes[:, 1] == slot)
        mine &= np.isin(events.codes[:, 0], _COUNTED)
        which = np.flatnonzero(mine)
        which = which[np.isin(events.tick[which], life.ticks)]
        found: list[TownEvent] = []
        for codes, value in zip(
            events.codes[which].tolist(), events.values[which].tolist(), strict=True
        ):
            kind, *_, affordance = codes
            name = None if affordance == NONE else self._affordances[affordance]
            found.append({"event": EVENT_NAMES[kind], "affordance": name, "value": value})
        return found
