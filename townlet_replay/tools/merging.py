"""``merge``: the samples of several captures in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture
from townlet_replay.sample import ReplaySample
from townlet_replay.sidecar import CaptureMetadata
from townlet_replay.tools.comparing import brief, differences
from townlet_replay.tools.derived import Derived, Pick, Watch

Layout = dict[str, Any]

_MAX_EPISODE = 2**63 - 1


def merge_captures(captures: Sequence[Capture], watch: Watch | None = None) -> Derived:
    """Put the samples of captures one after the other.

    The first capture keeps the numbers of its episodes. Another one keeps them if none is taken;
    else all of its episodes move behind the highest number so far, in one step. Of the metadata of
    the captures what all agree on is kept; every sample keeps its own.

    Args:
        captures: two or more, left as they are.
        watch: called with 1 for every agent of a capture whose rows were looked at.

    Raises:
        CaptureError: fewer than two, one of them or a copy of it twice, or rows that do not belong
            together: other spaces, actions, columns or reward components; names the first
            difference.

    Example:
        >>> both = merge_captures([load_capture("captures/one"), load_capture("captures/two")])
        >>> write_capture(both, "captures/both")
    """
    if len(captures) < 2:
        raise CaptureError(f"expected at least two captures to merge, found {len(captures)}")
    digests = [capture.digest for capture in captures]
    for place, digest in enumerate(digests):
        if digest in digests[:place]:
            twin = captures[digests.index(digest)]
            raise CaptureError(
                f"{captures[place].path}: the same capture as {twin.path}; its samples would "
                "count twice"
            )
    _check_together(captures, watch)
    picks: list[Pick] = []
    taken: set[int] = set()
    for capture in captures:
        shift = _shift(capture, taken)
        for index, entry in enumerate(capture.manifest.samples):
            picks.append(Pick(capture, index, episode_id=entry.episode_id + shift))
        taken.update(entry.episode_id + shift for entry in capture.manifest.samples)
    return Derived(common_metadata(c.manifest.metadata for c in captures), tuple(picks))


def layout_of(sample: ReplaySample) -> Layout:
    """Return what all rows of a learner's batch must share, by name."""
    meta = sample.meta
    return {
        "observations": {
            key: f"{array.dtype}{list(array.shape[1:])}"
            for key, array in sorted(sample.observations.items())
        },
        "actions": f"{sample.actions.dtype}{list(sample.actions.shape[1:])}",
        "action_dim": meta.action_dim,
        "action_lookup": meta.action_lookup,
        "having an action mask": sample.action_mask is not None,
        "feature_names": meta.feature_names or (),
        "map_channels": meta.map_channels or (),
        "reward_components": meta.reward_components or (),
    }


def common_metadata(found: Iterable[CaptureMetadata]) -> CaptureMetadata:
    """Return what all metadata agree on; the rest is unknown."""
    first, *others = [metadata.model_dump() for metadata in found]
    versions = {
        name: version
        for name, version in first.pop("versions").items()
        if all(other["versions"].get(name) == version for other in others)
    }
    kept = {
        name: value
        for name, value in first.items()
        if all(other[name] == value for other in others)
    }
    return CaptureMetadata(**kept, versions=versions)


def _shift(capture: Capture, taken: set[int]) -> int:
    own = {entry.episode_id for entry in capture.manifest.samples}
    if not own & taken:
        return 0
    shift = max(taken) + 1 - min(own)
    if max(own) + shift > _MAX_EPISODE:
        raise CaptureError(
            f"{capture.path}: its episodes {min(own)} to {max(own)} are taken, and behind "
            f"episode {max(taken)} there is no room for them"
        )
    return shift


def _check_together(captures: Sequence[Capture], watch: Watch | None) -> None:
    """Refuse captures of different rows.

    Agents of one environment may differ from each other. So the capture with most layouts sets
    what there is: its agents are as they are there everywhere, others are like one of them.
    """
    found = [_layouts(capture, watch) for capture in captures]
    richest = max(found, key=lambda layouts: len(_distinct(layouts)))  # the first of equals
    known = _distinct(richest)
    home = captures[found.index(richest)]
    for capture, layouts in zip(captures, found, strict=True):
        for agent, layout in layouts.items():
            allowed = [richest[agent]] if agent in richest else known
            if layout not in allowed:
                difference = next(differences(allowed[0], layout))
                raise CaptureError(
                    f"{capture.path}: the rows of agent {agent!r} do not belong to those of "
                    f"{home.path}: {difference.field} is {brief(difference.right)}, expected "
                    f"{brief(difference.left)}"
                )


def _layouts(capture: Capture, watch: Watch | None) -> dict[str, Layout]:
    """Return the layout of every agent, from its first sample."""
    found: dict[str, Layout] = {}
    for index, entry in enumerate(capture.manifest.samples):
        if entry.agent_id not in found:
            found[entry.agent_id] = layout_of(capture.sample(index))
            if watch is not None:
                watch(1)
    return found


def _distinct(layouts: dict[str, Layout]) -> list[Layout]:
    found: list[Layout] = []
    for layout in layouts.values():
        if layout not in found:
            found.append(layout)
    return found
