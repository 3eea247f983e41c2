"""Hash chains over the worlds of a batch: of their states, and of what residents see.

The states are folded after every tick. What is seen follows from the state, by the code that the
recording names; so it is folded now and then only, for whoever lives it again with other code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.hashing import LINK_WORDS, Words, fold
from townlet_replay.hash_chain import CHECK_BYTES

SEEN_EVERY = 16  # ticks
_TOGETHER = 64  # worlds whose views are hashed at once

Worlds = NDArray[np.int64]


class TownChains:
    """The chains of all worlds of a batch.

    Args:
        batch: whose worlds are folded.
        channels: of the maps that count; the batch may draw more.

    Attributes:
        states: (W, 2) chains over the states.
        seen: (W, 2) chains over map, features and mask of the ticks that ``SEEN_EVERY`` divides.
        checks: (W, 4) what is kept of the chains over the states at this tick; a view.
    """

    def __init__(self, batch: WorldBatch, channels: int) -> None:
        self._batch = batch
        count = batch.num_worlds
        self.states: Words = np.zeros((count, LINK_WORDS), np.uint64)
        self.seen: Words = np.zeros((count, LINK_WORDS), np.uint64)
        self.checks = self.states.view(np.uint8)[:, :CHECK_BYTES]
        views = batch.views
        self._parts = (views.map[:, :, :channels], views.features, views.action_mask)
        octets = sum(part[0].nbytes for part in self._parts)
        self._room = np.zeros((min(count, _TOGETHER), -(-octets // 8)), np.uint64)
        self._all_bits = np.full(self._room.shape[1], ~np.uint64(0))
        self._ticks = batch.worlds.view(np.ndarray)["tick"]
        self._everywhere = np.arange(count)

    def begin(self, worlds: Worlds | None = None) -> None:
        """Begin the chains of worlds with the state they are in; of all by default."""
        which = self._everywhere if worlds is None else worlds
        self.states[which] = 0
        self.seen[which] = 0
        self.add(which)

    def add(self, worlds: Worlds | None = None, tick: int | None = None) -> None:
        """Fold the state that worlds are in; of all by default.

        Args:
            worlds: which.
            tick: that all of them are at, if they are.
        """
        which = self._everywhere if worlds is None else worlds
        self._batch.fold_states(self.states, which)
        if tick is None and len(which) == 1:  # one town: no arrays for one number
            tick = int(self._ticks[which[0]])
        if tick is None:
            due = which[self._ticks[which] % SEEN_EVERY == 0]
        else:
            due = which[:0] if tick % SEEN_EVERY else which
        for start in range(0, len(due), _TOGETHER):
            self._add_seen(due[start : start + _TOGETHER])

    def _add_seen(self, worlds: Worlds) -> None:
        count, at = len(worlds), 0
        room = self._room.view(np.uint8)
        for part in self._parts:
            octets = np.ascontiguousarray(part[worlds]).reshape(count, -1).view(np.uint8)
            room[:count, at : at + octets.shape[1]] = octets
            at += octets.shape[1]
        links = self.seen[worlds]
        fold(self._room, self._all_bits, links, np.arange(count))
        self.seen[worlds] = links
