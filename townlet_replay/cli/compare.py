"""``townlet compare``: learners on captures and live, side by side on common seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from townlet_replay.errors import TrainingError

if TYPE_CHECKING:
    from townlet_replay.compare.results import CompareSettings
    from townlet_replay.training.config import TrainConfig


def compare(
    configs: Annotated[
        list[str], typer.Argument(help="Scenarios, or training files (name or YAML).")
    ],
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
    Several scenarios get a folder each, and a report over all of them.

    Example: townlet compare employment_punctuality --seeds 3 --output runs/compare
    """
    from townlet_replay.extras import require

    require("train", "report")
    import torch

    from townlet_replay.compare.results import compare_settings
    from townlet_replay.training.config import load_train_config

    torch.set_num_threads(threads)
    changes = {
        "epochs": epochs,
        "capture_dir": capture_dir,
        "live": None if steps is None else {"steps": steps},
    }
    given = {key: value for key, value in changes.items() if value is not None}
    if len(configs) > 1 and capture_dir is not None:
        raise TrainingError(
            "--capture-dir: expected one scenario, as a capture is of one, found "
            f"{len(configs)}; name captures in training files (capture_dir)"
        )
    settings = [load_train_config(config, given) for config in configs]
    wanted = compare_settings(
        arms=None if arms is None else arms.split(","),
        seeds=seeds,
        eval_seeds=eval_seeds,
        points=points,
        capture_episodes=capture_episodes,
    )
    how = How(jobs, threads, restart, as_json)
    if len(settings) == 1:
        _compare_on_one(settings[0], wanted, output, how)
    else:
        _compare_on_several(settings, wanted, output, how)


class How(NamedTuple):
    """What results do not depend on."""

    jobs: int
    threads: int
    restart: bool
    as_json: bool


def _compare_on_one(settings: TrainConfig, wanted: CompareSettings, output: Path, how: How) -> None:
    from townlet_replay.cli.console import bar, stdout
    from townlet_replay.compare.report import summary_table, write_report
    from townlet_replay.compare.run import RESULTS, examinations, read_results
    from townlet_replay.compare.run import compare as run
    from townlet_replay.compare.several import check_folder

    check_folder(output, several=False)
    total = examinations(settings, wanted, None if how.restart else output)
    try:
        with bar("comparing", total) as progress:
            found = run(
                settings,
                wanted,
                output,
                lambda note: progress.advance(note=note),
                jobs=how.jobs,
                threads=how.threads,
                restart=how.restart,
            )
    except KeyboardInterrupt:
        # The runs that are complete deserve their report; an older comparison has one.
        if (output / RESULTS).is_file() and not (left := read_results(output)).complete:
            write_report(left, output)
        raise
    path = write_report(found, output)
    if how.as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    stdout.print(summary_table(found))
    typer.echo(f"report: {path}")


def _compare_on_several(
    settings: list[TrainConfig], wanted: CompareSettings, output: Path, how: How
) -> None:
    from townlet_replay.cli.console import bar, printable, stdout
    from townlet_replay.compare.overall_report import overall_table, results_of
    from townlet_replay.compare.overall_wording import counted_in_words, troubles
    from townlet_replay.compare.report import PAGE
    from townlet_replay.compare.several import (
        check_folder,
        compare_several,
        entries_of,
        examinations_of,
    )

    check_folder(output, several=True)
    entries = entries_of(settings)
    total = examinations_of(entries, wanted, None if how.restart else output)
    with bar("comparing", total) as progress:
        found = compare_several(
            entries,
            wanted,
            output,
            lambda note: progress.advance(note=note),
            jobs=how.jobs,
            threads=how.threads,
            restart=how.restart,
        )
    if how.as_json:
        typer.echo(results_of(found).model_dump_json(indent=1))
    else:
        stdout.print(overall_table(found))
        for sentence in (counted_in_words(found), *troubles(found)):
            typer.echo(printable(sentence))
        typer.echo(f"report: {output / PAGE}")
    failed = [place.name for place in found.places if place.trouble is not None]
    if failed:
        raise TrainingError(
            f"{', '.join(failed)}: could not be compared, the report says why; the same command "
            "goes on with what is missing"
        )
