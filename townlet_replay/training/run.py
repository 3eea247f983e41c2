"""One training run from its settings: picks learner and mode, shows progress, keeps the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import TrainingError
from townlet_replay.training.books import Watch
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.judging import judge
from townlet_replay.training.telemetry_schema import EpochRecord
from townlet_replay.training.torch_settings import torch_threads

MODES_ON_CAPTURES = ("replay", "bc", "mixed")


class RunReport(NamedTuple):
    """What a run did, for people and programs."""

    config: TrainConfig
    compute: str  # the mode; strict_sb3 for Stable-Baselines3's own learners
    objective: str | None
    biased: bool
    epochs: int
    steps: int
    last: EpochRecord | None
    checkpoint: Path | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "scenario": self.config.scenario,
            "mode": self.config.mode,
            "learner": self.config.learner,
            "compute": self.compute,
            "objective": self.objective,
            "biased": self.biased,
            "epochs": self.epochs,
            "steps": self.steps,
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
            "last": None if self.last is None else self.last.model_dump(by_alias=True),
        }

    def text(self) -> str:
        """Return a few lines."""
        lines = [
            f"{self.config.learner} on {self.config.scenario}, {self.config.mode}: "
            f"{self.epochs} epochs, {self.steps} agent steps"
            f"{'' if self.compute == 'strict_sb3' else f', {self.compute}'}"
        ]
        if self.objective is not None:
            bias = ", against the reasons (biased)" if self.biased else ""
            lines.append(f"objective {self.objective}{bias}")
        if self.last is not None:
            figures = {
                "policy loss": self.last.loss_policy,
                "value loss": self.last.loss_value,
                "k3": self.last.kl_divergence,
                "entropy": self.last.batch_entropy_mean,
            }
            known = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None]
            lines.append("last epoch: " + ", ".join(known))
        if self.checkpoint is not None:
            lines.append(f"weights: {self.checkpoint}")
        return "\n".join(lines)


def train(config: TrainConfig, watch: Watch | None = None) -> RunReport:
    """Train as the settings say.

    Args:
        config: The settings.
        watch: Called with the record of every epoch, to show progress.

    Raises:
        TownletError: Settings, capture, checkpoint or log are wrong; nothing is written then.
    """
    if config.mode not in MODES_ON_CAPTURES and config.objective not in ("auto", "ppo"):
        raise TrainingError(
            f"objective {config.objective!r}: expected a mode that reads a capture "
            f"({', '.join(MODES_ON_CAPTURES)}), found {config.mode!r}, which learns by ppo; "
            "set the mode, or leave the objective out"
        )
    dataset = _dataset(config)
    with torch_threads(config.compute.threads):
        if config.learner == "native":
            return _train_native(config, dataset, watch)
        return _train_sb3(config, dataset, watch)


def total_work(config: TrainConfig) -> int:
    """Return what a progress bar counts to: passes, cycles, or live steps."""
    total: dict[str, int] = {
        "replay": config.awr.epochs if config.objective == "awr" else config.epochs,
        "bc": config.bc.epochs,
        "rollout": config.rollout.cycles,
        "mixed": config.rollout.cycles,
        "live": config.live.steps,
    }
    return total[config.mode]


def work_done(config: TrainConfig, record: EpochRecord) -> int:
    """Return how far one record brings a run, in the unit of :func:`total_work`."""
    if config.mode == "live":
        return record.transitions
    # A mixed cycle has a part on the capture, which does not count, and one on a rollout.
    return int(config.mode != "mixed" or record.rollout_ticks > 0)


def _dataset(config: TrainConfig) -> ReplayDataset | None:
    if config.mode not in MODES_ON_CAPTURES:
        return None
    if config.capture_dir is None:
        raise TrainingError(
            f"mode {config.mode!r}: expected a capture, found none; give --capture-dir, or record "
            "one with `townlet capture`"
        )
    names = compile_plan(load_scenario(config.scenario)).names
    settings = ReplayDatasetConfig.from_capture_dir(
        config.capture_dir,
        batch_size=config.replay.batch_size,
        shuffle=config.replay.shuffle,
        seed=config.replay.seed,
        streaming=config.replay.streaming,
        action_lookup=dict(enumerate(names.actions)),
        feature_names=names.features,
    )
    return ReplayDataset(settings)


def _train_native(
    config: TrainConfig, dataset: ReplayDataset | None, watch: Watch | None
) -> RunReport:
    harness = TrainingHarness(config, watch)
    written = None
    try:
        if config.mode == "live":
            harness.run_live()
        elif config.mode == "rollout":
            harness.run_rollout_ppo()
        elif dataset is not None:
            runs = {
                "replay": harness.run_ppo,
                "bc": harness.run_bc,
                "mixed": harness.run_mixed,
            }
            runs[config.mode](dataset)
    finally:
        # Also after Ctrl-C: what was learnt so far is kept, unless nothing was.
        if config.checkpoint is not None and harness.result().records:
            written = harness.save()
        harness.close()
    result = harness.result()
    verdict = result.objective
    return RunReport(
        config=config,
        compute=harness.computing.mode,
        objective=None if verdict is None else verdict.name,
        biased=verdict is not None and verdict.biased,
        epochs=len(result.records),
        steps=harness.standing.steps,
        last=result.records[-1] if result.records else None,
        checkpoint=written,
    )


def _train_sb3(
    config: TrainConfig, dataset: ReplayDataset | None, watch: Watch | None
) -> RunReport:
    from townlet_replay.training.sb3_runs import train_live, train_on_capture, zip_path

    _check_sb3(config)
    records: list[EpochRecord] = []

    def keep(record: EpochRecord) -> None:
        records.append(record)
        if watch is not None:
            watch(record)

    verdict = None
    if dataset is None:
        model = train_live(config, keep)
    else:
        # Judged like the native learner's, so that both refuse the same captures.
        verdict = judge(dataset, "ppo", accept_bias=config.accept_bias)
        model = train_on_capture(config, dataset, keep)
    return RunReport(
        config=config,
        compute="strict_sb3",
        objective=None if verdict is None else verdict.name,
        biased=verdict is not None and verdict.biased,
        epochs=len(records),
        steps=int(model.num_timesteps),
        last=records[-1] if records else None,
        checkpoint=None if config.checkpoint is None else zip_path(config.checkpoint),
    )


def _check_sb3(config: TrainConfig) -> None:
    """Refuse what Stable-Baselines3's learners cannot do, before anything is done."""
    learner = f"learner {config.learner!r}"
    if config.mode not in ("replay", "live"):
        raise TrainingError(
            f"{learner}: expected mode replay or live, found {config.mode!r}; the native learner "
            "knows the others"
        )
    if config.compute.mode not in ("auto", "strict_sb3") or config.compute.precision != "f32":
        raise TrainingError(
            f"{learner}: expected compute auto or strict_sb3 in f32, found "
            f"{config.compute.mode!r} in {config.compute.precision}; the native learner knows them"
        )
    if config.objective not in ("auto", "ppo"):
        raise TrainingError(
            f"{learner}: expected objective ppo, found {config.objective!r}; the native learner "
            "knows the others"
        )
    if config.resume is not None:
        raise TrainingError(
            f"{learner}: expected a new run, found a checkpoint to resume; the native learner can, "
            "a zip is continued with CapturePPO.load(...).feed(...) in Python"
        )
