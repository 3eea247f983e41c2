"""Shipped policies for everybody at once: the same decisions as one by one, in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from townlet_env.policies.kernels import judgement
from townlet_env.policies.kernels.chance import draw_worlds
from townlet_env.policies.kernels.decide import decide_worlds
from townlet_env.policies.kernels.judgement import MEMORY, NOBODY, survey
from townlet_env.policies.needs_driven import NO_AIM, Memory
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.plan import Plan
from townlet_env.sim.state import Records

COMPILED = {
    "needs_driven": judgement.NEEDS_DRIVEN,
    "random": judgement.RANDOM,
    "idle": judgement.IDLE,
}


class Crowd:
    """Residents of many worlds who follow compiled policies, with what they remember.

    Who follows what is said by ``seat``, per world and slot; worlds appear when they are named.
    """

    def __init__(self, plan: Plan) -> None:
        """Learn a town by heart; nobody is seated yet."""
        self._plan = plan
        self._atlas = survey(plan)
        self._memory: Records = _room(0, len(plan.names.residents))

    def seat(self, w: int, slot: int, policy: str | None) -> None:
        """Let who is in a slot of world ``w`` follow one of ``COMPILED``, with nothing to remember.

        Args:
            w: The world.
            slot: Of the resident.
            policy: None if somebody else decides.
        """
        if w >= len(self._memory):
            known = self._memory
            self._memory = _room(w + 1, known.shape[1])
            self._memory[: len(known)] = known
        self._memory["follows"][w, slot] = NOBODY if policy is None else COMPILED[policy]
        self._remember(w, slot, NO_AIM)

    def decide(self, batch: WorldBatch, orders: npt.NDArray[np.int32], first: int = 0) -> None:
        """Write the actions of everybody seated.

        Args:
            batch: The worlds as they are now.
            orders: (K, N) action ids of the K worlds from ``first`` on; others are left alone.
            first: Index of the first world to decide for; somebody was once seated in all of them.
        """
        some = slice(first, first + len(orders))
        memory = self._memory.view(np.ndarray)[some]
        follows = memory["follows"]
        worlds, masks = batch.worlds.view(np.ndarray)[some], batch.views.action_mask[some]
        orders[follows == judgement.IDLE] = 0
        # Apart, so that nobody waits for the compiler who only needs chance.
        if (follows == judgement.RANDOM).any():
            draw_worlds(worlds, masks, memory, orders)
        if (follows == judgement.NEEDS_DRIVEN).any():
            tables = self._plan.rules.view(np.ndarray), self._plan.distance, self._atlas
            decide_worlds(worlds, *tables, masks, memory, orders)

    def get_memory(self, w: int, slot: int) -> Memory | None:
        """Return what a resident remembers; only the needs-driven remember anything."""
        row = self._memory[w, slot]
        if row["follows"] != judgement.NEEDS_DRIVEN:
            return None
        return Memory(*(int(row[field]) for field in Memory._fields))

    def set_memory(self, w: int, slot: int, memory: Any) -> None:
        """Let a resident go on from what ``get_memory`` returned."""
        if memory is not None:
            self._remember(w, slot, memory)

    def _remember(self, w: int, slot: int, memory: Memory) -> None:
        for field, value in memory._asdict().items():
            self._memory[field][w, slot] = value


def _room(worlds: int, slots: int) -> Records:
    return np.zeros((worlds, slots), MEMORY).view(np.recarray)
