"""The core under every view: W worlds of one scenario, stepped together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.errors import ActionError
from townlet_env.sim.events import Event
from townlet_env.sim.features import MAP_CHANNELS, WINDOW
from townlet_env.sim.hashing import LINK_WORDS, Words, fold, mask_of, text_of, words_of
from townlet_env.sim.ids import COMPONENT_COUNT, EVENT_NAMES, NONE
from townlet_env.sim.plan import Plan, resident_name
from townlet_env.sim.rules import RULES
from townlet_env.sim.snapshot import Snapshot, restore_grid, take
from townlet_env.sim.state import Records, Views, allocate, outcome_dtype, world_dtype
from townlet_env.sim.threads import Task, Team, cut
from townlet_env.sim.tick import open_worlds, step_worlds

_LARGEST = np.iinfo(np.int32).max


class Step(NamedTuple):
    """What one step gave; fresh arrays that no later step changes. W worlds, N residents."""

    reward: npt.NDArray[np.float32]  # (W, N)
    terminated: npt.NDArray[np.bool_]  # (W, N) left town for good
    truncated: npt.NDArray[np.bool_]  # (W, N) cut by time
    illegal: npt.NDArray[np.bool_]  # (W, N) the order was not legal and became wait
    arrived: npt.NDArray[np.bool_]  # (W, N) a newcomer took the slot


class WorldBatch:
    """W worlds x N residents as arrays.

    Worlds do not know of each other: world ``w`` behaves to the last bit as it would alone.

    Attributes:
        plan: The compiled scenario.
        views: ``map`` (W, N, C, 11, 11) uint8, ``features`` (W, N, F) float32 and ``action_mask``
            (W, N, A) int8 of the present state, overwritten by every step.
        worlds: (W,) world records. Read them; only kernels write.
        outcomes: (W,) outcome records of the last step, likewise.
        grids: (W, H + 10, W + 10) cell words, likewise.
    """

    def __init__(
        self, plan: Plan, num_worlds: int, channels: int = len(MAP_CHANNELS), threads: int = 1
    ) -> None:
        """Allocate ``num_worlds`` worlds; ``reset`` opens their first episodes.

        Args:
            plan: A compiled scenario.
            num_worlds: W.
            channels: C of the maps: 0 for none, 4 (``features.MAP_CHANNELS``) or 12
                (``features.FULL_MAP_CHANNELS``).
            threads: That step worlds side by side; results do not depend on it. More than one
                pay from some 64 worlds on.

        Raises:
            ConfigError: There is no thread.
        """
        n, actions = len(plan.names.residents), len(plan.names.actions)
        self.plan = plan
        self.num_worlds = num_worlds
        self.num_residents = n
        self.worlds: Records = allocate(world_dtype(plan.capacity), num_worlds)
        self.outcomes: Records = allocate(outcome_dtype(plan.capacity), num_worlds)
        self.views = Views(
            map=np.zeros((num_worlds, n, channels, WINDOW, WINDOW), np.uint8),
            features=np.zeros((num_worlds, n, len(plan.names.features)), np.float32),
            action_mask=np.zeros((num_worlds, n, actions), np.int8),
        )
        self._nothing = allocate(outcome_dtype(plan.capacity), 1)[0]  # before any tick
        # Plain views made once: field access and dispatch of a record array cost microseconds.
        outcomes = self.outcomes.view(np.ndarray)
        rules = plan.rules.view(RULES, np.ndarray)  # the very dtype, also of an unpickled plan
        self._tables = (self.worlds.view(np.ndarray), outcomes, rules)
        self._reward = outcomes["reward"][:, :n]
        self._terminated = outcomes["terminated"][:, :n]
        self._truncated = outcomes["truncated"][:, :n]
        self._illegal = outcomes["illegal"][:, :n]
        self._arrived = outcomes["arrived"][:, :n]
        self._words, self._mask = words_of(self.worlds), mask_of(world_dtype(plan.capacity))
        self._everywhere = np.arange(num_worlds)
        self._alive = self.worlds.view(np.ndarray)["alive"][:, :n]
        self.grids = np.zeros((num_worlds, *plan.grid.shape), np.uint16)
        self._orders = np.zeros((num_worlds, n), np.int32)
        self._threads = threads
        self._steps = [self._step_of(some) for some in cut(num_worlds, threads)]
        self._team = Team(threads) if len(self._steps) > 1 else None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by building anew: copied views would part from the copied records."""
        built_from = (self.plan, self.num_worlds, self.views.map.shape[2], self._threads)
        return WorldBatch, built_from, (self.worlds, self.outcomes, self.grids, *self.views)

    def __setstate__(self, state: tuple[npt.NDArray[Any], ...]) -> None:
        mine = (self.worlds, self.outcomes, self.grids, *self.views)
        for array, kept in zip(mine, state, strict=True):
            array[...] = kept

    def reset(self, seeds: Sequence[int], worlds: Sequence[int] | None = None) -> None:
        """Open a new episode in every world, or in the ``worlds`` named.

        Args:
            seeds: One seed in [0, 2**64) per world that is reset.
            worlds: Indices of the worlds; all by default.
        """
        which = np.arange(self.num_worlds) if worlds is None else np.asarray(worlds, np.int64)
        if len(seeds) != len(which):
            raise ValueError(f"expected {len(which)} seeds, one per world, got {len(seeds)}")
        for w, seed in zip(which, seeds, strict=True):
            self.worlds[w] = self.plan.template[0]
            self.worlds["seed"][w] = np.uint64(seed)
            self.outcomes[w] = self._nothing
        self.grids[which] = self.plan.grid
        self._open(which, fresh=True)

    def step(self, actions: npt.ArrayLike) -> Step:
        """Live one tick of every world.

        Args:
            actions: (W, N) action ids. What is out of range or masked acts as ``wait``.

        Raises:
            ActionError: The actions are no whole numbers, or have another shape.
        """
        given = np.asarray(actions)
        if given.dtype.kind not in "iu":
            raise ActionError(f"expected whole numbers as action ids, found {given.dtype}")
        if given.shape != self._orders.shape:
            raise ActionError(
                f"expected actions of shape {self._orders.shape}, one per world and resident, "
                f"found {given.shape}"
            )
        if given.dtype == self._orders.dtype:
            self._orders[...] = given
        else:  # huge numbers must stay out of range, not wrap around into a legal action
            np.clip(given, NONE, _LARGEST, out=self._orders, casting="unsafe")
        if self._team is None:
            self._steps[0]()
        else:
            self._team.do(self._steps)
        return Step(
            reward=self._reward.copy(),
            terminated=self._terminated.astype(np.bool_),
            truncated=self._truncated.astype(np.bool_),
            illegal=self._illegal.astype(np.bool_),
            arrived=self._arrived.astype(np.bool_),
        )

    @property
    def alive(self) -> npt.NDArray[np.bool_]:
        """(W, N): who is in town now; a fresh array."""
        alive: npt.NDArray[np.bool_] = self._alive.astype(np.bool_)
        return alive

    @property
    def orders(self) -> npt.NDArray[np.int32]:
        """(W, N): what was ordered in the last step; what was illegal has become ``wait``.

        Read only, and overwritten by every step.
        """
        orders = self._orders.view()
        orders.flags.writeable = False
        return orders

    @property
    def components(self) -> npt.NDArray[np.float32]:
        """(W, N, 8): the reward components of the last step; a fresh array."""
        shape = (self.num_worlds, self.num_residents, COMPONENT_COUNT)
        values = np.empty(shape, np.float32)
        values[:] = self.outcomes["components"][:, : self.num_residents]
        return values

    def events(self, w: int = 0) -> list[Event]:
        """Return what happened in world ``w`` in the last step, in order."""
        names, outcome, world = self.plan.names, self.outcomes[w], self.worlds[w]
        residents = [resident_name(names, world, slot) for slot in range(self.num_residents)]
        found = []
        for row in range(outcome.n_events):
            kind, by, other, o, affordance = (int(code) for code in outcome.events[row])
            found.append(
                Event(
                    event=EVENT_NAMES[kind],
                    tick=int(world.tick),
                    by=None if by == NONE else residents[by],
                    other=None if other == NONE else residents[other],
                    object=None if o == NONE else names.objects[o],
                    affordance=None if affordance == NONE else names.affordances[affordance],
                    value=float(outcome.event_value[row]),
                )
            )
        return found

    def digest(self, w: int = 0) -> str:
        """Return a hash of the whole state of world ``w``: 32 hexadecimal digits."""
        links = np.zeros((self.num_worlds, LINK_WORDS), np.uint64)
        self.fold_states(links, np.array([w]))
        return text_of(links[w])

    def fold_states(self, links: Words, worlds: npt.NDArray[np.int64] | None = None) -> None:
        """Fold the states of worlds into their links of hash chains, in place.

        Args:
            links: (W, 2) uint64; zeros begin a chain, and ``digest`` is a chain of one state.
            worlds: Indices of the worlds; all by default.
        """
        fold(self._words, self._mask, links, self._everywhere if worlds is None else worlds)

    def get_state(self) -> Snapshot:
        """Return a copy of everything that the future depends on."""
        return take(self.plan, self.worlds)

    def set_state(self, snapshot: Snapshot) -> None:
        """Resume from a snapshot, bit for bit.

        Raises:
            SnapshotError: The snapshot is of another scenario, version or number of worlds.
        """
        snapshot.check(self.plan, self.num_worlds)
        self.worlds[:] = snapshot.worlds
        self.outcomes[:] = self._nothing
        for w in range(self.num_worlds):
            restore_grid(self.plan, self.worlds[w], self.grids[w])
        self._open(np.arange(self.num_worlds), fresh=False)

    def _step_of(self, some: slice) -> Task:
        """Return a call that steps a slice of the worlds."""
        worlds, outcomes, rules = self._tables
        seen = self.views
        views = Views(seen.map[some], seen.features[some], seen.action_mask[some])
        return partial(
            step_worlds,
            worlds[some],
            outcomes[some],
            rules,
            self._orders[some],
            self.grids[some],
            self.plan.ways,
            views,
        )

    def _open(self, which: npt.NDArray[np.int64], *, fresh: bool) -> None:
        worlds, _, rules = self._tables
        open_worlds(worlds, rules, self.plan.ways, self.views, which, fresh)
