"""Numbers about samples and captures: what the metrics file holds.

Raw counts are read back from the observation columns of the town; a metric that an environment
cannot have is ``None``, which JSON writes as ``null``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from townlet_env.sim.features import AVOID_COUNT_SCALE
from townlet_replay.errors import CaptureError
from townlet_replay.safe_files import first_problem
from townlet_replay.sample import ReplaySample
from townlet_replay.sidecar import SCHEMA_VERSION, SampleMetrics

TownEvent = Mapping[str, Any]
SOCIAL_KINDS = ("shared_meal", "helped", "shift_taken")  # of events, besides chats


class CaptureTotals(BaseModel):
    """Totals and means over the samples of a capture; means of rows are weighted by rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    samples: int
    timesteps: int
    reward_sum: float
    reward_mean: float = Field(description="per row")
    reward_sum_mean: float = Field(description="per sample: the mean return")
    reward_component_sums: dict[str, float] | None = None
    log_prob_mean: float | None = Field(default=None, description="per row of samples that know it")
    rivalry_max_mean: float | None = None
    rivalry_max_max: float | None = None
    rivalry_avoid_count_mean: float | None = None
    rivalry_avoid_count_max: float | None = None
    lateness_mean: float | None = Field(default=None, description="minutes per late shift")
    late_shifts: int | None = None
    queue_conflict_events: int | None = None
    queue_conflict_intensity_sum: float | None = None
    affordance_finishes: dict[str, int] | None = None
    action_counts: dict[str, int] | None = None
    action_blocked_ratio: float | None = None
    action_entropy: float | None = None
    clip_share: float | None = None
    terminations: int | None = Field(default=None, description="lives that ended, were not cut")
    social_events: dict[str, int] | None = None
    chat_quality_sum: float | None = None


