"""The books of a run: where it stands, the records of its epochs, and the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from townlet_replay.sidecar import SampleMetrics
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.epoch_log import EpochLog
from townlet_replay.training.objectives import Objective
from townlet_replay.training.ppo import PPOConfig
from townlet_replay.training.records import DataMode, Progress, Verdict, check_moved, ppo_record
from townlet_replay.training.tally import EpochTally
from townlet_replay.training.telemetry_schema import EpochRecord

Baselines = Mapping[str, Any]
Watch = Callable[[EpochRecord], None]
NO_BASELINES: Baselines = {}


@dataclass
class Standing:
    """Counters, kept by checkpoints."""

    epoch: int = 0
    steps: int = 0  # rows trained on
    cycle: int = 0  # own captures
    live_steps: int = 0  # agent steps made in the town

    @classmethod
    def of(cls, counters: Mapping[str, int]) -> Standing:
        """Read the counters of a checkpoint; those it does not have are 0."""
        return cls(**{field.name: counters.get(field.name, 0) for field in fields(cls)})


class Books:
    """Books one record per epoch.

    Args:
        config: Settings of the run.
        watch: Called with every record.

    Attributes:
        standing: Where the run is; a log that is continued counts on, whether or not the weights
            do.
        objective: The verdict on the capture; None without one.
        records: Of this run.

    Raises:
        TelemetryError: The log cannot be continued.
        TrainingError: TensorBoard logs are asked for and it is not installed.
    """

    def __init__(self, config: TrainConfig, watch: Watch | None, standing: Standing) -> None:
        self.standing = standing
        self.objective: Objective | None = None
        self.records: list[EpochRecord] = []
        self._watch = watch
        self._log = EpochLog(config.telemetry, config.tensorboard)
        resumed = self._log.resumed
        standing.epoch = max(standing.epoch, resumed.epoch)
        standing.steps = max(standing.steps, resumed.steps)
        standing.cycle = max(standing.cycle, resumed.cycle_id)

    @property
    def wants_health(self) -> bool:
        """Whether the log has keys that cost a look at every update."""
        return self._log.wants_health

    def progress(
        self, mode: DataMode, ticks: int, seconds: float, learning_rate: float
    ) -> Progress:
        """Begin the record of the next epoch."""
        standing, given, verdict = self.standing, self.objective, Verdict("ppo")
        standing.epoch += 1
        if given is not None and mode != "rollout":
            verdict = Verdict(given.name, given.biased, given.audit)
        return Progress(
            epoch=standing.epoch,
            steps=standing.steps,
            cycle=standing.cycle,
            data_mode=mode,
            rollout_ticks=ticks,
            seconds=seconds,
            learning_rate=learning_rate,
            verdict=verdict,
        )

    def book_ppo(
        self,
        tally: EpochTally,
        settings: PPOConfig,
        baselines: Baselines = NO_BASELINES,
        samples: Sequence[SampleMetrics] = (),
        staleness: tuple[float, float] | None = None,
    ) -> None:
        """Book an epoch of PPO updates.

        Args:
            tally: What they were like.
            settings: Of the last of them.
            baselines: Of the capture.
            samples: Metrics of what was trained on.
            staleness: In cycles, mean and largest.

        Raises:
            TrainingError: The first update of the run took no step.
        """
        seconds = tally.seconds
        progress = self.progress(tally.mode, tally.ticks, seconds, settings.learning_rate)
        progress = progress._replace(
            clip_range=settings.clip_range,
            collect_seconds=seconds - tally.update_seconds,
            update_seconds=tally.update_seconds,
            staleness=staleness,
        )
        record = ppo_record(tally.stats, progress, baselines, samples, tally.health)
        if not self.records:
            check_moved(record, settings.target_kl)
        self.book(record)

    def book(self, record: EpochRecord) -> None:
        """Take a record."""
        self.records.append(record)
        self._log.write(record)
        if self._watch is not None:
            self._watch(record)

    def close(self) -> None:
        """Finish the logs."""
        self._log.close()
