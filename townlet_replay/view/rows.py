"""Rows as a page shows them: what a behaviour knew and chose, and rows of any environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture
from townlet_replay.reliving.lives import Known
from townlet_replay.rerun import Script
from townlet_replay.sample import ReplaySample
from townlet_replay.view.town_film import IN_FULL, Facts

MOST_NUMBERS = 64  # of an observation or action of another environment that are shown
MOST_ACTIONS = 8  # the most probable ones are shown


class Masks:
    """Which actions were legal when somebody acted; kept only of those whose logits are known."""

    def __init__(self, script: Script, masked: bool) -> None:
        self._rows: dict[str, list[NDArray[np.int8]]] = {
            name: [] for name, known in script.known.items() if masked and known.logits is not None
        }

    def add(self, env: TownletParallelEnv, actions: Mapping[str, Any]) -> None:
        """Keep the masks of those who act now."""
        wanted = self._rows.keys() & actions.keys()
        if wanted:
            masks = env.action_masks()
            for agent in wanted & masks.keys():
                self._rows[agent].append(masks[agent])

    def of(self, agent: str) -> NDArray[np.int8] | None:
        """Return (T, A) of 0 and 1; None if everything was allowed, or nobody knows why."""
        rows = self._rows.get(agent)
        return np.stack(rows) if rows else None


def behaviour_of(script: Script, agent: str, mask: NDArray[np.int8] | None) -> Facts | None:
    """Return what one agent of a script chose and what its behaviour knew; None if nothing."""
    known = script.known.get(agent)
    if known is None:
        return None
    looks = [tick for tick, actions in enumerate(script.actions) if agent in actions]
    chosen = np.array([script.actions[tick][agent] for tick in looks], np.int64)
    return _behaviour(np.array(looks, np.int32), chosen, known, mask)


def _behaviour(
    looks: NDArray[np.int32],
    actions: NDArray[Any],
    known: Known,
    mask: NDArray[np.int8] | None,
) -> Facts:
    rows = len(looks)
    flat = actions.reshape(rows, math.prod(actions.shape[1:]))[:, :MOST_NUMBERS]
    facts = {
        "looks": looks,  # the look before each row
        "action": flat.astype(np.float32),
        "values": known.values[:rows],
        "log_probs": known.log_probs,
    }
    one_of_many = flat.shape[1] == 1 and np.issubdtype(actions.dtype, np.integer)
    if known.logits is not None and rows and one_of_many:
        chances = probabilities(known.logits, mask)
        likely = np.argsort(-chances, axis=1, kind="stable")[:, :MOST_ACTIONS]
        best = np.take_along_axis(chances, likely, axis=1)
        facts |= {
            "likely": likely.astype(np.uint16),
            "probs": np.rint(best * IN_FULL).astype(np.uint16),
        }
    return facts


def probabilities(
    logits: NDArray[np.float32], mask: NDArray[np.int8] | None
) -> NDArray[np.float64]:
    """Return the probability of every action; zeros where no logits are known.

    Args:
        logits: (T, A) before the mask; NaN where they were not told.
        mask: (T, A), 0 where an action was not allowed; None allows everything.
    """
    known = np.isfinite(logits)
    if mask is not None:
        known &= mask != 0
    scores = np.where(known, logits.astype(np.float64), -np.inf)
    highest = scores.max(axis=1, keepdims=True)
    odds = np.exp(scores - np.where(np.isfinite(highest), highest, 0.0))
    total = odds.sum(axis=1, keepdims=True)
    chances: NDArray[np.float64] = np.divide(odds, total, out=np.zeros_like(odds), where=total > 0)
    return chances


def rows_of(capture: Capture, episode: int | None, reason: str) -> Facts:
    """Return the rows of an episode, of whatever environment.

    Args:
        capture: what was recorded.
        episode: its number; the first one if left out.
        reason: why no more is shown.

    Raises:
        CaptureError: there is no such episode, or a file is damaged.
    """
    entries = capture.manifest.samples
    number = entries[0].episode_id if episode is None else episode
    samples = [
        capture.sample(index) for index, entry in enumerate(entries) if entry.episode_id == number
    ]
    if not samples:
        raise CaptureError(f"{capture.path}: has no episode {number}")
    begin = min(int(sample.ticks[0]) for sample in samples)
    origin = capture.manifest.metadata
    lives: dict[str, list[ReplaySample]] = {}
    for sample in samples:
        lives.setdefault(sample.meta.agent_id, []).append(sample)
    found = [_pieces(name, pieces, begin) for name, pieces in lives.items()]
    return {
        "kind": "rows",
        "title": origin.scenario_name or str(capture.path.parent.name),
        "subtitle": origin.scenario_description or "",
        "episode": number,
        "seed": samples[0].meta.capture_metadata.seed,
        "note": f"Rows as they were recorded. {_without_place(capture, reason)}",
        "ticks": max(int(sample.ticks[-1]) for sample in samples) - begin + 2,
        "agents": [agent for agent, _ in found],
        "actions": list(samples[0].meta.action_lookup.values()),
        "components": list(samples[0].meta.reward_components or ()),
        "known": [known for _, known in found],
    }


def _pieces(name: str, pieces: list[ReplaySample], begin: int) -> tuple[Facts, Facts]:
    """Return the track of an agent, whose life may be in several files, and what it knew."""
    pieces = sorted(pieces, key=lambda sample: int(sample.ticks[0]))
    looks = np.concatenate([sample.ticks for sample in pieces]).astype(np.int32) - begin
    first, end = int(looks[0]), int(looks[-1]) + 2
    seen = np.concatenate([_seen(sample) for sample in pieces])
    rewards = np.zeros(end - first, np.float32)
    rewards[looks - first + 1] = np.concatenate([sample.rewards for sample in pieces])
    agent: Facts = {"name": name, "from": first, "reward": rewards, "seen": seen}
    if all("reward_components" in sample.extras for sample in pieces):
        parts = np.concatenate([sample.extras["reward_components"] for sample in pieces])
        agent["parts"] = np.zeros((end - first, parts.shape[1]), np.float32)
        agent["parts"][looks - first + 1] = parts
    agent["actions"] = list(pieces[0].meta.action_lookup.values())
    known = Known(
        np.concatenate([sample.old_log_probs for sample in pieces]),
        np.concatenate([sample.value_preds[:-1] for sample in pieces]),
        _joined(pieces, "behaviour_logits"),
    )
    masks = [sample.action_mask for sample in pieces if sample.action_mask is not None]
    mask = np.concatenate(masks) if len(masks) == len(pieces) else None
    actions = np.concatenate([sample.actions for sample in pieces])
    return agent, _behaviour(looks, actions, known, mask)


def _without_place(capture: Capture, reason: str) -> str:
    """Return a reason that does not tell where the capture is: pages are passed on."""
    for place in (capture.path, capture.path.parent):
        reason = reason.removeprefix(f"{place}: ")
    return reason[:1].upper() + reason[1:]


def _joined(pieces: list[ReplaySample], name: str) -> NDArray[Any] | None:
    found = [sample.extras[name] for sample in pieces if name in sample.extras]
    return np.concatenate(found) if len(found) == len(pieces) else None


def _seen(sample: ReplaySample) -> NDArray[np.float32]:
    """Return (T, at most MOST_NUMBERS) of what an agent saw."""
    columns = [
        column.reshape(sample.rows, math.prod(column.shape[1:]))
        for column in sample.observations.values()
    ]
    return np.concatenate(columns, axis=1)[:, :MOST_NUMBERS].astype(np.float32)
