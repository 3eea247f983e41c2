"""A town, tick by tick, as columns: what is copied at every look, and what a page gets of it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_env.render.ground import Ground
from townlet_env.render.scene import Scene, doing_of
from townlet_env.sim.events import Event
from townlet_env.sim.ids import EVENT_NAMES, NONE
from townlet_env.sim.plan import Plan, newcomer_name
from townlet_env.sim.state import World
from townlet_env.views.parallel import TownletParallelEnv

Facts = dict[str, Any]
Column = NDArray[Any]

CLEAR_TIE = 0.05  # weaker rivalries and trusts are not drawn
IN_FULL = 10_000  # needs and probabilities are counts of 1 / IN_FULL
STRONGEST = 255  # ties are counts of 1 / STRONGEST
NEEDS = ("hunger", "hygiene", "energy")

# Fields of a world that are kept of every look, and those that tell what somebody does.
_KEPT = ("alive", "newcomer", "x", "y", "needs", "wallet", "queue_object", "busy_object")
_DOING = (
    "busy_affordance",
    "reserved_object",
    "queue_object",
    "last_success",
    "last_verb",
    "shift_state",
    "job_object",
)


class TownFilm:
    """The residents of a town at every look.

    Args:
        env: the town, which was just reset.
    """

    def __init__(self, env: TownletParallelEnv) -> None:
        self._env, self._plan = env, env.plan
        self._slots = env.batch.num_residents
        self._columns: dict[str, list[Column]] = {name: [] for name in _KEPT}
        self._columns |= {name: [] for name in ("reserved_object", "doing", "rewards", "parts")}
        self._pairs = np.triu_indices(self._slots, 1)
        self._ties: dict[str, list[Column]] = {"rivalry": [], "trust": []}
        self._words: dict[str, int] = {}
        self._known_words: dict[tuple[int, ...], int] = {}
        self._events: list[Event] = []
        self.clock: list[int] = []

    def add(self, slots: Mapping[str, int], rewards: Mapping[str, float]) -> None:
        """Add a look.

        Args:
            slots: of those who acted since the look before, or came meanwhile.
            rewards: what they got.
        """
        env, world = self._env, self._env.batch.worlds[0]
        for name in (*_KEPT, "reserved_object"):
            self._columns[name].append(world[name][: self._slots].copy())
        self._columns["doing"].append(self._doing(world))
        got = np.zeros(self._slots, np.float32)
        for agent, reward in rewards.items():
            got[slots[agent]] = reward
        self._columns["rewards"].append(got)
        parts = np.zeros_like(env.batch.components[0])
        acted = [slots[agent] for agent in rewards]
        parts[acted] = env.batch.components[0][acted]
        self._columns["parts"].append(parts)
        alive = world["alive"][: self._slots] != 0
        both = alive[self._pairs[0]] & alive[self._pairs[1]]
        for name, looks in self._ties.items():
            looks.append(self._tie(world[name], both))
        self.clock.append((int(world["start_minute"]) + int(world["tick"])) % (24 * 60))
        if rewards:
            self._events += env.batch.events()

    def _tie(self, values: Column, both: Column) -> Column:
        one, other = self._pairs
        found = np.maximum(values[one, other], values[other, one])
        found[~both | (found < CLEAR_TIE)] = 0.0
        strength: Column = np.rint(found * STRONGEST).astype(np.uint8)
        return strength

    def _doing(self, world: World) -> Column:
        """Return the word of every slot; equal states have equal words."""
        places = [NONE] * self._slots
        for o in np.flatnonzero(world["queue_length"] > 0):
            for place, slot in enumerate(world["queue"][o, : world["queue_length"][o]]):
                places[slot] = place
        states = zip(*(world[name][: self._slots].tolist() for name in _DOING), places, strict=True)
        words = np.zeros(self._slots, np.uint16)
        for slot, state in enumerate(states):
            word = self._known_words.get(state)
            if word is None:
                text = doing_of(self._plan, world, slot)
                word = self._known_words[state] = self._words.setdefault(text, len(self._words))
            words[slot] = word
        return words

    def facts(self, left: int, top: int) -> Facts:
        """Return what a page needs; places count from the corner of what is drawn."""
        columns = {name: np.stack(looks) for name, looks in self._columns.items()}
        agents = [
            _life(self._plan, columns, slot, first, end, (left, top))
            for first, slot, end in _lives(columns["alive"] != 0, columns["newcomer"])
        ]
        return {
            "ticks": len(self.clock),
            "clock": np.array(self.clock, np.int16),
            "words": list(self._words),
            "agents": agents,
            "ties": {name: self._strongest(np.stack(looks)) for name, looks in self._ties.items()},
            "events": self._event_facts(agents),
        }

    def _strongest(self, looks: Column) -> Facts:
        """Return the pairs of slots that were ever tied, and how strongly at every look."""
        ever = np.flatnonzero(looks.any(axis=0))
        return {
            "a": self._pairs[0][ever].astype(np.uint8),
            "b": self._pairs[1][ever].astype(np.uint8),
            "strength": np.ascontiguousarray(looks[:, ever].T),
        }

    def _event_facts(self, agents: list[Facts]) -> Facts:
        names, people = self._plan.names, {agent["name"]: k for k, agent in enumerate(agents)}
        objects = {name: k for k, name in enumerate(names.objects)}
        tasks = {name: k for k, name in enumerate(names.affordances)}
        kinds = {name: k for k, name in enumerate(EVENT_NAMES)}
        found = self._events
        return {
            "kinds": list(EVENT_NAMES),
            "affordances": list(names.affordances),
            "tick": np.array([event.tick for event in found], np.uint32),
            "kind": np.array([kinds[event.event] for event in found], np.uint8),
            "by": _indices([event.by for event in found], people),
            "other": _indices([event.other for event in found], people),
            "object": _indices([event.object for event in found], objects),
            "affordance": _indices([event.affordance for event in found], tasks),
            "value": np.array([event.value for event in found], np.float32),
        }


def map_of(scene: Scene) -> Facts:
    """Return walls and objects, without the walls around the town but one; and its corner."""
    height, width = scene.ground.shape
    rows, columns = np.nonzero(scene.ground != Ground.WALL)
    left, top = max(int(columns.min()) - 1, 0), max(int(rows.min()) - 1, 0)
    right, bottom = min(int(columns.max()) + 2, width), min(int(rows.max()) + 2, height)
    walls = [
        "".join("#" if cell == Ground.WALL else "." for cell in row)
        for row in scene.ground[top:bottom, left:right]
    ]
    objects = [
        {"name": o.name, "kind": o.kind, "x": o.x - left, "y": o.y - top} for o in scene.objects
    ]
    corner = {"left": left, "top": top}
    return {"width": right - left, "height": bottom - top, "walls": walls, "objects": objects} | {
        "corner": corner
    }


def _lives(alive: Column, newcomer: Column) -> list[tuple[int, int, int]]:
    """Return first look, slot and the look after the last one of everybody who was in town.

    Args:
        alive: (looks, slots) of bool.
        newcomer: (looks, slots), which newcomer has the slot.
    """
    found = []
    for slot in range(alive.shape[1]):
        who = np.where(alive[:, slot], newcomer[:, slot], NONE)
        changes = [0, *(np.flatnonzero(np.diff(who)) + 1).tolist(), len(who)]
        found += [(first, slot, end) for first, end in pairwise(changes) if who[first] != NONE]
    return sorted(found)


def _life(
    plan: Plan,
    columns: Mapping[str, Column],
    slot: int,
    first: int,
    end: int,
    corner: tuple[int, int],
) -> Facts:
    """Return the looks ``first`` to ``end`` of a slot; rewards have one more if the life ended."""
    here = {name: column[first:end, slot] for name, column in columns.items()}
    number, paid = int(here["newcomer"][0]), min(end + 1, len(columns["rewards"]))
    needs = np.rint(here["needs"] * IN_FULL).astype(np.uint16)
    used, held = here["busy_object"], here["reserved_object"]
    return {
        "name": newcomer_name(number) if number else plan.names.residents[slot],
        "slot": slot,
        "from": first,
        "x": here["x"] - np.int16(corner[0]),
        "y": here["y"] - np.int16(corner[1]),
        **{name: needs[:, k].copy() for k, name in enumerate(NEEDS)},
        "wallet": here["wallet"],
        "doing": here["doing"],
        "line": here["queue_object"],
        "uses": np.where(used == NONE, held, used),
        "reward": columns["rewards"][first:paid, slot],
        "parts": columns["parts"][first:paid, slot],
    }


def _indices(names: list[str | None], numbers: Mapping[str, int]) -> Column:
    return np.array([NONE if name is None else numbers[name] for name in names], np.int16)
