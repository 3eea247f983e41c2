"""``townlet captures export`` and ``import``: captures in the formats of the field."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from townlet_replay.cli.derive import (
    AsJson,
    Compress,
    InMode,
    Mode,
    Output,
    Overwrite,
    Prefix,
    Source,
    report,
)


class Format(StrEnum):
    """The formats; the same words as in :mod:`townlet_replay.exchange`."""

    MINARI = "minari"
    NPZ = "npz"
    PARQUET = "parquet"


Data = Annotated[Path, typer.Argument(help="Directory or file of the data set.")]
To = Annotated[Format, typer.Option("--to", help="Format to write.")]
From = Annotated[Format, typer.Option("--from", help="Format to read.")]
Made = Annotated[Path, typer.Option("--output", "-o", help="Directory or file to make.")]
Agents = Annotated[list[str] | None, typer.Option("--agent", help="Only this; may be repeated.")]


def export(capture: Source, to: To, output: Made, agent: Agents = None) -> None:
    """Write a capture in another format; it can be imported again to the bit.

    Example: townlet captures export captures/noisy --to npz --output exports/noisy.npz
    """
    from townlet_replay.cli.console import bar
    from townlet_replay.exchange import exchange_format
    from townlet_replay.exchange.lives import lives_of
    from townlet_replay.manifest import load_capture

    lives = lives_of(load_capture(capture), agent or ())
    with bar(output.name, lives.count) as progress:
        exchange_format(to).write(lives.watched(progress.advance), output)
    typer.echo(f"{lives.count} samples -> {output}")


def import_(
    source: Data,
    source_format: From,
    output: Output,
    prefix: Prefix = "rollout_sample",
    mode: InMode = Mode.FULL,
    compress: Compress = True,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make a capture of a data set in another format.

    Example: townlet captures import exports/noisy.npz --from npz --output captures/back
    """
    from townlet_replay.cli.console import bar
    from townlet_replay.exchange import exchange_format
    from townlet_replay.exchange.lives import write_capture
    from townlet_replay.writer import WriterSettings

    settings = WriterSettings(prefix, compress=compress, overwrite=overwrite, mode=mode.value)
    lives = exchange_format(source_format).read(source)
    with bar(output.name, lives.count) as progress:
        found = write_capture(lives.watched(progress.advance), output, settings)
    report(found, as_json=as_json)
