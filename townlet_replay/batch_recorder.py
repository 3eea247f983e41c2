"""``RecordBatch``: records thousands of towns through the vector view, array by array."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from townlet_env.jit import kernel_digest
from townlet_env.sim.plan import resident_name
from townlet_env.views.vector import TownletVectorEnv
from townlet_replay.background import BackgroundWriter, EpisodeWriter, raise_together
from townlet_replay.batch_rows import Arrays, LaneColumns, Life, Row
from townlet_replay.errors import CaptureError
from townlet_replay.metrics import TownEvent
from townlet_replay.provenance import played_seed, versions
from townlet_replay.record_settings import read_settings
from townlet_replay.sample import MAX_DISCRETE_LOG_PROB
from townlet_replay.sidecar import CaptureMetadata, SampleMeta
from townlet_replay.writer import CaptureWriter

MASK = "action_mask"  # among what is seen
_HANDOVER_BYTES = 8 * 2**20  # of arrays, in one job of the thread
Critic = Callable[[Arrays], NDArray[np.float32]]
"""Gives V of observations, key -> (B, ...): (B,). ``PolicyRuntime.values_batch`` is one."""


class RecordBatch:
    """Steps a ``TownletVectorEnv`` and records every slot that acts.

    The samples are those that ``RecordReplay`` would give for each world: one per resident and
    life. Lives that ended are written in a thread; at most 64 MiB of them wait.

    Example::

        towns = TownletVectorEnv("shared_flat", num_worlds=256)
        with RecordBatch(towns, "captures/run", critic=runtime.values_batch) as recorder:
            seen, infos = recorder.reset(seed=7)
            for _ in range(1000):
                acts = runtime.act_batch(seen, infos["action_mask"])
                recorder.annotate(log_probs=acts.log_probs, values=acts.values)
                seen, *_, infos = recorder.step(acts.actions)
    """

    def __new__(cls, *arguments: Any, **settings: Any) -> Self:
        """Return an object of the class that records mode ``actions``, if it is that."""
        kind: Any = cls
        if cls is RecordBatch and settings.get("mode") == "actions":
            from townlet_replay.batch_actions import BatchActionRecorder

            kind = BatchActionRecorder
        made: Self = super().__new__(kind)
        return made

    def __init__(
        self,
        towns: TownletVectorEnv,
        out: str | Path,
        *,
        critic: Critic | None = None,
        **settings: object,
    ) -> None:
        """Nothing is written before the first life has ended.

        Args:
            towns: with autoreset mode ``NEXT_STEP``, the default.
            out: directory of the capture; created when needed.
            critic: values what followed a truncation, where rows have values.
            **settings: fields of :class:`~townlet_replay.record_settings.RecordSettings`.

        Raises:
            CaptureError: another autoreset mode, a wrong setting, or a capture that would be
                overwritten.
        """
        if towns.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise CaptureError(
                "a batch is recorded with autoreset mode NEXT_STEP, found "
                f"{towns.autoreset_mode.name}; build the towns with that one"
            )
        self.settings = read_settings(settings)
        self.towns = towns
        self.critic = critic
        self._metadata = metadata_of_batch(towns, self.settings.metadata)
        self._common = _common_meta(towns, self.settings.tags)
        self.writer: EpisodeWriter = CaptureWriter(
            out, self.settings.writer_settings(self._metadata, bundle=True)
        )
        self._thread = BackgroundWriter(self.writer)
        lanes = towns.num_envs
        self._columns = LaneColumns(lanes, towns.config.ticks)
        self._open = False  # an episode is being recorded
        self._notes: Arrays = {}
        self._version: int | None = None
        self._illegal = np.zeros(lanes, np.int64)
        self._events: list[list[TownEvent]] = [[] for _ in range(lanes)]
        self._tells_events = False
        self._episodes = 0
        self._episode_of = np.zeros(towns.num_worlds, np.int64)
        self._seeds = [0] * towns.num_worlds

    @property
    def manifest_path(self) -> Path:
        """Where the manifest is, once something has been written."""
        return self.writer.manifest_path

    @property
    def acknowledged(self) -> int:
        """Lives on disk, named by the manifest."""
        return self._thread.acknowledged

    def reset(self, *, seed: int | None = None) -> tuple[Arrays, dict[str, Any]]:
        """Write open lives as truncated, then open an episode in every world.

        Raises:
            CaptureError: lives cannot be written.
        """
        self.seal()
        seen, infos = self.towns.reset(seed=seed)
        self._begin(range(self.towns.num_worlds))
        self._look(seen)
        return seen, infos

    def annotate(
        self,
        *,
        log_probs: NDArray[Any] | None = None,
        values: NDArray[Any] | None = None,
        logits: NDArray[Any] | None = None,
        policy_version: int | None = None,
    ) -> None:
        """Attach what the behaviour knows about the actions of the next ``step``.

        What is annotated for the first row is for every row of the recording.

        Args:
            log_probs: (S,) under the behaviour that chooses; NaN where unknown.
            values: (S,) V(observation before the action).
            logits: (S, A) scores before the softmax.
            policy_version: number of the update the policy is at.

        Raises:
            CaptureError: arrays of another shape, infinities, or a log-prob above 0.
        """
        lanes = self.towns.num_envs
        width = len(self.towns.action_lookup)
        for name, given, shape in (
            ("log_probs", log_probs, (lanes,)),
            ("values", values, (lanes,)),
            ("behaviour_logits", logits, (lanes, width)),
        ):
            if given is None:
                continue
            array = np.array(given, np.float32)
            if array.shape != shape or np.isinf(array).any():
                raise CaptureError(
                    f"annotate: {name}: expected finite numbers or NaN of shape {shape}, found "
                    f"shape {array.shape}{' with infinities' if np.isinf(array).any() else ''}"
                )
            if name == "log_probs" and (array > MAX_DISCRETE_LOG_PROB).any():
                raise CaptureError("annotate: log_probs: expected none above 0, found some")
            self._notes[name] = array
        self._version = policy_version

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Arrays, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step the towns and record the slots that acted.

        Raises:
            CaptureError: ``reset`` was not called, or lives that ended before cannot be written.
        """
        if not self._open:
            raise CaptureError("no episode is being recorded: call reset() before step()")
        opened = np.flatnonzero(self.towns.worlds_over)
        returned = self.towns.step(actions)
        seen, rewards, terminated, truncated, infos = returned
        active = np.flatnonzero(infos["active"])
        if len(active):
            row = self._row(np.asarray(actions), rewards, (terminated, truncated), infos)
            self._columns.add(row, active)
            self._note_events(active, infos)
        self._notes, self._version = {}, None
        self._begin(opened.tolist())
        self._look(seen)
        ended = active[(terminated | truncated)[active]]
        if len(ended):
            self._write(ended)
        return returned

    def seal(self) -> None:
        """Write open lives as truncated, and wait until everything is on disk.

        Raises:
            CaptureError: something cannot be written; it is kept, and tried again next time.
        """
        going = np.flatnonzero(self._columns.rows)
        for lane in going.tolist():
            self._columns.mark_cut(lane)
        if len(going):
            self._write(going)
        self._open = False
        self._thread.flush()

    def close(self) -> None:
        """Write what is open, then close the towns.

        Raises:
            CaptureError: it cannot be written; the towns are closed all the same.
        """
        with ExitStack() as at_last:  # each of them, whatever the others raise
            for step in (self.towns.close, self.writer.close, self._thread.flush):
                at_last.callback(step)
            self.seal()

    def __enter__(self) -> Self:
        """Return the recorder itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, also after an error or Ctrl-C."""
        self.close()

    def _begin(self, worlds: Any) -> None:
        """Number the episodes that were opened."""
        for w in worlds:
            self._episode_of[w] = self._episodes
            self._episodes += 1
            self._seeds[w] = played_seed(self.towns.lanes.batch.worlds, w)

    def _look(self, seen: Arrays) -> None:
        self._columns.look({**seen, MASK: self.towns.action_masks()})
        self._open = True

    def _row(
        self,
        actions: NDArray[Any],
        rewards: NDArray[np.float64],
        ends: tuple[NDArray[np.bool_], NDArray[np.bool_]],
        infos: dict[str, Any],
    ) -> Row:
        lanes = self.towns.num_envs
        unknown = np.full(lanes, np.nan, np.float32)
        log_probs = self._notes.get("log_probs")
        if log_probs is None:
            kind = self.settings.behaviour_of("", log_probs_known=False).kind
            log_probs = np.zeros(lanes, np.float32) if kind == "script" else unknown
        optional: Arrays = {}
        if "behaviour_logits" in self._notes:
            optional["behaviour_logits"] = self._notes["behaviour_logits"]
        if "reward_components" in infos:
            optional["reward_components"] = infos["reward_components"].astype(np.float32)
        if self._version is not None:
            optional["policy_version"] = np.full(lanes, self._version, np.int64)
        ticks = self.towns.lanes.batch.worlds["tick"].astype(np.int32)
        return Row(
            actions=actions.astype(np.int64),
            rewards=rewards.astype(np.float32),
            terminated=ends[0],
            truncated=ends[1] & ~ends[0],
            ticks=np.repeat(ticks, len(self.towns.learners)),
            log_probs=log_probs,
            values=self._notes.get("values", unknown),
            optional=optional,
        )

    def _note_events(self, active: NDArray[np.int64], infos: dict[str, Any]) -> None:
        self._illegal[active] += infos["illegal_action"][active]
        self._tells_events = "events" in infos
        if self._tells_events:
            for lane in active.tolist():
                self._events[lane].extend(infos["events"][lane] or ())

    def _write(self, lanes: NDArray[np.int64]) -> None:
        """Hand the lives of ``lanes`` to the thread; what they see now is what followed.

        They are copied some worlds at a time: what waits is bounded, however many end together.
        """
        final = self._final_values(lanes)
        width = len(self.towns.learners)
        pairs: list[tuple[Life, SampleMeta]] = []
        errors: list[CaptureError] = []  # every life is handed over before one is raised
        size = 0
        for k, lane in enumerate(lanes.tolist()):
            if size > _HANDOVER_BYTES and lane // width != lanes[k - 1] // width:
                self._hand_over_lives(pairs, size, errors)
                pairs, size = [], 0
            agent = self._name(lane)
            life = self._life(lane, float(final[k]))
            if self.settings.agents is None or agent in self.settings.agents:
                pairs.append((life, self._meta(agent, lane // width, life)))
                size += life.nbytes
        if pairs:
            self._hand_over_lives(pairs, size, errors)
        raise_together(errors)

    def _hand_over_lives(
        self, pairs: list[tuple[Life, SampleMeta]], size: int, errors: list[CaptureError]
    ) -> None:
        try:
            self._thread.put(lambda: [life.sample(meta) for life, meta in pairs], size)
        except CaptureError as error:
            errors.append(error)

    def _name(self, lane: int) -> str:
        """Return who lives in a lane."""
        w, learner = divmod(lane, len(self.towns.learners))
        names = self.towns.plan.names
        slot = names.residents.index(self.towns.learners[learner])
        return resident_name(names, self.towns.lanes.batch.worlds[w], slot)

    def _final_values(self, lanes: NDArray[np.int64]) -> NDArray[np.float32]:
        values = np.full(len(lanes), np.nan, np.float32)
        asked = np.flatnonzero(self._columns.valued(lanes))
        if self.critic is not None and len(asked):
            seen = self._columns.seen(lanes[asked])
            del seen[MASK]
            values[asked] = self.critic(seen)
        return values

    def _life(self, lane: int, final_value: float) -> Life:
        taken = self._columns.take(lane)
        events = tuple(self._events[lane]) if self._tells_events else None
        illegal, self._events[lane] = int(self._illegal[lane]), []
        self._illegal[lane] = 0
        return Life(
            mask=taken.seen.pop(MASK),
            final_mask=taken.final.pop(MASK),
            observations=taken.seen,
            columns=taken.rest,
            optional=taken.extra,
            final_observation=taken.final,
            final_value=final_value,
            events=events,
            illegal=illegal,
        )

    def _meta(self, agent: str, w: int, life: Life) -> SampleMeta:
        rows = len(life.mask)
        known = not np.isnan(life.columns["log_probs"]).all()
        origin = self._metadata.model_copy(update={"seed": self._seeds[w]})
        changes = {
            "agent_id": agent,
            "episode_id": int(self._episode_of[w]),
            "timesteps": rows,
            "value_pred_steps": rows + 1,
            "behaviour": self.settings.behaviour_of(agent, log_probs_known=known),
            "capture_metadata": origin,
        }
        return self._common.model_copy(update=changes)


def _common_meta(towns: TownletVectorEnv, tags: tuple[str, ...]) -> SampleMeta:
    """Return the sidecar of one row of nobody: what all sidecars of a recording share."""
    return SampleMeta(
        agent_id="",
        episode_id=0,
        feature_names=towns.feature_names,
        map_channels=towns.map_channels or None,
        reward_components=towns.reward_components,
        action_lookup=towns.action_lookup,
        action_dim=len(towns.action_lookup),
        timesteps=1,
        value_pred_steps=2,
        tags=tags,
    )


def metadata_of_batch(towns: TownletVectorEnv, stated: CaptureMetadata) -> CaptureMetadata:
    """Return ``stated`` with what it leaves open filled in from the towns."""
    config = towns.config
    found: dict[str, Any] = {
        "versions": versions(),
        "config_id": config.name,
        "config_digest": config.digest(),
        "scenario_name": config.name,
        "scenario_description": config.description,
        "ticks": config.ticks,
        "seed": config.seed,
        "kernel_digest": kernel_digest(),
    }
    said = {name: value for name, value in stated.model_dump().items() if value not in (None, {})}
    return CaptureMetadata(**{**found, **said})
