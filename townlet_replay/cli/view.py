"""``townlet captures view``: watch what was recorded, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def view(
    capture: Annotated[Path, typer.Argument(help="Directory of a capture, or its manifest.")],
    out: Annotated[Path, typer.Option("--out", help="The page that is written.")] = Path(
        "capture.html"
    ),
    episode: Annotated[int | None, typer.Option(min=0, help="Its number; the first.")] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Do not write it; show it on this machine only.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0: any.")] = 0,
) -> None:
    """Make a page to watch an episode: one file that needs no network.

    A town is lived again from the recorded actions: map, queues, ties, needs, rewards, events. Of
    other environments, and of parts of an episode, rewards and observations are shown.

    Example: townlet captures view captures/queue_conflict --out watch.html
    """
    from rich.progress import track

    from townlet_replay.cli.console import stderr
    from townlet_replay.view.facts import facts_of
    from townlet_replay.view.page import html_of, write_page

    facts = facts_of(
        capture,
        episode,
        lambda ticks: track(ticks, "ticks", console=stderr, disable=not stderr.is_terminal),
    )
    if not serve:
        typer.echo(f"{write_page(facts, out)}: open it in a browser")
        return
    from townlet_replay.view.serving import serve_page

    def told(address: str) -> None:
        stderr.print(f"{address} (Ctrl-C ends it)", highlight=False, soft_wrap=True)

    serve_page(html_of(facts), port, told)
