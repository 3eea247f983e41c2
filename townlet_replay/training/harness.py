"""The native trainer: captures, the current policy's own rollouts, both, cloning, or the live town.

One network and one optimizer serve a harness for its whole life, whatever it is trained on.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.sim.random import episode_seed
from townlet_env.sim.state import world_dtype
from townlet_env.views.lanes import Lanes
from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.capture import town_spec
from townlet_replay.dataset import ReplayDataset
from townlet_replay.errors import TrainingError
from townlet_replay.policy.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from townlet_replay.policy.network import ObservationSpec, TownletNetwork
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.training.bc import BCResult
from townlet_replay.training.books import Books, Standing, Watch
from townlet_replay.training.compute import Computing
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.course import Course
from townlet_replay.training.demonstration import Demonstration
from townlet_replay.training.imitating import clone, imitate_the_better
from townlet_replay.training.interruption import Interruption
from townlet_replay.training.judging import after_cloning, judge
from townlet_replay.training.lessons import Lessons
from townlet_replay.training.live import LiveCollector, LiveState
from townlet_replay.training.objectives import MIN_ESS, Objective
from townlet_replay.training.position import Position, pack_position, unpack_position
from townlet_replay.training.ppo import Aim, estimate
from townlet_replay.training.records import DataMode
from townlet_replay.training.rollout_buffer import RolloutBuffer
from townlet_replay.training.tally import EpochTally
from townlet_replay.training.telemetry_schema import EpochRecord

_LOG = logging.getLogger(__name__)


class TrainingResult(NamedTuple):
    """What a run did."""

    records: tuple[EpochRecord, ...]
    objective: Objective | None  # the verdict on a capture; None without one
    cloning: BCResult | None  # if something was cloned


class TrainingHarness:
    """Trains one network.

    Args:
        config: Settings of the run.
        watch: Called with the record of every epoch, to show progress.

    Attributes:
        network: What is trained.
        computing: Its optimizer, and how both are computed.
        standing: Counters: epochs, agent steps trained on, cycles, agent steps made in the town.

    Raises:
        ConfigError: The scenario is unknown or wrong.
        CheckpointError: ``config.resume`` is of another network, observation or vocabulary.
        TelemetryError: The log cannot be continued.
        TrainingError: TensorBoard logs are asked for and it is not installed.
    """

    def __init__(self, config: TrainConfig, watch: Watch | None = None) -> None:
        self.config = config
        self.scenario = load_scenario(config.scenario)
        self.plan = compile_plan(self.scenario)
        self.spec = town_spec(self.plan)
        self.network = TownletNetwork(self.spec, config.network, config.seed)
        self.network.to(config.device)
        self.computing = Computing(self.network, config)
        self._rng = np.random.default_rng([config.seed, 1])
        self.standing = Standing()
        self._course: Course | None = None  # of the run at hand, or of the one that was cut short
        self._collector: LiveCollector | None = None
        self._towns: LiveState | None = None  # where a collector will go on
        kept_objective = None if config.resume is None else self._resume(config.resume)
        self.runtime = PolicyRuntime(self.network, seed=config.seed)
        self._cloning: BCResult | None = None
        self._books = Books(config, watch, self.standing)
        self._books.objective = kept_objective
        self._lessons = Lessons(config, self.runtime, self.computing, self._books, self._rng)

    def _resume(self, path: Path) -> Objective | None:
        saved = load_checkpoint(path, observation=self.spec, config=self.config.network)
        self.network.load_state_dict(saved.network.state_dict())
        if saved.header.optimizer is not None:
            saved.restore_optimizer(self.optimizer)
            # The moments go on; the step size is what this run was told.
            settings = self.config.ppo
            self.optimizer.param_groups[0].update(lr=settings.learning_rate, eps=settings.adam_eps)
        if saved.header.rng is not None:
            self._rng = saved.generator()
        self.standing = Standing.of(saved.header.counters)
        if saved.header.position is None:
            return None
        position = unpack_position(
            saved.header.position, saved.arrays, world_dtype(self.plan.capacity)
        )
        self._course, self._towns = position.course, position.live
        self.computing.reference = position.reference
        return position.objective

    def _set_out(self, mode: str, done: int, length: int) -> Course:
        """Begin a run at counter ``done``, or finish the one of this mode that was cut short."""
        course, kept = Course(mode, done, length), self._course
        if kept is not None and kept.mode == mode and kept.begun <= done < kept.goal:
            again = kept._replace(length=length)
            course = again if done < again.goal else course
        self._course = course
        return course

    def run_ppo(self, dataset: ReplayDataset, epochs: int | None = None) -> TrainingResult:
        """Train on a capture, with the objective that is sound on it.

        Every epoch passes once over the data set, one update per batch. A capture that supports no
        ratio (a deterministic script) is cloned instead, unless ``config.objective`` insists. The
        clone of a noisy script goes on with PPO on the capture, for as many epochs as it stays near
        enough to who acted.

        Raises:
            TrainingError: The objective asked for is unsound on this capture.
            CaptureError: The capture has another vocabulary or feature list than the scenario.
        """
        self._check_fit(dataset)
        rows = sum(meta.timesteps for meta in dataset.metas)
        passes = self.config.epochs if epochs is None else epochs
        course = self._set_out("replay", self.standing.steps, passes * rows)
        objective = self._judge(dataset, begun=course.begun < self.standing.steps)
        if objective.name == "bc":
            result = self.run_bc(dataset)
            if objective.requested != "auto" or not self._goes_on(dataset):
                return result
            course = self._set_out("replay", self.standing.steps, passes * rows)
        if objective.name == "awr":
            return self.run_awr(dataset)
        if objective.name == "ppo_bc":
            raise TrainingError("objective 'ppo_bc': expected mode mixed, found replay; set mixed")
        with Interruption() as interruption:
            while self.standing.steps < course.goal:
                self._lessons.over(dataset, "replay", course)
                if self._cloned_first and not self._goes_on(dataset):
                    break
                interruption.check()
        return self._arrive()

    def _goes_on(self, dataset: ReplayDataset) -> bool:
        """Tell whether a clone is near enough to who acted for PPO, and keep that verdict."""
        verdict = after_cloning(dataset, self.network)
        if verdict is not None:
            self._books.objective = verdict
        return verdict is not None

    @property
    def _cloned_first(self) -> bool:
        """Whether the verdict at hand is one on a clone."""
        verdict = self._books.objective
        return verdict is not None and verdict.cloned

    def run_bc(self, dataset: ReplayDataset) -> TrainingResult:
        """Clone what a capture shows, and fit the value head to its returns."""
        self._check_fit(dataset)
        self._cloning = clone(self.network, dataset, self.config.bc, self._rng, self._books)
        # PPO's moments would push weights that are no longer there.
        self.computing.renew_optimizer()
        return self._arrive()

    def run_awr(self, dataset: ReplayDataset) -> TrainingResult:
        """Imitate a capture, the more the better it turned out; values are fitted first."""
        self._check_fit(dataset)
        settings, revalued = self.config.awr, self._lessons.revalued
        imitate_the_better(self.network, dataset, settings, self._rng, self._books, revalued)
        self.computing.renew_optimizer()
        return self._arrive()

    def _arrive(self) -> TrainingResult:
        """End a run: what follows is another one."""
        self._course = None
        return self.result()

    def capture_rollout(
        self, ticks: int | None = None, save_dir: Path | None = None
    ) -> RolloutBuffer:
        """Capture the current policy in the scenario, for ``ticks`` ticks, as files and back.

        What is captured depends on the seed, the cycle and the weights only, so that a resumed run
        goes on as if it had never stopped.

        Args:
            ticks: Episodes follow each other until so many have passed; the last one is cut.
            save_dir: Keeps the capture there; by default it is temporary.
        """
        ticks = self.config.rollout.ticks if ticks is None else ticks
        seed = episode_seed(self.config.seed, self.standing.cycle + 1) >> 1
        town = TownletParallelEnv(self.scenario, details=True)
        runtime = PolicyRuntime(self.network, seed=seed)
        return RolloutBuffer.record(town, runtime, (ticks, seed, self.standing.cycle), save_dir)

    def run_rollout_ppo(
        self, cycles: int | None = None, ticks: int | None = None
    ) -> TrainingResult:
        """Capture with the current policy and update on it, cycle by cycle."""
        count = self.config.rollout.cycles if cycles is None else cycles
        course = self._set_out("rollout", self.standing.cycle, count)
        with Interruption() as interruption:
            while self.standing.cycle < course.goal:
                self.computing.follow(course.remaining(self.standing.cycle))
                self._rollout_cycle(ticks, "rollout")
                interruption.check()
        return self._arrive()

    def run_mixed(self, dataset: ReplayDataset) -> TrainingResult:
        """Learn from a capture and from own rollouts in turn, with one network throughout.

        A capture fit for PPO is passed over in every cycle; one that can only be imitated warms the
        network up before the first. With ``ppo_bc`` it is imitated beside PPO, less and less.
        """
        standing = self.standing
        self._check_fit(dataset)
        course = self._set_out("mixed", standing.cycle, self.config.rollout.cycles)
        begun = course.begun < standing.cycle
        name = self._judge(dataset, begun=begun).name
        if not begun and name in ("bc", "awr"):
            (self.run_bc if name == "bc" else self.run_awr)(dataset)
            self._course = course
        with Interruption() as interruption:
            while standing.cycle < course.goal:
                remaining = course.remaining(standing.cycle)
                self.computing.follow(remaining)
                if name in MIN_ESS:
                    self._lessons.over(dataset, "mixed")
                demonstration = None
                weight = self.config.demonstration.weight_at(remaining)
                if name == "ppo_bc" and weight > 0.0:
                    demonstration = self._lessons.demonstration(dataset, weight)
                self._rollout_cycle(None, "mixed", demonstration)
                interruption.check()
        return self._arrive()

    def run_live(self, steps: int | None = None) -> TrainingResult:
        """Step the town and update on every rollout, until ``steps`` agent steps are made.

        The towns go on where the last live run of this harness, or of the checkpoint it resumed,
        left them. A run that was cut short is finished: what it made already counts.
        """
        live, standing = self.config.live, self.standing
        course = self._set_out("live", standing.live_steps, live.steps if steps is None else steps)
        with self.computing.session(), Interruption() as interruption:
            collector = self._live_collector()
            while standing.live_steps < course.goal:
                tally = EpochTally("rollout", live.rollout_ticks)
                rollout = collector.collect(live.rollout_ticks)
                standing.live_steps += len(rollout.actions)
                self.computing.follow(course.remaining(standing.live_steps))
                self._lessons.update(rollout, tally)
                self._books.book_ppo(tally, self.computing.settings)
                interruption.check()
        return self._arrive()

    def _live_collector(self) -> LiveCollector:
        """Return who collects, in the towns of before if there are any."""
        self.computing.refresh()
        if self._collector is not None:
            return self._collector
        # Unless the towns go on, others are to be seen than in the runs before.
        seed, made = self.config.seed, self.standing.live_steps
        seed = episode_seed(seed, made) >> 1 if made else seed
        lanes = Lanes(self.scenario, self.plan, self.config.live.num_worlds)
        self._collector = LiveCollector(lanes, self.computing.actor(seed), seed)
        if self._towns is not None and self._towns.fits(self._collector):
            self._collector.set_state(self._towns)
        elif self._towns is not None:
            _LOG.warning("the towns of the checkpoint are other ones; new ones are opened")
        return self._collector

    def save(self, path: Path | None = None) -> Path:
        """Write a checkpoint to ``path``, by default ``config.checkpoint``.

        Raises:
            TrainingError: There is no path.
            CheckpointError: It cannot be written.
        """
        target = path or self.config.checkpoint
        if target is None:
            raise TrainingError("expected a path for the checkpoint, found none; set `checkpoint`")
        verdict, capture = self._books.objective, self.config.capture_dir
        towns = self._towns if self._collector is None else self._collector.get_state()
        position = Position(self._course, verdict, towns, self.computing.reference)
        counters = dataclasses.asdict(self.standing)
        return save_checkpoint(
            target,
            self.network,
            TrainingState(self.optimizer, self._rng, counters, *pack_position(position)),
            training={
                "scenario": self.scenario.name,
                "scenario_digest": self.scenario.digest(),
                "mode": self.config.mode,
                "seed": self.config.seed,
                "objective": None if verdict is None else verdict.name,
                "biased": verdict is not None and verdict.biased,
                "capture": None if capture is None else str(capture),
                "compute": self.computing.report(),
            },
        )

    @property
    def optimizer(self) -> torch.optim.Adam:
        """Over the network's parameters."""
        return self.computing.optimizer

    def close(self) -> None:
        """Finish the logs."""
        self._books.close()
        if self.computing.trace is not None:
            self.computing.trace.close()

    def result(self) -> TrainingResult:
        """Return what was done so far."""
        return TrainingResult(tuple(self._books.records), self._books.objective, self._cloning)

    def _judge(self, dataset: ReplayDataset, *, begun: bool) -> Objective:
        """Return the verdict; a run that has begun keeps the one it has."""
        kept = self._books.objective
        if begun and kept is not None:
            return kept
        verdict = judge(
            dataset, self.config.objective, self.network, accept_bias=self.config.accept_bias
        )
        self._books.objective = verdict
        return verdict

    def _check_fit(self, dataset: ReplayDataset) -> None:
        found = ObservationSpec.from_sample(dataset.sample(0))
        difference = self.spec.difference(found)
        if difference is not None:
            raise TrainingError(
                f"{dataset.config.manifest}: the capture does not fit scenario "
                f"{self.scenario.name!r}: {difference}; train on a capture of this catalogue"
            )

    def _rollout_cycle(
        self, ticks: int | None, mode: DataMode, demonstration: Demonstration | None = None
    ) -> None:
        tally = EpochTally(mode)
        keep = self.config.rollout.save_dir
        folder = None if keep is None else keep / f"cycle_{self.standing.cycle + 1:03d}"
        buffer = self.capture_rollout(ticks, folder)
        self.standing.cycle += 1
        self.standing.live_steps += buffer.rows
        rollout = buffer.rollout()
        aim = None
        if demonstration is not None:
            estimates = estimate(rollout, self.config.ppo)
            aim = Aim(rollout.old_log_probs, estimates, auxiliary=demonstration)
        tally.ticks = buffer.ticks
        self._lessons.update(rollout, tally, aim)
        self._books.book_ppo(
            tally, self.computing.settings, samples=buffer.metrics, staleness=(0.0, 0.0)
        )
