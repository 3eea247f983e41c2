"""Mode ``actions`` over the vector view: thousands of towns, a row of numbers per tick.

Rows are kept by tick, all towns in one array each, and chains are folded for all of them in one
call. When the episode of a town ends, its part is copied out and handed to the writing thread.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from townlet_env.views.vector import TownletVectorEnv
from townlet_replay.action_block import Block
from townlet_replay.action_writer import LogWriter
from townlet_replay.background import BackgroundWriter
from townlet_replay.batch_block import UNKNOWN, Casting, Ends, Episodes
from townlet_replay.batch_recorder import Critic, RecordBatch, metadata_of_batch
from townlet_replay.batch_rows import Arrays
from townlet_replay.determinism import check_repeatable
from townlet_replay.errors import CaptureError
from townlet_replay.hash_chain import CHECK_BYTES
from townlet_replay.record_settings import read_settings
from townlet_replay.town_chains import TownChains
from townlet_replay.town_setup import TownSetup, variant_of

_NOTES = {"log_probs": "log_probs", "values": "values", "behaviour_logits": "logits"}
PIECE_BYTES = 8 * 2**20  # of rows that are handed over together

Worlds = NDArray[np.int64]


class BatchActionRecorder(RecordBatch):
    """``RecordBatch(towns, out, mode="actions")``; see there.

    An episode is written when its town opens the next one, not life by life.
    """

    def __init__(
        self,
        towns: TownletVectorEnv,
        out: str | Path,
        *,
        critic: Critic | None = None,
        **settings: object,
    ) -> None:
        """Nothing is written before the first episode has ended; arguments as of ``RecordBatch``.

        Raises:
            CaptureError: another autoreset mode, a wrong setting, or something that would be
                overwritten.
        """
        if towns.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise CaptureError(
                "a batch is recorded with autoreset mode NEXT_STEP, found "
                f"{towns.autoreset_mode.name}; build the towns with that one"
            )
        if type(towns) is not TownletVectorEnv:
            raise CaptureError(
                "an action log of a batch needs TownletVectorEnv itself; found "
                f"{type(towns).__name__}, which may change what is seen or done"
            )
        self.settings = read_settings(settings)
        self.towns = towns
        self.critic = critic
        setup = TownSetup(towns.config, variant_of(towns.map_channels), "obs", towns.details)
        check_repeatable(setup.build())
        metadata = metadata_of_batch(towns, self.settings.metadata)
        self.writer = LogWriter(out, self.settings, metadata, setup)
        self._thread = BackgroundWriter(self.writer)
        self._batch = towns.lanes.batch
        self._chains = TownChains(self._batch, setup.channels)
        self._casting = self._cast()
        self._seeds_of = self._batch.worlds.view(np.ndarray)["seed"]
        self._newcomers = self._batch.worlds.view(np.ndarray)["newcomer"]
        worlds = towns.num_worlds
        self._room = towns.config.ticks  # rows; they are used in turn
        self._rings: Arrays = {}
        self._steps = 0  # steps since the first reset
        self._open = False  # an episode is being recorded
        self._start = np.zeros(worlds, np.int64)  # step that each world's episode began with
        self._first_check = np.zeros((worlds, CHECK_BYTES), np.uint8)
        self._episode_id = np.zeros(worlds, np.int64)
        self._seed = np.zeros(worlds, np.int64)
        self._terminated = np.zeros(towns.num_envs, np.bool_)  # in the last step
        self._last_value = np.full(towns.num_envs, UNKNOWN)
        self._episodes = 0
        self._notes: Arrays = {}
        self._version: int | None = None

    def _cast(self) -> Casting:
        names, wanted = self.towns.plan.names, self.settings.agents
        slots = np.array([names.residents.index(name) for name in self.towns.learners])
        kind = self.settings.behaviour_of("", log_probs_known=False).kind
        return Casting(
            names=names,
            learners=slots,
            wanted=lambda agent: wanted is None or agent in wanted,
            certain=kind == "script",
        )

    def reset(self, *, seed: int | None = None) -> tuple[Arrays, dict[str, Any]]:
        """Write open episodes, then open one in every world.

        Raises:
            CaptureError: they cannot be written.
        """
        self.seal()
        returned = self.towns.reset(seed=seed)
        self._open_episodes(np.arange(self.towns.num_worlds), self._steps)
        self._open = True
        return returned

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Arrays, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step the towns and record what everybody did.

        Raises:
            CaptureError: ``reset`` was not called, an action that is no id, or episodes that ended
                before cannot be written.
        """
        if not self._open:
            raise CaptureError("no episode is being recorded: call reset() before step()")
        towns, given = self.towns, np.asarray(actions)
        opened = towns.worlds_over
        alive = (
            None if len(self._casting.learners) == self._batch.num_residents else self._batch.alive
        )
        self._check_ids(given, opened)
        returned = towns.step(actions)
        _, rewards, terminated, truncated, infos = returned
        self._keep(given, rewards, infos["active"], alive)
        self._fold(opened)
        self._steps += 1
        active = infos["active"]
        self._terminated = terminated & active
        ended = np.flatnonzero((terminated | truncated) & active)
        if len(ended):
            self._value(ended)
            self._last_value[self._terminated] = UNKNOWN
        over = np.flatnonzero(towns.lanes.over & ~opened)
        if len(over):
            self._hand_over(over)
        return returned

    def seal(self) -> None:
        """Write open episodes, their lives as truncated, and wait until everything is on disk.

        Raises:
            CaptureError: something cannot be written; it is kept, and tried again next time.
        """
        if self._open:
            self._open = False
            going = (self._steps > self._start) & ~self.towns.lanes.over
            self._terminated = np.zeros_like(self._terminated)
            if going.any():
                acted = self._rings["active"][(self._steps - 1) % self._room, going]
                there = self.towns.lanes.in_town.reshape(self.towns.num_worlds, -1)
                there[going] &= acted[:, self._casting.learners]
                there[~going] = False
                self._value(np.flatnonzero(there))
                self._hand_over(np.flatnonzero(going))
        self._thread.flush()

    def _check_ids(self, given: NDArray[Any], opened: NDArray[np.bool_]) -> None:
        """Refuse actions that no log could name, of those whose actions count."""
        width = len(self.towns.action_lookup)
        if given.dtype.kind not in "iu" or given.shape != (self.towns.num_envs,):
            return  # the towns refuse them
        if int(given.min()) >= 0 and int(given.max()) < width:
            return
        counts = self.towns.lanes.in_town & ~np.repeat(opened, len(self.towns.learners))
        wrong = np.flatnonzero(counts & ((given < 0) | (given >= width)))
        if len(wrong):
            raise CaptureError(
                f"slot {wrong[0]}: action {given[wrong[0]]} cannot be recorded; expected 0 to "
                f"{width - 1}"
            )

    def _open_episodes(self, worlds: Worlds, step: int) -> None:
        """Take note of the episodes that were opened, whose first step is ``step``."""
        self._chains.begin(worlds)
        self._start[worlds] = step
        self._first_check[worlds] = self._chains.checks[worlds]
        self._episode_id[worlds] = self._episodes + np.arange(len(worlds))
        self._episodes += len(worlds)
        self._seed[worlds] = self._seeds_of[worlds].astype(np.int64)
        lanes = self._last_value.reshape(self.towns.num_worlds, -1)
        lanes[worlds] = UNKNOWN

    def _keep(
        self,
        given: NDArray[Any],
        rewards: NDArray[np.float64],
        active: NDArray[np.bool_],
        alive: NDArray[np.bool_] | None,
    ) -> None:
        """Write the row of this step."""
        worlds, learners = self.towns.num_worlds, self._casting.learners
        slots, row = self._batch.num_residents, self._steps % self._room
        actions = self._ring("actions", np.uint8, (worlds, slots))[row]
        acting = self._ring("active", np.bool_, (worlds, slots))[row]
        by_world = given.reshape(worlds, -1)
        if alive is None:
            np.copyto(actions, by_world, casting="unsafe")
            acting[:] = active.reshape(worlds, -1)
        else:
            np.copyto(actions, self._batch.orders, casting="unsafe")
            actions[:, learners] = by_world
            acting[:] = alive
            acting[:, learners] = active.reshape(worlds, -1)
        if self._batch.plan.max_newcomers:
            self._ring("newcomer", np.int32, (worlds, slots))[row] = self._newcomers[:, :slots]
        shape = (worlds, len(learners))
        self._ring("rewards", np.float32, shape)[row] = rewards.reshape(shape)
        self._keep_notes(row, shape)

    def _keep_notes(self, row: int, shape: tuple[int, int]) -> None:
        for note, name in _NOTES.items():
            unknown = UNKNOWN
            if name == "log_probs" and self._casting.certain:
                unknown = np.float32(0)
            told = self._notes.get(note)
            if told is not None:
                tail = told.shape[1:]
                ring = self._ring(name, np.float32, (*shape, *tail), unknown)
                ring[row] = told.reshape(*shape, *tail)
            elif name in self._rings:
                self._rings[name][row] = unknown
        if self._version is not None or "versions" in self._rings:
            version = -1 if self._version is None else self._version
            self._ring("versions", np.int64, (), -1)[row] = version
        self._notes, self._version = {}, None

    def _ring(self, name: str, dtype: Any, shape: tuple[int, ...], fill: Any = 0) -> NDArray[Any]:
        """Return the rows of a quantity, used in turn; made when first needed."""
        found = self._rings.get(name)
        if found is None:
            found = np.zeros((self._room, *shape), dtype)  # memory that is not used is not taken
            if fill != 0:
                found[:] = fill
            self._rings[name] = found
        return found

    def _fold(self, opened: NDArray[np.bool_]) -> None:
        """Fold the states that the step led to, and begin the chains of worlds that it opened."""
        row = self._steps % self._room
        checks = self._ring("checks", np.uint8, (self.towns.num_worlds, CHECK_BYTES))
        if opened.any():
            self._chains.add(np.flatnonzero(~opened))
            checks[row] = self._chains.checks
            self._open_episodes(np.flatnonzero(opened), self._steps + 1)
        else:
            self._chains.add()
            checks[row] = self._chains.checks

    def _value(self, lanes: NDArray[np.int64]) -> None:
        """Ask for V of what lanes see now, of those whose rows have values."""
        values = self._rings.get("values")
        if self.critic is None or values is None:
            return
        last = values[(self._steps - 1) % self._room].reshape(-1)[lanes]
        asked = lanes[~np.isnan(last)]
        if len(asked):
            seen = self.towns.lanes.observations(copy=False)
            keys = ("map", "features") if self.towns.map_channels else ("features",)
            self._last_value[asked] = self.critic({key: seen[key][asked] for key in keys})

    def _hand_over(self, worlds: Worlds) -> None:
        """Copy the episodes of worlds out of the rows, and let them be written."""
        starts = self._start[worlds]
        for start in np.unique(starts).tolist():
            together = worlds[starts == start]
            ticks = self._steps - start
            rows = sum(ring[0].nbytes for ring in self._rings.values())
            size = ticks * rows // self.towns.num_worlds
            count = max(1, PIECE_BYTES // max(size, 1))
            for at in range(0, len(together), count):
                episodes = self._cut_out(together[at : at + count], start, ticks)
                self._thread.put(partial(_blocks_of, episodes), episodes.nbytes)

    def _cut_out(self, worlds: Worlds, start: int, ticks: int) -> Episodes:
        """Return copies of the rows of worlds whose episodes began and end together."""
        first = start % self._room
        steps: list[slice] = [slice(first, min(first + ticks, self._room))]
        if first + ticks > self._room:
            steps.append(slice(0, first + ticks - self._room))
        side_by_side = int(worlds[-1] - worlds[0]) == len(worlds) - 1
        which: Any = slice(int(worlds[0]), int(worlds[-1]) + 1) if side_by_side else worlds
        rows: Arrays = {}
        for name, ring in self._rings.items():
            parts = [ring[some] if ring.ndim == 1 else ring[some, which] for some in steps]
            rows[name] = np.concatenate(parts)
        slots, learners = self._batch.num_residents, self._casting.learners
        terminated = np.zeros((len(worlds), slots), np.bool_)
        terminated[:, learners] = self._terminated.reshape(self.towns.num_worlds, -1)[worlds]
        ends = Ends(
            episode_id=self._episode_id[worlds],
            seed=self._seed[worlds],
            first_check=self._first_check[worlds],
            chain=self._chains.states[worlds],
            seen=self._chains.seen[worlds],
            terminated=terminated,
            last_value=self._last_value.reshape(self.towns.num_worlds, -1)[worlds],
        )
        return Episodes(rows, ends, self._casting)


def _blocks_of(episodes: Episodes) -> list[Block]:
    return [episodes.block()]
