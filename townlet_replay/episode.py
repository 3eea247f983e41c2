"""The open episode of a recorder: rows of every agent until it is over."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.frames import NAN
from townlet_replay.metrics import TownEvent
from townlet_replay.notes import NO_NOTES, Action, Notes
from townlet_replay.sidecar import CaptureMetadata

Returned = tuple[
    dict[Any, Any], dict[Any, float], dict[Any, bool], dict[Any, bool], dict[Any, dict[str, Any]]
]
"""Observations, rewards, terminations, truncations and infos, by agent."""
SeenArrays = tuple[dict[str, NDArray[Any]], NDArray[np.int8] | None]
"""Observations by key, and masks."""

Row = tuple[
    int,  # number of the step, from 1
    Action,  # as it is recorded
    float,  # reward
    int,  # tick
    NDArray[np.float32] | None,  # reward components
    Sequence[TownEvent] | None,  # events; None: not told
    bool | None,  # whether the action was refused; None: not told
]
"""What an agent did and got in one step; a plain tuple, because there is one per agent step."""

NO_INFO: Mapping[str, Any] = {}
ROW_BYTES = 256  # of a row and its numbers

_MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Critic(Protocol):
    """A policy that knows values; ``PolicyRuntime`` is one."""

    def values_of(self, observations: dict[Any, Any]) -> Mapping[Any, float]:
        """Return V(observation) by agent; agents it does not know may be left out."""


class Seen(Protocol):
    """What one agent saw, and sees."""

    count: int  # rows of its life so far

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""

    def before(self, steps: Sequence[int]) -> SeenArrays:
        """Return what it saw before each of the steps it acted in, (T, ...)."""

    def ending(self, step: int) -> SeenArrays:
        """Return what it saw last, after ``step``: copies."""

    def raw_ending(self, step: int) -> Any:
        """Return the same as the environment gave it."""


class Eyes(Protocol):
    """Looks at what an environment shows, and remembers it."""

    def meet(self, agent: Any) -> Seen:
        """Return the sight of an agent that is new; it is written by the next :meth:`look`."""

    def look(
        self,
        seen: Mapping[Any, Seen],
        acting: Container[Any],
        returned: Returned,
        living: Sequence[Any],
    ) -> dict[Any, str]:
        """Copy what agents see after a step.

        Args:
            seen: everybody to look at, with the sights that :meth:`meet` returned.
            acting: those who get a row for this step.
            returned: by the step; after ``reset``, its observations and infos.
            living: those who can act next.

        Returns:
            Why what an agent sees can belong to no sample, by agent.

        Raises:
            CaptureError: something cannot be recorded at all.
        """


class Life:
    """The rows of one agent so far."""

    def __init__(self, sight: Seen) -> None:
        self.sight = sight
        self.rows: list[Row] = []
        self.terminated = False  # in the last row
        self.truncated = False
        self.last = 0  # the step after which it saw what followed
        self.done = False  # nothing can follow
        self.final_value = NAN
        self.fault: str | None = None  # why these rows are no sample

    def raw_ending(self) -> Any:
        """Return the observation after the last row as the environment gave it."""
        return self.sight.raw_ending(self.last)


class OpenEpisode:
    """Collects what happens between ``reset`` and the end.

    Args:
        episode_id: its number in the capture.
        seed: of the reset that opened it.
        eyes: for this episode alone.

    Attributes:
        seen: What everybody who is there sees.
        lives: Everybody who acted, in the order of their first rows.
        notes: What is known of actions, by the number of the step.
    """

    def __init__(self, episode_id: int, seed: int | None, eyes: Eyes) -> None:
        self.episode_id = episode_id
        self.seed = seed
        self.seen: dict[Any, Seen] = {}
        self.lives: dict[Any, Life] = {}
        self.notes: dict[int, Notes] = {}
        self._eyes = eyes
        self._step = 0  # steps recorded
        self._faults: dict[Any, str] = {}  # why what somebody sees now can belong to no sample

    def begin(
        self, agents: Sequence[Any], observations: dict[Any, Any], infos: dict[Any, Any]
    ) -> None:
        """Look at what ``reset`` returned.

        Raises:
            CaptureError: something cannot be recorded.
        """
        self.seen = {agent: self._eyes.meet(agent) for agent in agents}
        self._faults = self._eyes.look(self.seen, (), (observations, {}, {}, {}, infos), agents)

    def advance(
        self,
        chosen: Mapping[Any, Action],
        notes: Notes,
        returned: Returned,
        agents: Sequence[Any],
    ) -> list[Any]:
        """Add the rows of one step: all of them, or none if something cannot be recorded.

        Args:
            chosen: the actions of those who acted, as they are recorded.
            notes: what is known of them.
            returned: by the step.
            agents: those who can act next.

        Returns:
            Those whose lives have ended.

        Raises:
            CaptureError: a reward or an observation is missing, or cannot be recorded.
        """
        rows = self._rows_of(chosen, returned)
        seen, _, terminations, truncations = self.seen, *returned[1:4]
        same = len(agents) == len(seen) and all(map(seen.__contains__, agents))
        if not same:
            seen = seen | {agent: self._eyes.meet(agent) for agent in agents if self._is_new(agent)}
        faults = self._eyes.look(seen, rows, returned, agents)
        self._add(rows, notes)
        self.seen, self._faults = seen, faults
        if same and not any(terminations.values()) and not any(truncations.values()):
            return []
        living = dict.fromkeys(agents)
        gone = [
            agent
            for agent in seen
            if agent not in living or terminations.get(agent) or truncations.get(agent)
        ]
        for agent in gone:
            self._end(agent, terminations, truncations)
        return gone

    def close(self) -> None:
        """Close the lives of everybody who is still there."""
        for agent in self.seen:
            life = self.lives.get(agent)
            if life is not None:
                life.last = self._step
        self._blame(self.seen)

    def _is_new(self, agent: object) -> bool:
        """Say whether an agent has come; one that is done stays done until the next episode."""
        life = self.lives.get(agent)
        return agent not in self.seen and (life is None or not life.done)

    def _rows_of(self, chosen: Mapping[Any, Action], returned: Returned) -> dict[Any, Row]:
        step, rewards, infos = self._step + 1, returned[1], returned[4]
        if not chosen.keys() <= rewards.keys():
            agent = next(agent for agent in chosen if agent not in rewards)
            raise CaptureError(f"step returned no reward for agent {agent!r}, which acted")
        return {
            agent: _row(step, action, float(rewards[agent]), infos.get(agent, NO_INFO), agent)
            for agent, action in chosen.items()
        }

    def _add(self, rows: Mapping[Any, Row], notes: Notes) -> None:
        """Add rows; what everybody sees after them is with their sights already."""
        self._step += 1
        lives = self.lives
        for agent, row in rows.items():
            life = lives.get(agent)
            if life is None:
                life = lives[agent] = Life(self.seen[agent])
            life.rows.append(row)
            life.sight.count += 1
            life.final_value = NAN
        if notes is not NO_NOTES:
            self.notes[self._step] = notes
        if self._faults:
            self._blame(rows)

    def _end(
        self, agent: object, terminations: Mapping[Any, bool], truncations: Mapping[Any, bool]
    ) -> None:
        """Close the life of an agent: its last observation is what it sees now.

        One that ends in a step in which it did not act ends with the last row it has.
        """
        del self.seen[agent]
        life = self.lives.get(agent)
        if life is None:
            return
        self._blame((agent,))
        terminated, truncated = terminations.get(agent, False), truncations.get(agent, False)
        acted = life.rows[-1][0] == self._step
        life.terminated = bool(terminated)
        life.truncated = not terminated or (acted and bool(truncated))
        life.last, life.done = self._step, True

    def needs_value(self, agent: object) -> bool:
        """Whether the rows of an agent have values, and the one after the last is unknown."""
        life = self.lives.get(agent)
        if life is None or life.terminated or not math.isnan(life.final_value):
            return False
        notes = self.notes.get(life.rows[-1][0], NO_NOTES)
        return not math.isnan(notes.values.get(agent, NAN))

    def metadata(self, of_capture: CaptureMetadata) -> CaptureMetadata:
        """Return where the episode comes from: the capture's metadata, with its own seed."""
        if self.seed is None:
            return of_capture
        return of_capture.model_copy(update={"seed": int(self.seed)})

    def _blame(self, agents: Iterable[Any]) -> None:
        """Take note of what is wrong with what some see."""
        for agent in agents:
            life = self.lives.get(agent)
            if life is not None:
                life.fault = life.fault or self._faults.get(agent)


