"""Many recorded episodes of one town, lived again side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_env.config.compile import compile_plan
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.hashing import LINK_WORDS, fold, mask_of, words_of
from townlet_env.sim.ids import COMPONENT_COUNT, NONE
from townlet_env.sim.plan import newcomer_name, resident_name
from townlet_env.sim.rules import RULES
from townlet_env.sim.tick import step_worlds
from townlet_replay.errors import CaptureError
from townlet_replay.hash_chain import CHECK_BYTES
from townlet_replay.reliving.kernels import keep_look, keep_tick
from townlet_replay.town_chains import TownChains
from townlet_replay.town_setup import TownSetup

_OF_REWARDS = "potential"  # the one part of a town's state that follows from reward weights

Place = tuple[int, str]  # world, resident


class Acting(NamedTuple):
    """What one resident did."""

    agent_id: str
    ticks: NDArray[np.int64]  # (T,) from 0, ascending
    actions: NDArray[np.int64]  # (T,)


class Act(NamedTuple):
    """An episode to be lived again."""

    seed: int
    ticks: int
    residents: tuple[Acting, ...]


class Events(NamedTuple):
    """The events of a play that metrics are made of; E of them in order."""

    places: NDArray[np.int64]  # (E, 5) world, tick from 0, kind, by, affordance
    values: NDArray[np.float32]  # (E,)


class Play(NamedTuple):
    """What came out; W worlds, N slots, T ticks of the longest episode.

    Attributes:
        checks: (T + 1, W, 4) of the chain over the states.
        chains: (W, 16) of it at the end of each episode; ``seen`` likewise, of what was seen.
        slots: Where each resident was, if they ever were there.
        arrived: Tick before which a newcomer was not there.
        flags: (W, N, T) of :mod:`townlet_replay.reliving.kernels`.
        looks: Key -> (W, N, T + 1, ...) before the first tick and after every one; may be empty.
        components: (W, N, T, 8), or T is 0 where no looks are kept; so with the events.
    """

    checks: NDArray[np.uint8]
    chains: NDArray[np.uint8]
    seen: NDArray[np.uint8]
    slots: dict[Place, int]
    arrived: dict[Place, int]
    rewards: NDArray[np.float32]  # (W, N, T)
    flags: NDArray[np.uint8]
    looks: dict[str, NDArray[Any]]
    components: NDArray[np.float32]
    events: Events


class Stage:
    """Worlds of one town in which recorded episodes are lived again.

    Args:
        setup: the town.
        looks: whether to keep what is seen, reward components and events.
        beside: the town that was recorded, if another one is to be seen: in both the same has to
            happen, and the chains are those of the recorded one.
    """

    def __init__(self, setup: TownSetup, *, looks: bool, beside: TownSetup | None = None) -> None:
        self.setup = setup
        self.plan = compile_plan(setup.config)
        self._looks = looks
        self._beside = beside
        self._batch: WorldBatch | None = None
        self._twin: WorldBatch | None = None
        self._kept: _Looks | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes that are kept of a row."""
        if not self._looks:
            return 8
        names = self.plan.names
        window = self.setup.channels * 121
        return window + 4 * len(names.features) + len(names.actions) + 40

    def play(self, acts: Sequence[Act]) -> Play:
        """Live episodes again; the next play overwrites the looks of this one.

        Raises:
            CaptureError: somebody acts who is not of this town, or something else happens in the
                recorded town.
        """
        count = len(acts)
        if self._batch is None or self._batch.num_worlds != count:
            self._batch = WorldBatch(self.plan, count, self.setup.channels)
            if self._beside is not None:
                recorded = self._beside
                self._twin = WorldBatch(
                    compile_plan(recorded.config), count, channels=recorded.channels
                )
            self._kept = None
        length = max(act.ticks for act in acts)
        if self._looks and (self._kept is None or self._kept.rows <= length):
            self._kept = _Looks(self._batch, length + 1)  # fresh memory is dear, so it is kept
        return _Performance(self._batch, self._twin, acts, self._kept).run()


