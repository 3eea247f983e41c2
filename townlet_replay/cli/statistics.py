"""``townlet captures stats``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from townlet_replay.manifest import Capture
    from townlet_replay.tools.describing import Spread


def stats_command(
    capture: Annotated[Path, typer.Argument(help="Directory of a capture, or its manifest.")],
    metric: Annotated[
        list[str] | None, typer.Option(help="Only this one, or this table; may be repeated.")
    ] = None,
    by_agent: Annotated[bool, typer.Option("--by-agent", help="A line per agent.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="PNG to draw: returns, lengths, actions.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a picture that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Print how every metric spreads over the samples of a capture.

    Example: townlet captures stats captures/day --metric reward_sum --by-agent --plot day.png
    """
    from townlet_replay.cli.console import printable
    from townlet_replay.manifest import load_capture
    from townlet_replay.tools.describing import capture_statistics, choose

    found = load_capture(capture)
    statistics = capture_statistics(found)
    names = metric or []
    chosen = choose(statistics.metrics, names)
    agents = {
        agent: {name: known[name] for name in chosen if name in known}
        for agent, known in statistics.agents.items()
    }
    if plot is not None:
        _draw(found, plot, overwrite=overwrite)
    if as_json:
        document = {
            "samples": statistics.samples,
            "rows": statistics.rows,
            "episodes": statistics.episodes,
            "metrics": _plain(chosen),
            "agents": {agent: _plain(spreads) for agent, spreads in agents.items()},
        }
        typer.echo(json.dumps(document, indent=1))
        return
    typer.echo(
        f"{found.path}: {statistics.samples} samples, {statistics.rows} rows, "
        f"{statistics.episodes} episodes"
    )
    typer.echo(printable(_table(chosen, agents if by_agent else {})))


def _plain(spreads: dict[str, Spread]) -> dict[str, object]:
    """Return tables; a quantile is called by its percentage."""
    from townlet_replay.tools.describing import QUANTILES

    return {
        name: {
            **found._asdict(),
            "quantiles": {
                f"{q:.0%}": value for q, value in zip(QUANTILES, found.quantiles, strict=True)
            },
        }
        for name, found in spreads.items()
    }


def _table(spreads: dict[str, Spread], agents: dict[str, dict[str, Spread]]) -> str:
    """Return a line per metric, and below it one per agent if there are any."""
    from townlet_replay.cli.console import aligned
    from townlet_replay.tools.describing import QUANTILES

    names = ["metric", "agent"] if agents else ["metric"]
    quantiles = (f"{q:.0%}" for q in QUANTILES)
    rows = [[*names, "samples", "mean", "std", "min", *quantiles, "max"]]
    for name, found in spreads.items():
        rows.append([name, *(["all"] if agents else []), *_cells(found)])
        rows += [
            ["", agent, *_cells(known[name])] for agent, known in agents.items() if name in known
        ]
    return aligned(rows, texts=len(names))


def _cells(found: Spread) -> list[str]:
    numbers = (found.mean, found.std, found.lowest, *found.quantiles, found.highest)
    return [str(found.samples), *(f"{number:.4g}" for number in numbers)]


def _draw(capture: Capture, target: Path, *, overwrite: bool) -> None:
    from townlet_replay.errors import CaptureError

    if target.suffix.lower() != ".png":
        raise CaptureError(f"{target}: expected a name that ends in .png")
    if target.exists() and not overwrite:
        raise CaptureError(f"{target}: exists already; choose another name, or give --overwrite")
    try:
        from townlet_replay.tools.picture import plot_capture
    except ModuleNotFoundError as error:
        raise CaptureError(
            f"Drawing needs {error.name}; install it with: pip install 'townlet[report]'"
        ) from error
    plot_capture(capture, target)
