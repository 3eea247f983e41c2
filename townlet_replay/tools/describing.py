"""``stats``: how the metrics of a capture spread over its samples, and over those of each agent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from townlet_env.errors import nearest
from townlet_replay.entries import ManifestEntry
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture
from townlet_replay.sidecar import SampleMetrics

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Spread(NamedTuple):
    """One metric over the samples that know it."""

    samples: int  # that know it, at least one
    mean: float
    std: float  # of these samples: divided by their number
    lowest: float
    quantiles: tuple[float, ...]  # as QUANTILES, linear between samples
    highest: float


class CaptureStatistics(NamedTuple):
    """What is known about a capture as a whole; metrics that no sample knows are left out."""

    samples: int
    rows: int
    episodes: int
    metrics: dict[str, Spread]  # ``action_counts.wait`` and the like for entries of tables
    agents: dict[str, dict[str, Spread]]  # the same for the samples of each agent


def capture_statistics(capture: Capture) -> CaptureStatistics:
    """Sum up the metrics of all samples, without reading any of them.

    Args:
        capture: its manifest and its metrics file are read.

    Raises:
        CaptureError: the metrics file is missing or damaged, or holds numbers too large.

    Example:
        >>> capture_statistics(load_capture("captures/day")).metrics["reward_sum"].mean
    """
    entries = capture.manifest.samples
    metrics = [capture.metrics.samples[entry.sample] for entry in entries]
    try:
        return _statistics(entries, metrics)
    except OverflowError as error:
        raise CaptureError(
            f"{capture.path}: metrics too large to be summed up ({error})"
        ) from error


def _statistics(
    entries: Sequence[ManifestEntry], metrics: Sequence[SampleMetrics]
) -> CaptureStatistics:
    by_agent: dict[str, list[SampleMetrics]] = {}
    for entry, found in zip(entries, metrics, strict=True):
        by_agent.setdefault(entry.agent_id, []).append(found)
    keys = _keys(metrics)
    return CaptureStatistics(
        samples=len(entries),
        rows=sum(entry.rows for entry in entries),
        episodes=len({entry.episode_id for entry in entries}),
        metrics=_spreads(metrics, keys),
        agents={agent: _spreads(found, keys) for agent, found in by_agent.items()},
    )


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of one or more numbers.

    Raises:
        OverflowError: their squares do not fit a double.
    """
    mean = math.fsum(values) / len(values)
    return Spread(
        samples=len(values),
        mean=mean,
        std=math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values)),
        lowest=float(min(values)),
        quantiles=tuple(float(value) for value in np.quantile(values, QUANTILES)),
        highest=float(max(values)),
    )


def choose(metrics: Mapping[str, Spread], names: Sequence[str]) -> dict[str, Spread]:
    """Return the metrics asked for; the name of a table stands for all of its entries.

    Args:
        metrics: of a capture.
        names: what is asked for; nothing asks for all that are no entries of tables.

    Raises:
        CaptureError: a metric that no sample of the capture has.
    """
    tables = {name.partition(".")[0] for name in metrics if "." in name}
    if not names:
        return {name: found for name, found in metrics.items() if "." not in name}
    for name in names:
        if name not in metrics and name not in tables:
            hint = nearest(name, [*metrics, *tables])
            raise CaptureError(f"no sample of the capture knows the metric {name!r}{hint}")
    return {
        metric: found
        for metric, found in metrics.items()
        if metric in names or metric.partition(".")[0] in names
    }


def _keys(samples: Sequence[SampleMetrics]) -> dict[str, list[str]]:
    """Return what the entries of every table are called, in any of the samples."""
    tables: dict[str, set[str]] = {}
    for sample in samples:
        for name, value in sample:
            if isinstance(value, dict):
                tables.setdefault(name, set()).update(value)
    return {name: sorted(keys) for name, keys in tables.items()}


def _spreads(
    samples: Sequence[SampleMetrics], keys: Mapping[str, Sequence[str]]
) -> dict[str, Spread]:
    found: dict[str, Spread] = {}
    for name in SampleMetrics.model_fields:
        known = [value for sample in samples if (value := getattr(sample, name)) is not None]
        if known and name in keys:
            # A table leaves out what never happened.
            for key in keys[name]:
                found[f"{name}.{key}"] = spread([table.get(key, 0) for table in known])
        elif known:
            found[name] = spread(known)
    return found
