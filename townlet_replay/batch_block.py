"""Episodes of a batch of towns, tick by tick, become a block of an action log, life by life."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_env.sim.plan import Names, newcomer_name
from townlet_replay.action_block import LOGITS, SAMPLED, VERSIONS, ActionsOf, Arrays, Block
from townlet_replay.reliving.kernels import sums_of_lives

UNKNOWN = np.float32(np.nan)


class Ends(NamedTuple):
    """How the episodes of W worlds began and ended; N slots, L learners."""

    episode_id: NDArray[np.int64]  # (W,)
    seed: NDArray[np.int64]  # (W,)
    first_check: NDArray[np.uint8]  # (W, 4) of the chain, before the first tick
    chain: NDArray[np.uint64]  # (W, 2)
    seen: NDArray[np.uint64]  # (W, 2)
    terminated: NDArray[np.bool_]  # (W, N) in the last tick
    last_value: NDArray[np.float32]  # (W, L) V of what followed the last tick; NaN unknown


@dataclass(frozen=True)
class Casting:
    """Who is who in the worlds.

    Attributes:
        names: of the scenario.
        learners: (L,) slots that have samples and about which something is known.
        wanted: whether the life of an agent becomes a sample.
        certain: whether log-probs that are unknown are 0.
    """

    names: Names
    learners: NDArray[np.int64]
    wanted: Callable[[str], bool]
    certain: bool


class Episodes(NamedTuple):
    """Episodes of W worlds that began and ended in the same ticks, T of them.

    Attributes:
        rows: Name -> (T, ...) array. ``actions`` (T, W, N) ids, ``active`` (T, W, N), ``checks``
            (T, W, 4), ``rewards`` (T, W, L); optional are ``newcomer`` (T, W, N), ``log_probs`` and
            ``values`` (T, W, L), ``logits`` (T, W, L, A), ``versions`` (T,), below 0 where unknown.
        ends: What is known once.
        casting: Who is who.
    """

    rows: Arrays
    ends: Ends
    casting: Casting

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        return sum(array.nbytes for array in self.rows.values())

    def block(self) -> Block:
        """Return the episodes, life by life."""
        return _Rearranged(self).block()


class _Rearranged:
    """The rows of all slots of all worlds one after the other: C = W x N slots."""

    def __init__(self, episodes: Episodes) -> None:
        self._rows, self._ends, self._casting = episodes
        self._ticks, self._worlds, self._slots = self._rows["actions"].shape
        active = self._by_slot(self._rows["active"])
        self._whole = bool(active.all())
        self._active = active
        newcomer = self._rows.get("newcomer")
        who = None if newcomer is None else self._by_slot(newcomer)
        begins = active.copy()
        begins[:, 1:] &= (
            ~active[:, :-1] if who is None else ~active[:, :-1] | (who[:, 1:] != who[:, :-1])
        )
        # Somebody who is there acts in every tick, so that a life is a run of them.
        self._of_slot, self._first = np.nonzero(begins)
        at = np.flatnonzero(begins[active]) if not self._whole else np.flatnonzero(begins)
        self._starts = at
        self._counts = np.diff(np.append(at, int(active.sum()))).astype(np.int32)
        self._who = np.zeros(len(at), np.int64)
        if who is not None:
            self._who = who[self._of_slot, self._first].astype(np.int64)

    def _by_slot(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return (T, W, N) as (W x N, T)."""
        return np.ascontiguousarray(array.reshape(self._ticks, -1).T)

    def _of_learners(self, array: NDArray[Any], unknown: Any) -> NDArray[Any]:
        """Return (T, W, L) as (W x N, T), ``unknown`` where nobody learns."""
        learners = self._casting.learners
        if len(learners) == self._slots:
            return self._by_slot(array)
        everybody = np.full((self._ticks, self._worlds, self._slots), unknown, array.dtype)
        everybody[:, :, learners] = array
        return self._by_slot(everybody)

    def _taken(self, by_slot: NDArray[Any]) -> NDArray[Any]:
        """Return the rows of lives out of (W x N, T), life after life."""
        taken: NDArray[Any] = by_slot.reshape(-1) if self._whole else by_slot[self._active]
        return taken

    def block(self) -> Block:
        ends, worlds = self._ends, self._worlds
        agents, agent = self._agents()
        flags = self._flags(agents, agent)
        rewards = self._taken(self._of_learners(self._rows["rewards"], np.float32(0)))
        values = self._known("values", UNKNOWN)
        checks = np.concatenate([ends.first_check[None], self._rows["checks"]])
        lives = len(agent)
        columns: Arrays = {
            "episode_id": ends.episode_id,
            "seed": ends.seed,
            "ticks": np.full(worlds, self._ticks, np.int32),
            "lives": np.bincount(self._of_slot // self._slots, minlength=worlds).astype(np.int32),
            "checks": np.ascontiguousarray(checks.transpose(1, 0, 2)).reshape(-1, checks.shape[2]),
            "chain": ends.chain.view(np.uint8),
            "seen": ends.seen.view(np.uint8),
            "agent": agent,
            "first": self._first.astype(np.int32),
            "span": self._counts,
            "rows": self._counts,
            "flags": flags,
            "episode_return": sums_of_lives(rewards, self._counts),
            "last_value": self._last_values(values),
            "digests_of": np.zeros(lives, np.int32),
            "actions_i": self._taken(self._by_slot(self._rows["actions"])),
            "log_probs": self._known(
                "log_probs", np.float32(0 if self._casting.certain else UNKNOWN)
            ),
            "values": values,
            **self._optional(flags),
        }
        dim = len(self._casting.names.actions)
        return Block(tuple(ActionsOf(name, dim=dim) for name in agents), columns)

    def _agents(self) -> tuple[list[str], NDArray[np.int32]]:
        """Return everybody's name, and whose life each is."""
        residents = self._casting.names.residents
        slot = self._of_slot % self._slots
        codes = np.where(self._who == 0, slot, len(residents) - 1 + self._who)
        found, agent = np.unique(codes, return_inverse=True)
        names = [
            residents[code] if code < len(residents) else newcomer_name(code - len(residents) + 1)
            for code in found.tolist()
        ]
        return names, agent.astype(np.int32)

    def _flags(self, agents: list[str], agent: NDArray[np.int32]) -> NDArray[np.uint8]:
        learns = np.zeros(self._slots, np.bool_)
        learns[self._casting.learners] = True
        wanted = np.array([self._casting.wanted(name) for name in agents], np.bool_)
        known = SAMPLED
        known |= LOGITS if "logits" in self._rows else 0
        known |= VERSIONS if "versions" in self._rows else 0
        sampled = wanted[agent] & learns[self._of_slot % self._slots]
        return np.where(sampled, known, 0).astype(np.uint8)

    def _known(self, name: str, unknown: np.float32) -> NDArray[np.float32]:
        """Return what is known of every row; of those who do not learn, nothing."""
        array = self._rows.get(name)
        if array is None:
            shape = (self._ticks, self._worlds, len(self._casting.learners))
            array = np.full(shape, unknown, np.float32)
        return self._taken(self._of_learners(array, UNKNOWN))

    def _last_values(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return V of what followed each life; 0 after a death, unless nothing was valued."""
        ends, slots = self._ends, self._slots
        given = np.full((self._worlds, slots), UNKNOWN)
        given[:, self._casting.learners] = ends.last_value
        died = ends.terminated.reshape(-1)[self._of_slot]
        died = died | (self._first + self._counts < self._ticks)
        valued = np.zeros(len(died), np.bool_)
        if len(died):
            valued = np.logical_or.reduceat(~np.isnan(values), self._starts)
        after_death = np.where(valued, np.float32(0), UNKNOWN)
        return np.where(died, after_death, given.reshape(-1)[self._of_slot])

    def _optional(self, flags: NDArray[np.uint8]) -> Arrays:
        """Return what few recordings have, of the lives that are samples."""
        found: Arrays = {}
        sampled = np.repeat((flags & SAMPLED).astype(np.bool_), self._counts)
        ticks = np.repeat(self._first, self._counts) + _within(self._counts)
        if "versions" in self._rows:
            found["versions"] = self._rows["versions"][ticks[sampled]]
        if "logits" in self._rows:
            world, slot = np.divmod(np.repeat(self._of_slot, self._counts), self._slots)
            learner = np.searchsorted(self._casting.learners, slot)[sampled]
            rows = self._rows["logits"][ticks[sampled], world[sampled], learner]
            found["logits"] = rows.reshape(-1)
        return found


def _within(counts: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return 0, 1, ... for every life anew."""
    ends = np.cumsum(counts, dtype=np.int64)
    return np.arange(int(counts.sum(dtype=np.int64))) - np.repeat(ends - counts, counts)
