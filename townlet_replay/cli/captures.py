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

Where = Annotated[
    Path, typer.Argument(help="Directory of a capture or action log, or its manifest.")
]
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
    """Read every file of a capture and check it; exit 0 if sound, 1 if not.

    Example: townlet captures validate captures/queue_conflict
    """
    from townlet_replay.manifest import find_log, load_capture

    if find_log(capture) is not None:
        log_validate(capture, as_json=as_json)
        return
    found = load_capture(capture)
    rows = sum(sample.rows for sample in found)
    samples = len(found.metrics.samples)
    if as_json:
        typer.echo(json.dumps({"ok": True, "samples": samples, "rows": rows}))
    else:
        typer.echo(f"{found.path}: {samples} samples, {rows} rows, sound")
