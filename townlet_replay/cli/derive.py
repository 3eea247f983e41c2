"""``townlet captures slice``, ``filter``, ``merge``: captures made of captures."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

if TYPE_CHECKING:
    from townlet_replay.manifest import Capture
    from townlet_replay.tools.derived import Derived


class By(StrEnum):
    """Units of a split; the same words as in :mod:`townlet_replay.tools.splitting`."""

    EPISODE = "episode"
    AGENT = "agent"
    SAMPLE = "sample"


Source = Annotated[Path, typer.Argument(help="Directory of a capture, or its manifest.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the new capture.")]


class Mode(StrEnum):
    """How arrays are written; the same words as in the sidecar."""

    FULL = "full"
    PACKED = "packed"


Prefix = Annotated[str, typer.Option(help="What file names begin with.")]
InMode = Annotated[Mode, typer.Option("--mode", help="How arrays are kept.")]
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
    mode: InMode = Mode.FULL,
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
    report(
        write(derived, output, Writing(prefix, mode.value, compress, overwrite)), as_json=as_json
    )


def filter_command(
    capture: Source,
    output: Output,
    where: Annotated[
        str, typer.Option(help="Condition: \"return > 0 and tags has 'night'\", for example.")
    ],
    prefix: Prefix = "rollout_sample",
    mode: InMode = Mode.FULL,
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
    report(
        write(derived, output, Writing(prefix, mode.value, compress, overwrite)), as_json=as_json
    )


def merge_command(
    captures: Annotated[
        list[Path], typer.Argument(help="Directories of captures, or their manifests.")
    ],
    output: Output,
    prefix: Prefix = "rollout_sample",
    mode: InMode = Mode.FULL,
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
    report(
        write(derived, output, Writing(prefix, mode.value, compress, overwrite)), as_json=as_json
    )


def split_command(
    capture: Source,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder; every part gets one in it.")
    ],
    part: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SHARE; repeated. By default train=0.8 and validation=0.2."),
    ] = None,
    by: Annotated[By, typer.Option(help="What is never torn apart.")] = By.EPISODE,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    each: Annotated[bool, typer.Option("--each", help="A part per episode or agent.")] = False,
    prefix: Prefix = "rollout_sample",
    mode: InMode = Mode.FULL,
    compress: Compress = True,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw parts of a capture, to train on one and to validate on another.

    Example: townlet captures split captures/day --by episode --seed 3 --output captures/parts
    """
    from townlet_replay.cli.console import bar
    from townlet_replay.errors import CaptureError
    from townlet_replay.manifest import load_capture
    from townlet_replay.tools.derived import write_captures
    from townlet_replay.tools.splitting import TRAIN_AND_VALIDATION, split_capture, split_each

    if each and part:
        raise CaptureError("expected --part or --each, found both; --each makes the parts itself")
    found = load_capture(capture)
    if each:
        parts = split_each(found, by.value)
    else:
        shares = dict(map(_share, part)) if part else TRAIN_AND_VALIDATION
        parts = split_capture(found, shares, by=by.value, seed=seed)
    writing = Writing(prefix, mode.value, compress, overwrite)
    with bar(output.name, len(found)) as progress:
        written = write_captures(parts, output, watch=progress.advance, **writing._asdict())
    if as_json:
        summaries = {name: summary(part_of) for name, part_of in written.items()}
        typer.echo(json.dumps(summaries, indent=1))
    else:
        for capture_of_part in written.values():
            report(capture_of_part, as_json=False)


def _share(text: str) -> tuple[str, float]:
    from townlet_replay.errors import CaptureError

    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        raise CaptureError(f"expected --part NAME=SHARE, train=0.8 say, found {text!r}") from error


def convert_command(
    capture: Source,
    output: Output,
    prefix: Prefix = "rollout_sample",
    mode: InMode = Mode.FULL,
    compress: Compress = True,
    bundle: Annotated[
        bool, typer.Option(help="Put many samples into one file each, or every one into its own.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a capture anew: full or packed, zipped or not, in bundles or not.

    Example: townlet captures convert captures/day --mode packed --output captures/packed
    """
    from townlet_replay.manifest import load_capture
    from townlet_replay.tools.slicing import slice_capture

    everything = slice_capture(load_capture(capture))
    writing = Writing(prefix, mode.value, compress, overwrite, bundle)
    report(write(everything, output, writing), as_json=as_json)


class Writing(NamedTuple):
    """How a capture is written."""

    prefix: str
    mode: Literal["full", "packed"]
    compress: bool
    overwrite: bool
    bundle: bool = False


def write(derived: Derived, output: Path, writing: Writing) -> Capture:
    """Write a derived capture under a bar."""
    from townlet_replay.cli.console import bar
    from townlet_replay.tools.derived import write_capture

    with bar(output.name, len(derived)) as progress:
        return write_capture(derived, output, watch=progress.advance, **writing._asdict())


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
    "split": split_command,
    "convert": convert_command,
}
"""Commands by name."""
