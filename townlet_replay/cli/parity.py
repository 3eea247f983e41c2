"""``townlet parity``: where two training runs part first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def parity(
    first: Annotated[Path, typer.Argument(help="Trace of a run: townlet train --trace FILE.")],
    second: Annotated[Path, typer.Argument(help="Trace of another.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Name update, minibatch and value where two runs part; exit code 1 if they do.

    Example: townlet parity runs/live.trace runs/replayed.trace
    """
    from townlet_replay.training.parity import count_updates, dumped, first_parting

    parting = first_parting(first, second)
    if as_json:
        typer.echo(dumped(parting))
    elif parting is None:
        typer.echo(f"equal to the bit: {count_updates(first)} updates")
    else:
        typer.echo(parting.text())
    if parting is not None:
        raise typer.Exit(1)
