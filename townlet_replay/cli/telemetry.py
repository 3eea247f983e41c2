"""``townlet telemetry``: check, sum up and draw training logs."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

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


@app.command()
def schema(
    version: Annotated[str, typer.Option(help="Version of the schema, 1 or 1.1.")] = "1.1",
) -> None:
    """Print the JSON Schema of one line.

    Example: townlet telemetry schema --version 1.1 > telemetry.schema.json
    """
    from townlet_replay.training.telemetry_schema import json_schema

    typer.echo(json.dumps(json_schema(version), indent=1))
