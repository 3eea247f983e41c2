"""What a page shows of one recorded episode, as plain numbers and words for JSON.

A town is lived again from its actions, so that everything can be seen and not only what the rows
hold. Of other environments the rows are shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_env.render.ground import Ground
from townlet_env.render.scene import Scene, look_at_town
from townlet_env.sim.ids import NONE
from townlet_replay.errors import CaptureError
from townlet_replay.hash_chain import HashChain
from townlet_replay.manifest import Capture, load_capture
from townlet_replay.reliving.lives import Known
from townlet_replay.rerun import Script
from townlet_replay.rerun_sources import LogSource, open_source
from townlet_replay.sample import ReplaySample
from townlet_replay.town_setup import TownSetup

Facts = dict[str, Any]
Track = Callable[[Sequence[Any]], Iterable[Any]]

MOST_NUMBERS = 64  # of an observation of another environment that are shown
CLEAR_TIE = 0.05  # weaker rivalries and trusts are not drawn


def facts_of(path: str | Path, episode: int | None = None, track: Track = iter) -> Facts:
    """Return what there is to see of one episode of a capture or an action log.

    Args:
        path: directory, manifest or list of an action log.
        episode: its number; the first one if left out.
        track: shows the progress through the ticks of a town.

    Raises:
        CaptureError: nothing there, damaged, no such episode, or an action log that cannot be
            lived again.
    """
    try:
        source = open_source(path)
    except CaptureError as reason:
        capture = load_capture(path)  # an error of its own if there is none
        return _tracks(capture, episode, str(reason))
    if isinstance(source, LogSource):
        if source.setup is None:
            raise CaptureError(f"{source.path}: only action logs of a town can be watched")
        for entry in source.logged():
            if episode in (None, entry.episode_id):
                return _town(source.setup, source.script(entry), track, [])
    else:
        try:
            for entry, samples in source.recorded(everybody=False):
                if episode in (None, entry.episode_id):
                    return _town(source.setup, source.script(entry), track, samples)
        except CaptureError as reason:  # such as only a part of the episode
            return _tracks(source.capture, episode, str(reason))
    raise CaptureError(f"{path}: has no episode {episode}")


def _town(setup: TownSetup, script: Script, track: Track, samples: Sequence[ReplaySample]) -> Facts:
    """Live an episode again and look at every tick.

    Raises:
        CaptureError: what comes out is not what was recorded.
    """
    env = setup._replace(details=True).build()
    witness = _Witness(script, samples)
    observations, _ = env.reset(seed=script.seed)
    witness.check(env, observations)
    scene = look_at_town(env.batch)
    left, top, width, height = _inhabited(scene)
    film = _Film(left, top)
    film.add(scene, {}, {})
    events: list[Facts] = []
    for actions in track(script.actions):
        if not env.agents:
            break
        chosen: dict[str, int | None] = {agent: int(action) for agent, action in actions.items()}
        observations, rewards, _, _, infos = env.step(chosen)
        witness.check(env, observations)
        film.add(look_at_town(env.batch), rewards, infos)
        events += [event._asdict() for event in env.batch.events()]
    env.close()
    names = list(env.unwrapped.action_lookup.values())
    return {
        "kind": "town",
        "title": setup.config.name,
        "subtitle": setup.config.description,
        "episode": script.episode_id,
        "seed": script.seed,
        "note": "",
        "map": _map(scene, left, top, width, height),
        "ticks": film.ticks,
        "clock": film.clock,
        "words": list(film.words),
        "agents": film.agents,
        "ties": {"rivalry": film.rivalry, "trust": film.trust},
        "events": events,
        "actions": names,
        "components": list(env.unwrapped.reward_components),
        "known": {name: _known(known) for name, known in script.known.items()},
        "rows": {name: _rows_of(script, name) for name in script.known},
    }


class _Witness:
    """Compares what is lived again with what was recorded: states of a log, or rows."""

    def __init__(self, script: Script, samples: Sequence[ReplaySample]) -> None:
        self._script, self._chain, self._look = script, HashChain(script.kind), 0
        self._samples = {sample.meta.agent_id: sample for sample in samples}
        self._row = dict.fromkeys(self._samples, 0)

    def check(self, env: Any, observations: Mapping[str, Any]) -> None:
        """Compare one look.

        Raises:
            CaptureError: it differs.
        """
        look, self._look = self._look, self._look + 1
        checks = self._script.checks
        same = checks is None or checks[look].tobytes() == self._chain.add(env)
        acting = self._script.actions[look] if look < len(self._script.actions) else {}
        for agent in acting.keys() & self._samples.keys():
            sample, row = self._samples[agent], self._row[agent]
            self._row[agent] += 1
            seen = observations.get(agent, {})
            for key, column in sample.observations.items():
                same = same and key in seen and np.array_equal(seen[key], column[row])
        if not same:
            raise CaptureError(
                f"Lived again it comes out otherwise after {look} ticks, perhaps because others "
                "acted whose rows are not here."
            )


class _Film:
    """The residents, tick by tick; places count from the corner of what is drawn."""

    def __init__(self, left: int, top: int) -> None:
        self.left, self.top = left, top
        self.ticks = 0  # looks so far
        self.clock: list[int] = []
        self.words: dict[str, int] = {}
        self.agents: dict[str, Facts] = {}
        self.rivalry: list[list[list[Any]]] = []
        self.trust: list[list[list[Any]]] = []

    def add(self, scene: Scene, rewards: dict[Any, float], infos: dict[Any, Any]) -> None:
        """Add one look."""
        self.clock.append(scene.minute)
        names = {resident.slot: resident.name for resident in scene.residents}
        for resident in scene.residents:
            track = self.agents.setdefault(resident.name, {"from": self.ticks})
            used, held = resident.busy_object, resident.reserved_object
            row = {
                "x": resident.x - self.left,
                "y": resident.y - self.top,
                "hunger": _short(resident.needs[0]),
                "hygiene": _short(resident.needs[1]),
                "energy": _short(resident.needs[2]),
                "wallet": _short(resident.wallet),
                "doing": self.words.setdefault(resident.doing, len(self.words)),
                "line": resident.queue_object,
                "uses": held if used == NONE else used,
                "reward": _short(rewards.get(resident.name, 0.0)),
                "parts": _parts(infos.get(resident.name, {}).get("reward_components")),
            }
            for field, value in row.items():
                track.setdefault(field, []).append(value)
        for ties, found in ((self.rivalry, scene.rivalries), (self.trust, scene.trusts)):
            ties.append(
                [
                    [names[tie.a], names[tie.b], _short(tie.strength)]
                    for tie in found
                    if tie.strength >= CLEAR_TIE and tie.a in names and tie.b in names
                ]
            )
        self.ticks += 1


def _inhabited(scene: Scene) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the town without the walls around it but one."""
    height, width = scene.ground.shape
    rows, columns = np.nonzero(scene.ground != Ground.WALL)
    left, top = max(int(columns.min()) - 1, 0), max(int(rows.min()) - 1, 0)
    right, bottom = min(int(columns.max()) + 2, width), min(int(rows.max()) + 2, height)
    return left, top, right - left, bottom - top


