"""Results as one tidy table: a row per arm, training seed, checkpoint, evaluation seed and mode."""

from __future__ import annotations

import importlib
import io
import json
from typing import Any

from townlet_replay.compare.results import Comparison, Play

TABLE, LINES = "results.parquet", "results.jsonl"
_COLUMNS = {
    "scenario": "string",
    "arm": "string",
    "training_seed": "int64",
    "checkpoint": "int32",
    "stage": "string",
    "live_steps": "int64",
    "captured_steps": "int64",
    "total_steps": "int64",
    "gradient_steps": "int64",
    "evaluation_seed": "int64",
    "mode": "string",
    "score": "float64",
}
"""Name -> type of Arrow. ``training_seed`` is null where nothing was trained. There is no clock:
seconds are no result; results.json has them."""


def rows_of_results(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the rows, ordered by arm, seed, checkpoint, mode and evaluation seed."""
    rows: list[dict[str, Any]] = []
    for arm in comparison.arms:
        for run in arm.runs:
            for number, point in enumerate(run.points):
                for mode, play in (("sampled", point.sampled), ("greedy", point.greedy)):
                    about = {
                        "scenario": comparison.scenario,
                        "arm": arm.name,
                        "training_seed": run.seed,
                        "checkpoint": number,
                        "stage": point.stage,
                        "live_steps": point.live_steps,
                        "captured_steps": point.captured_steps,
                        "total_steps": point.total_steps,
                        "gradient_steps": point.gradient_steps,
                        "mode": mode,
                    }
                    rows += _of_play(about, play, comparison.evaluation_seeds)
    return rows


def _of_play(
    about: dict[str, Any], play: Play | None, seeds: tuple[int, ...]
) -> list[dict[str, Any]]:
    if play is None:
        return []
    return [
        {**about, "evaluation_seed": seed, "score": score}
        for seed, score in zip(seeds, play.scores, strict=True)
    ]


def lines_of(comparison: Comparison) -> bytes:
    """Return the rows as JSON, one per line."""
    lines = [json.dumps(row, separators=(",", ":")) for row in rows_of_results(comparison)]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def table_bytes(comparison: Comparison) -> bytes | None:
    """Return the rows as Parquet; None if pyarrow is not installed."""
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        return None
    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in _COLUMNS.items()])
    table = arrow.Table.from_pylist(rows_of_results(comparison), schema=schema)
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    return file.getvalue()
