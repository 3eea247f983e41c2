"""The published schema of the training log: one JSON object per epoch.

Every version is one class; the order of its fields is the order of the keys in a line. A key that
could not be measured is ``null``, never left out, never NaN.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from townlet_env.errors import nearest
from townlet_replay.errors import TelemetryError


def _plain(value: object) -> object:
    """NaN and infinities are unmeasured, and zero has no sign."""
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) else None
    return value


Measure = Annotated[float | None, BeforeValidator(_plain)]
Amount = Annotated[Annotated[float, Field(ge=0)] | None, BeforeValidator(_plain)]
Share = Annotated[Annotated[float, Field(ge=0, le=1)] | None, BeforeValidator(_plain)]
Count = Annotated[int, Field(ge=0)]


def _conflict(name: str, description: str) -> Any:
    key = f"conflict.{name}"
    return Field(
        default=None, validation_alias=key, serialization_alias=key, description=description
    )


TelemetryVersion = Literal["1", "1.1", "2"]
NEWEST: TelemetryVersion = "2"


class EpochRecordV1(BaseModel):
    """One epoch, version 1."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        json_schema_serialization_defaults_required=True,
    )

    epoch: int = Field(ge=1, description="Counts from 1 and goes on across restarts.")
    updates: Count = Field(description="Gradient steps in this epoch.")
    transitions: Count = Field(
        description="Rows of data in this epoch, counted once however often PPO passes over them."
    )
    loss_policy: Measure = Field(
        default=None, description="Clipped surrogate, or BC loss; minibatch mean."
    )
    loss_value: Measure = Field(default=None, description="Mean squared error of the value head.")
    loss_entropy: Measure = Field(
        default=None, description="Minus the mean entropy, nats, unweighted."
    )
    loss_total: Measure = Field(default=None, description="The loss as optimised.")
    clip_fraction: Share = Field(
        default=None, description="Share of rows whose ratio left the clip range."
    )
    adv_mean: Measure = Field(default=None, description="Mean advantage before normalisation.")
    adv_std: Amount = Field(default=None, description="Standard deviation of the advantages.")
    grad_norm: Amount = Field(default=None, description="Global gradient norm before clipping.")
    kl_divergence: Measure = Field(
        default=None, description="k3 estimate: mean(ratio - 1 - log ratio)."
    )
    telemetry_version: float = Field(default=1.0, ge=1, le=1, description="Of this schema.")
    lr: Amount = Field(default=None, description="Learning rate of the last gradient step.")
    steps: Count = Field(description="Sum of the transitions since the start, across restarts.")
    baseline_sample_count: Count | None = Field(default=None, description="Samples in the capture.")
    baseline_reward_mean: Measure = Field(default=None, description="Reward per captured row.")
    baseline_reward_sum: Measure = Field(default=None, description="Reward over all captured rows.")
    baseline_reward_sum_mean: Measure = Field(
        default=None, description="Return per captured sample."
    )
    baseline_log_prob_mean: Measure = Field(
        default=None, description="Behaviour's log-prob per row."
    )
    conflict_rivalry_max_mean_avg: Measure = _conflict(
        "rivalry_max_mean_avg", "Feature rivalry_max: mean over a sample, averaged over samples."
    )
    conflict_rivalry_max_max_avg: Measure = _conflict(
        "rivalry_max_max_avg", "Feature rivalry_max: highest of a sample, averaged over samples."
    )
    conflict_rivalry_avoid_count_mean_avg: Measure = _conflict(
        "rivalry_avoid_count_mean_avg",
        "Residents avoided: mean over a sample, averaged over samples.",
    )
    conflict_rivalry_avoid_count_max_avg: Measure = _conflict(
        "rivalry_avoid_count_max_avg",
        "Residents avoided: highest of a sample, averaged over samples.",
    )


class EpochRecordV11(EpochRecordV1):
    """One epoch, version 1.1."""

    telemetry_version: float = Field(default=1.1, ge=1.1, le=1.1, description="Of this schema.")
    epoch_duration_sec: Amount = Field(default=None, description="Wall-clock seconds of the epoch.")
    data_mode: Literal["replay", "rollout", "mixed"] = Field(
        description="Where the rows came from: a capture, a fresh rollout, or both."
    )
    cycle_id: Count = Field(default=0, description="Capture-and-train cycle; 0 on a fixed capture.")
    batch_entropy_mean: Amount = Field(
        default=None, description="Policy entropy, nats, minibatch mean."
    )
    batch_entropy_std: Amount = Field(
        default=None, description="Its deviation between minibatches."
    )
    grad_norm_max: Amount = Field(default=None, description="Largest gradient norm of a minibatch.")
    kl_divergence_max: Measure = Field(default=None, description="Largest KL of a minibatch.")
    reward_advantage_corr: Annotated[
        Annotated[float, Field(ge=-1.000001, le=1.000001)] | None, BeforeValidator(_plain)
    ] = Field(
        default=None, description="Pearson correlation of rewards and advantages over the rows."
    )
    rollout_ticks: Count = Field(
        default=0, description="Ticks captured for this cycle; 0 for a replay."
    )
    log_stream_offset: Count = Field(
        default=0, description="Records before this one, rotated ones too."
    )
    queue_conflict_events: Count | None = Field(
        default=None, description="Queue conflicts in the data."
    )
    queue_conflict_intensity_sum: Amount = Field(
        default=None, description="Their intensities summed up."
    )
    shared_meal_events: Count | None = Field(default=None, description="Meals eaten together.")
    late_help_events: Count | None = Field(
        default=None, description="Times a late resident was helped."
    )
    shift_takeover_events: Count | None = Field(default=None, description="Shifts taken over.")
    chat_success_events: Count | None = Field(default=None, description="Chats that went well.")
    chat_failure_events: Count | None = Field(default=None, description="Chats that did not.")
    chat_quality_mean: Measure = Field(
        default=None, description="Mean quality of successful chats."
    )


