"""The report of a comparison: Markdown with two pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_replay.compare.results import REFERENCES, Arm, Comparison, Run
from townlet_replay.compare.scores import (
    Scale,
    Spread,
    final_spread,
    scale_of,
    score,
    spread_of,
)
from townlet_replay.safe_files import write_files

if TYPE_CHECKING:
    from rich.table import Table as RichTable

REPORT, CURVES, SCORES = "report.md", "curves.png", "scores.png"

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-!|~&$])")


def write_report(comparison: Comparison, directory: Path) -> Path:
    """Write ``report.md``, ``curves.png`` and ``scores.png`` and return the path of the first.

    Raises:
        CaptureError: The directory cannot be written.
    """
    from townlet_replay.compare.figures import curves_png, scores_png

    pictures = {CURVES: curves_png(comparison), SCORES: scores_png(comparison)}
    write_files(directory, {**pictures, REPORT: markdown(comparison).encode("utf-8")})
    return directory / REPORT


def markdown(comparison: Comparison) -> str:
    """Return the text of the report."""
    scale = scale_of(comparison)
    name = escaped(comparison.scenario)
    state = "" if comparison.complete else "\n**Interrupted: what follows is incomplete.**\n"
    parts = [
        f"# Comparison on {name}\n{state}",
        _seeds(comparison),
        "## Scores\n",
        "Mean return per resident and episode. Policies are averaged over the evaluation episodes "
        "first; a cell gives the mean over training seeds, lowest and highest seed in brackets. "
        f"{_in_words(scale)}\n",
        _score_table(comparison, scale),
        f"![Final scores of the arms]({SCORES})\n",
        f"![Learning curves against live agent steps]({CURVES})\n",
        "## What it took\n",
        "Per training seed, mean over seeds. *Live* steps are made in the town by the policy that "
        "is trained, or by its clone while it is recorded; *captured* steps are recordings of "
        "somebody else. Seconds depend on the machine and what else it does: they only inform.\n",
        _budget_table(comparison),
        _stages(comparison),
        "## How each arm was trained\n",
        *(f"- **{escaped(arm.name)}**: {escaped(arm.how)}" for arm in comparison.arms if arm.runs),
        "",
        f"Capture: {escaped(comparison.capture)}.\n",
        "Live and capture arms, native and Stable-Baselines3, have the same network and, under the "
        "same seed, the same first weights; all use the same PPO settings.\n",
        _refusals(comparison),
        "## Every seed\n",
        _seed_table(comparison),
        "## Settings\n",
        f"```json\n{json.dumps(comparison.training, indent=1)}\n```\n",
    ]
    return "\n".join(part for part in parts if part is not None)


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    return _SPECIAL.sub(r"\\\1", flat)


def _seeds(comparison: Comparison) -> str:
    seeds, episodes = comparison.training_seeds, comparison.evaluation_seeds
    caution = (
        " With so few seeds this shows what can happen, not which arm is better in general."
        if len(seeds) < 10
        else ""
    )
    return (
        f"{len(seeds)} training seeds ({', '.join(map(str, seeds))}), the unit of replication."
        f"{caution} Every policy is played live on the same {len(episodes)} evaluation seeds "
        f"({episodes[0]} to {episodes[-1]}), on which nothing was trained or captured.\n"
    )


def _in_words(scale: Scale | None) -> str:
    if scale is None:
        return "Normalised scores need script and random arms that differ; there are none here."
    return (
        f"Normalised: random ({scale.random:.3f}) = 0, the scenario's scripts "
        f"({scale.script:.3f}) = 1. Scripts tell a story and need not be the best one can do, so "
        "more than 1 is possible."
    )


def _score_table(comparison: Comparison, scale: Scale | None) -> str:
    rows = []
    for arm in comparison.arms:
        if arm.refused is not None:
            rows.append([escaped(arm.name), "refused, see below", "", "", "", ""])
            continue
        sampled, greedy = (final_spread(arm, greedy=greedy) for greedy in (False, True))
        cells = [_brackets(sampled), _brackets(greedy)]
        normalised = [_normalised(scale, sampled), _normalised(scale, greedy)]
        rows.append([escaped(arm.name), str(len(arm.runs)), *cells, *normalised])
    head = ["arm", "runs", "sampled", "greedy", "normalised, sampled", "normalised, greedy"]
    return _table(head, rows)


def _budget_table(comparison: Comparison) -> str:
    rows = []
    for arm in comparison.arms:
        if not arm.runs:
            continue
        clocks = [clock for clock in comparison.wall_clock if clock.arm == arm.name]
        finals = arm.finals
        rows.append(
            [
                escaped(arm.name),
                _count(point.live_steps for point in finals),
                _count(point.captured_steps for point in finals),
                _count(point.total_steps for point in finals),
                _count(point.gradient_steps for point in finals),
                _seconds(clock.training for clock in clocks),
                _seconds(clock.evaluation for clock in clocks),
            ]
        )
    head = ["arm", "live steps", "captured steps", "total steps", "gradient steps"]
    return _table([*head, "training, s", "evaluation, s"], rows)


def _stages(comparison: Comparison) -> str | None:
    """Show how agreement with the capture and scores go, before and after each stage."""
    rows = [
        [escaped(name), *cells]
        for arm in comparison.arms
        for name, *cells in _stage_rows(arm, _brackets)
    ]
    if not rows:
        return None
    text = (
        "## Before and after\n\n"
        "Agreement: share of the captured choices, where there was a choice, that are also the "
        "policy's most probable one; for a noisy script, what it meant to do. It is measured on "
        "the capture itself. It may fall again when PPO finds something better than the capture.\n"
    )
    return f"{text}\n{_table(['arm', 'stage', 'agreement', 'sampled', 'greedy'], rows)}"


def _stage_rows(arm: Arm, shown: Callable[[Spread | None], str]) -> list[list[str]]:
    """Return arm, stage, agreement, sampled and greedy score for every stage of a trained arm."""
    if arm.name in REFERENCES or not arm.runs:
        return []
    rows = []
    for stage in dict.fromkeys(point.stage for point in arm.runs[0].points):
        points = [run.points[_last(run, stage)] for run in arm.runs]
        spreads = [
            spread_of([point.agreement for point in points]),
            spread_of([score(point, greedy=False) for point in points]),
            spread_of([score(point, greedy=True) for point in points]),
        ]
        rows.append([arm.name, stage, *map(shown, spreads)])
    return rows


def _last(run: Run, stage: str) -> int:
    return max(k for k, point in enumerate(run.points) if point.stage == stage)


def _refusals(comparison: Comparison) -> str | None:
    refused = [arm for arm in comparison.arms if arm.refused is not None]
    if not refused:
        return None
    lines = [f"- **{escaped(arm.name)}**: {escaped(arm.refused or '')}" for arm in refused]
    return "\n".join(["## Refused\n", *lines, ""])


def _seed_table(comparison: Comparison) -> str:
    rows = [
        [
            escaped(arm.name),
            "" if run.seed is None else str(run.seed),
            *(_number(score(run.points[-1], greedy=greedy)) for greedy in (False, True)),
        ]
        for arm in comparison.arms
        for run in arm.runs
    ]
    return _table(["arm", "training seed", "sampled", "greedy"], rows)


def _brackets(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    if len(spread.of_seeds) == 1:
        return f"{spread.mean:.3f}"
    return f"{spread.mean:.3f} ({spread.lowest:.3f} to {spread.highest:.3f})"


def _normalised(scale: Scale | None, spread: Spread | None) -> str:
    if scale is None or spread is None:
        return "-"
    return f"{scale.normalised(spread.mean):.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _count(values: Iterable[int]) -> str:
    known = list(values)
    return f"{sum(known) / len(known):,.0f}"


def _seconds(values: Iterable[float]) -> str:
    known = list(values)
    return f"{sum(known) / len(known):.1f}" if known else "-"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def summary_table(comparison: Comparison) -> RichTable:
    """Return the final scores as a table for a terminal of eighty columns."""
    from rich.table import Table

    scale = scale_of(comparison)
    table = Table()
    table.add_column("arm", no_wrap=True)
    for heading in ("sampled", "greedy", "nor-\nmalised", "live\nsteps", "captured\nsteps"):
        table.add_column(heading, justify="right")
    for arm in comparison.arms:
        if not arm.runs:
            table.add_row(arm.name, "refused", "", "", "", "")
            continue
        sampled, greedy = (final_spread(arm, greedy=greedy) for greedy in (False, True))
        live = _count(point.live_steps for point in arm.finals)
        captured = _count(point.captured_steps for point in arm.finals)
        scores = _narrow(sampled), _narrow(greedy), _normalised(scale, sampled)
        table.add_row(arm.name, *scores, live, captured)
    return table


def stages_table(comparison: Comparison) -> RichTable:
    """Return what each stage of the capture arms did to agreement and scores."""
    from rich.table import Table

    table = Table()
    table.add_column("arm", no_wrap=True)
    table.add_column("stage")
    for heading in ("agrees with\ncapture", "sampled", "greedy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm in comparison.arms:
        if arm.name.startswith("capture"):
            for cells in _stage_rows(arm, _narrow):
                table.add_row(*cells)
    return table


def _narrow(spread: Spread | None) -> str:
    """Return the mean, with lowest and highest seed on a line below."""
    if spread is None or len(spread.of_seeds) == 1:
        return _brackets(spread)
    return f"{spread.mean:.3f}\n{spread.lowest:.2f} to {spread.highest:.2f}"
