"""Ctrl-C between two updates: what is kept then is what an unbroken run had at that moment."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Self

_LOG = logging.getLogger(__name__)


class Interruption:
    """Lets the update at hand be finished before a ``KeyboardInterrupt``; a second one is at once.

    Outside the main thread, or where somebody else handles the signal already, nothing changes.

    Example:
        >>> with Interruption() as interruption:
        ...     for update in range(3):
        ...         interruption.check()
    """

    def __init__(self) -> None:
        self._asked = False
        self._handles = False

    def __enter__(self) -> Self:
        self._asked = False
        main = threading.current_thread() is threading.main_thread()
        self._handles = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._handles:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handles:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        """Stop here if that was asked for.

        Raises:
            KeyboardInterrupt: It was.
        """
        if self._asked:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        _LOG.warning("stopping after this update; Ctrl-C again stops at once")
