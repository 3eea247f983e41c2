"""Several threads that share the worlds of a batch; no result depends on who steps a world.

Kernels hold no lock of Python's, so that plain threads run them side by side. Worlds are cut into
more slices than there are threads, and whoever is free takes the next: beside a busy neighbour the
caller simply takes more of them, and does not wait for a helper that has not begun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from townlet_env.errors import ConfigError

Task = Callable[[], None]

SLICES_PER_THREAD = 4
LEAST_WORLDS = 16  # of a slice: handing one over takes as long as stepping some of them


def cut(num_worlds: int, threads: int) -> list[slice]:
    """Return slices of ``num_worlds`` worlds, of nearly equal sizes; a single one if they are few.

    Raises:
        ConfigError: There is no thread.
    """
    if threads < 1:
        raise ConfigError(f"threads: expected at least 1, found {threads}")
    most = threads * SLICES_PER_THREAD if threads > 1 else 1
    count = max(min(most, num_worlds // LEAST_WORLDS), 1)
    edges = [num_worlds * k // count for k in range(count + 1)]
    return [slice(first, last) for first, last in pairwise(edges)]


class Team:
    """The calling thread and its helpers."""

    def __init__(self, threads: int) -> None:
        """Wait for work; helpers are started when they are first needed.

        Args:
            threads: How many work at once, the calling one included; at least 2.
        """
        self._helpers = threads - 1
        self._pool = ThreadPoolExecutor(self._helpers, "townlet")

    def do(self, tasks: Sequence[Task]) -> None:
        """Return when all tasks are done; an error of one is raised here."""
        left = deque(tasks)
        helpers = [self._pool.submit(_work_off, left) for _ in range(self._helpers)]
        _work_off(left)
        for helper in helpers:
            if not helper.cancel():  # it has begun
                helper.result()


def _work_off(left: deque[Task]) -> None:
    while True:
        try:
            task = left.popleft()  # one step for Python: no two threads get the same
        except IndexError:
            return
        task()
