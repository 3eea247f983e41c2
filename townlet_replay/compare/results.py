"""What a comparison found: models that are written as JSON, and from which the report is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from pydantic import Field

from townlet_env.config.faults import Source
from townlet_env.config.load import validate
from townlet_env.errors import ConfigError, nearest
from townlet_replay.training.settings import AtLeastOne, Settings

ArmName = Literal[
    "live_native",
    "live_sb3",
    "capture_native",
    "capture_sb3",
    "bc",
    "bc_then_live",
    "script",
    "random",
]
ARMS: tuple[ArmName, ...] = get_args(ArmName)
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
    parity_updates: AtLeastOne = Field(
        6, description="live updates that are stored, replayed and compared to the bit"
    )


class Play(Settings):
    """A policy on the evaluation seeds, sampled or greedy.

    A score is the mean return of the residents in one evaluation episode.
    """

    scores: tuple[float, ...] = Field(min_length=1, description="per evaluation seed")
    kpis: dict[str, float] = Field(description="per resident and episode; see evaluation.KPIS")
    residents: dict[str, float] = Field(description="mean return, by resident")


class Point(Settings):
    """A policy at some moment of its training."""

    stage: Stage
    live_steps: int = Field(description="agent steps the arm's own policy made in the town")
    captured_steps: int = Field(description="agent steps of recordings of somebody else")
    gradient_steps: int
    sampled: Play
    greedy: Play | None = Field(description="None: there is one way to act only")
    agreement: float | None = Field(
        None, description="share of the captured choices that are also the policy's most probable"
    )

    @property
    def total_steps(self) -> int:
        """Agent steps with captures charged."""
        return self.live_steps + self.captured_steps

    def played(self, *, greedy: bool) -> Play | None:
        """Return one of the two ways to act."""
        return self.greedy if greedy else self.sampled


class HealthPoint(Settings):
    """What one epoch of updates was like; None: not measured."""

    stage: Stage
    gradient_steps: int = Field(description="of the run, after it")
    kl: float | None = Field(description="k3 estimate, as the learner logs it")
    clip_fraction: float | None
    entropy: float | None = Field(description="nats")
    explained_variance: float | None
    value_loss: float | None
    grad_norm: float | None = Field(description="before clipping; native learner only")


class Confusion(Settings):
    """What was shown against what a policy finds most probable, over rows with a choice."""

    actions: tuple[str, ...] = Field(description="that occur")
    counts: tuple[tuple[int, ...], ...] = Field(description="[shown][chosen]")


class Triptych(Settings):
    """Agreement of a clone with the script, in three places; None: could not be measured."""

    train: float | None = Field(description="on the rows it was cloned from")
    held_out: float | None = Field(description="on whole lives that cloning left out")
    own: float | None = Field(description="with the script, where its own greedy play goes")
    confusion: Confusion


class CaptureCard(Settings):
    """A recording, and how far a policy is from who acted in it."""

    title: str
    policy: str = Field(description="which one it is held against, in words")
    source: str
    scenario: str
    behaviour: str
    samples: int
    rows: int
    seeds: tuple[int, ...] = Field(description="of its episodes, the first few")
    versions: dict[str, str]
    audit: Literal["passed", "failed", "nothing to audit"]
    reasons: tuple[str, ...]
    audited_rows: int
    inverse: float | None = Field(description="mean of 1 / (mu x legal actions); 1 expected")
    worst: str | None = Field(description="the check that strays most")
    worst_z: float | None
    ess: float | None = Field(description="effective sample size of pi / mu, in (0, 1]")
    log_ratio_edges: tuple[float, ...] = Field(description="nats; the outer bins have no end")
    log_ratio_counts: tuple[int, ...]
    actions: tuple[str, ...]
    taken: tuple[float, ...] = Field(description="share of the rows, by action")
    foreseen: tuple[float, ...] = Field(description="mean probability under the policy")


class Run(Settings):
    """One arm under one training seed."""

    seed: int | None = Field(description="None: nothing was trained")
    points: tuple[Point, ...] = Field(min_length=1, description="the last one is the result")
    weights: str | None = Field(None, description="SHA-256 of the final weights")
    health: tuple[HealthPoint, ...] = ()
    triptych: Triptych | None = None
    cards: tuple[CaptureCard, ...] = ()


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
    training: float = Field(description="with what it owes to recordings and clones")
    evaluation: float
    points: tuple[float, ...] = Field(description="of training, until each of its points")


class ParityCheck(Settings):
    """A live rollout stored, and trained on again by a learner of another seed."""

    learner: Literal["native", "sb3"]
    updates: int
    equal: int = Field(description="updates after which weights and moments were the same bits")
    rows: int
    terminations: int
    truncations: int

    @property
    def held(self) -> bool:
        """Whether all updates were equal."""
        return self.equal == self.updates


class Comparison(Settings):
    """Everything a report is made of."""

    scenario: str
    scenario_digest: str
    identity: dict[str, Any] = Field(description="what runs of one comparison must share")
    settings: CompareSettings
    training: dict[str, Any] = Field(description="TrainConfig")
    training_seeds: tuple[int, ...]
    evaluation_seeds: tuple[int, ...]
    capture: str = Field(description="which recordings the capture arms had, in words")
    arms: tuple[Arm, ...]
    parity: tuple[ParityCheck, ...] = ()
    parity_refused: dict[str, str] = Field({}, description="why a learner was not checked")
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
