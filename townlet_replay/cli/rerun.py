"""``townlet captures verify``, ``materialise``, ``reobserve``, ``sizes``, ``plan``."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from townlet_replay.cli.derive import Compress, InMode, Mode, Output, Overwrite, report

if TYPE_CHECKING:
    from townlet_replay.deriving import Target
    from townlet_replay.rerun_sources import CaptureSource, LogSource


class Variant(StrEnum):
    """Observation variants; the same words as in :mod:`townlet_env.views.spaces`."""

    HYBRID = "hybrid"
    FULL = "full"
    COMPACT = "compact"


Recorded = Annotated[Path, typer.Argument(help="Directory of an action log or a capture.")]
Log = Annotated[Path, typer.Argument(help="Directory of an action log.")]
Config = Annotated[
    Path | None, typer.Option(help="Scenario file of a capture, if it is no shipped one.")
]
OtherKernel = Annotated[
    bool, typer.Option("--other-kernel", help="Try with other simulation code than recorded it.")
]
Prefix = Annotated[str | None, typer.Option(help="What file names begin with.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


def verify_command(
    recorded: Recorded,
    config: Config = None,
    other_kernel: OtherKernel = False,
    as_json: AsJson = False,
) -> None:
    """Live a recording again and name the first tick, agent and field that differ; exit 1 if any.

    Example: townlet captures verify captures/log
    """
    from townlet_replay.cli.console import bar
    from townlet_replay.verifying import verify

    source = _open(recorded, config, other_kernel)
    with bar("verifying", source.ticks()) as progress:
        found = verify(source, watch=progress.advance)
    mismatch = found.mismatch
    if as_json:
        document = {
            **found._asdict(),
            "ok": mismatch is None,
            "mismatch": None if mismatch is None else mismatch._asdict(),
        }
        typer.echo(json.dumps(document, indent=1))
    elif mismatch is None:
        typer.echo(
            f"{source.path}: {found.episodes} episodes, {found.ticks} ticks, {found.rows} rows "
            "lived again, all the same"
        )
    else:
        typer.echo(f"{source.path}: {mismatch}")
    raise typer.Exit(0 if mismatch is None else 1)


def materialise_command(
    log: Log,
    output: Output,
    prefix: Prefix = None,
    mode: InMode = Mode.FULL,
    compress: Compress = True,
    overwrite: Overwrite = False,
    other_kernel: OtherKernel = False,
    as_json: AsJson = False,
) -> None:
    """Turn an action log into the capture that mode full would have recorded, byte for byte.

    Example: townlet captures materialise captures/log --output captures/again
    """
    from townlet_replay.cli.console import bar
    from townlet_replay.deriving import materialise
    from townlet_replay.errors import CaptureError
    from townlet_replay.rerun_sources import LogSource

    source = _open(log, None, other_kernel)
    if not isinstance(source, LogSource):
        raise CaptureError(f"{source.path}: a capture already; `convert` writes it anew")
    target = _target(output, prefix, mode, compress, overwrite)
    with bar(output.name, source.ticks()) as progress:
        found = materialise(source, target, watch=progress.advance)
    report(found, as_json=as_json)


def reobserve_command(
    recorded: Recorded,
    output: Output,
    variant: Annotated[
        Variant | None, typer.Option(help="What residents see; as recorded by default.")
    ] = None,
    reward: Annotated[
        list[str] | None,
        typer.Option(help="NAME=NUMBER of the scenario's `rewards`; may be repeated."),
    ] = None,
    prefix: Prefix = None,
    mode: InMode = Mode.FULL,
    compress: Compress = True,
    overwrite: Overwrite = False,
    config: Config = None,
    other_kernel: OtherKernel = False,
    as_json: AsJson = False,
) -> None:
    """Derive the same behaviour under another observation variant or other reward weights.

    Example: townlet captures reobserve captures/log --variant full --output captures/wide
    """
    from townlet_replay.cli.console import bar
    from townlet_replay.deriving import reobserve

    source = _open(recorded, config, other_kernel)
    with bar(output.name, source.ticks()) as progress:
        found = reobserve(
            source,
            _target(output, prefix, mode, compress, overwrite),
            variant=None if variant is None else variant.value,
            rewards=dict(map(_weight, reward or ())),
            watch=progress.advance,
        )
    report(found, as_json=as_json)


def sizes_command(recorded: Recorded, as_json: AsJson = False) -> None:
    """Count the bytes of a capture or action log by field.

    Example: townlet captures sizes captures/day
    """
    from rich.table import Table

    from townlet_replay.cli.console import stdout
    from townlet_replay.sizes import capture_sizes

    found = capture_sizes(recorded)
    if as_json:
        typer.echo(json.dumps({**found._asdict(), "total": found.total}, indent=1))
        return
    table = Table("field", "bytes", "bytes per row")
    for name, size in sorted(found.fields.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(name, str(size), f"{size / found.rows:.2f}")
    table.add_row("total", str(found.total), f"{found.total / found.rows:.2f}")
    stdout.print(table)


def plan_command(
    scenario: Annotated[str, typer.Argument(help="Scenario name or YAML file.")],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes planned.")] = 1,
    ticks: Annotated[int | None, typer.Option(min=1, help="Length of an episode.")] = None,
    policy: Annotated[str | None, typer.Option(help="Script everybody follows.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Network that plays everybody.")] = None,
    logits: Annotated[
        bool, typer.Option("--logits/--no-logits", help="Keep a network's scores: most bytes.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Say what a capture would take in each mode, from the beginning of an episode.

    Example: townlet captures plan town_day --episodes 30
    """
    from rich.table import Table

    from townlet_env.config.load import load_scenario
    from townlet_replay.capture import capture_settings, record_checkpoint, record_scenario
    from townlet_replay.cli.console import bar, stdout
    from townlet_replay.sizes import plan_capture

    def record(mode: str, config: Any, folder: Path) -> Path:
        settings = capture_settings(mode=mode, policy=policy, logits=logits)
        if checkpoint is None:
            return record_scenario(config, folder, settings)
        return record_checkpoint(config, folder, settings, checkpoint)

    config = load_scenario(scenario, {} if ticks is None else {"ticks": ticks})
    with bar("recording samples", 3) as progress:
        plans = plan_capture(config, record, episodes=episodes, watch=progress.advance)
    if as_json:
        typer.echo(json.dumps([plan._asdict() for plan in plans], indent=1))
        return
    table = Table("mode", "megabytes", "bytes per row", "most of it")
    for plan in plans:
        largest = sorted(plan.fields.items(), key=lambda item: -item[1])[:3]
        shares = ", ".join(f"{name} {size:.1f}" for name, size in largest)
        table.add_row(plan.mode, f"{plan.total / 1e6:.2f}", f"{plan.per_row:.2f}", shares)
    stdout.print(table)


