"""Writing in a thread of its own, so that whoever records does not wait for the disk.

Episodes are handed over with :meth:`BackgroundWriter.put` and are *acknowledged* once they are in
the manifest on disk. Whatever waits is written together, with one manifest for all: the cost of an
episode does not grow with how many there are. No more than ``most_bytes`` wait; then ``put`` does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from townlet_replay.errors import CaptureError
from townlet_replay.sample import ReplaySample, arrays_of
from townlet_replay.writer import CaptureWriter

MOST_BYTES = 64 * 2**20

Job = Callable[[], Sequence[ReplaySample]]
"""Makes the samples of one episode, or of some of its lives, in the thread."""


class _Waiting(NamedTuple):
    job: Job
    size: int  # bytes


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

    def __init__(self, writer: CaptureWriter, most_bytes: int = MOST_BYTES) -> None:
        self.writer = writer
        self.acknowledged = 0
        self._most = most_bytes
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0  # waiting or being written
        self._thread: threading.Thread | None = None
        self._error: CaptureError | None = None

    def put(self, job: Job, size: int) -> None:
        """Hand over an episode; waits while too much is waiting.

        Args:
            job: makes the samples.
            size: bytes of their arrays.

        Raises:
            CaptureError: an episode handed over before could not be written. It is kept, and tried
                again by the next ``put``, ``flush`` or ``close``; so is this one.
        """
        with self._changed:
            self._queue.append(_Waiting(job, size))
            self._bytes += size
            self._start()
            while self._bytes > self._most and len(self._queue) > 1 and self._error is None:
                self._changed.wait()
            self._complain()

    def put_samples(self, samples: Sequence[ReplaySample]) -> None:
        """Hand over samples that are made already; as :meth:`put`."""
        arrays = [array for sample in samples for array in arrays_of(sample).values()]
        self.put(lambda: samples, sum(array.nbytes for array in arrays))

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
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        """Write until nothing waits, or something cannot be written."""
        while True:
            with self._changed:
                if not self._queue:
                    self._rest()
                    return
                taken = list(self._queue)
            # What nobody foresaw ends the thread with its traceback; who waits must hear of it.
            error: CaptureError | None = CaptureError(
                f"{self.writer.directory}: the thread that writes failed; see its traceback"
            )
            try:
                error = self._write(taken)
            finally:
                if error is not None:
                    with self._changed:
                        self._error = error
                        self._rest()
            with self._changed:
                if error is not None:
                    return
                for waiting in taken:
                    self._queue.popleft()
                    self._bytes -= waiting.size
                self.acknowledged += len(taken)
                self._changed.notify_all()

    def _rest(self) -> None:
        self._thread = None
        self._changed.notify_all()

    def _write(self, taken: Sequence[_Waiting]) -> CaptureError | None:
        try:
            samples = [sample for waiting in taken for sample in waiting.job()]
            self.writer.write_episode(samples)
        except CaptureError as error:
            return error
        except (OSError, MemoryError) as error:
            return CaptureError(f"{self.writer.directory}: the episode cannot be written: {error}")
        return None
