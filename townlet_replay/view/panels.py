"""What the page of training logs draws: small charts, each with curves of one unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from townlet_replay.training.telemetry_schema import EpochRecord, EpochRecordV1, keys_of

Numbers = Mapping[str, float | None]


class Curve(NamedTuple):
    """One line of a chart."""

    key: str  # as in the file, or of DERIVED
    label: str


class Panel(NamedTuple):
    """One chart."""

    title: str
    curves: tuple[Curve, ...]


class AgentPanel(NamedTuple):
    """One chart with a line for every agent."""

    title: str
    figure: str  # of AGENT_FIGURES


def _share(part: str) -> Callable[[Numbers], float | None]:
    def of(record: Numbers) -> float | None:
        whole, some = record.get("epoch_duration_sec"), record.get(part)
        return None if not whole or some is None else some / whole

    return of


# Figures that a page computes: of the time of an epoch, the share of its parts.
DERIVED: Mapping[str, Callable[[Numbers], float | None]] = {
    "share.collect": _share("collect_sec"),
    "share.update": _share("update_sec"),
}
AGENT_FIGURES = ("rows", "segments", "reward_sum", "return", "entropy", "ess")
# What is no figure of an epoch: words, and what every record has of itself.
WORDS = ("objective", "biased", "audit", "data_mode", "agents", "telemetry_version")
NUMBERS = tuple(key for key in keys_of(EpochRecord) if key not in WORDS)
COLUMN_KEYS = (*NUMBERS, *DERIVED)

PANELS = (
    Panel("Return per sample", (Curve("baseline_reward_sum_mean", "return"),)),
    Panel(
        "KL divergence",
        (Curve("kl_divergence", "mean"), Curve("kl_divergence_max", "highest minibatch")),
    ),
    Panel("Clip fraction", (Curve("clip_fraction", "share of rows"),)),
    Panel("Entropy, nats", (Curve("batch_entropy_mean", "mean"),)),
    Panel("Entropy, share of the possible", (Curve("entropy_normalised", "mean"),)),
    Panel(
        "Explained variance",
        (
            Curve("explained_variance", "of lambda-returns"),
            Curve("explained_variance_mc", "of returns"),
        ),
    ),
    Panel("Value loss", (Curve("loss_value", "value"),)),
    Panel("Loss", (Curve("loss_policy", "policy"), Curve("loss_total", "total"))),
    Panel(
        "Gradient norm",
        (Curve("grad_norm", "mean"), Curve("grad_norm_max", "highest minibatch")),
    ),
    Panel(
        "Effective sample size",
        (Curve("ess", "mean"), Curve("ess_min", "lowest minibatch")),
    ),
    Panel("Ratio", (Curve("ratio_mean", "mean"), Curve("ratio_max", "highest row"))),
    Panel("Advantage", (Curve("adv_mean", "mean"), Curve("adv_std", "deviation"))),
    Panel("Value against return", (Curve("value_slope", "slope"), Curve("value_bias", "bias"))),
    Panel("Reward per row", (Curve("baseline_reward_mean", "reward"),)),
    Panel("Step size", (Curve("lr", "learning rate"), Curve("clip_range", "clip range"))),
    Panel(
        "Legal actions",
        (
            Curve("legal_share", "legal"),
            Curve("forced_share", "rows without a choice"),
            Curve("illegal_mass", "mass before the mask"),
        ),
    ),
    Panel("Staleness, cycles", (Curve("staleness_mean", "mean"), Curve("staleness_max", "oldest"))),
    Panel("Rows per second", (Curve("rows_per_sec", "rows"),)),
    Panel(
        "Time, share of the epoch",
        (Curve("share.collect", "collecting"), Curve("share.update", "updates")),
    ),
    Panel(
        "Queue conflicts",
        (
            Curve("queue_conflict_events", "conflicts"),
            Curve("queue_conflict_intensity_sum", "intensities"),
        ),
    ),
    Panel(
        "Rivalry",
        (
            Curve("conflict.rivalry_max_mean_avg", "mean"),
            Curve("conflict.rivalry_max_max_avg", "highest"),
        ),
    ),
    Panel(
        "Residents avoided",
        (
            Curve("conflict.rivalry_avoid_count_mean_avg", "mean"),
            Curve("conflict.rivalry_avoid_count_max_avg", "highest"),
        ),
    ),
    Panel(
        "Chats",
        (Curve("chat_success_events", "went well"), Curve("chat_failure_events", "did not")),
    ),
    Panel(
        "Kindness",
        (
            Curve("shared_meal_events", "shared meals"),
            Curve("late_help_events", "help"),
            Curve("shift_takeover_events", "shifts taken over"),
        ),
    ),
    Panel("Late shifts", (Curve("late_shift_events", "shifts"), Curve("lateness_mean", "minutes"))),
)
AGENT_PANELS = (
    AgentPanel("Return by agent", "return"),
    AgentPanel("Entropy by agent, nats", "entropy"),
    AgentPanel("Effective sample size by agent", "ess"),
)


def meanings() -> list[tuple[str, str]]:
    """Return every key that is not by agent, with its meaning, in the order of the file."""
    fields, keys = EpochRecord.model_fields, keys_of(EpochRecord)
    return [(key, fields[name].description or "") for key, name in keys.items() if key != "agents"]


def numbers_of(record: EpochRecordV1) -> dict[str, float | None]:
    """Return every figure of a record, the derived ones too; None where it was not measured."""
    found = record.model_dump(by_alias=True)
    numbers = {key: found.get(key) for key in NUMBERS}
    return numbers | {name: compute(numbers) for name, compute in DERIVED.items()}


def agents_of(record: EpochRecordV1) -> dict[str, tuple[float | None, ...]]:
    """Return the figures of every agent, in the order of ``AGENT_FIGURES``."""
    if not isinstance(record, EpochRecord):
        return {}
    return {
        name: (
            figures.rows,
            figures.segments,
            figures.reward_sum,
            None
            if figures.reward_sum is None or not figures.segments
            else figures.reward_sum / figures.segments,
            figures.entropy,
            figures.ess,
        )
        for name, figures in record.agents.items()
    }