class CaptureMetrics(BaseModel):
    """The metrics file of a capture."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    schema_version: str = SCHEMA_VERSION
    totals: CaptureTotals
    samples: dict[str, SampleMetrics] = Field(description="by the path of the sample")


def sample_metrics(
    sample: ReplaySample, events: Sequence[TownEvent] | None, illegal: int | None
) -> SampleMetrics:
    """Summarise one sample.

    Args:
        sample: the rows.
        events: what happened to this agent, as mappings with the key ``event``; ``None`` if the
            environment does not tell.
        illegal: number of rows whose action the environment refused; ``None`` if not told.

    Raises:
        CaptureError: a metric that is no finite number, so that some of what it is made of is none.
    """
    try:
        return _metrics(sample, events, illegal)
    except (ValueError, OverflowError) as error:
        meta = sample.meta
        why = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise CaptureError(
            f"sample of agent {meta.agent_id!r}, episode {meta.episode_id}: no metrics: {why}"
        ) from error


def _metrics(
    sample: ReplaySample, events: Sequence[TownEvent] | None, illegal: int | None
) -> SampleMetrics:
    rivalry = _column(sample, "rivalry_max")
    avoided = _column(sample, "rivalry_avoid_count")
    avoided = None if avoided is None else np.rint(avoided * AVOID_COUNT_SCALE)
    counts = _action_counts(sample)
    reward_sum = math.fsum(sample.rewards.tolist())
    late = _values_of(events, "shift_late")
    conflicts = _values_of(events, "queue_conflict")
    return SampleMetrics(
        timesteps=sample.rows,
        reward_sum=reward_sum,
        reward_mean=reward_sum / sample.rows,
        reward_component_sums=_component_sums(sample),
        log_prob_mean=_mean(sample.old_log_probs[~np.isnan(sample.old_log_probs)]),
        value_pred_last=_mean(sample.value_preds[-1:][~np.isnan(sample.value_preds[-1:])]),
        rivalry_max_mean=_mean(rivalry),
        rivalry_max_max=_max(rivalry),
        rivalry_avoid_count_mean=_mean(avoided),
        rivalry_avoid_count_max=_max(avoided),
        lateness_mean=None if late is None else math.fsum(late) / max(len(late), 1),
        late_shifts=None if late is None else len(late),
        queue_conflict_events=None if conflicts is None else len(conflicts),
        queue_conflict_intensity_sum=None if conflicts is None else math.fsum(conflicts),
        affordance_finishes=_finishes(events),
        action_counts=counts,
        action_blocked_ratio=None if illegal is None else illegal / sample.rows,
        action_entropy=entropy(counts),
        clip_share=_clip_share(sample),
        terminations=int(sample.terminations[-1]),
        **_social(events),
    )


def _column(sample: ReplaySample, name: str) -> NDArray[Any] | None:
    names = sample.meta.feature_names or ()
    if name not in names or "features" not in sample.observations:
        return None
    column: NDArray[Any] = sample.observations["features"][:, names.index(name)]
    return column


def _mean(values: NDArray[Any] | None) -> float | None:
    if values is None or values.size == 0:
        return None
    return math.fsum(values.tolist()) / values.size


def _max(values: NDArray[Any] | None) -> float | None:
    return None if values is None else float(values.max())


def _action_counts(sample: ReplaySample) -> dict[str, int] | None:
    if not sample.discrete:
        return None
    counts = np.bincount(sample.actions, minlength=sample.meta.action_dim).tolist()
    names = sample.meta.action_lookup
    return {names[action]: count for action, count in enumerate(counts) if count}


def entropy(counts: Mapping[str, int] | None) -> float | None:
    """Return the entropy of the frequencies ``counts``, in nats."""
    if counts is None:
        return None
    total = sum(counts.values())
    shares = [count / total for count in counts.values() if count]
    return max(0.0, -math.fsum(share * math.log(share) for share in shares))


def _component_sums(sample: ReplaySample) -> dict[str, float] | None:
    columns = sample.extras.get("reward_components")
    if columns is None:
        return None
    names = sample.meta.reward_components or ()
    return {name: math.fsum(columns[:, k].tolist()) for k, name in enumerate(names)}


def _clip_share(sample: ReplaySample) -> float | None:
    names = sample.meta.reward_components or ()
    columns = sample.extras.get("reward_components")
    if columns is None or "clip" not in names:
        return None
    return float(np.count_nonzero(columns[:, names.index("clip")])) / sample.rows


def _values_of(events: Sequence[TownEvent] | None, kind: str) -> list[float] | None:
    if events is None:
        return None
    return [float(event["value"]) for event in events if event["event"] == kind]


def _social(events: Sequence[TownEvent] | None) -> dict[str, Any]:
    """Return what the agent had to do with others; a chat that failed has quality 0."""
    if events is None:
        return {}
    chats = [float(event["value"]) for event in events if event["event"] == "chat"]
    counts = {"chat_success": sum(chat > 0.0 for chat in chats)}
    counts["chat_failure"] = len(chats) - counts["chat_success"]
    for kind in SOCIAL_KINDS:
        counts[kind] = sum(event["event"] == kind for event in events)
    return {"social_events": counts, "chat_quality_sum": math.fsum(chats)}


def _finishes(events: Sequence[TownEvent] | None) -> dict[str, int] | None:
    if events is None:
        return None
    names = [str(e["affordance"]) for e in events if e["event"] == "affordance_finished"]
    return dict(sorted(Counter(names).items()))


def capture_totals(samples: Sequence[SampleMetrics]) -> CaptureTotals:
    """Summarise a capture of at least one sample."""
    timesteps = sum(sample.timesteps for sample in samples)
    reward_sum = math.fsum(sample.reward_sum for sample in samples)
    counts = _add(sample.action_counts for sample in samples)
    late_shifts = _total(sample.late_shifts for sample in samples)
    return CaptureTotals(
        samples=len(samples),
        timesteps=timesteps,
        reward_sum=reward_sum,
        reward_mean=reward_sum / timesteps,
        reward_sum_mean=reward_sum / len(samples),
        reward_component_sums=_add(sample.reward_component_sums for sample in samples),
        log_prob_mean=row_mean((s.log_prob_mean, s.timesteps) for s in samples),
        rivalry_max_mean=row_mean((s.rivalry_max_mean, s.timesteps) for s in samples),
        rivalry_max_max=_highest(s.rivalry_max_max for s in samples),
        rivalry_avoid_count_mean=row_mean(
            (s.rivalry_avoid_count_mean, s.timesteps) for s in samples
        ),
        rivalry_avoid_count_max=_highest(s.rivalry_avoid_count_max for s in samples),
        lateness_mean=row_mean((s.lateness_mean, s.late_shifts or 0) for s in samples)
        if late_shifts
        else (None if late_shifts is None else 0.0),
        late_shifts=late_shifts,
        queue_conflict_events=_total(s.queue_conflict_events for s in samples),
        queue_conflict_intensity_sum=_fsum(s.queue_conflict_intensity_sum for s in samples),
        affordance_finishes=_add(sample.affordance_finishes for sample in samples),
        action_counts=counts,
        action_blocked_ratio=row_mean((s.action_blocked_ratio, s.timesteps) for s in samples),
        action_entropy=entropy(counts),
        clip_share=row_mean((s.clip_share, s.timesteps) for s in samples),
        terminations=_total(s.terminations for s in samples),
        social_events=_add(sample.social_events for sample in samples),
        chat_quality_sum=_fsum(s.chat_quality_sum for s in samples),
    )


def row_mean(pairs: Iterable[tuple[float | None, int]]) -> float | None:
    """Return the mean of (value, weight) pairs whose value is known; ``None`` without any."""
    known = [(value, weight) for value, weight in pairs if value is not None and weight > 0]
    weights = sum(weight for _, weight in known)
    return math.fsum(value * weight for value, weight in known) / weights if known else None


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _fsum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _add(tables: Iterable[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    known = [table for table in tables if table is not None]
    if not known:
        return None
    names = dict.fromkeys(name for table in known for name in table)
    return {name: sum(table.get(name, 0) for table in known) for name in names}
