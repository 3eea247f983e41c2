"""``townlet demo``: the main job in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of everything made.")] = (
        Path("runs/demo")
    ),
    quick: Annotated[bool, typer.Option(help="Every step, hardly any training.")] = False,
) -> None:
    """Capture the classic scenarios, train on captures and live, compare, write a report.

    Example: townlet demo --output runs/demo
    """
    from townlet_replay.extras import require

    require("train", "report")
    import torch
    from rich.table import Table

    from townlet_replay.cli.console import bar, stdout
    from townlet_replay.compare.report import stages_table, summary_table
    from townlet_replay.demo import capture_stories, compare_learners, plan_demo, prepare

    torch.set_num_threads(1)
    plan = plan_demo(quick=quick)
    prepare(output)
    with bar("capturing", len(plan.scenarios)) as progress:
        stories = capture_stories(plan, output, lambda note: progress.advance(note=note))
    with bar("comparing", plan.comparison_steps) as progress:
        found, report = compare_learners(plan, output, lambda note: progress.advance(note=note))
    table = Table("captured", "claims that hold", "samples", "rows", "reward", title="Stories")
    for story in stories:
        claims = f"{story.claims_held} of {story.claims}"
        reward = f"{story.reward_sum:.3f}"
        table.add_row(story.scenario, claims, str(story.samples), str(story.rows), reward)
    stdout.print(table)
    scores = summary_table(found)
    scores.title = f"Learners on {found.scenario}"
    stdout.print(scores)
    stages = stages_table(found)
    stages.title = "What training on captures changed"
    stdout.print(stages)
    typer.echo(f"captures: {output / 'captures'}")
    typer.echo(f"report: {report}")
