"""``filter``: the samples of a capture that fulfil a condition."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args

from townlet_env.errors import nearest
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture
from townlet_replay.sidecar import SampleMeta, SampleMetrics
from townlet_replay.tools.derived import Derived, Pick, Watch
from townlet_replay.tools.expression import Condition, Kind, fault, parse_condition


def _kind_of(annotation: Any) -> Kind:
    types = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return Kind.NUMBER if int in types or float in types else Kind.TABLE


NAMES: Mapping[str, Kind] = {
    "agent_id": Kind.TEXT,
    "episode_id": Kind.NUMBER,
    "rows": Kind.NUMBER,
    "return": Kind.NUMBER,
    "tags": Kind.TEXTS,
    "behaviour": Kind.TEXT,
    "epsilon": Kind.NUMBER,
    "scenario_name": Kind.TEXT,
    "seed": Kind.NUMBER,
    "policy_hash": Kind.TEXT,
    "source": Kind.TEXT,
    **{name: _kind_of(info.annotation) for name, info in SampleMetrics.model_fields.items()},
}
"""What a condition may speak of: the metrics of a sample, and what its sidecar says."""


def filter_capture(capture: Capture, where: str, watch: Watch | None = None) -> Derived:
    """Choose the samples that fulfil a condition.

    Args:
        capture: left as it is.
        where: comparisons of :data:`NAMES`, joined by ``and``, ``or``, ``not`` and parentheses; see
            :mod:`~townlet_replay.tools.expression`.
        watch: called with 1 after every sample that was looked at.

    Raises:
        CaptureError: not a condition; a key that no table of the capture has; a damaged sidecar; or
            no sample fulfils it.

    Example:
        >>> good = filter_capture(load_capture("captures/day"), "return > 0 and tags has 'night'")
    """
    condition = parse_condition(where, NAMES)
    facts = []
    known: dict[str, set[str]] = {"action_counts": set()}
    for index in range(len(capture)):
        meta = capture.meta(index)
        facts.append(_facts(meta, meta.metrics or capture.metrics.samples[_file(capture, index)]))
        known["action_counts"].update(meta.action_lookup.values())
        if watch is not None:
            watch(1)
    _check_keys(condition, facts, known)
    picks = tuple(Pick(capture, index) for index, fact in enumerate(facts) if condition(fact))
    if not picks:
        raise CaptureError(f"{capture.path}: none of {len(capture)} samples fulfils {where!r}")
    return Derived(capture.manifest.metadata, picks)


def _file(capture: Capture, index: int) -> str:
    return capture.manifest.samples[index].sample


def _facts(meta: SampleMeta, metrics: SampleMetrics) -> dict[str, Any]:
    origin = meta.capture_metadata
    return {
        "agent_id": meta.agent_id,
        "episode_id": meta.episode_id,
        "rows": meta.timesteps,
        "return": metrics.reward_sum,
        "tags": meta.tags,
        "behaviour": meta.behaviour.kind,
        "epsilon": meta.behaviour.epsilon,
        "scenario_name": origin.scenario_name,
        "seed": origin.seed,
        "policy_hash": origin.policy_hash,
        "source": None if meta.source is None else meta.source.manifest_sha256,
        **dict(metrics),
    }


def _check_keys(
    condition: Condition, facts: list[dict[str, Any]], known: dict[str, set[str]]
) -> None:
    """Refuse a key that nothing in the capture is called: it would be 0 everywhere."""
    for table, key, position in condition.keys:
        names = {name for fact in facts for name in fact[table] or ()} | known.get(table, set())
        if key not in names:
            hint = nearest(key, names) if names else "; this capture has none"
            raise fault(condition.text, position, f"{table} has no {key!r}{hint}")
