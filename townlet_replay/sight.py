"""What one agent sees, written row by row into arrays that grow: the hot path of a recorder.

The first observation says what is expected. As long as others are built alike, an observation costs
a few comparisons and one copy per part; anything else takes the long way through
:mod:`~townlet_replay.spaces`, which accepts or refuses it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

from townlet_replay.episode import Returned, SeenArrays
from townlet_replay.errors import CaptureError
from townlet_replay.frames import other_keys
from townlet_replay.notes import Formats
from townlet_replay.rows import NO_INFO
from townlet_replay.spaces import (
    MASK,
    ActionFormat,
    copy_observation,
    plain_key,
    split_mask,
)

LEAST_ROOM, MOST_ROOM = 64, 4096  # rows to begin with


class EyesOnDicts:
    """Looks at the observations and infos that any environment returns.

    Args:
        formats: of the actions, by agent.
        room: rows to begin with.
    """

    def __init__(self, formats: Formats, room: int) -> None:
        self._formats = formats
        self._room = room
        self._faults: dict[Any, str] = {}  # of the last look

    def meet(self, agent: Any) -> Sight:
        """Return the sight of an agent that is new."""
        return Sight(agent, self._formats[agent], self._room)

    def look(
        self,
        seen: Mapping[Any, Any],
        acting: Container[Any],
        returned: Returned,
        living: Sequence[Any],
    ) -> dict[Any, str]:
        """Copy what agents see after a step, and say why it does not fit what they saw before.

        Raises:
            CaptureError: an agent sees nothing, or what cannot be recorded.
        """
        observations, _, terminations, _, infos = returned
        faults = {}
        for agent, sight in seen.items():
            row = sight.count + (agent in acting)
            if agent in observations:
                fault = sight.write(row, observations[agent], infos.get(agent, NO_INFO))
            elif agent not in living and terminations.get(agent, False):
                fault = self._faults.get(agent)
                if row > sight.count:  # it is dead and sees nothing
                    sight.repeat(row)
            else:
                raise CaptureError(
                    f"the environment returned no observation for agent {agent!r}; a row needs "
                    "what was seen before it, and a row that did not terminate also what followed"
                )
            if fault is not None:
                faults[agent] = fault
        self._faults = faults
        return faults

    def release(self) -> None:
        """Do nothing: samples hold the columns."""


class _Part(NamedTuple):
    """Where a part of an observation goes, and what it has to be."""

    key: str | None  # in the observation; None: the observation itself
    column: NDArray[Any]  # (room, ...)
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Sight:
    """The observations and masks of one life.

    Args:
        agent: for messages.
        actions: of the agent: only ids have a mask.
        room: rows to begin with.

    Attributes:
        count: rows of the life so far; what the agent sees now is in the row after them.
    """

    def __init__(self, agent: object, actions: ActionFormat, room: int = 0) -> None:
        self.count = 0
        self._agent = agent
        self._actions = actions
        self._room = first_room(room)
        self._columns: dict[str, NDArray[Any]] = {}
        self._masks: NDArray[np.int8] | None = None
        self._parts: list[_Part] | None = None  # of observations that can be written as they are
        self._whole = False  # an observation is an array
        self._keys: frozenset[Any] = frozenset()  # of one that is a dict
        self._mask_in_info = False
        self._mask_dtype: np.dtype[Any] = np.dtype(np.int8)
        self._mask_shape = (actions.dim,)
        self._raw: Any = None  # the last observation, if it took the long way

    def write(self, row: int, observation: Any, info: Mapping[str, Any]) -> str | None:
        """Copy what the agent sees into a row, and return why it does not fit the others, if so.

        Nothing is written if the observation is refused, or does not fit.

        Raises:
            CaptureError: the observation or its mask cannot be recorded at all.
        """
        if row >= self._room:
            self._grow()
        if self._parts is not None and self._write_alike(self._parts, row, observation, info):
            self._raw = None
            return None
        raw = copy_observation(observation)
        arrays, mask = split_mask(self._agent, raw, info, self._actions)
        self._raw = raw
        if row == 0:
            self._begin(observation, arrays, mask)
        misfit = self._misfit(row, arrays, mask)
        if misfit is None:
            for key, array in arrays.items():
                self._columns[key][row] = array
            if mask is not None and self._masks is not None:
                self._masks[row] = mask
        return misfit

    def repeat(self, row: int) -> None:
        """Write once more into ``row`` what is in the row before."""
        if row >= self._room:
            self._grow()
        for column in (*self._columns.values(), *(() if self._masks is None else (self._masks,))):
            column[row] = column[row - 1]

    def rows(self, count: int) -> SeenArrays:
        """Return the observations and masks of the first ``count`` rows: views."""
        masks = None if self._masks is None else self._masks[:count]
        return {key: column[:count] for key, column in self._columns.items()}, masks

    def at(self, row: int) -> SeenArrays:
        """Return copies of the observation and the mask of one row."""
        mask = None if self._masks is None else self._masks[row].copy()
        return {key: column[row].copy() for key, column in self._columns.items()}, mask

    def raw(self, row: int) -> Any:
        """Return the last observation, in ``row``, as the environment gave it."""
        if self._raw is not None or self._parts is None:
            return self._raw
        found: dict[Any, Any] = {part.key: part.column[row].copy() for part in self._parts}
        if None in found:
            return found[None]
        if self._masks is not None and not self._mask_in_info:
            found[MASK] = self._masks[row].astype(self._mask_dtype)
        return found

    def shrink(self, count: int) -> None:
        """Give back the room behind the first ``count`` rows; nothing is written afterwards."""
        self._parts = None
        for column in (*self._columns.values(), *(() if self._masks is None else (self._masks,))):
            column.resize((count, *column.shape[1:]), refcheck=False)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        columns = (*self._columns.values(), *(() if self._masks is None else (self._masks,)))
        return sum(int(column[0].nbytes) for column in columns)

    def before(self, steps: Sequence[int]) -> SeenArrays:
        """Return what was seen before each of the T steps of the life, and give back other room."""
        self.shrink(len(steps) + 1)
        return self.rows(len(steps))

    def ending(self, step: int) -> SeenArrays:
        """Return what was seen last."""
        del step
        return self.at(self.count)

    def raw_ending(self, step: int) -> Any:
        """Return what was seen last, as the environment gave it."""
        del step
        return self.raw(self.count)

    def _write_alike(
        self, parts: list[_Part], row: int, observation: Any, info: Mapping[str, Any]
    ) -> bool:
        """Write an observation that is built like the first; else write nothing."""
        if self._whole:
            observation = {None: observation}
        elif type(observation) is not dict or observation.keys() != self._keys:
            return False
        for key, _, shape, dtype in parts:
            found = observation[key]
            if type(found) is not ndarray or found.shape != shape or found.dtype != dtype:
                return False
        masks = self._masks
        if masks is not None:
            mask = info.get(MASK) if self._mask_in_info else observation[MASK]
            if (
                type(mask) is not ndarray
                or mask.dtype != self._mask_dtype
                or mask.shape != self._mask_shape
                or mask.tobytes().strip(b"\x00\x01")  # bytes of 0 and 1, and of nothing else
            ):
                return False
            masks[row] = mask
        elif info and self._actions.discrete and info.get(MASK) is not None:
            return False
        for key, column, _, _ in parts:
            column[row] = observation[key]
        return True

    def _begin(
        self, observation: Any, arrays: dict[str, NDArray[Any]], mask: NDArray[np.int8] | None
    ) -> None:
        """Make room for rows like this one."""
        self._columns = {
            key: np.empty((self._room, *array.shape), array.dtype) for key, array in arrays.items()
        }
        self._masks = None if mask is None else np.empty((self._room, *mask.shape), np.int8)
        self._parts = self._parts_of(observation)
        self._whole = type(observation) is np.ndarray
        self._keys = frozenset(observation) if isinstance(observation, Mapping) else frozenset()
        in_observation = isinstance(observation, Mapping) and MASK in observation
        self._mask_in_info = mask is not None and not in_observation
        if mask is not None:
            given = observation[MASK] if in_observation else mask
            self._mask_dtype = np.asarray(given).dtype
            if self._mask_dtype.itemsize != 1:
                self._parts = None

    def _parts_of(self, observation: Any) -> list[_Part] | None:
        """Return where the parts go, or ``None`` if they do not go there as they are."""
        if type(observation) is np.ndarray:
            keys: list[tuple[str | None, str]] = [(None, plain_key(()))]
        elif type(observation) is dict:
            leaves = [key for key in observation if key != MASK or not self._actions.discrete]
            if any(type(observation[key]) is not np.ndarray for key in leaves):
                return None
            keys = [(key, plain_key((str(key),))) for key in leaves]
        else:
            return None
        parts = [
            _Part(
                key, self._columns[name], self._columns[name].shape[1:], self._columns[name].dtype
            )
            for key, name in keys
        ]
        return parts or None

    def _misfit(
        self, row: int, arrays: dict[str, NDArray[Any]], mask: NDArray[np.int8] | None
    ) -> str | None:
        """Say why a row does not fit those before."""
        if arrays.keys() != self._columns.keys():
            return other_keys(row, arrays, self._columns)
        for key, array in arrays.items():
            column = self._columns[key]
            if (array.shape, array.dtype) != (column.shape[1:], column.dtype):
                return f"{key} changes its shape or dtype between rows"
        if (mask is None) != (self._masks is None):
            return "action_mask is given for some rows and not for others"
        return None

    def _grow(self) -> None:
        self._room *= 2
        bigger = {key: twice(column) for key, column in self._columns.items()}
        self._columns, old = bigger, self._columns
        if self._masks is not None:
            self._masks = twice(self._masks)
        if self._parts is not None:
            names = {id(column): key for key, column in old.items()}
            self._parts = [p._replace(column=bigger[names[id(p.column)]]) for p in self._parts]


def first_room(longest: int) -> int:
    """Return for how many rows there is room to begin with.

    Args:
        longest: rows of the longest life so far.
    """
    return min(max(longest, LEAST_ROOM), MOST_ROOM)


def twice(column: NDArray[Any]) -> NDArray[Any]:
    """Return a column with the same rows and room for as many more."""
    bigger = np.empty((2 * len(column), *column.shape[1:]), column.dtype)
    bigger[: len(column)] = column
    return bigger