def log_info(path: Path, *, as_json: bool) -> None:
    """Sum up an action log."""
    from rich.table import Table

    from townlet_replay.action_log import load_log
    from townlet_replay.cli.console import stdout

    opened = load_log(path)
    log = opened.log
    if as_json:
        typer.echo(log.model_dump_json(indent=1))
        return
    typer.echo(f"{opened.path}: an action log")
    typer.echo(f"scenario {log.metadata.scenario_name or 'unknown'}, seed {log.metadata.seed}")
    table = Table("agent", "episode", "seed", "rows", "return")
    for episode in opened.episodes():
        for life in episode.samples:
            number, seed, rows = episode.episode_id, episode.seed, life.rows
            score = f"{life.episode_return:.3f}"
            table.add_row(life.agent_id, str(number), str(seed), str(rows), score)
    stdout.print(table)


def log_validate(path: Path, *, as_json: bool) -> None:
    """Read every file of an action log and check it; nothing is lived again.

    Ends with exit code 3 if a part is lost, 1 if all is.
    """
    from townlet_replay.action_log import load_log
    from townlet_replay.cli.console import printable
    from townlet_replay.errors import CaptureError

    opened = load_log(path)
    if opened.log.town is not None:
        opened.config()
    damaged = opened.damage()
    lost = {damage.file for damage in damaged}
    sound = [file for file in opened.log.files if file.file not in lost]
    if not sound:
        raise CaptureError(f"{opened.path}: no file can be read; the first: {damaged[0].reason}")
    samples, rows = (sum(getattr(file, what) for file in sound) for what in ("samples", "rows"))
    left = opened.leftovers()
    if as_json:
        document = {
            "ok": not damaged,
            "samples": samples,
            "rows": rows,
            "damaged": [damage._asdict() for damage in damaged],
            "leftovers": left,
        }
        typer.echo(json.dumps(document, indent=1))
    else:
        state = "sound; `verify` lives it" if not damaged else f"{len(damaged)} files damaged"
        typer.echo(f"{opened.path}: {samples} samples, {rows} rows, {state}")
        for damage in damaged:
            typer.echo(f"damaged: {printable(damage.reason)}")
        if left:
            typer.echo(f"left by a writer that was killed: {', '.join(left)}")
        if damaged or left:
            typer.echo(f"to go on with what is whole: townlet captures recover {path}")
    if damaged:
        raise typer.Exit(3)


RERUNS: dict[str, Callable[..., None]] = {
    "verify": verify_command,
    "materialise": materialise_command,
    "reobserve": reobserve_command,
    "sizes": sizes_command,
    "plan": plan_command,
}


def _open(path: Path, config: Path | None, other_kernel: bool) -> LogSource | CaptureSource:
    from townlet_env.config.load import load_scenario
    from townlet_replay.rerun_sources import open_source

    given = None if config is None else load_scenario(config)
    return open_source(path, config=given, other_kernel=other_kernel)


def _target(
    output: Path, prefix: str | None, mode: Mode, compress: bool, overwrite: bool
) -> Target:
    from townlet_replay.deriving import Target

    return Target(output, prefix, mode.value, None if compress else False, overwrite)


def _weight(text: str) -> tuple[str, float]:
    from townlet_replay.errors import CaptureError

    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError as error:
        raise CaptureError(f"expected --reward NAME=NUMBER, found {text!r}") from error
