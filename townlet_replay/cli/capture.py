"""``townlet capture``: record scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def capture(
    scenarios: Annotated[list[str], typer.Argument(help="Scenario names or YAML files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; one per scenario in it.")],
    ticks: Annotated[int | None, typer.Option(min=1, help="Length of an episode.")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per scenario.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the first episode.")] = None,
    policy: Annotated[
        str | None, typer.Option(help="Script everybody follows: needs_driven, random, idle, ...")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Network that plays everybody, with log-probs and values.")
    ] = None,
    greedy: Annotated[bool, typer.Option(help="Most probable action; with --checkpoint.")] = False,
    epsilon: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Chance of a random legal action.")
    ] = 0.0,
    agent: Annotated[
        list[str] | None, typer.Option(help="Keep only this resident; may be repeated.")
    ] = None,
    auto_seed_agents: Annotated[
        int, typer.Option(min=0, help="Add so many needs-driven residents on free cells.")
    ] = 0,
    prefix: Annotated[str, typer.Option(help="What file names begin with.")] = "rollout_sample",
    mode: Annotated[str, typer.Option(help="What is kept: full, packed, actions.")] = "full",
    compress: Annotated[bool, typer.Option("--compress/--no-compress", help="Zip arrays.")] = True,
    logits: Annotated[
        bool, typer.Option("--logits/--no-logits", help="Keep a network's scores: most bytes.")
    ] = True,
    overwrite: Annotated[bool, typer.Option(help="Replace a capture of the same prefix.")] = False,
    max_rows_per_file: Annotated[
        int | None, typer.Option(min=1, help="Write a longer life in pieces.")
    ] = None,
    max_bytes: Annotated[int | None, typer.Option(min=1, help="Of a capture.")] = None,
    when_full: Annotated[
        str, typer.Option(help="At --max-bytes: stop, or drop_oldest episodes.")
    ] = "stop",
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Write the samples of an episode as one file.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Record scenarios as replay samples: arrays, sidecars, a manifest and metrics.

    Example: townlet capture queue_conflict rivalry_decay --output captures --episodes 4
    """
    import json

    from townlet_env.config.load import load_scenario
    from townlet_replay.capture import capture_settings, with_extra_residents
    from townlet_replay.cli.console import bar

    settings = capture_settings(
        episodes=episodes,
        seed=seed,
        policy=policy,
        epsilon=epsilon,
        agents=tuple(agent) if agent else None,
        prefix=prefix,
        mode=mode,
        compress=compress,
        overwrite=overwrite,
        max_rows_per_file=max_rows_per_file,
        max_bytes=max_bytes,
        when_full=when_full,
        bundle=bundle,
        logits=logits,
    )
    changes: dict[str, Any] = {} if ticks is None else {"ticks": ticks}
    configs = [
        with_extra_residents(load_scenario(name, changes), auto_seed_agents) for name in scenarios
    ]
    found = []
    for config in configs:
        folder = output / config.name if len(configs) > 1 else output
        with bar(config.name, config.ticks * episodes) as progress:
            found.append(_record(config, folder, settings, checkpoint, greedy, progress.advance))
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for line in found:
        typer.echo("{scenario}: {samples} samples, {rows} rows -> {manifest}".format(**line))


def _record(
    config: Any, folder: Path, settings: Any, checkpoint: Path | None, greedy: bool, watch: Any
) -> dict[str, Any]:
    from townlet_replay.action_log import load_log
    from townlet_replay.capture import record_checkpoint, record_scenario
    from townlet_replay.manifest import load_manifest

    if checkpoint is None:
        path = record_scenario(config, folder, settings, watch)
    else:
        path = record_checkpoint(config, folder, settings, checkpoint, greedy=greedy, watch=watch)
    if settings.mode == "actions":
        log = load_log(path)
        samples, rows = log.count("samples"), log.count("rows")
    else:
        entries = load_manifest(path).samples
        samples, rows = len(entries), sum(entry.rows for entry in entries)
    return {
        "scenario": config.name,
        "samples": samples,
        "rows": rows,
        "manifest": str(path),
    }
