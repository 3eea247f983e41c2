"""The open episode of a recorder: rows of every agent until it is over."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.frames import NAN
from townlet_replay.notes import NO_NOTES, Action, Notes
from townlet_replay.rows import NO_INFO, NOTE_BYTES, ROW_BYTES, Row, Table, row_of
from townlet_replay.sidecar import CaptureMetadata

Returned = tuple[
    dict[Any, Any], dict[Any, float], dict[Any, bool], dict[Any, bool], dict[Any, dict[str, Any]]
]
"""Observations, rewards, terminations, truncations and infos, by agent."""
SeenArrays = tuple[dict[str, NDArray[Any]], NDArray[np.int8] | None]
"""Observations by key, and masks."""


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

    def release(self) -> None:
        """Nobody asks for what was seen any more."""


class Life:
    """The rows of one agent so far."""

    def __init__(self, sight: Seen, first: int) -> None:
        self.sight = sight
        self.first = first  # step that it acted in
        self.last = first  # step after which it saw what followed
        self.rows: list[Row] = []
        self.terminated = False  # in the last row
        self.truncated = False
        self.done = False  # nothing can follow
        self.fault: str | None = None  # why these rows are no sample

    @property
    def most_rows(self) -> int:
        """At most so many rows there are."""
        return self.last - self.first + 1

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
        final_values: V of what followed the last row, by agent; the next row forgets it.
    """

    def __init__(self, episode_id: int, seed: int | None, eyes: Eyes) -> None:
        self.episode_id = episode_id
        self.seed = seed
        self.seen: dict[Any, Seen] = {}
        self.lives: dict[Any, Life] = {}
        self.notes: dict[int, Notes] = {}
        self.final_values: dict[Any, float] = {}
        self._eyes = eyes
        self._step = 0  # steps recorded
        self._faults: dict[Any, str] = {}  # why what somebody sees now can belong to no sample

    @property
    def size(self) -> int:
        """Bytes of all that is kept, about."""
        lives = self.lives.values()
        kept = sum((life.sight.row_bytes + ROW_BYTES) * life.most_rows for life in lives)
        return kept + NOTE_BYTES * len(self.notes) * len(lives)

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
        faults = self._eyes.look(seen, chosen, returned, agents)
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

    def _rows_of(self, chosen: Mapping[Any, Action], returned: Returned) -> Mapping[Any, Any]:
        """Return what is to be kept of each of those who acted."""
        step, rewards, infos = self._step + 1, returned[1], returned[4]
        if not chosen.keys() <= rewards.keys():
            agent = next(agent for agent in chosen if agent not in rewards)
            raise CaptureError(f"step returned no reward for agent {agent!r}, which acted")
        return {
            agent: row_of(step, action, float(rewards[agent]), infos.get(agent, NO_INFO), agent)
            for agent, action in chosen.items()
        }

    def _add(self, rows: Mapping[Any, Any], notes: Notes) -> None:
        """Add rows; what everybody sees after them is with their sights already."""
        self._step += 1
        lives = self.lives
        if not rows.keys() <= lives.keys():
            for agent in rows:
                if agent not in lives:
                    lives[agent] = Life(self.seen[agent], self._step)
        self._keep(rows)
        if self.final_values:
            for agent in rows:
                self.final_values.pop(agent, None)
        if notes is not NO_NOTES:
            self.notes[self._step] = notes
        if self._faults:
            self._blame(rows)

    def _keep(self, rows: Mapping[Any, Any]) -> None:
        lives = self.lives
        for agent, row in rows.items():
            life = lives[agent]
            life.rows.append(row)
            life.sight.count += 1

    def _last_row(self, life: Life, agent: Any) -> int:
        """Return the number of the last step in which somebody acted."""
        del agent
        return life.rows[-1][0]

    def table(self, agent: Any) -> Table:
        """Return the rows of somebody who acted."""
        steps, actions, rewards, ticks, components, events, refused = zip(
            *self.lives[agent].rows, strict=True
        )
        told = [more for some in events for more in some or ()]
        return Table(
            steps=steps,
            actions=actions,
            rewards=rewards,
            ticks=ticks,
            components=components,
            events=None if None in events else told,
            refused=None if None in refused else sum(refused),
        )

    def release(self) -> None:
        """Nobody asks for a table or a sight any more."""
        self._eyes.release()

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
        acted = self._last_row(life, agent) == self._step
        life.terminated = bool(terminated)
        life.truncated = not terminated or (acted and bool(truncated))
        life.last, life.done = self._step, True

    def needs_value(self, agent: object) -> bool:
        """Whether the rows of an agent have values, and the one after the last is unknown."""
        life = self.lives.get(agent)
        final_value = self.final_values.get(agent, NAN)
        if life is None or life.terminated or not math.isnan(final_value):
            return False
        notes = self.notes.get(self._last_row(life, agent), NO_NOTES)
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
