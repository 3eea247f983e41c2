"""The JSON next to every sample: what its columns and ids mean, who acted, and where it comes from.

Names of observation columns, actions and reward components are written into every file that holds
them, so that a capture is understood without the code that made it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from townlet_replay.errors import CaptureError
from townlet_replay.safe_files import MAX_JSON_BYTES, check_json, first_problem, sha256_of, to_json

SCHEMA_VERSION = "1.2"  # that is written
READABLE_VERSIONS = ("1.0", "1.1", SCHEMA_VERSION)

# The last line of a document: SHA-256 of everything before it, so that a flipped bit is seen.
_SEAL = re.compile(rb',\n"sha256": "([0-9a-f]{64})"\n}\n')
SEAL_BYTES = 81  # of that line, and of what ends the document
_END = b"\n}\n"

_ACTION_ID = re.compile(r"0|[1-9]\d{0,8}")

Mode = Literal["full", "packed"]  # of a file of arrays
RecordMode = Literal["full", "packed", "actions"]
BehaviourKind = Literal["policy", "script", "script_eps", "mixed", "unknown"]


class CaptureNames(NamedTuple):
    """What an environment calls its ids and columns; empty where it has no names."""

    action_lookup: dict[int, str] | None = None  # None: ``action_<i>`` of a Discrete space
    feature_names: tuple[str, ...] | None = None  # columns of ``features``
    map_channels: tuple[str, ...] | None = None
    reward_components: tuple[str, ...] | None = None  # columns of ``reward_components``


class StrictDocument(BaseModel):
    """Immutable, and refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Document = TypeVar("Document", bound=BaseModel)


class Behaviour(StrictDocument):
    """Who chose the actions, as far as a learner has to know."""

    kind: BehaviourKind = "unknown"
    epsilon: float | None = Field(default=None, ge=0, le=1, description="share of random actions")
    temperature: float | None = Field(default=None, ge=0, description="of a sampled policy")
    digest: str | None = Field(default=None, description="hash of the weights, or of the script")


class CaptureMetadata(StrictDocument):
    """Where the data come from: enough to run the same thing again."""

    config_id: str | None = None
    config_digest: str | None = None
    scenario_name: str | None = None
    scenario_description: str | None = None
    ticks: int | None = Field(
        default=None, description="length of an episode the scenario asks for"
    )
    seed: int | None = Field(default=None, description="seed that plays the episode again")
    policy_hash: str | None = None
    captured_at: str | None = Field(default=None, description="only if the caller states it")
    versions: dict[str, str] = {}
    kernel_digest: str | None = None


class SampleMetrics(StrictDocument):
    """Summary of one sample; ``None`` where the environment does not tell."""

    timesteps: int = Field(ge=1)
    reward_sum: float
    reward_mean: float
    reward_component_sums: dict[str, float] | None = None
    log_prob_mean: float | None = Field(
        default=None, description="over rows whose log-prob is known"
    )
    value_pred_last: float | None = None
    rivalry_max_mean: float | None = None
    rivalry_max_max: float | None = None
    rivalry_avoid_count_mean: float | None = Field(default=None, description="residents")
    rivalry_avoid_count_max: float | None = Field(default=None, description="residents")
    lateness_mean: float | None = Field(
        default=None, description="minutes per late shift; 0 if never late"
    )
    late_shifts: int | None = None
    queue_conflict_events: int | None = None
    queue_conflict_intensity_sum: float | None = None
    affordance_finishes: dict[str, int] | None = None
    action_counts: dict[str, int] | None = None
    action_blocked_ratio: float | None = Field(
        default=None, description="share of rows, illegal actions"
    )
    action_entropy: float | None = Field(default=None, description="of the actions taken, nats")
    clip_share: float | None = Field(default=None, description="share of rows, clipped reward")
    terminations: int | None = Field(
        default=None, ge=0, le=1, description="1: the life ended; 0: the rows were cut off"
    )
    social_events: dict[str, int] | None = Field(
        default=None, description="chats by success, shared meals, help, shifts taken over"
    )
    chat_quality_sum: float | None = Field(default=None, description="of the chats that went well")


class SampleSource(StrictDocument):
    """The recorded rows a sample is made of; kept when it is copied again."""

    manifest_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the capture they are in")
    sample: str = Field(description="path of the NPZ there")
    first_row: int = Field(ge=0, description="row of it that is row 0 here")


