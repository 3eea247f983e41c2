"""The open episode of a recorder: rows of every agent until they are sealed into samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.frames import NAN, Ending, Frame
from townlet_replay.metrics import TownEvent
from townlet_replay.spaces import ActionFormat, copy_observation, split_mask

Step = tuple[
    dict[Any, Any], dict[Any, float], dict[Any, bool], dict[Any, bool], dict[Any, dict[str, Any]]
]

_MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Seen(NamedTuple):
    """What an agent saw last: copies, whatever the environment does to its buffers."""

    raw: Any  # as the environment gave it, leaves are arrays
    arrays: dict[str, NDArray[Any]]
    mask: NDArray[np.int8] | None


class Note(NamedTuple):
    """What a caller attaches to the next action of one agent."""

    log_prob: float | None = None
    value: float = NAN
    logits: NDArray[np.float32] | None = None
    intent: int | NDArray[Any] | None = None
    policy_version: int | None = None


class Outcome(NamedTuple):
    """What one agent got from ``step``."""

    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]


@dataclass
class Life:
    """The rows of one agent so far."""

    frames: list[Frame] = field(default_factory=list)
    events: list[TownEvent] | None = field(default_factory=list)  # None: not told
    illegal: int | None = 0  # None: not told
    ending: Seen | None = None  # set once the agent is done
    final_value: float = NAN

    @property
    def done(self) -> bool:
        """Whether nothing can follow."""
        return self.ending is not None

    @property
    def needs_value(self) -> bool:
        """Whether its rows have values, and the one after the last is still unknown."""
        last = self.frames[-1]
        return not last.terminated and not math.isnan(last.value) and math.isnan(self.final_value)


class OpenEpisode:
    """Collects what happens between ``reset`` and the end."""

    def __init__(self, episode_id: int, seed: int | None) -> None:
        self.episode_id = episode_id
        self.seed = seed
        self.step = 0  # steps begun
        self.seen: dict[Any, Seen] = {}
        self.lives: dict[Any, Life] = {}

    def observe(self, agent: object, seen: Seen) -> None:
        """Remember what ``agent`` sees now; one that is done stays done until the next episode."""
        life = self.lives.get(agent)
        if life is None or not life.done:
            self.seen[agent] = seen

    def add(self, agent: object, action: int | NDArray[Any], note: Note, outcome: Outcome) -> None:
        """Add the row of an agent that acted; :meth:`observe` its new observation afterwards."""
        life = self.lives.setdefault(agent, Life())
        seen, info = self.seen[agent], outcome.info
        life.frames.append(
            Frame(
                observation=seen.arrays,
                action=action,
                reward=outcome.reward,
                terminated=outcome.terminated,
                truncated=outcome.truncated,
                tick=_tick(info, self.step),
                action_mask=seen.mask,
                log_prob=NAN if note.log_prob is None else note.log_prob,
                value=note.value,
                logits=note.logits,
                intent=note.intent,
                reward_components=_components(info.get("reward_components")),
                policy_version=note.policy_version,
            )
        )
        life.final_value = NAN
        life.events = _more_events(life.events, info.get("events"))
        refused = info.get("illegal_action")
        if life.illegal is not None:
            life.illegal = None if refused is None else life.illegal + int(bool(refused))

    def end(self, agent: object, terminated: bool) -> None:
        """Close the life of ``agent``: its last observation is what it sees now.

        An agent that ends in a step in which it did not act ends with the last row it has.
        """
        seen = self.seen.pop(agent, None)
        life = self.lives.get(agent)
        if life is None or seen is None:
            return
        last = life.frames[-1]
        if not (last.terminated or last.truncated):
            life.frames[-1] = last._replace(terminated=terminated, truncated=not terminated)
        life.ending = seen

    def end_of(self, agent: object) -> Ending:
        """Return what followed the last row of ``agent``, done or not."""
        life = self.lives[agent]
        seen = life.ending or self.seen[agent]
        return Ending(seen.arrays, life.final_value, seen.mask)

    def raw_end_of(self, agent: object) -> object:
        """Return the observation after the last row as the environment gave it."""
        return (self.lives[agent].ending or self.seen[agent]).raw


def read_outcome(agent: object, returned: Step) -> Outcome:
    """Pick what ``agent`` got out of what ``step`` returned.

    Raises:
        CaptureError: no reward, or one that is not a finite number.
    """
    _, rewards, terminations, truncations, infos = returned
    if agent not in rewards:
        raise CaptureError(f"step returned no reward for agent {agent!r}, which acted")
    reward = float(rewards[agent])
    if not abs(reward) <= _MAX_FLOAT32:
        raise CaptureError(
            f"step returned the reward {reward} for agent {agent!r}; "
            "expected a finite number that float32 can hold"
        )
    return Outcome(
        reward,
        bool(terminations.get(agent, False)),
        bool(truncations.get(agent, False)),
        infos.get(agent, {}),
    )


def look(
    agent: object, observation: object, info: Mapping[str, Any], actions: ActionFormat
) -> Seen:
    """Copy what ``agent`` sees now.

    Raises:
        CaptureError: the observation or its mask cannot be recorded.
    """
    raw = copy_observation(observation)
    arrays, mask = split_mask(agent, raw, info, actions)
    return Seen(raw, arrays, mask)


def _tick(info: Mapping[str, Any], step: int) -> int:
    tick = info.get("tick")
    if isinstance(tick, (int, np.integer)) and 0 <= tick < 2**31:
        return int(tick)
    return step


def _components(components: object) -> NDArray[np.float32] | None:
    if not isinstance(components, (np.ndarray, list, tuple)):
        return None
    return np.array(components, np.float32)


def _more_events(events: list[TownEvent] | None, new: object) -> list[TownEvent] | None:
    """Append the events of a step; ``None`` once an environment did not tell any."""
    if events is None or not isinstance(new, (list, tuple)):
        return None
    for event in new:
        table = read_event(event)
        if table is None:
            return None
        events.append(table)
    return events


def read_event(event: object) -> TownEvent | None:
    """Return an event as a mapping with ``event``, ``value``, ``affordance``; else ``None``."""
    if isinstance(event, tuple) and hasattr(event, "_asdict"):
        event = event._asdict()
    if not isinstance(event, Mapping) or not isinstance(event.get("event"), str):
        return None
    value = event.get("value", event.get("intensity", event.get("minutes", 0.0)))
    return {
        "event": event["event"],
        "affordance": event.get("affordance"),
        "value": float(value or 0.0),
    }
