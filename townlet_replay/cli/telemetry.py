"""``townlet telemetry``: check, sum up and draw training logs."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from townlet_replay.cli.board import board
from townlet_replay.errors import TelemetryError

app = typer.Typer(
    help="Check, sum up and draw the logs that training writes with --ppo-log.",
    no_args_is_help=True,
)

Log = Annotated[Path, typer.Argument(help="Newest file of the log; rotated ones are followed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


class Format(StrEnum):
    """How a summary is printed."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


@app.command()
def validate(log: Log, as_json: AsJson = False) -> None:
    """Check every line against the schema of its version; exit code 1 if one deviates.

    Example: townlet telemetry validate runs/ppo.jsonl
    """
    from townlet_replay.training.telemetry import validate_log

    report = validate_log(log)
    if as_json:
        problems = [problem._asdict() for problem in report.problems]
        facts = {"files": report.files, "records": report.records, "versions": report.versions}
        typer.echo(json.dumps({"ok": report.ok, **facts, "problems": problems}, indent=1))
    else:
        for problem in report.problems:
            typer.echo(str(problem), err=True)
        verdict = f"{len(report.problems)} problems" if report.problems else "sound"
        versions = ", ".join(report.versions) or "unknown"
        typer.echo(
            f"{log}: {report.records} records in {len(report.files)} files, "
            f"version {versions}: {verdict}"
        )
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def watch(
    log: Log,
    limit: Annotated[
        list[str] | None, typer.Option(help="Such as 'kl_divergence<=0.05'; again for more.")
    ] = None,
    defaults: Annotated[bool, typer.Option(help="Keep to the usual limits as well.")] = True,
    follow: Annotated[bool, typer.Option(help="Wait for what is still to come.")] = True,
    interval: Annotated[float, typer.Option(min=0.01, help="Seconds between two looks.")] = 1.0,
    idle: Annotated[
        float | None, typer.Option(help="End after so many seconds without a new epoch.")
    ] = None,
    stop: Annotated[bool, typer.Option(help="End at the first alarm.")] = False,
) -> None:
    """Watch a log as it grows, rotated files included; exit code 1 if a figure left its limits.

    Example: townlet telemetry watch runs/ppo.jsonl --limit 'ess>=0.5' --idle 60
    """
    from townlet_replay.cli.console import stdout
    from townlet_replay.training.telemetry_watch import (
        DEFAULT_LIMITS,
        LogFollower,
        alarms_of,
        parse_limit,
    )
    from townlet_replay.training.telemetry_watch import follow as following

    limits = [*(DEFAULT_LIMITS if defaults else ()), *map(parse_limit, limit or [])]
    if not follow and not log.is_file():
        raise TelemetryError(f"There is no telemetry log at {log}.")
    records = following(log, interval, idle) if follow else LogFollower(log).new_records()
    count = 0
    for record in records:
        alarms = alarms_of(record, limits)
        count += len(alarms)
        figures = {"loss": record.loss_total, "k3": record.kl_divergence}
        known = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None]
        line = ", ".join([f"epoch {record.epoch}", f"{record.steps} steps", *known])
        stdout.print(line, highlight=False)
        for alarm in alarms:
            stdout.print(f"[red]alarm[/] {alarm}", highlight=False, soft_wrap=True)
        if alarms and stop:
            break
    if count:
        raise typer.Exit(1)


@app.command()
def summary(
    log: Log,
    style: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TEXT,
    as_json: AsJson = False,
) -> None:
    """Print first, last, extremes and mean of every figure.

    Example: townlet telemetry summary runs/ppo.jsonl --format markdown
    """
    from townlet_replay.training.telemetry_summary import summarise

    found = summarise(log)
    render = {Format.TEXT: found.text, Format.MARKDOWN: found.markdown, Format.JSON: found.json}
    typer.echo(render[Format.JSON if as_json else style]())


@app.command()
def plot(
    log: Log,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="PNG; by default next to the log.")
    ] = None,
) -> None:
    """Draw the log as one page of curves.

    Example: townlet telemetry plot runs/ppo.jsonl --output ppo.png
    """
    try:
        from townlet_replay.training.telemetry_plot import plot_log
    except ModuleNotFoundError as error:
        raise TelemetryError(
            f"Drawing needs {error.name}; install it with: pip install 'townlet[report]'"
        ) from error

    target = output or log.with_suffix(".png")
    plot_log(log, target)
    typer.echo(str(target))


app.command()(board)


@app.command()
def schema(
    version: Annotated[str, typer.Option(help="Version of the schema: 1, 1.1 or 2.")] = "2",
) -> None:
    """Print the JSON Schema of one line.

    Example: townlet telemetry schema --version 2 > telemetry.schema.json
    """
    from townlet_replay.training.telemetry_schema import json_schema

    typer.echo(json.dumps(json_schema(version), indent=1))
