"""``townlet captures view``: watch what was recorded, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from townlet_replay.cli.rerun import Config, OtherKernel

Out = Annotated[Path, typer.Option("--out", help="The page that is written.")]
Serve = Annotated[
    bool, typer.Option("--serve", help="Do not write it; show it on this machine only.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0: any.")]


def view(
    capture: Annotated[Path, typer.Argument(help="Directory of a capture, or its manifest.")],
    out: Out = Path("capture.html"),
    episode: Annotated[int | None, typer.Option(min=0, help="Its number; the first.")] = None,
    serve: Serve = False,
    port: Port = 0,
    config: Config = None,
    other_kernel: OtherKernel = False,
) -> None:
    """Make a page to watch an episode: one file that needs no network.

    A town is lived again from the recorded actions: map, queues, ties, needs, rewards, events. Of
    other environments, and of parts of an episode, rewards and observations are shown.

    Example: townlet captures view captures/queue_conflict --out watch.html
    """
    from rich.progress import track

    from townlet_env.config.load import load_scenario
    from townlet_replay.cli.console import stderr
    from townlet_replay.view.facts import facts_of
    from townlet_replay.view.page import html_of, write_page

    facts = facts_of(
        capture,
        episode,
        lambda ticks: track(ticks, "ticks", console=stderr, disable=not stderr.is_terminal),
        config=None if config is None else load_scenario(config),
        other_kernel=other_kernel,
    )
    if serve:
        show(html_of(facts), port)
    else:
        typer.echo(f"{write_page(facts, out)}: open it in a browser")


def show(html: str, port: int) -> None:
    """Serve a page until Ctrl-C, and say where."""
    from townlet_replay.view.serving import page_route, serve

    serve({"/": page_route(html)}, port, tell)


def tell(address: str) -> None:
    """Say where a page is."""
    from townlet_replay.cli.console import stderr

    stderr.print(f"{address} (Ctrl-C ends it)", highlight=False, soft_wrap=True)
