"""What a network is trained on: rollouts, each counted and looked at, and passes over captures."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from townlet_replay.dataset import ReplayDataset
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.rollout import Rollout, pack
from townlet_replay.sample import ReplaySample
from townlet_replay.training.books import Books
from townlet_replay.training.compute import Computing
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.course import Course
from townlet_replay.training.demonstration import Demonstration
from townlet_replay.training.judging import intents, samples_of, staleness
from townlet_replay.training.off_policy import decoupled_aim, vtrace_aim
from townlet_replay.training.ppo import Aim
from townlet_replay.training.records import DataMode
from townlet_replay.training.tally import EpochTally

# What the updates of a pass aim at; plain PPO at what the rollout says.
_AIMS = {"decoupled_ppo": decoupled_aim, "vtrace_ppo": vtrace_aim}


class Lessons:
    """Gives updates, one network and one stream of random numbers throughout.

    Args:
        config: Settings of the run.
        runtime: The network, as who values what no critic watched.
        computing: How an update is computed.
        books: Where epochs are written, with the verdict on the capture.
        rng: Draws the order of rows.
    """

    def __init__(
        self,
        config: TrainConfig,
        runtime: PolicyRuntime,
        computing: Computing,
        books: Books,
        rng: np.random.Generator,
    ) -> None:
        self.config, self.runtime, self.computing = config, runtime, computing
        self.books, self.rng = books, rng

    def update(self, rollout: Rollout, tally: EpochTally, aim: Aim | None = None) -> None:
        """Train on a rollout, and count it."""
        self.books.standing.steps += len(rollout.actions)
        before = time.perf_counter()
        tally.add(self.computing.update(rollout, self.rng, aim), before)
        if self.books.wants_health:
            tally.examine(self.runtime.network, rollout, self.config.ppo.gamma)

    def over(self, dataset: ReplayDataset, mode: DataMode, course: Course | None = None) -> None:
        """Pass over a capture once, one update per batch, and book it.

        Args:
            dataset: The capture.
            mode: Of the run.
            course: Counted in rows, which step sizes follow; None: somebody else sets them.
        """
        tally, objective, standing = EpochTally(mode), self.books.objective, self.books.standing
        aim_of = _AIMS.get("" if objective is None else objective.name)
        prepare = self.valued if aim_of is None else self.revalued
        # A batch is valued when its turn comes, by the network that the last one left.
        for rows in dataset.batches(standing.epoch, prepare):
            if course is not None:
                self.computing.follow(course.remaining(standing.steps + len(rows.actions)))
            aim = None
            if aim_of is not None:
                ppo, off_policy = self.config.ppo, self.config.off_policy
                aim = aim_of(self.runtime.network, rows, ppo, off_policy)
            self.update(rows, tally, aim)
        self.books.book_ppo(
            tally,
            self.computing.settings,
            dataset.baselines(),
            dataset.metrics,
            staleness(dataset, standing.cycle),
        )

    def valued(self, sample: ReplaySample) -> ReplaySample:
        """Fill in values that no critic gave; the recorded log-probs stay."""
        return self.runtime.annotate(sample) if np.isnan(sample.value_preds).any() else sample

    def revalued(self, sample: ReplaySample) -> ReplaySample:
        """Replace the values of whoever watched by the learner's own."""
        unknown = np.full_like(sample.value_preds, np.nan)
        return self.runtime.annotate(dataclasses.replace(sample, value_preds=unknown))

    def demonstration(self, dataset: ReplayDataset, weight: float) -> Demonstration:
        """Return a capture as something that is imitated beside PPO."""
        samples, size = samples_of(dataset), self.config.ppo.minibatch_size
        shown = pack(samples)._replace(actions=intents(samples))
        return Demonstration(self.runtime.network, shown, size, self.rng, weight)