class _Performance:
    """One play."""

    def __init__(
        self,
        batch: WorldBatch,
        twin: WorldBatch | None,
        acts: Sequence[Act],
        looks: _Looks | None,
    ) -> None:
        self._batch, self._twin, self._acts = batch, twin, acts
        worlds, slots = batch.num_worlds, batch.num_residents
        self._lengths = np.array([act.ticks for act in acts], np.int64)
        length = int(self._lengths.max())
        self._orders = np.full((length, worlds, slots), NONE, np.int32)
        self._slots: dict[Place, int] = {}
        self._arrived: dict[Place, int] = {}
        self._waiting: dict[Place, Acting] = {}  # newcomers who have not come yet
        self._cast()
        witness = batch if twin is None else twin
        self._chains = TownChains(witness, witness.views.map.shape[2])
        self._checks = np.zeros((length + 1, worlds, CHECK_BYTES), np.uint8)
        self._outcomes = batch.outcomes.view(np.ndarray)
        self._arrivals = self._outcomes["arrived"][:, :slots]
        parts = 0 if looks is None else length
        self._rows = (
            np.empty((worlds, slots, length), np.float32),
            np.empty((worlds, slots, length), np.uint8),
            np.empty((worlds, slots, parts, COMPONENT_COUNT), np.float32),
        )
        self._looks = _Looks(batch, 0) if looks is None else looks
        self._keeps_looks = looks is not None
        self._places = np.zeros((0, 5), np.int64)
        self._values = np.zeros(0, np.float32)
        self._events = 0

    def _cast(self) -> None:
        """Give everybody who is there from the beginning their actions."""
        names, most = self._batch.plan.names, self._batch.plan.max_newcomers
        newcomers = {newcomer_name(k + 1) for k in range(most)}
        slots = {name: slot for slot, name in enumerate(names.residents)}
        for w, act in enumerate(self._acts):
            for acting in act.residents:
                place = (w, acting.agent_id)
                if acting.agent_id in slots:
                    self._enter(place, acting, slots[acting.agent_id], 0)
                elif acting.agent_id in newcomers:
                    self._waiting[place] = acting
                else:
                    raise CaptureError(f"agent {acting.agent_id!r} is none of this environment")

    def _enter(self, place: Place, acting: Acting, slot: int, tick: int) -> None:
        w = place[0]
        self._slots[place], self._arrived[place] = slot, tick
        there = acting.ticks >= tick
        self._orders[acting.ticks[there], w, slot] = acting.actions[there]

    def run(self) -> Play:
        """Live it."""
        batch, twin, chains = self._batch, self._twin, self._chains
        seeds = [act.seed % 2**64 for act in self._acts]
        for town in (batch, twin):
            if town is not None:
                town.reset(seeds)
        chains.begin()
        self._checks[0] = chains.checks
        looks = self._looks
        if self._keeps_looks:
            keep_look(looks.seen, looks.kept, 0)
        moves = [_mover(town) for town in (batch, twin) if town is not None]
        shortest = int(self._lengths.min())
        for tick, orders in enumerate(self._orders):
            for move in moves:
                move(orders)
            if twin is not None:
                self._compare(tick)
            going = None if tick < shortest else np.flatnonzero(self._lengths > tick)
            chains.add(going, tick + 1)
            self._checks[tick + 1] = chains.checks
            events = self._room_for_events()
            self._events = keep_tick(
                self._outcomes, tick, self._events, self._rows, looks.seen, looks.kept, events
            )
            if self._waiting and self._arrivals.any():
                self._welcome(tick + 1)
        return self._play()

    def _room_for_events(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the events, with room for those of one more tick."""
        most = self._outcomes["event_value"].size if self._keeps_looks else 0
        if len(self._values) - self._events < most:
            room = len(self._values) + max(most, len(self._values))
            self._places = np.resize(self._places, (room, 5))
            self._values = np.resize(self._values, room)
        return self._places, self._values

    def _welcome(self, tick: int) -> None:
        names = self._batch.plan.names
        for w, slot in np.argwhere(self._arrivals).tolist():
            place = (w, resident_name(names, self._batch.worlds[w], slot))
            acting = self._waiting.pop(place, None)
            if acting is not None:
                self._enter(place, acting, slot, tick)

    def _compare(self, tick: int) -> None:
        """Refuse settings under which something else happens; rewards may be others."""
        assert self._twin is not None
        pair = [_without_rewards(town) for town in (self._batch, self._twin)]
        differing = np.flatnonzero((pair[0] != pair[1]).any(axis=1) & (self._lengths > tick))
        if not len(differing):
            return
        one, other = (town.worlds[differing[0]] for town in (self._batch, self._twin))
        for name in one.dtype.names:
            if name != _OF_REWARDS and one[name].tobytes() != other[name].tobytes():
                raise CaptureError(
                    f"these settings change what happens: {name!r} of the town is another at tick "
                    f"{int(one.tick)}; only what is seen and what is rewarded can be derived anew"
                )

    def _play(self) -> Play:
        octets = [chain.view(np.uint8) for chain in (self._chains.states, self._chains.seen)]
        return Play(
            checks=self._checks,
            chains=octets[0],
            seen=octets[1],
            slots=self._slots,
            arrived=self._arrived,
            rewards=self._rows[0],
            flags=self._rows[1],
            looks=self._looks.by_key() if self._keeps_looks else {},
            components=self._rows[2],
            events=Events(self._places[: self._events], self._values[: self._events]),
        )


class _Looks:
    """Room for what residents see, row by row.

    Attributes:
        rows: how many there are.
        seen: (W, N, ...) what is seen now: cells of the map, features, masks.
        kept: (W, N, rows, ...) the same, row by row.
    """

    def __init__(self, batch: WorldBatch, rows: int) -> None:
        self.rows = rows
        views = batch.views
        worlds, slots, channels = views.map.shape[:3]
        self.seen = (views.map.reshape(worlds, slots, -1), views.features, views.action_mask)
        self._shape = (worlds, slots, rows, channels, *views.map.shape[3:])
        maps, features, masks = (
            np.empty((worlds, slots, rows, part.shape[2]), part.dtype) for part in self.seen
        )
        self.kept = (maps, features, masks)

    def by_key(self) -> dict[str, NDArray[Any]]:
        """Return (W, N, rows, ...) by key; no map where none is drawn."""
        maps, features, masks = self.kept
        found: dict[str, NDArray[Any]] = {"features": features, "action_mask": masks}
        if maps.size:
            found["map"] = maps.reshape(self._shape)
        return found


def _mover(batch: WorldBatch) -> Callable[[NDArray[np.int32]], None]:
    """Return what lives a tick of a batch with orders (W, N).

    ``WorldBatch.step`` also checks orders and copies what came out, for every tick.
    """
    worlds, outcomes = batch.worlds.view(np.ndarray), batch.outcomes.view(np.ndarray)
    plan, grids, views = batch.plan, batch.grids, batch.views
    rules = plan.rules.view(RULES, np.ndarray)
    taken = np.empty((batch.num_worlds, batch.num_residents), np.int32)

    def move(orders: NDArray[np.int32]) -> None:
        taken[:] = orders  # what is illegal becomes wait in place
        step_worlds(worlds, outcomes, rules, taken, grids, plan.ways, views)

    return move


def _without_rewards(batch: WorldBatch) -> NDArray[np.uint64]:
    """Return hashes (W, 2) of the states, apart from what follows from reward weights."""
    dtype = batch.worlds.dtype
    mask = mask_of(dtype)
    part, offset, *_ = dtype.fields[_OF_REWARDS]
    mask.view(np.uint8)[offset : offset + part.itemsize] = 0
    links = np.zeros((batch.num_worlds, LINK_WORDS), np.uint64)
    fold(words_of(batch.worlds), mask, links, np.arange(batch.num_worlds))
    return links
