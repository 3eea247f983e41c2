"""``townlet captures diff``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from townlet_replay.tools.differing import CaptureDifference


def diff_command(
    left: Annotated[Path, typer.Argument(help="Directory of a capture, or its manifest.")],
    right: Annotated[Path, typer.Argument(help="The other one.")],
    limit: Annotated[int, typer.Option(min=1, help="Print at most so many differences.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Say where two captures differ; exit 0 if nowhere, 1 if somewhere.

    Example: townlet captures diff captures/day captures/again
    """
    from townlet_replay.cli.console import bar, printable
    from townlet_replay.manifest import load_capture
    from townlet_replay.tools.differing import diff_captures

    one, other = load_capture(left), load_capture(right)
    with bar("comparing", min(len(one), len(other))) as progress:
        found = diff_captures(one, other, progress.advance)
    if as_json:
        typer.echo(json.dumps({"same": found.same, **_plain(found)}, indent=1))
    elif found.same:
        rows = sum(entry.rows for entry in one.manifest.samples)
        typer.echo(f"the same: {len(one)} samples, {rows} rows")
    else:
        lines = list(_lines(found))
        typer.echo(printable("\n".join(lines[:limit])))
        if len(lines) > limit:
            typer.echo(f"and {len(lines) - limit} more differences (--limit)")
    if not found.same:
        raise typer.Exit(1)


def _lines(found: CaptureDifference) -> Iterator[str]:
    yield from map(str, found.metadata)
    yield from (f"only in the first: {life}" for life in found.only_left)
    yield from (f"only in the second: {life}" for life in found.only_right)
    if found.reordered:
        yield "samples come in another order"
    for sample in found.samples:
        yield from (f"{sample.life}: {difference}" for difference in sample.arrays)
        yield from (f"{sample.life}: {difference}" for difference in sample.sidecar)


def _plain(found: CaptureDifference) -> dict[str, object]:
    """Return plain tables; named tuples would become lists without names."""
    return {
        "metadata": [difference._asdict() for difference in found.metadata],
        "only_left": [life._asdict() for life in found.only_left],
        "only_right": [life._asdict() for life in found.only_right],
        "reordered": found.reordered,
        "samples": [
            {
                "life": sample.life._asdict(),
                "sidecar": [difference._asdict() for difference in sample.sidecar],
                "arrays": [difference._asdict() for difference in sample.arrays],
            }
            for sample in found.samples
        ],
    }
