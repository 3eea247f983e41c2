"""Figures of updates and of captured samples, joined into the line that telemetry writes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_replay.errors import TrainingError
from townlet_replay.metrics import row_mean
from townlet_replay.sidecar import SampleMetrics
from townlet_replay.training.awr import AWREpoch
from townlet_replay.training.bc import BCEpoch
from townlet_replay.training.health import Health
from townlet_replay.training.telemetry_schema import AgentFigures, EpochRecord
from townlet_replay.training.update_stats import UpdateStats

DataMode = Literal["replay", "rollout", "mixed"]


class Verdict(NamedTuple):
    """What was optimised, and whether the capture supports it."""

    objective: str
    biased: bool | None = None
    audit: Literal["passed", "failed"] | None = None


class Progress(NamedTuple):
    """Where a run stands when an epoch ends."""

    epoch: int  # from 1
    steps: int  # rows since the start, this epoch included
    cycle: int
    data_mode: DataMode
    rollout_ticks: int
    seconds: float
    learning_rate: float
    clip_range: float | None = None
    verdict: Verdict | None = None
    collect_seconds: float | None = None  # of ``seconds``: until the rows were there
    update_seconds: float | None = None  # of ``seconds``: in gradient steps
    staleness: tuple[float, float] | None = None  # mean and largest, in cycles

    def fields(self) -> dict[str, Any]:
        """Return the keys of the record that these are."""
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "cycle_id": self.cycle,
            "data_mode": self.data_mode,
            "rollout_ticks": self.rollout_ticks,
            "epoch_duration_sec": self.seconds,
            "lr": self.learning_rate,
            "clip_range": self.clip_range,
            "collect_sec": self.collect_seconds,
            "update_sec": self.update_seconds,
            "staleness_mean": None if self.staleness is None else self.staleness[0],
            "staleness_max": None if self.staleness is None else self.staleness[1],
            **({} if self.verdict is None else self.verdict._asdict()),
        }

    def per_second(self, rows: int) -> float | None:
        """Return rows per second of the epoch."""
        return rows / self.seconds if self.seconds > 0.0 else None


def ppo_record(
    updates: Sequence[UpdateStats],
    progress: Progress,
    told: Mapping[str, Any],
    samples: Iterable[SampleMetrics],
    health: Health | None = None,
) -> EpochRecord:
    """Return the record of an epoch of PPO updates; means are weighted by minibatches.

    Args:
        updates: Of the epoch.
        progress: Where the run stands.
        told: Keys that are known already, such as those of the capture.
        samples: Metrics of what was trained on.
        health: What was looked at after the updates.
    """
    table = {
        name: np.array([update[column] for update in updates], np.float64)
        for column, name in enumerate(UpdateStats._fields)
    }
    by_minibatch, by_row = np.maximum(table["minibatches"], 1.0), table["rows"]

    def mean(name: str, weights: npt.NDArray[np.float64] = by_minibatch) -> float | None:
        known = ~np.isnan(table[name])
        return (
            float(np.average(table[name][known], weights=weights[known])) if known.any() else None
        )

    def largest(name: str) -> float | None:
        known = ~np.isnan(table[name])
        return float(table[name][known].max()) if known.any() else None

    def smallest(name: str) -> float | None:
        known = ~np.isnan(table[name])
        return float(table[name][known].min()) if known.any() else None

    return EpochRecord(
        **progress.fields(),
        **told,
        **town_figures(list(samples)),
        updates=sum(update.minibatches for update in updates),
        transitions=int(by_row.sum()),
        loss_policy=mean("loss_policy"),
        loss_value=mean("loss_value"),
        loss_entropy=mean("loss_entropy"),
        loss_total=mean("loss_total"),
        clip_fraction=mean("clip_fraction"),
        adv_mean=mean("adv_mean", by_row),
        adv_std=mean("adv_std", by_row),
        grad_norm=mean("grad_norm"),
        grad_norm_max=largest("grad_norm_max"),
        kl_divergence=mean("kl_divergence"),
        kl_divergence_max=largest("kl_divergence_max"),
        batch_entropy_mean=mean("batch_entropy_mean"),
        batch_entropy_std=mean("batch_entropy_std"),
        reward_advantage_corr=mean("reward_advantage_corr", by_row),
        epochs_completed=mean("epochs_completed"),
        early_stops=sum(update.stopped_early for update in updates),
        ratio_mean=mean("ratio_mean"),
        ratio_max=largest("ratio_max"),
        ess=mean("ess"),
        ess_min=smallest("ess_min"),
        explained_variance=mean("explained_variance", by_row),
        rows_per_sec=progress.per_second(int(by_row.sum())),
        **health_figures(health),
    )


def bc_record(
    epoch: BCEpoch,
    rows: int,
    progress: Progress,
    baselines: Mapping[str, Any],
    samples: Iterable[SampleMetrics],
) -> EpochRecord:
    """Return the record of one pass of behaviour cloning; ``loss_policy`` is its cross-entropy."""
    return EpochRecord(
        **progress.fields(),
        **baselines,
        **town_figures(list(samples)),
        updates=epoch.minibatches,
        transitions=rows,
        loss_policy=epoch.nll,
        loss_value=epoch.loss_value,
        loss_entropy=-epoch.entropy,
        grad_norm=epoch.grad_norm,
        batch_entropy_mean=epoch.entropy,
        rows_per_sec=progress.per_second(rows),
    )


def awr_record(
    epoch: AWREpoch,
    progress: Progress,
    baselines: Mapping[str, Any],
    samples: Iterable[SampleMetrics],
) -> EpochRecord:
    """Return the record of one pass of AWR; ``loss_policy`` is its weighted cross-entropy."""
    return EpochRecord(
        **progress.fields(),
        **baselines,
        **town_figures(list(samples)),
        updates=epoch.minibatches,
        transitions=epoch.rows,
        loss_policy=epoch.loss_policy,
        loss_value=epoch.loss_value,
        loss_entropy=-epoch.entropy,
        grad_norm=epoch.grad_norm,
        batch_entropy_mean=epoch.entropy,
        rows_per_sec=progress.per_second(epoch.rows),
    )


def health_figures(health: Health | None) -> dict[str, Any]:
    """Return what was found after the updates, by the keys of the record."""
    if health is None:
        return {}
    figures = {name: value for name, value in health._asdict().items() if name != "rows"}
    agents = {name: AgentFigures(**found._asdict()) for name, found in health.agents.items()}
    return {**figures, "agents": agents}


def check_moved(first: EpochRecord, target_kl: float | None) -> None:
    """Refuse to go on when the KL stop let the first update of a run take no step at all.

    Raises:
        TrainingError: Nothing was learnt, and nothing would be.
    """
    if first.updates == 0:
        raise TrainingError(
            "expected a learner near who acted in the capture, found that no gradient step could "
            f"be taken: k3 {first.kl_divergence:.3g} is above 1.5 times target_kl {target_kl}; "
            "raise target_kl, or clone the capture first"
        )


def town_figures(samples: Sequence[SampleMetrics]) -> dict[str, Any]:
    """Return conflict figures of the captured samples; null where no sample knows."""
    conflicts = [m.queue_conflict_events for m in samples if m.queue_conflict_events is not None]
    intensity = _known(m.queue_conflict_intensity_sum for m in samples)
    late = [m.late_shifts for m in samples if m.late_shifts is not None]
    minutes = [
        (m.lateness_mean, m.late_shifts or 0) for m in samples if m.lateness_mean is not None
    ]
    return {
        "conflict_rivalry_max_mean_avg": _mean(m.rivalry_max_mean for m in samples),
        "conflict_rivalry_max_max_avg": _mean(m.rivalry_max_max for m in samples),
        "conflict_rivalry_avoid_count_mean_avg": _mean(m.rivalry_avoid_count_mean for m in samples),
        "conflict_rivalry_avoid_count_max_avg": _mean(m.rivalry_avoid_count_max for m in samples),
        "queue_conflict_events": sum(conflicts) if conflicts else None,
        "queue_conflict_intensity_sum": sum(intensity) if intensity else None,
        "late_shift_events": sum(late) if late else None,
        "lateness_mean": row_mean(minutes),
        **_social_figures(samples),
    }


def _social_figures(samples: Sequence[SampleMetrics]) -> dict[str, Any]:
    """Return what residents had to do with each other; nothing where no sample knows."""
    tables = [m.social_events for m in samples if m.social_events is not None]
    if not tables:
        return {}
    counts = {name: sum(table.get(name, 0) for table in tables) for name in tables[0]}
    quality = math.fsum(_known(m.chat_quality_sum for m in samples))
    talked = counts["chat_success"]
    return {
        "shared_meal_events": counts["shared_meal"],
        "late_help_events": counts["helped"],
        "shift_takeover_events": counts["shift_taken"],
        "chat_success_events": talked,
        "chat_failure_events": counts["chat_failure"],
        "chat_quality_mean": quality / talked if talked else None,
    }


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return sum(known) / len(known) if known else None
