"""``townlet render``: see a scenario played."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def render(
    scenario: Annotated[str, typer.Argument(help="Scenario name or YAML file.")],
    gif: Annotated[Path | None, typer.Option(help="Write a film as GIF.")] = None,
    mp4: Annotated[Path | None, typer.Option(help="Write a film as MP4.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write a picture.")] = None,
    window: Annotated[bool, typer.Option("--window", help="Play in a window.")] = False,
    ticks: Annotated[int | None, typer.Option(min=1, help="Length of the episode.")] = None,
    at: Annotated[
        int | None,
        typer.Option(min=0, help="Tick of a picture, the last by default; films begin there."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Ticks per frame.")] = 1,
    fps: Annotated[float, typer.Option(help="Frames per second, at most 100.")] = 8.0,
    size: Annotated[
        int | None, typer.Option(min=1, help="Longer side in pixels; fits the town by default.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the episode.")] = None,
    policy: Annotated[
        str | None, typer.Option(help="Script everybody follows: needs_driven, random, idle, ...")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Network that plays everybody.")] = None,
    greedy: Annotated[bool, typer.Option(help="Most probable action; with --checkpoint.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Play a scenario with its scripts and show it: as text, in a window, as picture or film.

    Without a file or --window it is played as text: in place on a terminal, elsewhere frame after
    frame; with --at only that tick.

    Example: townlet render queue_conflict --gif queue.gif --fps 12 --size 800
    """
    from townlet_env.config.load import load_scenario
    from townlet_env.errors import ConfigError
    from townlet_replay.film import film_settings

    settings = film_settings(
        seed=seed,
        at=at,
        every=every,
        fps=fps,
        size=size,
        policy=policy,
        checkpoint=checkpoint,
        greedy=greedy,
    )
    config = load_scenario(scenario, {} if ticks is None else {"ticks": ticks})
    files = {".png": png, ".gif": gif, ".mp4": mp4}
    targets = {suffix: path for suffix, path in files.items() if path is not None}
    if window and targets:
        raise ConfigError("expected --window or files, found both; leave out one")
    if targets:
        _write(config, targets, settings, as_json)
    elif window:
        _play(config, settings, as_json)
    else:
        _print(config, settings, as_json)


def _write(config: Any, targets: dict[str, Path], settings: Any, as_json: bool) -> None:
    import json

    from townlet_replay.cli.console import bar
    from townlet_replay.film import film

    still = set(targets) == {".png"} and settings.at is not None
    with bar(config.name, max(1, settings.at) if still else config.ticks) as progress:
        written = film(config, targets, settings, progress.advance)
    if as_json:
        files = [file._asdict() for file in written]
        typer.echo(json.dumps({"scenario": config.name, "files": files}, indent=1))
        return
    for file in written:
        frames = f"{file.frames} frames of " if file.frames > 1 else ""
        kilobytes = -(-file.size // 1000)
        typer.echo(f"{file.path}: {frames}{file.width} x {file.height} pixels, {kilobytes} kB")


def _play(config: Any, settings: Any, as_json: bool) -> None:
    """Show a window until the episode ends or the viewer closes it."""
    import json

    from townlet_replay.film import show

    last = 0
    for shown in show(config, "human", settings):
        last = shown.tick
    if as_json:
        typer.echo(json.dumps({"scenario": config.name, "last_tick": last}, indent=1))


def _print(config: Any, settings: Any, as_json: bool) -> None:
    """Print text: one tick, or the episode, in place where that is possible."""
    import itertools
    import json
    import shutil
    import time

    from townlet_replay.cli.console import stdout
    from townlet_replay.film import show

    moments = show(config, "ansi", settings)
    if settings.at is not None:
        moments = itertools.islice(moments, 1)
    if as_json:
        frames = [{"tick": shown.tick, "text": shown.look} for shown in moments]
        typer.echo(json.dumps({"scenario": config.name, "frames": frames}, indent=1))
        return
    in_place = stdout.is_terminal and settings.at is None
    for shown in moments:
        if in_place:
            rows = shutil.get_terminal_size().lines - 1
            typer.echo("\x1b[2J\x1b[H" + "\n".join(shown.look.split("\n")[:rows]))
            time.sleep(1.0 / settings.fps)
        else:
            typer.echo(shown.look + "\n")
