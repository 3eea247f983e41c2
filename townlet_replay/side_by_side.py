"""The same work on many things in several threads; what comes out does not depend on how many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from townlet_replay.errors import CaptureError

Result = TypeVar("Result")


def side_by_side(act: Callable[[int], Result], count: int, workers: int) -> list[Result]:
    """Return ``[act(0), act(1), ...]``, computed by the calling thread and helpers.

    Args:
        act: called once with every number below ``count``.
        count: of calls.
        workers: threads at most, the calling one included.

    Raises:
        CaptureError: the first one that the same calls raise one after the other; calls after it
            need not have been made.
    """
    work = _Work(act, count)
    helpers = min(workers, count) - 1
    if helpers < 1:
        return [act(number) for number in range(count)]
    with ThreadPoolExecutor(helpers, "townlet-reading") as pool:
        try:
            begun = [pool.submit(work.run) for _ in range(helpers)]
            work.run()
        finally:
            work.stopped = True  # helpers as well, when this thread is interrupted
    for helper in begun:
        helper.result()
    return work.finish()


class _Work(Generic[Result]):
    def __init__(self, act: Callable[[int], Result], count: int) -> None:
        self._act = act
        self._results: dict[int, Result] = {}
        self._errors: dict[int, CaptureError] = {}
        self._left: Iterator[int] = iter(range(count))  # one step for Python: nobody gets the same
        self.stopped = False

    def run(self) -> None:
        """Take the next thing until none is left, or one was bad.

        What comes before a bad thing was taken before it, and is finished: the first one is found.
        """
        try:
            for number in self._left:
                self._do(number)
                if self.stopped:
                    return
        except BaseException:
            self.stopped = True
            raise

    def _do(self, number: int) -> None:
        try:
            self._results[number] = self._act(number)
        except CaptureError as error:
            self._errors[number] = error
            self.stopped = True

    def finish(self) -> list[Result]:
        """Return what came out, or raise the first error."""
        if self._errors:
            raise self._errors[min(self._errors)]
        return [self._results[number] for number in range(len(self._results))]
