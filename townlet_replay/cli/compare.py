"""``townlet compare``: learners on captures and live, side by side on common seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    config: Annotated[str, typer.Argument(help="Scenario, or a training file (name or YAML).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the report.")],
    arms: Annotated[
        str | None, typer.Option(help="Names separated by commas; all by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds, the replications.")] = 3,
    steps: Annotated[int | None, typer.Option(help="Agent steps of the live arms.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over a capture.")] = None,
    eval_seeds: Annotated[int, typer.Option(min=1, help="Episodes per evaluation.")] = 16,
    points: Annotated[int, typer.Option(min=1, help="Evaluations along a live curve.")] = 10,
    capture_dir: Annotated[
        Path | None, typer.Option(help="Capture of the capture arms; else scripts are recorded.")
    ] = None,
    capture_episodes: Annotated[
        int, typer.Option(min=1, help="Episodes recorded without --capture-dir.")
    ] = 8,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; results do not depend on it.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Of torch; two change the bits.")] = 1,
    restart: Annotated[bool, typer.Option(help="Delete the finished runs of the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Train the arms, evaluate them live on common seeds, and write a report with pictures.

    Finished runs are kept: after Ctrl-C, or with more arms or seeds, the same command goes on.

    Example: townlet compare employment_punctuality --seeds 3 --output runs/compare
    """
    from townlet_replay.extras import require

    require("train", "report")
    import torch

    from townlet_replay.cli.console import bar, stdout
    from townlet_replay.compare.report import summary_table, write_report
    from townlet_replay.compare.results import compare_settings
    from townlet_replay.compare.run import RESULTS, examinations, read_results
    from townlet_replay.compare.run import compare as run
    from townlet_replay.training.config import load_train_config

    torch.set_num_threads(threads)
    changes = {
        "epochs": epochs,
        "capture_dir": capture_dir,
        "live": None if steps is None else {"steps": steps},
    }
    given = {key: value for key, value in changes.items() if value is not None}
    settings = load_train_config(config, given)
    wanted = compare_settings(
        arms=None if arms is None else arms.split(","),
        seeds=seeds,
        eval_seeds=eval_seeds,
        points=points,
        capture_episodes=capture_episodes,
    )
    total = examinations(settings, wanted, None if restart else output)
    try:
        with bar("comparing", total) as progress:
            found = run(
                settings,
                wanted,
                output,
                lambda note: progress.advance(note=note),
                jobs=jobs,
                threads=threads,
                restart=restart,
            )
    except KeyboardInterrupt:
        # The runs that are complete deserve their report; an older comparison has one.
        if (output / RESULTS).is_file() and not (left := read_results(output)).complete:
            write_report(left, output)
        raise
    path = write_report(found, output)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    stdout.print(summary_table(found))
    typer.echo(f"report: {path}")
