"""``make bench``: every group of measurements, each in a process of its own.

A group writes its results to ``benchmarks/results/GROUP.json`` from its first figure on. A group
that fails or takes too long is reported, and the rest goes on. ``python -m benchmarks.page
--write`` makes docs/PERFORMANCE.md of the files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.groups import GROUPS
from benchmarks.report import RESULTS, Report
from townlet_replay.bench.measure import Effort

LONGEST = 600.0  # seconds, of one group
QUICK_RESULTS = Path("runs/bench")


def names_of(only: str | None) -> list[str]:
    """Return the groups asked for.

    Raises:
        typer.BadParameter: There is no such group.
    """
    wanted = list(GROUPS) if only is None else [name.strip() for name in only.split(",")]
    for name in wanted:
        if name not in GROUPS:
            raise typer.BadParameter(f"expected groups of {', '.join(GROUPS)}; found {name!r}")
    return wanted


def run_group(group: str, path: Path, effort: Effort) -> None:
    """Measure one group in this process."""
    report = Report(group, path, effort, Console())
    import_module(f"benchmarks.groups.{group}").measure(report)
    report.finish()


def spawn(group: str, folder: Path, effort: Effort, longest: float) -> str:
    """Measure one group in a process of its own and return what went wrong, or nothing."""
    command = [sys.executable, "-m", "benchmarks.run", "--inside", group, "--results", str(folder)]
    command += ["--rounds", str(effort.rounds), "--seconds", str(effort.seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(command, env=environment)
    try:
        code = process.wait(longest)
    except subprocess.TimeoutExpired:
        return f"not done within {longest:.0f} s"
    finally:
        process.kill()
        process.wait()
    return f"ended with code {code}" if code else ""


def comparisons(path: Path) -> dict[str, dict[str, Any]]:
    """Return the ratios of a file of results by name, or nothing."""
    if not path.exists():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8")).get("comparisons", [])
    return {f"{row['ours']} / {row['peer']}": row for row in rows}


def show(console: Console, group: str, path: Path, before: dict[str, dict[str, Any]]) -> None:
    """Print what a group found, beside the ratios that were kept before."""
    if not path.exists():
        return
    document = json.loads(path.read_text(encoding="utf-8"))
    table = Table("ours / peer", "ratio", "lowest", "highest", "processor", "kept before")
    for name, row in comparisons(path).items():
        kept = f"{before[name]['ratio']:,.2f}" if name in before else "-"
        keys = ("ratio", "lowest", "highest", "processor_ratio")
        table.add_row(name, *(f"{row[key]:,.2f}" for key in keys), kept)
    if table.row_count:
        console.print(table)
    for name, figure in document["figures"].items():
        console.print(f"{name}: {figure['value']:,.2f} {figure['unit']}", highlight=False)
    for row in document["missing"]:
        console.print(f"[yellow]{row['what']}[/yellow]: {row['why']}", highlight=False)
    console.print(f"{group}: {document.get('took_seconds', '?')} s, kept in {path}\n")


def main(
    only: Annotated[str | None, typer.Option(help="Groups, by comma; all by default.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of every arm.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of one turn.")] = 0.5,
    quick: Annotated[bool, typer.Option(help="Two short turns, kept in runs/bench.")] = False,
    results: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    longest: Annotated[float, typer.Option(help="Seconds that a group may take.")] = LONGEST,
    inside: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure, print and keep: ratios against peers, each taken side by side in one run."""
    effort = Effort(2, 0.1) if quick else Effort(rounds, seconds)
    folder = results or (QUICK_RESULTS if quick else RESULTS)
    if inside is not None:
        run_group(inside, folder / f"{inside}.json", effort)
        return
    console = Console(width=140)
    began, problems = time.perf_counter(), {}
    for group in names_of(only):
        console.rule(f"{group}: {GROUPS[group]}")
        path = folder / f"{group}.json"
        before = comparisons(RESULTS / f"{group}.json")
        problem = spawn(group, folder, effort, longest)
        if problem:
            problems[group] = problem
        show(console, group, path, before)
    console.print(f"{time.perf_counter() - began:.0f} s in all")
    for group, problem in problems.items():
        console.print(f"[red]{group}[/red]: {problem}; what it had measured is kept")
    if problems:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
