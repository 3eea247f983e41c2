"""``python -m townlet_replay.reference [--write]``: hold the documents' tables against the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from townlet_replay.reference.pages import refresh


def main(
    root: Annotated[Path, typer.Argument(help="Folder with README.md and docs.")] = Path(),
    write: Annotated[bool, typer.Option(help="Write the tables that differ.")] = False,
) -> None:
    """Name the pages whose tables differ from the code; exit 1 if any does and none is written."""
    changed = refresh(root, write=write)
    for page in changed:
        typer.echo(f"{page}: {'written' if write else 'differs from the code'}")
    if changed and not write:
        typer.echo("refresh with: python -m townlet_replay.reference --write", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
