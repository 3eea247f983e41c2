"""Handing episodes to a ``CaptureWriter``: at once, or in a thread nobody has to wait for.

What the disk refuses is kept and tried again. A life that cannot become a sample is lost, is told,
and does not keep the others from being written.

Episodes handed to the thread are *acknowledged* once they are in the manifest on disk. Whatever
waits is written together, with one manifest for all: the cost of an episode does not grow with how
many there are. No more than ``most_bytes`` wait; then ``put`` does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from townlet_replay.errors import CaptureError, DiskError

MOST_BYTES = 64 * 2**20

Job = Callable[[], Sequence[Any]]
"""Makes what is written of one episode, or of some of its lives; where it cannot, a CaptureError.

That is samples, or blocks of an action log. It may be called again, if the disk refused what it
made.
"""


class EpisodeWriter(Protocol):
    """Brings episodes to disk; ``CaptureWriter`` is one."""

    directory: Path
    manifest_path: Path

    def write_episode(self, samples: Any, /) -> object:
        """Write what jobs made of complete episodes, all of it or nothing."""

    def close(self) -> None:
        """Let other writers write there."""


class _Waiting(NamedTuple):
    job: Job
    size: int  # bytes


class DirectWriter:
    """Writes episodes as they are handed over.

    Args:
        writer: Writes; nobody else may use it meanwhile.
    """

    def __init__(self, writer: EpisodeWriter) -> None:
        self.writer = writer
        self._waiting: list[Sequence[Any]] = []  # more than one if the disk refused
        self._lost: list[CaptureError] = []  # not told yet

    def put(self, job: Job, size: int) -> None:
        """Write an episode; nothing waits unless the disk refuses.

        Raises:
            DiskError: the disk refuses. The episode is tried again by the next ``put`` or
                ``flush``.
            CaptureError: it, or a life of it, cannot be written at all, and is lost.
        """
        del size
        samples, lost = _sorted_out(job())
        self._waiting.append(samples)
        self._lost += lost
        self.flush()

    def flush(self) -> None:
        """Write what the disk refused before; raises as :meth:`put`."""
        while self._waiting:
            try:
                self.writer.write_episode(self._waiting[0])
            except DiskError:
                raise
            except CaptureError:
                del self._waiting[0]
                raise
            del self._waiting[0]
        lost, self._lost = self._lost, []
        raise_together(lost)


class BackgroundWriter:
    """Hands episodes to a ``CaptureWriter`` in a thread.

    The thread lives while there is something to write, so a program that ends without ``close``
    waits for it, and then everything handed over is on disk.

    Args:
        writer: Writes; nobody else may use it meanwhile.
        most_bytes: What may wait, in bytes of arrays; one larger episode waits alone.

    Attributes:
        acknowledged: Jobs whose samples are on disk.
    """

    def __init__(self, writer: EpisodeWriter, most_bytes: int = MOST_BYTES) -> None:
        self.writer = writer
        self.acknowledged = 0
        self._most = most_bytes
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0  # waiting or being written
        self._thread: threading.Thread | None = None
        self._errors: list[CaptureError] = []  # nobody has heard of yet

    def put(self, job: Job, size: int) -> None:
        """Hand over an episode; waits while too much is waiting.

        Args:
            job: makes the samples.
            size: bytes of their arrays.

        Raises:
            DiskError: the disk refuses an episode handed over before. It is kept, and tried again
                by the next ``put``, ``flush`` or ``close``; so is this one.
            CaptureError: an episode handed over before, or a life of it, could not become samples,
                and is lost; all others are written all the same, and so is this one.
        """
        with self._changed:
            self._queue.append(_Waiting(job, size))
            self._bytes += size
            self._start()
            while self._bytes > self._most and len(self._queue) > 1 and not self._errors:
                self._changed.wait()
            self._complain()

    def flush(self) -> None:
        """Wait until everything handed over is on disk.

        Raises:
            CaptureError: as :meth:`put`.
        """
        with self._changed:
            self._start()
            while self._thread is not None:
                self._changed.wait()
            self._complain()

    def _start(self) -> None:
        """Begin to write what waits, if nobody does."""
        if self._thread is None and self._queue:
            self._thread = threading.Thread(target=self._work, name="townlet-writer")
            self._thread.start()

    def _complain(self) -> None:
        errors, self._errors = self._errors, []
        raise_together(errors)

    def _work(self) -> None:
        """Write until nothing waits, or the disk refuses."""
        while True:
            with self._changed:
                taken = list(self._queue)
                if not taken:
                    self._rest()
                    return
            error, lost = self._try(taken)
            if error is not None and len(taken) > 1:  # one of them, but which?
                taken = taken[:1]
                error, lost = self._try(taken)
            with self._changed:
                if error is not None:
                    self._errors.append(error)
                if isinstance(error, DiskError):
                    self._rest()
                    return
                self._errors += lost
                for waiting in taken:
                    self._queue.popleft()
                    self._bytes -= waiting.size
                self.acknowledged += len(taken) if error is None else 0
                self._changed.notify_all()

    def _rest(self) -> None:
        self._thread = None
        self._changed.notify_all()

    def _try(self, taken: Sequence[_Waiting]) -> tuple[CaptureError | None, list[CaptureError]]:
        """Write together what was taken; return why it could not be, and why lives are lost."""
        where, lost = self.writer.directory, list[CaptureError]()
        try:
            samples, lost = _sorted_out([life for waiting in taken for life in waiting.job()])
            self.writer.write_episode(samples)
        except CaptureError as error:
            return error, lost
        except (OSError, MemoryError) as error:
            return DiskError(f"{where}: the episode cannot be written: {error}"), lost
        except BaseException as error:  # noqa: BLE001 (who waits must hear of it, whatever it is)
            kind = type(error).__name__
            gone = CaptureError(f"{where}: an episode is lost: {kind} in the thread: {error}")
            gone.__cause__ = error
            return gone, lost
        return None, lost


def _sorted_out(made: Sequence[Any]) -> tuple[list[Any], list[CaptureError]]:
    """Return (what is to be written, why lives are not)."""
    errors = [error for error in made if isinstance(error, CaptureError)]
    return [part for part in made if not isinstance(part, CaptureError)], errors


def raise_together(errors: Sequence[CaptureError]) -> None:
    """Raise what is to be told, in one error; nothing if there is nothing.

    Raises:
        DiskError: the disk refuses, and that is all.
        CaptureError: lives or episodes are lost.
    """
    lost = [error for error in errors if not isinstance(error, DiskError)]
    if len(errors) == 1 or (errors and not lost):
        raise errors[0]
    if errors:
        told = "; ".join(str(error) for error in errors)
        raise CaptureError(f"{len(errors)} problems in the recording: {told}") from errors[0]
