"""The two policies that know nothing: the one that waits and the one that tries anything."""

from __future__ import annotations

import numpy as np

from townlet_env.policies.policy import WAIT, Policy, Sight
from townlet_env.sim.ids import Stream
from townlet_env.sim.random import USE_ACTION, draw


class Idle(Policy):
    """Waits."""

    def act(self, sight: Sight) -> int:
        """Return ``wait``."""
        return WAIT


class Random(Policy):
    """Draws uniformly among the legal actions.

    The draw belongs to the episode's seed, the tick and the slot: the same in any batch.
    """

    def act(self, sight: Sight) -> int:
        """Return a legal action."""
        legal = np.flatnonzero(sight.mask)
        world = sight.world
        use = self.seat.slot * 64 + USE_ACTION
        bits = int(draw(np.uint64(world.seed), int(Stream.POLICY), int(world.tick), use))
        return int(legal[bits % len(legal)])
