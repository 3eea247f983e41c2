"""The rows of one episode of a town as they come, by tick and slot, and the block they become."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_replay.action_block import (
    GAPS,
    INTENTS,
    LOGITS,
    SAMPLED,
    VERSIONS,
    ActionsOf,
    Arrays,
    Block,
    smallest,
)
from townlet_replay.hash_chain import CHECK_BYTES

NAN = math.nan
NOBODY = -1  # in place of an action
LEAST_ROOM = 64  # ticks

_NOTES: dict[str, tuple[Any, float]] = {  # what few recordings have: dtype, and where unknown
    "logits": (np.float32, NAN),
    "intents": (np.int16, NOBODY),
    "versions": (np.int64, -1),
}
_FLAGS = {"logits": LOGITS, "intents": INTENTS, "versions": VERSIONS}


@dataclass
class TownLife:
    """One resident's rows so far."""

    slot: int
    first: int  # tick of the first row
    last: int  # and of the last one
    terminated: bool = False
    last_value: float = NAN


class TownRows:
    """An episode; T ticks so far, N slots, A actions.

    Args:
        episode_id: its number.
        seed: of the reset that plays it again.
        shape: ticks to make room for, N and A.

    Attributes:
        ticks: T.
        lives: By resident, in the order in which they first acted.
        log_probs: (room, N) of the row of tick T, the one that comes; likewise ``values``.
    """

    def __init__(self, episode_id: int, seed: int, shape: tuple[int, int, int]) -> None:
        self.episode_id = episode_id
        self.seed = seed
        self.ticks = 0
        self.lives: dict[str, TownLife] = {}
        room, slots, self._width = shape
        room = max(room + 1, LEAST_ROOM)
        self._shape = (room, slots)
        self.log_probs = np.full(self._shape, NAN, np.float32)
        self.values = np.full(self._shape, NAN, np.float32)
        self._actions = np.full(self._shape, NOBODY, np.int16)
        self._rewards = np.zeros(self._shape, np.float32)
        self._checks = np.zeros((room + 1, CHECK_BYTES), np.uint8)
        self._states = 0
        self._notes: Arrays = {}
        self._noted: dict[str, NDArray[np.bool_]] = {}

    def check(self, check: NDArray[np.uint8]) -> None:
        """Keep what is to be kept of the chain at the next state."""
        self._checks[self._states] = check
        self._states += 1

    def note(self, name: str, slot: int, value: Any) -> None:
        """Keep what the behaviour knows of the action that comes in a slot."""
        if name in ("log_probs", "values"):
            column = self.log_probs if name == "log_probs" else self.values
            column[self.ticks, slot] = value
            return
        if name not in self._notes:
            dtype, unknown = _NOTES[name]
            tail = (self._width,) if name == "logits" else ()
            self._notes[name] = np.full((*self._shape, *tail), unknown, dtype)
            self._noted[name] = np.zeros(self._shape, np.bool_)
        self._notes[name][self.ticks, slot] = value
        self._noted[name][self.ticks, slot] = True

    def add(
        self, chosen: Mapping[str, int], slots: Mapping[str, int], rewards: NDArray[np.float32]
    ) -> None:
        """Add a tick.

        Args:
            chosen: actions by resident.
            slots: of everybody who was there.
            rewards: (>= N,) by slot.
        """
        tick, lives, row = self.ticks, self.lives, self._actions[self.ticks]
        for agent, action in chosen.items():
            slot = slots[agent]
            row[slot] = action
            life = lives.get(agent)
            if life is None:
                lives[agent] = TownLife(slot, tick, tick)
            else:
                life.last = tick
                life.last_value = NAN
        self._rewards[tick] = rewards[: self._shape[1]]
        self.ticks = tick + 1
        if self.ticks == self._shape[0]:
            self._grow()

    def needs_value(self, life: TownLife) -> bool:
        """Whether its rows have values, and the one after the last is still unknown."""
        known = not math.isnan(self.values[life.last, life.slot])
        return known and not life.terminated and math.isnan(life.last_value)

    def block(self, certain: Mapping[str, bool], chain: bytes, seen: bytes) -> Block:
        """Return the episode.

        Args:
            certain: whose lives become samples, and whether log-probs that are unknown are 0.
            chain: of the states.
            seen: of what is seen.
        """
        lives = [self._of_life(life, certain.get(agent)) for agent, life in self.lives.items()]
        names = dict.fromkeys(name for part in lives for name in part)
        columns: Arrays = {
            name: np.concatenate([part[name] for part in lives if name in part]) for name in names
        }
        columns |= {
            "episode_id": np.array([self.episode_id], np.int64),
            "seed": np.array([self.seed], np.int64),
            "ticks": np.array([self.ticks], np.int32),
            "lives": np.array([len(lives)], np.int32),
            "checks": self._checks[: self._states],
            "chain": np.frombuffer(chain, np.uint8)[None],
            "seen": np.frombuffer(seen, np.uint8)[None],
            "agent": np.arange(len(lives), dtype=np.int32),
        }
        return Block(tuple(ActionsOf(agent, dim=self._width) for agent in self.lives), columns)

    def _of_life(self, life: TownLife, certain: bool | None) -> Arrays:
        span = slice(life.first, life.last + 1)
        actions = self._actions[span, life.slot]
        acted = actions != NOBODY
        rows, flags = int(acted.sum()), 0 if certain is None else SAMPLED
        log_probs = self.log_probs[span, life.slot][acted]
        values = self.values[span, life.slot][acted]
        if certain is None:
            log_probs[:], values[:] = NAN, NAN
        elif certain:
            log_probs[np.isnan(log_probs)] = 0.0
        rewards = self._rewards[span, life.slot][acted]
        last_value = life.last_value
        if life.terminated:
            last_value = NAN if np.isnan(values).all() else 0.0
        columns: Arrays = {
            "actions_i": smallest(actions[acted], self._width - 1),
            "log_probs": log_probs,
            "values": values,
        }
        for name, noted in self._noted.items():
            known = noted[span, life.slot][acted]
            if known.any() and certain is not None:
                flags |= _FLAGS[name]
                columns |= self._noted_of(name, span, life.slot, acted)
        if rows != len(acted):
            flags |= GAPS
            columns["acted"] = acted
        numbers = {"first": life.first, "span": len(acted), "rows": rows, "digests_of": 0}
        columns |= {name: np.array([number], np.int32) for name, number in numbers.items()}
        columns["flags"] = np.array([flags], np.uint8)
        columns["episode_return"] = np.add.accumulate(rewards, dtype=np.float64)[-1:]
        columns["last_value"] = np.array([last_value], np.float32)
        return columns

    def _noted_of(self, name: str, span: slice, slot: int, acted: NDArray[np.bool_]) -> Arrays:
        found = self._notes[name][span, slot][acted]
        if name == "intents":
            actions = self._actions[span, slot][acted]
            intents = np.where(self._noted[name][span, slot][acted], found, actions)
            return {"intents_i": smallest(intents, self._width - 1)}
        return {name: found.reshape(-1)}

    def _grow(self) -> None:
        more = (self._shape[0], self._shape[1])
        self._shape = (2 * self._shape[0], self._shape[1])
        for name in ("log_probs", "values", "_actions", "_rewards"):
            column = getattr(self, name)
            unknown = {"_actions": NOBODY, "_rewards": 0}.get(name, NAN)
            setattr(self, name, np.concatenate([column, np.full(more, unknown, column.dtype)]))
        self._checks = np.concatenate([self._checks, np.zeros((more[0], CHECK_BYTES), np.uint8)])
        for name, column in self._notes.items():
            unknown = _NOTES[name][1]
            rest = np.full((more[0], *column.shape[1:]), unknown, column.dtype)
            self._notes[name] = np.concatenate([column, rest])
            nobody = np.zeros(more, np.bool_)
            self._noted[name] = np.concatenate([self._noted[name], nobody])
