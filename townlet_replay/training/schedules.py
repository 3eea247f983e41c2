"""Settings that change while a run goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

ScheduleKind = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """A number that goes from ``start`` to ``end`` over a run.

    Callable with the share of the run that remains, as Stable-Baselines3 asks its schedules;
    ``linear`` has the bits of its ``LinearSchedule``.

    Example:
        >>> Schedule("linear", 0.2, 0.1)(0.5)
        0.15000000000000002
        >>> Schedule("cosine", 1.0, 0.0)(0.25)
        0.1464466094067262
    """

    kind: ScheduleKind
    start: float
    end: float

    def __call__(self, remaining: float) -> float:
        """Return the number at ``remaining``: 1 when the run begins, 0 or less when it is over."""
        if self.kind == "constant":
            return self.start
        done = 1 - remaining
        if done > 1.0:
            return self.end
        if self.kind == "linear":
            return self.start + done * (self.end - self.start)
        return self.end + (self.start - self.end) * 0.5 * (1.0 + math.cos(math.pi * done))
