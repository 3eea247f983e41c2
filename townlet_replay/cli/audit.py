"""``townlet captures audit``: are the log-probs of a capture those of whoever acted?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def audit(
    capture: Annotated[Path, typer.Argument(help="Directory of a capture, or its manifest.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Hold the log-probs of a capture against the actions taken; exit 1 if they cannot be true.

    Example: townlet captures audit captures/queue_conflict
    """
    from townlet_replay.errors import TrainingError
    from townlet_replay.manifest import load_capture
    from townlet_replay.training.audit import audit as hold

    found = load_capture(capture)
    samples = list(found)
    if not samples[0].discrete:
        raise TrainingError(
            f"{found.path}: expected actions that are ids, found other ones; their log-probs are "
            "densities, which the audit does not know"
        )
    verdict = hold(samples)
    if as_json:
        worst = None if verdict.worst is None else verdict.worst._asdict()
        document = {**verdict._asdict(), "worst": worst, "passed": verdict.passed}
        typer.echo(json.dumps(document, indent=1))
    else:
        typer.echo(f"{found.path}: {verdict.rows} rows with a choice and a known log-prob")
        typer.echo(f"of these with the whole distribution: {verdict.calibrated}")
        if verdict.inverse is not None:
            typer.echo(f"mean of 1 / (mu x legal actions): {verdict.inverse:.4g}, 1 expected")
        if verdict.worst is not None:
            typer.echo(f"furthest off: {verdict.worst.what}, {verdict.worst.z:+.1f} deviations")
        for reason in verdict.reasons:
            typer.echo(f"cannot be true: {reason}")
        typer.echo("passed" if verdict.passed else "failed")
    if not verdict.passed:
        raise typer.Exit(1)
