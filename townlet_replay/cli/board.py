"""``townlet telemetry board``: training logs in a browser, also while training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from townlet_replay.cli.view import Port, Serve, tell


def board(
    logs: Annotated[
        list[Path], typer.Argument(help="Newest file of each log; rotated ones are followed.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The page that is written.")] = Path(
        "board.html"
    ),
    serve: Serve = False,
    port: Port = 0,
    limit: Annotated[
        list[str] | None, typer.Option(help="Such as 'kl_divergence<=0.05'; again for more.")
    ] = None,
    defaults: Annotated[bool, typer.Option(help="Draw the usual limits as well.")] = True,
    interval: Annotated[
        float, typer.Option(min=0.05, help="Seconds between two looks of --serve.")
    ] = 1.0,
) -> None:
    """Make a page of training logs, laid over each other: one file, or live with --serve.

    Example: townlet telemetry board runs/a.jsonl runs/b.jsonl --serve
    """
    from townlet_replay.training.telemetry_watch import DEFAULT_LIMITS, parse_limit
    from townlet_replay.view.board import Board, write_board
    from townlet_replay.view.serving import serve as serving

    shown = Board(logs, [*(DEFAULT_LIMITS if defaults else ()), *map(parse_limit, limit or [])])
    if serve:
        serving(shown.routes(interval), port, tell)
    else:
        typer.echo(f"{write_board(shown, out)}: open it in a browser")
