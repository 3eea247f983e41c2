"""What the updates of one epoch were like, as they come."""

from __future__ import annotations

import time

from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.training.health import Health, examine, mean_health
from townlet_replay.training.records import DataMode
from townlet_replay.training.update_stats import UpdateStats


class EpochTally:
    """Counts an epoch from the moment it is made.

    Args:
        mode: Where the rows come from.
        ticks: Captured for this epoch; 0 for a replay.

    Attributes:
        stats: Of every update so far.
        update_seconds: Spent in them.
    """

    def __init__(self, mode: DataMode, ticks: int = 0) -> None:
        self.mode = mode
        self.ticks = ticks
        self.stats: list[UpdateStats] = []
        self.update_seconds = 0.0
        self._began = time.perf_counter()
        self._examining = 0.0
        self._health: list[Health] = []

    def add(self, stats: UpdateStats, began: float) -> None:
        """Take an update that began at ``began`` (``time.perf_counter``) and has just ended."""
        self.stats.append(stats)
        self.update_seconds += time.perf_counter() - began

    def examine(self, network: TownletNetwork, rollout: Rollout, gamma: float) -> None:
        """Look at the update taken last; the time it takes is not counted."""
        before = time.perf_counter()
        self._health.append(examine(network, rollout, gamma))
        self._examining += time.perf_counter() - before

    @property
    def health(self) -> Health | None:
        """What was looked at, over all updates; None if nothing was."""
        return mean_health(self._health)

    @property
    def seconds(self) -> float:
        """Since the epoch began, what was only looked at left out."""
        return time.perf_counter() - self._began - self._examining