def _map(scene: Scene, left: int, top: int, width: int, height: int) -> Facts:
    ground = scene.ground[top : top + height, left : left + width]
    walls = ["".join("#" if cell == Ground.WALL else "." for cell in row) for row in ground]
    objects = [
        {"name": o.name, "kind": o.kind, "x": o.x - left, "y": o.y - top} for o in scene.objects
    ]
    return {"width": width, "height": height, "walls": walls, "objects": objects}


def _known(known: Known) -> Facts:
    """Return what the behaviour knew, row by row."""
    return {
        "values": _numbers(known.values),
        "log_probs": _numbers(known.log_probs),
        "probs": None if known.logits is None else _softmax(known.logits),
    }


def _rows_of(script: Script, agent: str) -> list[int]:
    """Return the look, counted from 0, before each row of an agent."""
    return [tick for tick, actions in enumerate(script.actions) if agent in actions]


def _tracks(capture: Capture, episode: int | None, reason: str) -> Facts:
    """Return the rows of an episode, of whatever environment."""
    entries = capture.manifest.samples
    number = entries[0].episode_id if episode is None else episode
    samples = [
        capture.sample(index) for index, entry in enumerate(entries) if entry.episode_id == number
    ]
    if not samples:
        raise CaptureError(f"{capture.path}: has no episode {number}")
    ticks = max(sample.rows for sample in samples) + 1
    origin = capture.manifest.metadata
    return {
        "kind": "tracks",
        "title": origin.scenario_name or str(capture.path.parent.name),
        "subtitle": origin.scenario_description or "",
        "episode": number,
        "seed": samples[0].meta.capture_metadata.seed,
        "note": f"Rows as they were recorded. {reason}",
        "ticks": ticks,
        "agents": {sample.meta.agent_id: _track(sample) for sample in samples},
        "events": [],
        "actions": list(samples[0].meta.action_lookup.values()),
        "components": list(samples[0].meta.reward_components or ()),
        "known": {
            sample.meta.agent_id: _known(
                Known(
                    sample.old_log_probs,
                    sample.value_preds,
                    sample.extras.get("behaviour_logits"),
                )
            )
            for sample in samples
        },
        "rows": {sample.meta.agent_id: list(range(sample.rows)) for sample in samples},
    }


def _track(sample: ReplaySample) -> Facts:
    rows = sample.rows
    seen = np.concatenate(
        [column.reshape(rows, -1).astype(float) for column in sample.observations.values()], axis=1
    )[:, :MOST_NUMBERS]
    parts = sample.extras.get("reward_components")
    actions = sample.actions.reshape(rows, -1)
    return {
        "from": 0,
        "reward": [0.0, *_numbers(sample.rewards)],
        "parts": [[], *([] if parts is None else [_numbers(row) for row in parts])],
        "action": [_numbers(row) for row in actions],
        "seen": [_numbers(row) for row in seen],
    }


def _parts(components: object) -> list[float | None]:
    return [] if components is None else _numbers(np.asarray(components))


def _numbers(values: NDArray[Any] | Sequence[float]) -> list[float | None]:
    return [_short(float(value)) for value in values]


def _short(value: float) -> float | None:
    """Return a number with the digits that can be seen; JSON has no NaN."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _softmax(logits: NDArray[np.float32]) -> list[list[float | None]]:
    shifted = np.exp(logits - np.nanmax(logits, axis=1, keepdims=True))
    return [_numbers(row) for row in shifted / np.nansum(shifted, axis=1, keepdims=True)]
