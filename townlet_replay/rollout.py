"""Samples of different lengths packed into one batch without padding: what every learner reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.sample import ReplaySample

_PLAIN = ("rewards", "terminations", "truncations", "old_log_probs")  # one number per row


class Rollout(NamedTuple):
    """N rows of S segments, one after the other: agent-major, no padding.

    A segment is one agent's life in one episode. Each is closed by a termination, or by a
    truncation whose value of the final observation stands in ``bootstrap_values``.
    """

    observations: dict[str, NDArray[Any]]  # key -> (N, ...)
    action_mask: NDArray[np.int8] | None  # (N, A)
    actions: NDArray[Any]  # (N,) int64 ids; (N, ...) for other action spaces
    rewards: NDArray[np.float32]  # (N,) raw
    terminations: NDArray[np.bool_]  # (N,)
    truncations: NDArray[np.bool_]  # (N,) the last row of a segment that is not terminated
    old_log_probs: NDArray[np.float32]  # (N,) NaN unknown
    values: NDArray[np.float32]  # (N,) NaN without a critic
    bootstrap_values: NDArray[np.float32]  # (N,) V(final observation) where truncated, else 0
    segment_starts: NDArray[np.int64]  # (S,) first row of every segment, ascending from 0
    segment_agents: tuple[str, ...] = ()  # (S,) who lived it; empty: the rows do not tell


def pack(samples: Sequence[ReplaySample], *, use_masks: bool = True) -> Rollout:
    """Pack ``samples`` in the order given.

    A row that is both terminated and truncated counts as terminated: there is nothing to bootstrap.

    Args:
        samples: at least one.
        use_masks: False leaves the masks out, for a learner that does not know them.

    Raises:
        CaptureError: none, or samples that do not belong together (observation keys or shapes,
            action vocabulary, masks); or, with masks, a row whose action its mask forbade: a masked
            learner gives it the probability 0.
    """
    check_together(samples, use_masks=use_masks)
    parts = [row_arrays(sample) for sample in samples]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return as_rollout(columns, samples, use_masks=use_masks)


def check_together(samples: Sequence[ReplaySample], *, use_masks: bool) -> None:
    """Refuse samples that cannot be packed; arguments and errors as :func:`pack`."""
    if not samples:
        raise CaptureError("a rollout needs at least one sample, found none")
    for sample in samples[1:]:
        check_alike(samples[0], sample)
    if use_masks:
        _check_legal(samples)


def row_arrays(sample: ReplaySample) -> dict[str, NDArray[Any]]:
    """Return the arrays with an entry per row that a rollout is made of, by their names in files.

    The last of ``value_preds`` is left out: it is of no row.
    """
    arrays = dict(sample.observations)
    if sample.action_mask is not None:
        arrays["action_mask"] = sample.action_mask
    arrays["actions"] = sample.actions
    arrays.update({name: sample.array(name) for name in _PLAIN})
    arrays["value_preds"] = sample.value_preds[:-1]
    return arrays


def as_rollout(
    columns: Mapping[str, NDArray[Any]], samples: Sequence[ReplaySample], *, use_masks: bool
) -> Rollout:
    """Return a rollout of columns, which are taken as they are.

    Args:
        columns: what :func:`row_arrays` returns, of all samples one after the other.
        samples: these samples, which fit together.
        use_masks: False leaves the masks out.
    """
    rows = np.array([sample.rows for sample in samples], np.int64)
    ends = np.cumsum(rows) - 1
    terminations = columns["terminations"]
    truncations = columns["truncations"] & ~terminations
    bootstrap = np.zeros(terminations.shape, np.float32)
    bootstrap[ends] = np.array([sample.value_preds[-1] for sample in samples], np.float32)
    return Rollout(
        observations={key: columns[key] for key in samples[0].observations},
        action_mask=columns.get("action_mask") if use_masks else None,
        actions=columns["actions"],
        rewards=columns["rewards"],
        terminations=terminations,
        truncations=truncations,
        old_log_probs=columns["old_log_probs"],
        values=columns["value_preds"],
        bootstrap_values=np.where(truncations, bootstrap, np.float32(0)),
        segment_starts=ends + 1 - rows,
        segment_agents=tuple(sample.meta.agent_id for sample in samples),
    )


def check_alike(first: ReplaySample, other: ReplaySample) -> None:
    """Refuse two samples that cannot be rows of one batch.

    Raises:
        CaptureError: names the sample and the first difference.
    """
    expected, found = _layout(first), _layout(other)
    if expected == found:
        return
    meta = other.meta
    name = next(name for name in expected if expected[name] != found[name])
    raise CaptureError(
        f"sample of agent {meta.agent_id!r}, episode {meta.episode_id}: {name} differs from the "
        f"samples before it: expected {_short(expected[name])}, found {_short(found[name])}"
    )


def _layout(sample: ReplaySample) -> dict[str, object]:
    """Return by name what rows of one batch have in common."""
    meta, observations = sample.meta, sample.observations
    shapes = {key: (observations[key].dtype, observations[key].shape[1:]) for key in observations}
    return {
        "action_lookup": meta.action_lookup,
        "action_dim": meta.action_dim,
        "feature_names": meta.feature_names,
        "having action masks": sample.action_mask is not None,
        "action shape": sample.actions.shape[1:],
        "observation shapes": shapes,
    }


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _check_legal(samples: Sequence[ReplaySample]) -> None:
    for sample in samples:
        illegal = sample.extras.get("illegal_actions")
        if illegal is not None and illegal.any():
            meta = sample.meta
            raise CaptureError(
                f"sample of agent {meta.agent_id!r}, episode {meta.episode_id}: "
                f"{int(illegal.sum())} of {sample.rows} actions were against their mask, so a "
                "masked learner gives them probability 0; pass use_masks=False, or record a policy "
                "that keeps to the mask"
            )


def concatenate(rollouts: Sequence[Rollout]) -> Rollout:
    """Join rollouts of the same columns, in the order given.

    Raises:
        CaptureError: none, or only some of them have action masks.
    """
    if not rollouts:
        raise CaptureError("nothing to concatenate: no rollout was given")
    masks = [rollout.action_mask for rollout in rollouts if rollout.action_mask is not None]
    if masks and len(masks) != len(rollouts):
        raise CaptureError("some of the rollouts have action masks and others have none")
    rows = [rollout.rewards.shape[0] for rollout in rollouts]
    offsets = np.cumsum([0, *rows[:-1]])
    return Rollout(
        observations={
            key: np.concatenate([rollout.observations[key] for rollout in rollouts])
            for key in rollouts[0].observations
        },
        action_mask=np.concatenate(masks) if masks else None,
        actions=np.concatenate([rollout.actions for rollout in rollouts]),
        rewards=np.concatenate([rollout.rewards for rollout in rollouts]),
        terminations=np.concatenate([rollout.terminations for rollout in rollouts]),
        truncations=np.concatenate([rollout.truncations for rollout in rollouts]),
        old_log_probs=np.concatenate([rollout.old_log_probs for rollout in rollouts]),
        values=np.concatenate([rollout.values for rollout in rollouts]),
        bootstrap_values=np.concatenate([rollout.bootstrap_values for rollout in rollouts]),
        segment_starts=np.concatenate(
            [
                rollout.segment_starts + offset
                for rollout, offset in zip(rollouts, offsets, strict=True)
            ]
        ),
        segment_agents=_agents(rollouts),
    )


def _agents(rollouts: Sequence[Rollout]) -> tuple[str, ...]:
    """Return who lived the segments, if all rollouts tell."""
    if not all(rollout.segment_agents for rollout in rollouts):
        return ()
    return tuple(name for rollout in rollouts for name in rollout.segment_agents)
