"""``needs_driven`` for everybody at once: the same decisions as ``NeedsDriven``, in one call."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.policies.kernels.decide import decide_worlds
from townlet_env.policies.kernels.judgement import MEMORY, survey
from townlet_env.policies.needs_driven import NEW_LIFE, Memory
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.plan import Plan


class NeedsDrivenCrowd:
    """Residents of many worlds who follow ``needs_driven``, with their memories.

    Who follows it is said by ``seat``, per world and slot; worlds appear when they are first named.
    """

    def __init__(self, plan: Plan) -> None:
        """Learn a town by heart; nobody is seated yet."""
        self._plan = plan
        self._atlas = survey(plan)
        self._memory = np.zeros((0, len(plan.names.residents)), MEMORY)

    def seat(self, w: int, slot: int, *, seated: bool = True) -> None:
        """Let a slot of world ``w`` be decided for, or no longer; its memory is new."""
        self._make_room(w + 1)
        self._memory["seated"][w, slot] = seated
        self.set_memory(w, slot, NEW_LIFE)

    def is_seated(self, w: int, slot: int) -> bool:
        """Tell whether a slot is decided for."""
        return w < len(self._memory) and bool(self._memory["seated"][w, slot])

    @property
    def is_needed(self) -> bool:
        """Whether anybody is seated."""
        return bool(self._memory["seated"].any())

    def decide(self, batch: WorldBatch, orders: npt.NDArray[np.int32], first: int = 0) -> None:
        """Write the actions of everybody seated.

        Args:
            batch: The worlds as they are now.
            orders: (K, N) action ids of the K worlds from ``first`` on; the others are left alone.
            first: Index of the first world to decide for.
        """
        self._make_room(first + len(orders))
        some = slice(first, first + len(orders))
        decide_worlds(
            batch.worlds.view(np.ndarray)[some],
            self._plan.rules.view(np.ndarray),
            self._plan.distance,
            self._atlas,
            batch.views.action_mask[some],
            self._memory[some],
            orders,
        )

    def get_memory(self, w: int, slot: int) -> Memory:
        """Return what a resident remembers."""
        row = self._memory[w, slot]
        return Memory(*(int(row[field]) for field in Memory._fields))

    def set_memory(self, w: int, slot: int, memory: Memory) -> None:
        """Let a resident go on from a memory."""
        for field, value in memory._asdict().items():
            self._memory[field][w, slot] = value

    def _make_room(self, worlds: int) -> None:
        missing = worlds - len(self._memory)
        if missing > 0:
            more = np.zeros((missing, self._memory.shape[1]), MEMORY)
            self._memory = np.concatenate([self._memory, more])