class SampleMeta(StrictDocument):
    """The sidecar of one sample."""

    schema_version: str = SCHEMA_VERSION
    mode: Mode = Field(default="full", description="how the arrays are written")
    agent_id: str
    episode_id: int = Field(ge=0, description="the samples of an episode share it")
    feature_names: tuple[str, ...] | None = Field(default=None, description="columns of features")
    map_channels: tuple[str, ...] | None = Field(default=None, description="axis 1 of map")
    reward_components: tuple[str, ...] | None = Field(
        default=None, description="columns of the array of this name"
    )
    action_lookup: dict[int, str] = Field(
        default={}, description="empty unless actions are Discrete"
    )
    action_dim: int = Field(ge=1, description="number of ids, or of components of an action")
    timesteps: int = Field(ge=1, description="rows, T")
    value_pred_steps: int = Field(ge=2, description="T + 1")
    behaviour: Behaviour = Behaviour()
    tags: tuple[str, ...] = Field(default=(), description="of the recording, to choose samples by")
    metrics: SampleMetrics | None = Field(default=None, description="numbers about the sample")
    capture_metadata: CaptureMetadata = CaptureMetadata()
    source: SampleSource | None = Field(default=None, description="None: as it was recorded")
    digests: dict[str, str] = Field(
        default={}, description="npz: SHA-256 of the arrays' file; <array>.npy: of one array as NPY"
    )

    @field_validator("action_lookup", mode="before")
    @classmethod
    def _each_id_once(cls, lookup: object) -> object:
        """JSON spells keys as text, and ``"1"`` and ``"01"`` would be one id."""
        if not isinstance(lookup, dict):
            return lookup
        odd = [key for key in lookup if isinstance(key, str) and not _ACTION_ID.fullmatch(key)]
        if odd:
            raise ValueError(f"{odd[0]!r:.40} is not an action id")
        return {int(key) if isinstance(key, str) else key: lookup[key] for key in lookup}


def write_document(document: BaseModel) -> bytes:
    """Return a sidecar, manifest or metrics file, sealed by its own SHA-256 in the last line.

    Raises:
        CaptureError: a text cannot be written as UTF-8.
    """
    body = to_json(document).removesuffix(_END)
    return body + b',\n"sha256": "' + sha256_of(body).encode("ascii") + b'"' + _END


def unsealed(data: bytes, where: str) -> bytes:
    """Return a document without its seal; one without any is as good as it is.

    Raises:
        CaptureError: the seal is not of this document.
    """
    seal = seal_of(data[-SEAL_BYTES:])
    if seal is None:
        return data
    body = data[:-SEAL_BYTES]
    if sha256_of(body) != seal:
        raise CaptureError(
            f"{where}: altered since it was written: its last line is not the SHA-256 of the rest"
        )
    return body + _END


def seal_of(end: bytes) -> str | None:
    """Return the SHA-256 in the last ``SEAL_BYTES`` of a document; ``None`` if it has no seal."""
    found = _SEAL.fullmatch(end)
    return None if found is None else found[1].decode("ascii")


def read_document(
    kind: type[Document], data: bytes, where: str, versions: Collection[str] = READABLE_VERSIONS
) -> Document:
    """Return a sidecar, manifest or metrics file as its model.

    Args:
        kind: the model expected.
        data: the content of the file.
        where: the file, for the message.
        versions: that are read.

    Raises:
        CaptureError: altered, not strict JSON, another schema version, a wrong, missing or unknown
            field.
    """
    if len(data) > MAX_JSON_BYTES:
        raise CaptureError(f"{where}: JSON of more than {MAX_JSON_BYTES} bytes")
    data = unsealed(data, where)
    value = check_json(data, where)
    check_schema_version(value, where, versions)
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise CaptureError(f"{where}: {first_problem(error)}") from error


def check_schema_version(
    value: JsonValue, where: str, versions: Collection[str] = READABLE_VERSIONS
) -> None:
    """Refuse a document of another version before its fields are looked at.

    Raises:
        CaptureError: names both versions.
    """
    if not isinstance(value, dict):
        raise CaptureError(f"{where}: expected a JSON object, found {type(value).__name__}")
    version = value.get("schema_version")
    if version not in versions:
        known = " and ".join(map(repr, versions))
        raise CaptureError(
            f"{where}: schema_version is {version!r:.40}, this Townlet reads {known}; "
            "use the Townlet that wrote the capture, or record it again"
        )
