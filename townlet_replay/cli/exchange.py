"""``townlet captures export`` and ``import``: captures in the formats of the field."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """The formats; the same words as in :mod:`townlet_replay.exchange`."""

    MINARI = "minari"
    NPZ = "npz"
    PARQUET = "parquet"


Capture = Annotated[Path, typer.Argument(help="Directory of a capture, or its manifest.")]
Source = Annotated[Path, typer.Argument(help="Directory or file of the data set.")]
To = Annotated[Format, typer.Option("--to", help="Format to write.")]
From = Annotated[Format, typer.Option("--from", help="Format to read.")]
ExportOutput = Annotated[Path, typer.Option("--output", help="Directory or file to make.")]
ImportOutput = Annotated[Path, typer.Option("--output", help="Directory of the new capture.")]
Agents = Annotated[
    list[str] | None, typer.Option("--agent", help="Only this agent; may be repeated.")
]
Prefix = Annotated[str, typer.Option("--prefix", help="What the names of the files begin with.")]


def export(capture: Capture, to: To, output: ExportOutput, agent: Agents = None) -> None:
    """Write a capture in another format; it can be imported again to the bit.

    Example: townlet captures export captures/noisy --to npz --output exports/noisy.npz
    """
    from townlet_replay.cli.console import bar
    from townlet_replay.exchange import exchange_format
    from townlet_replay.exchange.lives import lives_of
    from townlet_replay.manifest import load_capture

    lives = lives_of(load_capture(capture), agent or ())
    with bar("lives", lives.count) as progress:
        exchange_format(to).write(lives.watched(progress.advance), output)
    typer.echo(f"{output}: {lives.count} lives")


def import_(source: Source, source_format: From, output: ImportOutput, prefix: Prefix = "") -> None:
    """Make a capture of a data set in another format.

    Example: townlet captures import exports/noisy.npz --from npz --output captures/back
    """
    from townlet_replay.cli.console import bar
    from townlet_replay.exchange import exchange_format
    from townlet_replay.exchange.lives import write_capture
    from townlet_replay.writer import DEFAULT_PREFIX

    lives = exchange_format(source_format).read(source)
    with bar("lives", lives.count) as progress:
        found = write_capture(lives.watched(progress.advance), output, prefix or DEFAULT_PREFIX)
    rows = sum(entry.rows for entry in found.manifest.samples)
    typer.echo(f"{found.path}: {lives.count} lives, {rows} rows")