def _row(step: int, action: Action, reward: float, info: Mapping[str, Any], agent: object) -> Row:
    if not -_MAX_FLOAT32 <= reward <= _MAX_FLOAT32:
        raise CaptureError(
            f"step returned the reward {reward} for agent {agent!r}; "
            "expected a finite number that float32 can hold"
        )
    told = info.get
    components, refused = told("reward_components"), told("illegal_action")
    return (
        step,
        action,
        reward,
        step if (tick := told("tick")) is None else _tick(tick, step),
        None if components is None else _components(components),
        _events(told("events")),
        None if refused is None else bool(refused),
    )


def _tick(tick: object, step: int) -> int:
    if isinstance(tick, (int, np.integer)) and 0 <= tick < 2**31:
        return int(tick)
    return step


def _components(components: object) -> NDArray[np.float32] | None:
    if not isinstance(components, (np.ndarray, list, tuple)):
        return None
    return np.array(components, np.float32)


def _events(told: object) -> Sequence[TownEvent] | None:
    """Return the events of a step as mappings, or ``None`` if they are not told."""
    if not isinstance(told, (list, tuple)):
        return None
    if not told:
        return ()
    tables = [read_event(event) for event in told]
    known = [table for table in tables if table is not None]
    return known if len(known) == len(tables) else None


def read_event(event: object) -> TownEvent | None:
    """Return an event as a mapping with ``event``, ``value``, ``affordance``; else ``None``."""
    if isinstance(event, tuple) and hasattr(event, "_asdict"):
        event = event._asdict()
    if not isinstance(event, Mapping) or not isinstance(event.get("event"), str):
        return None
    value = event.get("value", event.get("intensity", event.get("minutes", 0.0)))
    return {
        "event": event["event"],
        "affordance": event.get("affordance"),
        "value": float(value or 0.0),
    }
