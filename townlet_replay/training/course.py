"""How far a run has come, of what it set out to do."""

from __future__ import annotations

from typing import NamedTuple


class Course(NamedTuple):
    """A run as planned, counted in agent steps or, with own captures, in cycles."""

    mode: str
    begun: int  # the counter when it began
    length: int

    @property
    def goal(self) -> int:
        """The counter when it is over."""
        return self.begun + self.length

    def remaining(self, done: int) -> float:
        """Return the share that remains at counter ``done``, as Stable-Baselines3 works it out."""
        return 1.0 - float(done - self.begun) / float(self.length)
