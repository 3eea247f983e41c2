"""What a page shows of one recorded episode: numbers, words and columns.

A town is lived again from its actions, so that everything can be seen and not only what the rows
hold. Of other environments the rows are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from townlet_env.config.schema import TownConfig
from townlet_env.render.scene import look_at_town
from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.errors import CaptureError
from townlet_replay.hash_chain import HashChain
from townlet_replay.manifest import load_capture
from townlet_replay.rerun import Script
from townlet_replay.rerun_sources import LogSource, open_source
from townlet_replay.sample import ReplaySample
from townlet_replay.town_setup import TownSetup
from townlet_replay.view.rows import Masks, behaviour_of, rows_of
from townlet_replay.view.town_film import Facts, TownFilm, map_of

Track = Callable[[Sequence[Any]], Iterable[Any]]


def facts_of(
    path: str | Path,
    episode: int | None = None,
    track: Track = iter,
    *,
    config: TownConfig | None = None,
    other_kernel: bool = False,
) -> Facts:
    """Return what there is to see of one episode of a capture or an action log.

    Args:
        path: directory, manifest or list of an action log.
        episode: its number; the first one if left out.
        track: shows the progress through the ticks of a town.
        config: the scenario of a capture, if it is none of the shipped ones as they are.
        other_kernel: try to live it again although other simulation code recorded it.

    Raises:
        CaptureError: nothing there, damaged, no such episode, or an action log that cannot be
            lived again.
    """
    try:
        source = open_source(path, config=config, other_kernel=other_kernel)
    except CaptureError as reason:
        capture = load_capture(path)  # an error of its own if there is none
        return rows_of(capture, episode, str(reason))
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
            return rows_of(source.capture, episode, str(reason))
    raise CaptureError(f"{path}: has no episode {episode}")


def _town(setup: TownSetup, script: Script, track: Track, samples: Sequence[ReplaySample]) -> Facts:
    """Live an episode again and look at every tick.

    Raises:
        CaptureError: what comes out is not what was recorded.
    """
    env = setup.build()
    witness, masks = _Witness(script, samples), Masks(script, setup.mask != "none")
    observations, _ = env.reset(seed=script.seed)
    witness.check(env, observations)
    scene, film = look_at_town(env.batch), TownFilm(env)
    film.add({}, {})
    for actions in track(script.actions):
        if not env.agents:
            break
        slots = env.slots
        masks.add(env, actions)
        chosen: dict[str, int | None] = {agent: int(action) for agent, action in actions.items()}
        observations, rewards, *_ = env.step(chosen)
        witness.check(env, observations)
        film.add(slots | env.slots, rewards)
    env.close()
    ground = map_of(scene)
    seen = film.facts(**ground.pop("corner"))
    return {
        "kind": "town",
        "title": setup.config.name,
        "subtitle": setup.config.description,
        "episode": script.episode_id,
        "seed": script.seed,
        "note": "",
        "map": ground,
        **seen,
        "actions": _names_of_actions(env),
        "components": list(env.unwrapped.reward_components),
        "known": [
            behaviour_of(script, agent["name"], masks.of(agent["name"])) for agent in seen["agents"]
        ],
    }


def _names_of_actions(env: TownletParallelEnv) -> list[str]:
    return list(env.unwrapped.action_lookup.values())


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