class AgentFigures(BaseModel):
    """The rows of one agent in an epoch."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    rows: Count = Field(description="Rows of the agent.")
    segments: Count = Field(description="Its lives, or parts of them.")
    reward_sum: Measure = Field(description="Sum of its rewards.")
    entropy: Amount = Field(description="Mean policy entropy after the update, nats.")
    ess: Share = Field(description="Effective sample size of pi / mu after the update.")


class EpochRecord(EpochRecordV11):
    """One epoch, version 2: what training code builds; the writer reduces it for older ones."""

    telemetry_version: float = Field(default=2.0, ge=2, le=2, description="Of this schema.")
    objective: str | None = Field(default=None, description="What was optimised.")
    biased: bool | None = Field(
        default=None, description="Trained although the capture does not support it."
    )
    audit: Literal["passed", "failed"] | None = Field(
        default=None, description="Verdict on the log-probs of the capture."
    )
    epochs_completed: Amount = Field(
        default=None, description="Passes of an update that no KL stop cut short; mean."
    )
    early_stops: Count | None = Field(default=None, description="Updates that the KL stop ended.")
    clip_range: Amount = Field(
        default=None, description="How far a ratio may leave 1, in the last update."
    )
    ratio_mean: Amount = Field(default=None, description="Mean ratio pi / anchor.")
    ratio_max: Amount = Field(default=None, description="Largest ratio of a row.")
    ess: Share = Field(default=None, description="Effective sample size of the ratios.")
    ess_min: Share = Field(default=None, description="Its smallest, of a minibatch.")
    explained_variance: Measure = Field(
        default=None,
        description="Of lambda-returns by the recorded values, as Stable-Baselines3 has it.",
    )
    explained_variance_mc: Measure = Field(
        default=None, description="Of discounted returns of whole segments by the recorded values."
    )
    value_bias: Measure = Field(
        default=None, description="Mean of recorded value minus discounted return."
    )
    value_slope: Measure = Field(
        default=None, description="Of discounted returns over recorded values; 1 is calibrated."
    )
    entropy_normalised: Amount = Field(
        default=None,
        description="Entropy / log(legal actions) after the update, where there is a choice.",
    )
    legal_share: Share = Field(
        default=None, description="Share of the vocabulary that was legal, mean over rows."
    )
    forced_share: Share = Field(
        default=None, description="Share of rows with a single legal action."
    )
    illegal_mass: Share = Field(
        default=None,
        description="Probability of illegal actions before the mask, after the update.",
    )
    late_shift_events: Count | None = Field(
        default=None, description="Shifts that somebody came late to, in the data."
    )
    lateness_mean: Amount = Field(default=None, description="Minutes late, per such shift.")
    staleness_mean: Amount = Field(
        default=None, description="Cycles between the policy that acted and the learner; mean."
    )
    staleness_max: Amount = Field(default=None, description="The same, of the oldest row.")
    collect_sec: Amount = Field(default=None, description="Seconds spent collecting rows.")
    update_sec: Amount = Field(default=None, description="Seconds spent in updates.")
    rows_per_sec: Amount = Field(default=None, description="Transitions per second of the epoch.")
    agents: dict[str, AgentFigures] = Field(default={}, description="By agent, or slot when live.")


RECORD_OF_VERSION: Mapping[str, type[EpochRecordV1]] = {
    "1": EpochRecordV1,
    "1.1": EpochRecordV11,
    "2": EpochRecord,
}


def record_class(version: str) -> type[EpochRecordV1]:
    """Return the schema of a version.

    Raises:
        TelemetryError: there is no such version.
    """
    if version not in RECORD_OF_VERSION:
        raise TelemetryError(
            f"Telemetry version {version!r} does not exist{nearest(version, RECORD_OF_VERSION)}."
        )
    return RECORD_OF_VERSION[version]


@functools.cache  # asked of every line that is read
def keys_of(record: type[EpochRecordV1]) -> Mapping[str, str]:
    """Key in the file -> name of the field, in the order of the file."""
    return {field.serialization_alias or name: name for name, field in record.model_fields.items()}


def json_schema(version: str = NEWEST) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one line; every key is required.

    Raises:
        TelemetryError: there is no such version.
    """
    schema = record_class(version).model_json_schema(by_alias=True, mode="serialization")
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect} | schema | {"title": f"Townlet training telemetry {version}"}
