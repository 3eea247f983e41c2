"""The open episode of a recorder: rows of every agent until they are sealed into samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.frames import NAN, Columns, Ending, stack_actions
from townlet_replay.metrics import TownEvent
from townlet_replay.sample import MAX_DISCRETE_LOG_PROB
from townlet_replay.sidecar import CaptureMetadata
from townlet_replay.sight import Sight
from townlet_replay.spaces import ActionFormat

Step = tuple[
    dict[Any, Any], dict[Any, float], dict[Any, bool], dict[Any, bool], dict[Any, dict[str, Any]]
]

_MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Critic(Protocol):
    """A policy that knows values; ``PolicyRuntime`` is one."""

    def values_of(self, observations: dict[Any, Any]) -> Mapping[Any, float]:
        """Return V(observation) by agent; agents it does not know may be left out."""


class Note(NamedTuple):
    """What a caller attaches to the next action of one agent."""

    log_prob: float = NAN
    value: float = NAN
    logits: NDArray[np.float32] | None = None
    intent: int | NDArray[Any] | None = None
    policy_version: int | None = None

    @property
    def knows_log_prob(self) -> bool:
        """Whether the log-prob is known."""
        return not math.isnan(self.log_prob)


class Attached(NamedTuple):
    """What a caller attaches to the next actions, by agent; ``None`` where nothing."""

    log_probs: Mapping[Any, float] | None
    values: Mapping[Any, float] | None
    logits: Mapping[Any, NDArray[Any]] | None
    intents: Mapping[Any, Any] | None
    policy_version: int | None

    @property
    def agents(self) -> dict[Any, None]:
        """Everybody who is named, in order."""
        return dict.fromkeys(agent for table in self[:4] for agent in table or ())

    def add_to(self, note: Note, agent: object, actions: ActionFormat) -> Note:
        """Return ``note`` with what is attached to ``agent``.

        Raises:
            CaptureError: a number that cannot be one, or an intent that is no action.
        """
        log_probs, values, logits, intents, version = self
        if log_probs is not None and agent in log_probs:
            note = note._replace(log_prob=log_prob_of(agent, log_probs[agent], actions))
        if values is not None and agent in values:
            note = note._replace(value=finite_or_nan(agent, "value", values[agent]))
        if logits is not None and agent in logits:
            note = note._replace(logits=np.array(logits[agent], np.float32))
        if intents is not None and agent in intents:
            note = note._replace(intent=actions.encode(agent, intents[agent]))
        return note if version is None else note._replace(policy_version=version)


class Outcome(NamedTuple):
    """What one agent got from ``step``."""

    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]


NOTHING = Note()


class Row(NamedTuple):
    """What an agent did and got in one step; what it saw before is in its :class:`Sight`."""

    action: int | NDArray[Any]
    reward: float
    tick: int
    note: Note
    components: NDArray[np.float32] | None


@dataclass
class Life:
    """The rows of one agent so far."""

    sight: Sight  # one row more than ``rows``: what the agent sees now, or saw in the end
    rows: list[Row] = field(default_factory=list)
    terminated: bool = False  # in the last row
    truncated: bool = False
    events: list[TownEvent] | None = field(default_factory=list)  # None: not told
    illegal: int | None = 0  # None: not told
    done: bool = False  # nothing can follow
    final_value: float = NAN
    fault: str | None = None  # why these rows are no sample

    @property
    def needs_value(self) -> bool:
        """Whether its rows have values, and the one after the last is still unknown."""
        known = not math.isnan(self.rows[-1].note.value)
        return known and not self.terminated and math.isnan(self.final_value)

    def columns(self, *, is_certain: bool) -> Columns:
        """Return the rows stacked; log-probs that nobody attached are 0 if actions are certain.

        Raises:
            ValueError: they do not fit each other.
        """
        fault = self.fault or self.sight.fault
        if fault is not None:
            raise ValueError(fault)
        rows = len(self.rows)
        self.sight.shrink(rows + 1)
        observations, masks = self.sight.rows(rows)
        actions, rewards, ticks, notes, components = zip(*self.rows, strict=True)
        unknown = 0.0 if is_certain else NAN
        log_probs = [note.log_prob if note.knows_log_prob else unknown for note in notes]
        terminations = np.zeros(rows, np.bool_)
        truncations = np.zeros(rows, np.bool_)
        terminations[-1], truncations[-1] = self.terminated, self.truncated
        return Columns(
            observations=observations,
            action_mask=masks,
            actions=stack_actions("actions", actions),
            rewards=rewards,
            terminations=terminations,
            truncations=truncations,
            ticks=ticks,
            log_probs=log_probs,
            values=[note.value for note in notes],
            logits=[note.logits for note in notes],
            intents=[note.intent for note in notes],
            reward_components=components,
            policy_versions=[note.policy_version for note in notes],
        )

    def ending(self) -> Ending:
        """Return what followed the last row."""
        observation, mask = self.sight.at(len(self.rows))
        return Ending(observation, self.final_value, mask)

    def raw_ending(self) -> Any:
        """Return the observation after the last row as the environment gave it."""
        return self.sight.raw(len(self.rows))


class OpenEpisode:
    """Collects what happens between ``reset`` and the end."""

    def __init__(self, episode_id: int, seed: int | None) -> None:
        self.episode_id = episode_id
        self.seed = seed
        self.step = 0  # steps begun
        self.seen: dict[Any, Sight] = {}  # who is there
        self.lives: dict[Any, Life] = {}

    def row_of_next(self, agent: object, *, acts: bool) -> int:
        """Return the row of its sight that the next observation of ``agent`` belongs in."""
        life = self.lives.get(agent)
        return (0 if life is None else len(life.rows)) + acts

    def add(self, agent: object, action: int | NDArray[Any], note: Note, outcome: Outcome) -> None:
        """Add the row of an agent that acted; :meth:`observe` its new observation afterwards."""
        life = self.lives.get(agent)
        if life is None:
            life = self.lives[agent] = Life(self.seen[agent])
        life.fault = life.fault or life.sight.fault
        info = outcome.info
        components = _components(info.get("reward_components"))
        life.rows.append(Row(action, outcome.reward, _tick(info, self.step), note, components))
        life.terminated, life.truncated = outcome.terminated, outcome.truncated
        life.final_value = NAN
        life.events = _more_events(life.events, info.get("events"))
        refused = info.get("illegal_action")
        if life.illegal is not None:
            life.illegal = None if refused is None else life.illegal + int(bool(refused))

    def observe(self, agent: object, sight: Sight, fault: str | None) -> None:
        """Remember what ``agent`` sees now; one that is done stays done until the next episode."""
        life = self.lives.get(agent)
        if life is None or not life.done:
            sight.fault = fault
            self.seen[agent] = sight

    def end(self, agent: object, terminated: bool) -> None:
        """Close the life of ``agent``: its last observation is what it sees now.

        An agent that ends in a step in which it did not act ends with the last row it has.
        """
        sight = self.seen.pop(agent, None)
        life = self.lives.get(agent)
        if life is None or sight is None:
            return
        if not (life.terminated or life.truncated):
            life.terminated, life.truncated = terminated, not terminated
        life.done = True

    def metadata(self, of_capture: CaptureMetadata) -> CaptureMetadata:
        """Return where the episode comes from: the capture's metadata, with its own seed."""
        if self.seed is None:
            return of_capture
        return of_capture.model_copy(update={"seed": int(self.seed)})


def finite_or_nan(agent: object, name: str, value: float) -> float:
    """Return a number that was attached to an agent; NaN means unknown.

    Raises:
        CaptureError: it is infinite.
    """
    found = float(value)
    if math.isinf(found):
        raise CaptureError(f"agent {agent!r}: the {name} is {found}; NaN means unknown")
    return NAN if math.isnan(found) else found


def log_prob_of(agent: object, log_prob: float, actions: ActionFormat) -> float:
    """Return a log-prob that was attached to an agent; NaN means unknown.

    Raises:
        CaptureError: it is infinite, or makes an action id more probable than 1.
    """
    found = finite_or_nan(agent, "log-prob", log_prob)
    if actions.discrete and found > MAX_DISCRETE_LOG_PROB:
        raise CaptureError(f"agent {agent!r}: log-prob {found} of an action id is above 0")
    return found


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
