"""``slice``: some agents, episodes, tags or ticks of a capture."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from townlet_env.errors import nearest
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture
from townlet_replay.tools.derived import Derived, Pick, TickRange

_HINT = 500  # characters; a town of newcomers has thousands of names


def slice_capture(
    capture: Capture,
    *,
    agents: Collection[str] | None = None,
    episodes: Collection[int] | None = None,
    tags: Collection[str] | None = None,
    first_tick: int | None = None,
    last_tick: int | None = None,
) -> Derived:
    """Choose samples, and rows of them by their ticks; what is ``None`` keeps everything.

    Args:
        capture: left as it is.
        agents: keep these.
        episodes: keep these.
        tags: keep samples that have all of them.
        first_tick: cut off the rows before it.
        last_tick: cut off the rows after it; :func:`~townlet_replay.tools.cutting.cut_rows` says
            what becomes of the ends.

    Raises:
        CaptureError: an agent, episode or tag that the capture does not have, ticks that run
            backwards, or nothing that fits all.

    Example:
        >>> mornings = slice_capture(load_capture("captures/day"), agents=["ana"], last_tick=60)
        >>> write_capture(mornings, "captures/mornings")
    """
    entries = capture.manifest.samples
    _check_known(capture, "agent", agents, (entry.agent_id for entry in entries))
    _check_known(capture, "tag", tags, (tag for entry in entries for tag in entry.tags))
    _check_episodes(capture, episodes)
    if first_tick is not None and last_tick is not None and first_tick > last_tick:
        raise CaptureError(
            f"expected a last tick not before the first, {first_tick}; found {last_tick}"
        )
    picks = tuple(
        Pick(capture, index, TickRange(first_tick, last_tick))
        for index, entry in enumerate(entries)
        if (agents is None or entry.agent_id in agents)
        and (episodes is None or entry.episode_id in episodes)
        and (tags is None or set(tags) <= set(entry.tags))
    )
    if not picks:
        raise CaptureError(
            f"{capture.path}: no sample is of the chosen agents, episodes and tags at once"
        )
    return Derived(capture.manifest.metadata, picks)


def _check_known(
    capture: Capture, kind: str, asked: Collection[str] | None, there: Iterable[str]
) -> None:
    known = set(there)
    for name in asked or ():
        if name not in known:
            hint = _hint(name, known)
            raise CaptureError(f"{capture.path}: no sample has the {kind} {name!r}{hint}")


def _hint(name: str, known: set[str]) -> str:
    if not known:
        return "; it has none"
    hint = nearest(name, known)
    return hint if len(hint) <= _HINT else f"; it has {len(known)} others"


def _check_episodes(capture: Capture, asked: Collection[int] | None) -> None:
    known = {entry.episode_id for entry in capture.manifest.samples}
    for episode in asked or ():
        if episode not in known:
            raise CaptureError(
                f"{capture.path}: no episode {episode}; there are {len(known)} episodes "
                f"between {min(known)} and {max(known)}"
            )
