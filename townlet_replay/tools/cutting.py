"""Rows cut out of a life, with everything a learner needs at the cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.metrics import sample_metrics
from townlet_replay.sample import ReplaySample, with_metrics

_FINAL_MASK = "final_action_mask"
_ILLEGAL = "illegal_actions"


def cut_rows(sample: ReplaySample, start: int, stop: int) -> ReplaySample:
    """Return the rows ``start`` to ``stop - 1`` of a life as a sample of their own.

    If rows follow, the last one kept is truncated: the recorded observation, mask and value of the
    row after it become the final ones. A termination stays where it was. Metrics are computed
    anew; those of events are ``None``, since a capture does not hold the events of a tick.

    Args:
        sample: T rows.
        start: 0 <= start < stop.
        stop: at most T.

    Raises:
        CaptureError: there are no such rows.
    """
    if not 0 <= start < stop <= sample.rows:
        raise CaptureError(
            f"sample of agent {sample.meta.agent_id!r}, episode {sample.meta.episode_id}: "
            f"rows {start} to {stop - 1} of {sample.rows} cannot be cut out"
        )
    if (start, stop) == (0, sample.rows):
        return sample
    rows = slice(start, stop)
    truncations = sample.truncations[rows].copy()
    final = sample.final_observation
    if stop < sample.rows:
        truncations[-1] = True
        final = {key: array[stop, ...].copy() for key, array in sample.observations.items()}
    cut = replace(
        sample,
        observations={key: array[rows].copy() for key, array in sample.observations.items()},
        action_mask=None if sample.action_mask is None else sample.action_mask[rows].copy(),
        actions=sample.actions[rows].copy(),
        rewards=sample.rewards[rows].copy(),
        terminations=sample.terminations[rows].copy(),
        truncations=truncations,
        old_log_probs=sample.old_log_probs[rows].copy(),
        value_preds=sample.value_preds[start : stop + 1].copy(),
        ticks=sample.ticks[rows].copy(),
        final_observation=final,
        extras=_extras(sample, start, stop),
        meta=sample.meta.model_copy(
            update={"timesteps": stop - start, "value_pred_steps": stop - start + 1}
        ),
    )
    return with_metrics(cut, sample_metrics(cut, None, _refused(sample, cut)))


def _extras(sample: ReplaySample, start: int, stop: int) -> dict[str, NDArray[Any]]:
    extras = {
        name: array if name == _FINAL_MASK else array[start:stop].copy()
        for name, array in sample.extras.items()
    }
    if stop < sample.rows and sample.action_mask is not None:
        extras[_FINAL_MASK] = sample.action_mask[stop].copy()
    if _ILLEGAL in extras and not extras[_ILLEGAL].any():
        del extras[_ILLEGAL]  # a recorder leaves it out as well
    return extras


def _refused(sample: ReplaySample, cut: ReplaySample) -> int | None:
    """Count the refused actions in ``cut``; ``None`` if the rows do not say which they are."""
    metrics = sample.meta.metrics
    ratio = None if metrics is None else metrics.action_blocked_ratio
    if not ratio:
        return None if ratio is None else 0
    illegal = sample.extras.get(_ILLEGAL)
    if illegal is None or np.count_nonzero(illegal) / sample.rows != ratio:
        return None  # refused for other reasons than the mask
    kept = cut.extras.get(_ILLEGAL)
    return 0 if kept is None else int(np.count_nonzero(kept))
