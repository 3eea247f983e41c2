"""How speed is measured: arms take turns, a ratio is the median over the rounds.

Absolute figures belong to a machine and to what else it did; a ratio was taken side by side. Beside
the wall's clock stands the processor's, which holds on a busy machine as well.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self


class Rate(NamedTuple):
    """Units of work per second, by two clocks; the unit is agent steps if nothing else is said."""

    wall: float
    processor: float


Play = Callable[[float], Rate]
"""Plays for about so many seconds."""


class Arm(NamedTuple):
    """One of the things that take turns."""

    name: str
    play: Play


class Effort(NamedTuple):
    """How long a measurement may take."""

    rounds: int = 5
    seconds: float = 0.5  # per arm and round


class Clock:
    """Counts the seconds inside ``with`` blocks, so that preparations between them are free."""

    def __init__(self) -> None:
        """Start at zero."""
        self.wall = 0.0
        self.processor = 0.0

    def __enter__(self) -> Self:
        """Go on counting."""
        self._wall, self._processor = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop counting."""
        self.wall += time.perf_counter() - self._wall
        self.processor += time.process_time() - self._processor


def timed(act: Callable[[Clock], int], seconds: float) -> Rate:
    """Act until the clock shows ``seconds``.

    Args:
        act: Does some work, on the clock as far as it counts, and returns how many units it was.
        seconds: Of the wall's clock.
    """
    clock, done = Clock(), 0
    while clock.wall < seconds:
        done += act(clock)
    # Work of other processes, and of none, costs this one's processor nothing.
    return Rate(done / clock.wall, done / max(clock.processor, 1e-9))


def alternate(
    arms: Sequence[Arm],
    effort: Effort,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, list[Rate]]:
    """Warm every arm up, then let them take turns: A B C A B C.

    Args:
        arms: With names that differ.
        effort: Rounds and seconds.
        track: Shows the progress of the rounds.
    """
    for arm in arms:
        arm.play(effort.seconds / 5)
    rates: dict[str, list[Rate]] = {arm.name: [] for arm in arms}
    for _ in track(range(effort.rounds)):
        for arm in arms:
            rates[arm.name].append(arm.play(effort.seconds))
    return rates


def speed(name: str, rates: Sequence[Rate]) -> dict[str, Any]:
    """Return the row of one arm."""
    walls = [rate.wall for rate in rates]
    return {
        "arm": name,
        "per_second": statistics.median(walls),
        "lowest": min(walls),
        "highest": max(walls),
        "per_processor_second": statistics.median(rate.processor for rate in rates),
    }


def ratio(ours: Sequence[Rate], peer: Sequence[Rate]) -> dict[str, float]:
    """Return the median ratio round by round, its range, and that of the processor's clock."""
    walls = [a.wall / b.wall for a, b in zip(ours, peer, strict=True)]
    processors = [a.processor / b.processor for a, b in zip(ours, peer, strict=True)]
    return {
        "ratio": statistics.median(walls),
        "lowest": min(walls),
        "highest": max(walls),
        "processor_ratio": statistics.median(processors),
        "ours_per_second": statistics.median(rate.wall for rate in ours),
        "peer_per_second": statistics.median(rate.wall for rate in peer),
    }
