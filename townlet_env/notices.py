"""One sentence for whoever waits in front of a program; a library says nothing by itself."""

from __future__ import annotations

from collections.abc import Callable

_listeners: list[Callable[[str], None]] = []


def listen(show: Callable[[str], None]) -> None:
    """Let ``show`` have every notice from now on; ``townlet`` prints them to stderr."""
    _listeners.append(show)


def say(sentence: str) -> None:
    """Tell whoever listens."""
    for show in _listeners:
        show(sentence)
