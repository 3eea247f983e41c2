"""The open episode of a town: arrays of everybody, tick by tick, instead of dicts by resident."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from townlet_env.sim.ids import REWARD_COMPONENTS
from townlet_replay.episode import Life, OpenEpisode, Returned, SeenArrays
from townlet_replay.metrics import TownEvent
from townlet_replay.notes import Action
from townlet_replay.rows import MAX_FLOAT32, NOTE_BYTES, ROW_BYTES, Table, read_event
from townlet_replay.sight import first_room, twice
from townlet_replay.spaces import MASK

if TYPE_CHECKING:
    from townlet_env.sim.batch import Step
    from townlet_env.sim.events import Event
    from townlet_env.views.parallel import Details, TownletParallelEnv

Columns = dict[str, NDArray[Any]]
Spare = list[Columns]
"""Columns of episodes that are over, to be written again: new memory is dear."""

MOST_SPARE = 2


class EyesOnTown:
    """Looks at the arrays that the observations of a town are made of.

    Row ``t`` is what was seen after step ``t`` of the episode, in every slot.

    Args:
        town: whose observations reach the recorder as they are.
        room: rows to begin with.
        spare: taken from, and given back to.
    """

    def __init__(self, town: TownletParallelEnv, room: int, spare: Spare) -> None:
        self.town = town
        self._shown = town.shown()
        self.keys = tuple(self._shown)  # of an observation
        if town.mask_mode == "info":
            self._shown[MASK] = town.batch.views.action_mask[0]
        self._spare = spare
        self.columns = spare.pop() if spare else self._columns(first_room(room))
        self._room = len(self.columns["features"])
        self._rows = 0

    def _columns(self, room: int) -> Columns:
        shown = self._shown.items()
        return {key: np.empty((room, *part.shape), part.dtype) for key, part in shown}

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of one slot."""
        return sum(int(part[0].nbytes) for part in self._shown.values())

    def meet(self, agent: str) -> SlotSight:
        """Return the sight of a resident who is new."""
        return SlotSight(self, self.town.slots[agent])

    def look(
        self,
        seen: Mapping[Any, Any],
        acting: Container[Any],
        returned: Returned,
        living: Sequence[Any],
    ) -> dict[Any, str]:
        """Copy what everybody sees; it always fits."""
        del seen, acting, returned, living
        row = self._rows
        if row == self._room:
            self._room *= 2
            self.columns = {key: twice(column) for key, column in self.columns.items()}
        columns = self.columns
        for key, part in self._shown.items():
            columns[key][row] = part
        self._rows = row + 1
        return {}

    def release(self) -> None:
        """Give the columns back."""
        if len(self._spare) < MOST_SPARE:
            self._spare.append(self.columns)


class SlotSight:
    """What one resident saw.

    Attributes:
        slot: of the resident.
    """

    count = 0  # not used: rows have the numbers of steps

    def __init__(self, eyes: EyesOnTown, slot: int) -> None:
        self.slot = slot
        self._eyes = eyes

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self._eyes.row_bytes

    def before(self, steps: Sequence[int]) -> SeenArrays:
        """Return what was seen before each of the T steps of the life: copies."""
        return self._split(_rows_before(steps))

    def ending(self, step: int) -> SeenArrays:
        """Return what was seen after ``step``: copies."""
        return self._split(step)

    def raw_ending(self, step: int) -> dict[str, NDArray[Any]]:
        """Return what was seen after ``step`` as the town gave it."""
        eyes = self._eyes
        return {key: eyes.columns[key][step, self.slot].copy() for key in eyes.keys}

    def _split(self, rows: Any) -> SeenArrays:
        """Return copies of these rows, sorted by key, and of the masks."""
        columns = self._eyes.columns
        found = {key: columns[key][rows, self.slot].copy() for key in sorted(columns)}
        mask = found.pop(MASK, None)
        return found, mask


