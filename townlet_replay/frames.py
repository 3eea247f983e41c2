"""Rows as they happen, and their way into a :class:`~townlet_replay.sample.ReplaySample`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from townlet_replay.errors import CaptureError
from townlet_replay.safe_files import first_problem
from townlet_replay.sample import ReplaySample
from townlet_replay.sidecar import Behaviour, CaptureMetadata, CaptureNames, SampleMeta

NAN = math.nan


class Frame(NamedTuple):
    """One row: an agent, one tick. ``None`` and NaN mean unknown."""

    observation: dict[str, NDArray[Any]]  # key -> (...), seen before the action
    action: int | NDArray[Any]  # id, or the components of another action space
    reward: float
    terminated: bool
    truncated: bool
    tick: int
    action_mask: NDArray[np.int8] | None = None  # (A,)
    log_prob: float = NAN
    value: float = NAN
    policy_log_prob: float = NAN
    logits: NDArray[np.float32] | None = None  # (A,)
    intent: int | NDArray[Any] | None = None
    reward_components: NDArray[np.float32] | None = None  # (K,)
    policy_version: int | None = None


class Ending(NamedTuple):
    """What followed the last row."""

    observation: dict[str, NDArray[Any]]  # key -> (...)
    value: float = NAN  # V(observation); ignored after a termination
    action_mask: NDArray[np.int8] | None = None  # (A,)


class SampleOrigin(NamedTuple):
    """Whose rows they are, and what their ids and columns are called."""

    agent_id: str
    episode_id: int
    action_dim: int
    names: CaptureNames
    behaviour: Behaviour = Behaviour()
    tags: tuple[str, ...] = ()
    capture_metadata: CaptureMetadata = CaptureMetadata()

    @property
    def where(self) -> str:
        """What to call the sample in a message."""
        return f"sample of agent {self.agent_id!r}, episode {self.episode_id}"


class Columns(NamedTuple):
    """The rows of one life, T of them, each quantity by itself."""

    observations: dict[str, NDArray[Any]]  # key -> (T, ...)
    action_mask: NDArray[np.int8] | None  # (T, A)
    actions: NDArray[Any]  # (T,) ids, or (T, ...) components
    rewards: Sequence[float] | NDArray[np.float32]
    terminations: NDArray[np.bool_]  # (T,)
    truncations: NDArray[np.bool_]  # (T,)
    ticks: Sequence[int] | NDArray[np.int32]
    log_probs: Sequence[float] | NDArray[np.float64]  # NaN: unknown
    values: Sequence[float] | NDArray[np.float64]  # NaN: unknown
    policy_log_probs: Sequence[float] = ()
    logits: Sequence[NDArray[np.float32] | None] = ()  # (A,) each; empty: none of these is known
    intents: Sequence[int | NDArray[Any] | None] = ()
    reward_components: Sequence[NDArray[np.float32] | None] | NDArray[np.float32] | None = None
    policy_versions: Sequence[int | None] = ()


def frames_to_replay_sample(
    frames: Sequence[Frame], ending: Ending, origin: SampleOrigin
) -> ReplaySample:
    """Stack the rows of one agent's life.

    A last row that neither terminated nor truncated was cut off by the recording and is marked
    truncated. After a termination the final value is 0, or NaN if no row has a value.

    Args:
        frames: T >= 1 rows in order; the observation of each is the one *before* its action.
        ending: what the agent saw after its last action.
        origin: names and provenance.

    Raises:
        CaptureError: no frames, or rows that do not fit each other.
    """
    if not frames:
        raise CaptureError(f"{origin.where}: no frames; a sample has at least one row")
    return columns_to_replay_sample(lambda: _columns_of(frames), ending, origin)


def columns_to_replay_sample(
    columns: Callable[[], Columns], ending: Ending, origin: SampleOrigin
) -> ReplaySample:
    """Make a sample of rows that are stacked already; see :func:`frames_to_replay_sample`.

    Args:
        columns: returns the rows, or raises ``ValueError`` with the reason why they do not fit.
        ending: what the agent saw after its last action.
        origin: names and provenance.

    Raises:
        CaptureError: the rows do not fit each other.
    """
    try:
        return _assemble(columns(), ending, origin)
    except ValidationError as error:
        raise CaptureError(f"{origin.where}: {first_problem(error)}") from error
    except (ValueError, OverflowError) as error:
        raise CaptureError(f"{origin.where}: {error}") from error


def _columns_of(frames: Sequence[Frame]) -> Columns:
    masks = [frame.action_mask for frame in frames]
    masked = any(mask is not None for mask in masks)
    return Columns(
        observations=_stack_observations(frames),
        action_mask=stack("action_mask", masks).astype(np.int8) if masked else None,
        actions=stack_actions("actions", [frame.action for frame in frames]),
        rewards=[frame.reward for frame in frames],
        terminations=np.array([frame.terminated for frame in frames], np.bool_),
        truncations=np.array([frame.truncated for frame in frames], np.bool_),
        ticks=[frame.tick for frame in frames],
        log_probs=[frame.log_prob for frame in frames],
        values=[frame.value for frame in frames],
        policy_log_probs=[frame.policy_log_prob for frame in frames],
        logits=[frame.logits for frame in frames],
        intents=[frame.intent for frame in frames],
        reward_components=[frame.reward_components for frame in frames],
        policy_versions=[frame.policy_version for frame in frames],
    )


def _assemble(columns: Columns, ending: Ending, origin: SampleOrigin) -> ReplaySample:
    rows = len(columns.rewards)
    terminations, truncations = columns.terminations, columns.truncations
    truncations[-1] |= not terminations[-1]
    values = np.array(columns.values, np.float32)
    return ReplaySample(
        observations=columns.observations,
        action_mask=columns.action_mask,
        actions=columns.actions,
        rewards=np.array(columns.rewards, np.float32),
        terminations=terminations,
        truncations=truncations,
        old_log_probs=np.array(columns.log_probs, np.float32),
        value_preds=np.append(values, _final_value(values, terminations, ending)),
        ticks=np.array(columns.ticks, np.int32),
        final_observation=dict(ending.observation),
        extras=_extras(columns, ending),
        meta=SampleMeta(
            agent_id=origin.agent_id,
            episode_id=origin.episode_id,
            feature_names=origin.names.feature_names,
            map_channels=origin.names.map_channels,
            reward_components=origin.names.reward_components,
            action_lookup=origin.names.action_lookup or {},
            action_dim=origin.action_dim,
            timesteps=rows,
            value_pred_steps=rows + 1,
            behaviour=origin.behaviour,
            tags=origin.tags,
            capture_metadata=origin.capture_metadata,
        ),
    )


def _final_value(
    values: NDArray[np.float32], terminations: NDArray[np.bool_], ending: Ending
) -> np.float32:
    if not terminations[-1]:
        return np.float32(ending.value)
    return np.float32(NAN if np.isnan(values).all() else 0.0)


def _stack_observations(frames: Sequence[Frame]) -> dict[str, NDArray[Any]]:
    keys = frames[0].observation.keys()
    for row, frame in enumerate(frames):
        if frame.observation.keys() != keys:
            raise ValueError(other_keys(row, frame.observation, keys))
    return {key: stack(key, [frame.observation[key] for frame in frames]) for key in keys}


def other_keys(row: int, found: Iterable[str], expected: Iterable[str]) -> str:
    """Say that a row observes other things than the first."""
    return (
        f"row {row} observes {sorted(found)}, row 0 {sorted(expected)}; "
        "expected the same keys in every row"
    )


def stack(name: str, arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any]:
    """Stack what every row has.

    Raises:
        ValueError: some rows have none, or one of another shape or dtype.
    """
    known = [array for array in arrays if array is not None]
    if len(known) != len(arrays):
        raise ValueError(f"{name} is given for {len(known)} of {len(arrays)} rows")
    shape, dtype = known[0].shape, known[0].dtype
    if any(a.shape != shape or a.dtype != dtype for a in known):
        raise ValueError(f"{name} changes its shape or dtype between rows")
    if not shape:
        return np.stack(known)
    # Faster than np.stack, which makes a view of every row.
    return np.concatenate(known).reshape(len(known), *shape)


def stack_actions(name: str, actions: Sequence[int | NDArray[Any]]) -> NDArray[Any]:
    """Stack ids, or components, as they are stored: int64, or float32 as they are.

    Raises:
        ValueError: as :func:`stack`.
    """
    if all(type(action) is int for action in actions):
        return np.array(actions, np.int64)
    array = stack(name, [np.asarray(action) for action in actions])
    return array if array.dtype == np.float32 else array.astype(np.int64)


def _extras(columns: Columns, ending: Ending) -> dict[str, NDArray[Any]]:
    extras: dict[str, NDArray[Any]] = {}
    log_probs = np.array(columns.policy_log_probs, np.float32)
    if not np.isnan(log_probs).all():
        extras["policy_log_probs"] = log_probs
    known = [logits for logits in columns.logits if logits is not None]
    if known:
        unknown = np.full_like(known[0], NAN)
        logits = [unknown if row is None else row for row in columns.logits]
        extras["behaviour_logits"] = stack("logits", logits).astype(np.float32)
    if any(intent is not None for intent in columns.intents):
        pairs = zip(columns.intents, columns.actions, strict=True)
        intents = [action if intent is None else intent for intent, action in pairs]
        extras["intent_actions"] = stack_actions("intents", intents)
    components = columns.reward_components
    if isinstance(components, np.ndarray):
        extras["reward_components"] = components
    elif components is not None and not any(row is None for row in components):
        extras["reward_components"] = stack("reward_components", components).astype(np.float32)
    if any(version is not None for version in columns.policy_versions):
        versions = [-1 if version is None else version for version in columns.policy_versions]
        extras["policy_version"] = np.array(versions, np.int64)
    if columns.action_mask is not None:
        illegal = _illegal(columns.actions.astype(np.int64), columns.action_mask)
        if illegal.any():
            extras["illegal_actions"] = illegal
    if ending.action_mask is not None:
        extras["final_action_mask"] = ending.action_mask.astype(np.int8)
    return extras


def _illegal(actions: NDArray[np.int64], mask: NDArray[np.int8]) -> NDArray[np.bool_]:
    width = mask.shape[1]
    inside = np.clip(actions, 0, width - 1)  # an id out of range is reported by the sample
    illegal: NDArray[np.bool_] = (mask[np.arange(len(actions)), inside] == 0) & (actions == inside)
    return illegal
