"""What residents had to do with each other while the current policy was captured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from townlet_env.sim.events import Event
from townlet_env.views.parallel import TownletParallelEnv


class ListeningTown(TownletParallelEnv):
    """A town that keeps what happens between its residents.

    Attributes:
        heard: Chats, shared meals, help and shifts taken over, since it was built.
    """

    KINDS = frozenset({"chat", "shared_meal", "helped", "shift_taken"})

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.heard: list[Event] = []
        super().__init__(*args, **settings)

    def step(self, *args: Any, **settings: Any) -> Any:
        """Live one tick and listen; see ``TownletParallelEnv.step``."""
        taken = super().step(*args, **settings)
        self.heard.extend(event for event in self.events() if event.event in self.KINDS)
        return taken


def social_figures(heard: Sequence[Event]) -> dict[str, Any]:
    """Return the keys of a record that events tell.

    Example:
        >>> social_figures([Event("chat", 3, "ana", "ben", None, None, 0.5)])["chat_quality_mean"]
        0.5
    """
    counts = {kind: sum(event.event == kind for event in heard) for kind in ListeningTown.KINDS}
    # A chat that failed has quality 0.
    qualities = [event.value for event in heard if event.event == "chat" and event.value > 0.0]
    return {
        "shared_meal_events": counts["shared_meal"],
        "late_help_events": counts["helped"],
        "shift_takeover_events": counts["shift_taken"],
        "chat_success_events": len(qualities),
        "chat_failure_events": counts["chat"] - len(qualities),
        "chat_quality_mean": math.fsum(qualities) / len(qualities) if qualities else None,
    }