class TownEpisode(OpenEpisode):
    """Collects what happens in a town; the samples are those of :class:`OpenEpisode`.

    Args:
        episode_id: its number in the capture.
        seed: of the reset that opened it.
        eyes: for this episode alone.
    """

    def __init__(self, episode_id: int, seed: int | None, eyes: EyesOnTown) -> None:
        super().__init__(episode_id, seed, eyes)
        self._town = eyes.town
        self._row_bytes = eyes.row_bytes
        self._chosen: list[Mapping[str, Action]] = []  # by tick
        self._steps: list[Step] = []
        self._details: list[Details | None] = []  # None: not told
        self._tables: _Tables | None = None

    @property
    def size(self) -> int:
        """Bytes of all that is kept, about: of every slot, whoever acted."""
        slots = self._town.batch.num_residents
        row = self._row_bytes + ROW_BYTES
        return slots * (row * (len(self._steps) + 1) + NOTE_BYTES * len(self.notes))

    def _rows_of(self, chosen: Mapping[Any, Action], returned: Returned) -> Mapping[Any, Any]:
        if not math.hypot(*returned[1].values()) <= MAX_FLOAT32:
            super()._rows_of(chosen, returned)  # which looks at each of them
        return chosen

    def _keep(self, rows: Mapping[Any, Any]) -> None:
        town = self._town
        assert town.last_step is not None
        self._chosen.append(rows)
        self._steps.append(town.last_step)
        told = town.last_details if town.details else None
        if told is not None:  # callers may do with infos what they like
            told = type(told)(told.tick, told.components.copy(), told.events)
        self._details.append(told)

    def _last_row(self, life: Life, agent: Any) -> int:
        chosen = self._chosen
        return next(t for t in range(len(chosen), life.first - 1, -1) if agent in chosen[t - 1])

    def table(self, agent: Any) -> Table:
        """Return the rows of somebody who acted."""
        if self._tables is None:
            self._tables = _Tables(self._steps, self._details)
        life, tables = self.lives[agent], self._tables
        slot = cast(SlotSight, life.sight).slot
        numbered = enumerate(self._chosen[life.first - 1 : life.last], life.first)
        taken = {step: chosen[agent] for step, chosen in numbered if agent in chosen}
        steps = list(taken)
        rows = _rows_before(steps)
        told = bool(tables.told[rows].all())
        return Table(
            steps=steps,
            actions=list(taken.values()),
            rewards=tables.rewards[rows, slot],
            ticks=tables.ticks[rows],
            components=tables.components[rows, slot] if told else None,
            events=tables.events_of(agent, taken) if told else None,
            refused=int(tables.illegal[rows, slot].sum()),
        )


class _Tables:
    """The ticks of an episode put together; row 0 is step 1."""

    def __init__(self, steps: Sequence[Step], details: Sequence[Details | None]) -> None:
        self.rewards = np.concatenate([step.reward for step in steps])  # (ticks, N)
        self.illegal = np.concatenate([step.illegal for step in steps])
        self.ticks = np.arange(1, len(steps) + 1, dtype=np.int32)
        self.told = np.array([told is not None for told in details])
        self.components = np.zeros((*self.rewards.shape, len(REWARD_COMPONENTS)), np.float32)
        self._events: dict[str | None, list[tuple[int, TownEvent]]] = {}
        for row, told in enumerate(details):
            if told is not None:
                self.ticks[row] = told.tick
                self.components[row] = told.components
                self._add_events(row + 1, told.events)

    def _add_events(self, step: int, events: Sequence[Event]) -> None:
        for event in events:
            table = read_event(event)
            assert table is not None
            self._events.setdefault(event.by, []).append((step, table))

    def events_of(self, agent: str, steps: Container[int]) -> list[TownEvent]:
        """Return what a resident did in some of the steps."""
        return [event for number, event in self._events.get(agent, ()) if number in steps]


def _rows_before(steps: Sequence[int]) -> Any:
    """Return where the rows of steps are, as an index of columns."""
    first, last = steps[0] - 1, steps[-1]
    return slice(first, last) if last - first == len(steps) else np.array(steps) - 1
