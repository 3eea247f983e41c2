"""``townlet captures slice``, ``filter``, ``merge``: captures made of captures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from townlet_replay.manifest import Capture
    from townlet_replay.tools.derived import Derived

Source = Annotated[Path, typer.Argument(help="Directory of a capture, or its manifest.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the new capture.")]
Prefix = Annotated[str, typer.Option(help="What file names begin with.")]
Compress = Annotated[bool, typer.Option("--compress/--no-compress", help="Zip arrays.")]
Overwrite = Annotated[bool, typer.Option(help="Replace a capture of the same prefix.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


def slice_command(
    capture: Source,
    output: Output,
    first_tick: Annotated[int | None, typer.Option(help="Cut off the rows before it.")] = None,
    last_tick: Annotated[int | None, typer.Option(help="Cut off the rows after it.")] = None,
    agent: Annotated[
        list[str] | None, typer.Option(help="Keep only this agent; may be repeated.")
    ] = None,
    episode: Annotated[
        list[int] | None, typer.Option(help="Keep only this episode; may be repeated.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Keep only samples with this tag; may be repeated.")
    ] = None,
    prefix: Prefix = "rollout_sample",
    compress: Compress = True,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Keep some agents, episodes, tags or ticks of a capture.

    Example: townlet captures slice captures/day --agent ana --last-tick 60 --output captures/ana
    """
    from townlet_replay.manifest import load_capture
    from townlet_replay.tools.slicing import slice_capture

    derived = slice_capture(
        load_capture(capture),
        agents=agent or None,
        episodes=episode or None,
        tags=tag or None,
        first_tick=first_tick,
        last_tick=last_tick,
    )
    report(write(derived, output, prefix, compress, overwrite), as_json=as_json)


def filter_command(
    capture: Source,
    output: Output,
    where: Annotated[
        str, typer.Option(help="Condition: \"return > 0 and tags has 'night'\", for example.")
    ],
    prefix: Prefix = "rollout_sample",
    compress: Compress = True,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Keep the samples that fulfil a condition on metrics, agent, episode, tags or behaviour.

    Example: townlet captures filter captures/day --where "return > 0" --output captures/good
    """
    from townlet_replay.cli.console import bar
    from townlet_replay.manifest import load_capture
    from townlet_replay.tools.filtering import filter_capture

    found = load_capture(capture)
    with bar("looking", len(found)) as progress:
        derived = filter_capture(found, where, progress.advance)
    report(write(derived, output, prefix, compress, overwrite), as_json=as_json)


def merge_command(
    captures: Annotated[
        list[Path], typer.Argument(help="Directories of captures, or their manifests.")
    ],
    output: Output,
    prefix: Prefix = "rollout_sample",
    compress: Compress = True,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Put the samples of several captures into one.

    Example: townlet captures merge captures/monday captures/tuesday --output captures/both
    """
    from townlet_replay.cli.console import bar
    from townlet_replay.manifest import load_capture
    from townlet_replay.tools.merging import merge_captures

    found = [load_capture(capture) for capture in captures]
    agents = [{entry.agent_id for entry in capture.manifest.samples} for capture in found]
    with bar("looking", sum(map(len, agents))) as progress:
        derived = merge_captures(found, progress.advance)
    report(write(derived, output, prefix, compress, overwrite), as_json=as_json)


def write(derived: Derived, output: Path, prefix: str, compress: bool, overwrite: bool) -> Capture:
    """Write a derived capture under a bar."""
    from townlet_replay.cli.console import bar
    from townlet_replay.tools.derived import write_capture

    with bar(output.name, len(derived)) as progress:
        return write_capture(
            derived,
            output,
            prefix=prefix,
            compress=compress,
            overwrite=overwrite,
            watch=progress.advance,
        )


def summary(capture: Capture) -> dict[str, object]:
    """Return what is said about a capture that was written."""
    entries = capture.manifest.samples
    return {
        "manifest": str(capture.path),
        "samples": len(entries),
        "rows": sum(entry.rows for entry in entries),
    }


def report(capture: Capture, *, as_json: bool) -> None:
    """Say what was written."""
    found = summary(capture)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        typer.echo("{samples} samples, {rows} rows -> {manifest}".format(**found))


TOOLS: dict[str, Callable[..., None]] = {
    "slice": slice_command,
    "filter": filter_command,
    "merge": merge_command,
}
"""Commands by name."""
