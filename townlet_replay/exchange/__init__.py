"""Captures in the formats of the field, and back: Minari, Parquet, one flat NPZ.

Every format has a module with ``write(lives, output)`` and ``read(source)``. What a capture holds
survives the way out and back to the bit; what another tool wrote comes in with what it does not
tell marked as unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast, get_args

from townlet_replay.errors import CaptureError
from townlet_replay.exchange.lives import Lives, lives_of, write_capture
from townlet_replay.manifest import Capture, load_capture
from townlet_replay.writer import WriterSettings

Format = Literal["minari", "npz", "parquet"]
FORMATS: tuple[str, ...] = get_args(Format)


class Exchange(Protocol):
    """What the module of a format offers."""

    def write(self, lives: Lives, output: Path) -> None:
        """Write ``lives`` to ``output``, which must not exist: all of it, or nothing."""

    def read(self, source: Path) -> Lives:
        """Open ``source``; its lives are read and checked as they are asked for."""


def exchange_format(name: str) -> Exchange:
    """Return the module of a format; it imports the library it needs when it is used.

    Raises:
        CaptureError: no such format.
    """
    if name not in FORMATS:
        raise CaptureError(f"unknown format {name!r}; expected one of {', '.join(FORMATS)}")
    return cast(Exchange, import_module(f"townlet_replay.exchange.{name}"))


def export_capture(
    capture: str | Path, to: Format, output: str | Path, *, agents: Sequence[str] = ()
) -> None:
    """Write a capture in another format.

    Args:
        capture: its directory or manifest.
        to: the format.
        output: what is made: a directory, or a file for ``npz``. It must not exist.
        agents: only these; empty for all.

    Raises:
        CaptureError: the capture is unsound, its agents have different spaces, the output exists,
            or the library of the format is not installed.

    Example:
        >>> export_capture("captures/noisy", "npz", "exports/noisy.npz")
    """
    exchange_format(to).write(lives_of(load_capture(capture), agents), Path(output))


def import_capture(
    source: str | Path,
    from_format: Format,
    output: str | Path,
    settings: WriterSettings | None = None,
) -> Capture:
    """Make a capture of a data set in another format.

    Args:
        source: the directory or file.
        from_format: its format.
        output: directory of the new capture.
        settings: prefix, mode and so on; the metadata are those of the source.

    Raises:
        CaptureError: the source is not what the format says, or is unsafe or damaged; there is a
            capture already; or the library of the format is not installed.

    Example:
        >>> capture = import_capture("exports/noisy.npz", "npz", "captures/back")
    """
    lives = exchange_format(from_format).read(Path(source))
    return write_capture(lives, output, settings)
