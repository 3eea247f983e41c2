"""What the residents of a town see, copied for all of them at once."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from townlet_replay.episode import Returned, SeenArrays
from townlet_replay.sight import first_room, twice
from townlet_replay.spaces import MASK

if TYPE_CHECKING:
    from townlet_env.views.parallel import TownletParallelEnv


class EyesOnTown:
    """Looks at the arrays that the observations of a town are made of.

    Row ``t`` is what was seen after step ``t`` of the episode, in every slot.

    Args:
        town: whose observations reach the recorder as they are.
        room: rows to begin with.
    """

    def __init__(self, town: TownletParallelEnv, room: int) -> None:
        self._town = town
        self._shown = town.shown()
        self.keys = tuple(self._shown)  # of an observation
        if town.mask_mode == "info":
            self._shown[MASK] = town.batch.views.action_mask[0]
        self._room = first_room(room)
        self.columns = {
            key: np.empty((self._room, *part.shape), part.dtype)
            for key, part in self._shown.items()
        }
        self._rows = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of one slot."""
        return sum(part[0].nbytes for part in self._shown.values())

    def meet(self, agent: str) -> SlotSight:
        """Return the sight of a resident who is new."""
        return SlotSight(self, self._town.slots[agent])

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
            self._grow()
        columns = self.columns
        for key, part in self._shown.items():
            columns[key][row] = part
        self._rows = row + 1
        return {}

    def _grow(self) -> None:
        self._room *= 2
        self.columns = {key: twice(column) for key, column in self.columns.items()}


class SlotSight:
    """What one resident saw.

    Attributes:
        count: rows of the life so far.
    """

    def __init__(self, eyes: EyesOnTown, slot: int) -> None:
        self.count = 0
        self._eyes = eyes
        self._slot = slot

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self._eyes.row_bytes

    def before(self, steps: Sequence[int]) -> SeenArrays:
        """Return what was seen before each of the T steps of the life: copies."""
        first, last = steps[0] - 1, steps[-1]
        rows: Any = slice(first, last) if last - first == len(steps) else np.array(steps) - 1
        return self._split(rows)

    def ending(self, step: int) -> SeenArrays:
        """Return what was seen after ``step``."""
        return self._split(step)

    def raw_ending(self, step: int) -> dict[str, NDArray[Any]]:
        """Return what was seen after ``step`` as the town gave it."""
        eyes = self._eyes
        return {key: eyes.columns[key][step, self._slot].copy() for key in eyes.keys}

    def _split(self, rows: Any) -> SeenArrays:
        """Return copies of these rows, sorted by key, and of the masks."""
        columns = self._eyes.columns
        found = {key: columns[key][rows, self._slot].copy() for key in sorted(columns)}
        mask = found.pop(MASK, None)
        return found, mask
