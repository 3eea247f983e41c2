"""What a comparison found: models that are written as JSON, and from which the report is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from townlet_env.config.faults import Source
from townlet_env.config.load import validate
from townlet_env.errors import ConfigError, nearest
from townlet_replay.training.settings import AtLeastOne, Settings

ArmName = Literal["live_native", "live_sb3", "capture_native", "capture_sb3", "script", "random"]
ARMS: tuple[ArmName, ...] = (
    "live_native",
    "live_sb3",
    "capture_native",
    "capture_sb3",
    "script",
    "random",
)
REFERENCES: tuple[ArmName, ...] = ("script", "random")

Stage = Literal["untrained", "live", "cloned", "ppo on capture", "plays"]


class CompareSettings(Settings):
    """What is compared, and on which seeds."""

    arms: tuple[ArmName, ...] = ARMS
    seeds: AtLeastOne = Field(3, description="training seeds: config.seed and those that follow")
    eval_seeds: AtLeastOne = Field(16, description="episodes per evaluation, common to all arms")
    first_eval_seed: int = Field(1_000_000, ge=0, description="the others follow it")
    points: AtLeastOne = Field(10, description="evaluations along a live learning curve")
    capture_episodes: AtLeastOne = Field(8, description="of the scripts, if no capture is given")
    capture_epsilon: float = Field(0.1, ge=0, le=1, description="share of random legal actions")
    capture_seed: int = Field(500_000, ge=0, description="of the first captured episode")


class Point(Settings):
    """A policy at some moment of its training, played on the evaluation seeds.

    A score is the mean return of the residents in one evaluation episode.
    """

    stage: Stage
    live_steps: int = Field(description="agent steps the arm's own policy made in the town")
    captured_steps: int = Field(description="agent steps of recordings of somebody else")
    gradient_steps: int
    sampled: tuple[float, ...] = Field(description="score per evaluation seed")
    greedy: tuple[float, ...] | None = Field(description="likewise; None: one way to act only")
    agreement: float | None = Field(
        None, description="share of the captured choices that are also the policy's most probable"
    )

    @property
    def total_steps(self) -> int:
        """Agent steps with captures charged."""
        return self.live_steps + self.captured_steps


class Run(Settings):
    """One arm under one training seed."""

    seed: int | None = Field(description="None: nothing was trained")
    points: tuple[Point, ...] = Field(min_length=1, description="the last one is the result")


class Arm(Settings):
    """One arm under all its seeds."""

    name: ArmName
    how: str = Field(description="what it was trained on, and with which objective")
    runs: tuple[Run, ...]
    refused: str | None = Field(None, description="why the arm was not trained")

    @property
    def finals(self) -> tuple[Point, ...]:
        """The last point of every run."""
        return tuple(run.points[-1] for run in self.runs)


class WallClock(Settings):
    """Seconds of one run; they depend on the machine and are no result."""

    arm: ArmName
    seed: int | None
    training: float
    evaluation: float


class Comparison(Settings):
    """Everything a report is made of."""

    scenario: str
    scenario_digest: str
    settings: CompareSettings
    training: dict[str, Any] = Field(description="TrainConfig")
    training_seeds: tuple[int, ...]
    evaluation_seeds: tuple[int, ...]
    capture: str = Field(description="which recordings the capture arms had, in words")
    arms: tuple[Arm, ...]
    complete: bool = Field(description="False: it was interrupted")
    wall_clock: tuple[WallClock, ...] = ()

    def arm(self, name: ArmName) -> Arm | None:
        """Return an arm that was asked for, else None."""
        return next((arm for arm in self.arms if arm.name == name), None)


def compare_settings(arms: Sequence[str] | None = None, **numbers: int) -> CompareSettings:
    """Return checked settings.

    Raises:
        ConfigError: An unknown arm, or a number that is too small.
    """
    if arms is not None:
        for name in arms:
            if name not in ARMS:
                raise ConfigError(f"arms: unknown arm {name!r}{nearest(name, ARMS)}")
        return validate(CompareSettings, {"arms": tuple(arms), **numbers}, Source("compare", {}))
    return validate(CompareSettings, numbers, Source("compare", {}))
