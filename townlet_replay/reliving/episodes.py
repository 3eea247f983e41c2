"""Logged episodes of a town, lived again in groups that fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from townlet_replay.action_block import LoggedEpisode
from townlet_replay.errors import CaptureError
from townlet_replay.reliving.stage import Act, Acting, Play, Stage

GROUP_BYTES = 128 * 2**20  # of rows that are kept
MOST_WORLDS = 256  # side by side
_UNEVEN = 1.5  # a world does not wait for one that is so much longer

Told = TypeVar("Told")


def in_groups(
    episodes: Iterable[tuple[LoggedEpisode, Told]], stage: Stage
) -> Iterator[list[tuple[LoggedEpisode, Told]]]:
    """Yield episodes in groups that are lived side by side, in order."""
    row = stage.row_bytes * len(stage.plan.names.residents)
    group: list[tuple[LoggedEpisode, Told]] = []
    longest = shortest = 0
    for episode, told in episodes:
        longest_then, shortest_then = max(longest, episode.ticks), min(shortest, episode.ticks)
        full = (len(group) + 1) * longest_then * row > GROUP_BYTES or len(group) == MOST_WORLDS
        if group and (full or longest_then > _UNEVEN * shortest_then):
            yield group
            group = []
        if not group:
            longest_then = shortest_then = episode.ticks
        group.append((episode, told))
        longest, shortest = longest_then, shortest_then
    if group:
        yield group


def play(stage: Stage, episodes: Sequence[LoggedEpisode]) -> Play:
    """Live episodes again, side by side.

    Raises:
        CaptureError: as :meth:`Stage.play`, or an action that is no id.
    """
    return stage.play([_act(episode, len(stage.plan.names.actions)) for episode in episodes])


def _act(episode: LoggedEpisode, width: int) -> Act:
    for life in episode.lives:
        if life.actions.ndim != 1 or life.actions.dtype.kind != "i":
            raise CaptureError(f"agent {life.agent_id!r}: actions that are no ids")
        if (
            len(life.actions)
            and not 0 <= int(life.actions.min()) <= int(life.actions.max()) < width
        ):
            raise CaptureError(f"agent {life.agent_id!r}: actions beyond 0 to {width - 1}")
    residents = tuple(Acting(life.agent_id, life.ticks, life.actions) for life in episode.lives)
    return Act(episode.seed, episode.ticks, residents)
