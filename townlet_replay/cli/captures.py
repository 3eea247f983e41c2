"""``townlet captures``: look into captures, check them, make others of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from townlet_replay.cli.audit import audit
from townlet_replay.cli.derive import TOOLS
from townlet_replay.cli.difference import diff_command
from townlet_replay.cli.exchange import export, import_
from townlet_replay.cli.rerun import RERUNS, log_info, log_validate
from townlet_replay.cli.statistics import stats_command
from townlet_replay.cli.view import view

app = typer.Typer(help="Look into captures, check them, make others of them.", no_args_is_help=True)
app.command()(audit)
for name, tool in TOOLS.items():
    app.command(name)(tool)
for name, rerun in RERUNS.items():
    app.command(name)(rerun)
app.command("diff")(diff_command)
app.command("stats")(stats_command)
app.command()(export)
app.command("import")(import_)
app.command()(view)

Where = Annotated[
    Path, typer.Argument(help="Directory of a capture or action log, or its manifest.")
]
READABLE_AFTER_LOSS = 3  # exit code
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


@app.command()
def info(capture: Where, as_json: AsJson = False) -> None:
    """Sum up a capture: where it comes from, what is in it, how it went.

    Example: townlet captures info captures/queue_conflict
    """
    from rich.table import Table

    from townlet_replay.cli.console import stdout
    from townlet_replay.manifest import find_log, load_capture

    if find_log(capture) is not None:
        log_info(capture, as_json=as_json)
        return
    found = load_capture(capture)
    if as_json:
        document = {
            "metadata": found.manifest.metadata.model_dump(),
            "samples": [entry.model_dump(by_alias=True) for entry in found.manifest.samples],
            "totals": found.metrics.totals.model_dump(),
        }
        typer.echo(json.dumps(document, indent=1))
        return
    origin = found.manifest.metadata
    typer.echo(f"{found.path}")
    typer.echo(f"scenario {origin.scenario_name or 'unknown'}, seed {origin.seed}")
    table = Table("agent", "episode", "rows", "return", "behaviour")
    for index, entry in enumerate(found.manifest.samples):
        kind = found.meta(index).behaviour.kind
        score = f"{entry.episode_return:.3f}"
        table.add_row(entry.agent_id, str(entry.episode_id), str(entry.rows), score, kind)
    stdout.print(table)


@app.command()
def validate(capture: Where, as_json: AsJson = False) -> None:
    """Read every file of a capture and check it; exit 0 if sound, 3 if a part is lost, 1 if all is.

    Example: townlet captures validate captures/queue_conflict
    """
    from townlet_replay.cli.console import bar, printable
    from townlet_replay.leftovers import capture_leftovers
    from townlet_replay.manifest import find_log, load_capture

    if find_log(capture) is not None:
        log_validate(capture, as_json=as_json)
        return
    found = load_capture(capture)
    with bar("reading", len(found)) as progress:
        damaged = found.damage(progress.advance)
    sound = found.without(damaged)
    left = capture_leftovers(found)
    rows = sum(entry.rows for entry in sound.manifest.samples)
    if as_json:
        document = {
            "ok": not damaged,
            "samples": len(sound),
            "rows": rows,
            "damaged": [damage._asdict() for damage in damaged],
            "leftovers": left,
        }
        typer.echo(json.dumps(document, indent=1))
    else:
        state = "sound" if not damaged else f"{len(damaged)} files damaged"
        typer.echo(f"{found.path}: {len(sound)} samples, {rows} rows, {state}")
        for damage in damaged:
            typer.echo(f"damaged: {printable(damage.reason)}")
        if left:
            typer.echo(f"left by a writer that was killed: {', '.join(left)}")
        if damaged or left:
            typer.echo(f"to go on with what is whole: townlet captures recover {found.directory}")
    if damaged:
        raise typer.Exit(READABLE_AFTER_LOSS)


@app.command()
def recover(
    capture: Annotated[Path, typer.Argument(help="Directory of the capture.")],
    prefix: Annotated[
        str | None, typer.Option(help="Of the capture, where several share the directory.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild manifest and metrics from the files that are whole; exit 3 if something is lost.

    Example: townlet captures recover captures/queue_conflict
    """
    from townlet_replay.cli.console import printable, stderr
    from townlet_replay.log_recovery import log_prefix, recover_log
    from townlet_replay.recovery import recover_capture

    of_log = log_prefix(capture, prefix)
    if of_log is not None:
        log = recover_log(capture, of_log)
        path, samples, rows = log.log.path, log.log.count("samples"), log.log.count("rows")
        found, lost, changed = log.found, log.lost, log.changed
    else:
        done = recover_capture(capture, prefix)
        entries = done.capture.manifest.samples
        path, samples, rows = done.capture.path, len(entries), sum(e.rows for e in entries)
        found, lost, changed = done.found, done.lost, done.changed
    if as_json:
        document = {
            "manifest": str(path),
            "samples": samples,
            "rows": rows,
            "found": list(found),
            "lost": [damage._asdict() for damage in lost],
            "changed": changed,
        }
        typer.echo(json.dumps(document, indent=1))
    else:
        state = "" if changed else ", nothing to do"
        typer.echo(f"{path}: {samples} samples, {rows} rows{state}")
        for name in found:
            typer.echo(f"found: {name}")
        for damage in lost:
            typer.echo(f"lost: {printable(damage.reason)}")
    if lost:
        if not as_json:
            stderr.print("what is lost stays where it is; nothing reads it", highlight=False)
        raise typer.Exit(READABLE_AFTER_LOSS)
