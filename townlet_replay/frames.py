"""Rows as they happen, and their way into a :class:`~townlet_replay.sample.ReplaySample`."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    where = f"sample of agent {origin.agent_id!r}, episode {origin.episode_id}"
    if not frames:
        raise CaptureError(f"{where}: no frames; a sample has at least one row")
    try:
        return _assemble(frames, ending, origin)
    except ValidationError as error:
        raise CaptureError(f"{where}: {first_problem(error)}") from error
    except (ValueError, OverflowError) as error:
        raise CaptureError(f"{where}: {error}") from error


def _assemble(frames: Sequence[Frame], ending: Ending, origin: SampleOrigin) -> ReplaySample:
    rows = len(frames)
    terminations = np.array([frame.terminated for frame in frames], np.bool_)
    truncations = np.array([frame.truncated for frame in frames], np.bool_)
    truncations[-1] |= not terminations[-1]
    values = np.array([frame.value for frame in frames], np.float32)
    actions = _stack("actions", [np.asarray(frame.action) for frame in frames])
    masks = [frame.action_mask for frame in frames]
    masked = any(mask is not None for mask in masks)
    mask = _stack("action_mask", masks).astype(np.int8) if masked else None
    return ReplaySample(
        observations=_stack_observations(frames),
        action_mask=mask,
        actions=actions if actions.dtype == np.float32 else actions.astype(np.int64),
        rewards=np.array([frame.reward for frame in frames], np.float32),
        terminations=terminations,
        truncations=truncations,
        old_log_probs=np.array([frame.log_prob for frame in frames], np.float32),
        value_preds=np.append(values, _final_value(values, terminations, ending)),
        ticks=np.array([frame.tick for frame in frames], np.int32),
        final_observation=dict(ending.observation),
        extras=_extras(frames, ending, mask),
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
            raise ValueError(
                f"row {row} observes {sorted(frame.observation)}, row 0 {sorted(keys)}; "
                "expected the same keys in every row"
            )
    return {key: _stack(key, [frame.observation[key] for frame in frames]) for key in keys}


def _stack(name: str, arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any]:
    known = [array for array in arrays if array is not None]
    if len(known) != len(arrays):
        raise ValueError(f"{name} is given for {len(known)} of {len(arrays)} rows")
    if any((a.shape, a.dtype) != (known[0].shape, known[0].dtype) for a in known):
        raise ValueError(f"{name} changes its shape or dtype between rows")
    return np.stack(known)


def _extras(
    frames: Sequence[Frame], ending: Ending, mask: NDArray[np.int8] | None
) -> dict[str, NDArray[Any]]:
    extras: dict[str, NDArray[Any]] = {}
    log_probs = np.array([frame.policy_log_prob for frame in frames], np.float32)
    if not np.isnan(log_probs).all():
        extras["policy_log_probs"] = log_probs
    known = [frame.logits for frame in frames if frame.logits is not None]
    if known:
        unknown = np.full_like(known[0], NAN)
        logits = [unknown if frame.logits is None else frame.logits for frame in frames]
        extras["behaviour_logits"] = _stack("logits", logits).astype(np.float32)
    if any(frame.intent is not None for frame in frames):
        intents = [frame.action if frame.intent is None else frame.intent for frame in frames]
        array = _stack("intents", [np.asarray(intent) for intent in intents])
        extras["intent_actions"] = array if array.dtype == np.float32 else array.astype(np.int64)
    if all(frame.reward_components is not None for frame in frames):
        components = _stack("reward_components", [frame.reward_components for frame in frames])
        extras["reward_components"] = components.astype(np.float32)
    if any(frame.policy_version is not None for frame in frames):
        versions = [frame.policy_version for frame in frames]
        extras["policy_version"] = np.array([-1 if v is None else v for v in versions], np.int64)
    if mask is not None:
        illegal = _illegal(np.array([frame.action for frame in frames], np.int64), mask)
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
