"""The native learner in a comparison: live, on captures, cloned, and live from a clone."""

from __future__ import annotations

from typing import NamedTuple

from townlet_replay.compare.cards import Words, card_of, triptych_of
from townlet_replay.compare.course import Course, Watch, rows_of
from townlet_replay.compare.exam import Examiner
from townlet_replay.compare.results import CaptureCard, HealthPoint, Point, Run, Stage, Triptych
from townlet_replay.dataset import ReplayDataset
from townlet_replay.errors import TrainingError
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.judging import judge
from townlet_replay.training.objectives import Objective
from townlet_replay.training.telemetry_schema import EpochRecord


class Clone(NamedTuple):
    """A network that was taught to do as a capture shows."""

    network: TownletNetwork
    points: tuple[Point, ...]  # untrained, cloned
    triptych: Triptych
    card: CaptureCard  # the capture, held against the clone

    @property
    def run(self) -> Run:
        """The result of an arm that is nothing but cloned; its seed is to be filled in."""
        return Run(
            seed=None,
            points=self.points,
            weights=self.network.digest,
            triptych=self.triptych,
            cards=(self.card,),
        )


class Start(NamedTuple):
    """Where PPO on a capture begins, whoever does it."""

    network: TownletNetwork  # who acted in `dataset`, or is close enough to it
    dataset: ReplayDataset | None  # None: the objective ends with cloning
    points: tuple[Point, ...]  # untrained and, if there was a clone, cloned
    live_steps: int  # of the clone, while it was recorded
    how: str
    clone: Clone | None = None


class Health:
    """Keeps what the epochs of a run were like.

    Attributes:
        points: One per epoch that was told.
        gradient_steps: Of all of them.
    """

    def __init__(self) -> None:
        self.points: list[HealthPoint] = []
        self.gradient_steps = 0

    def keep(self, record: EpochRecord, stage: Stage) -> None:
        """Take an epoch of the native learner."""
        self.gradient_steps += record.updates
        entropy = None if record.loss_entropy is None else -record.loss_entropy
        self.points.append(
            HealthPoint(
                stage=stage,
                gradient_steps=self.gradient_steps,
                kl=record.kl_divergence,
                clip_fraction=record.clip_fraction,
                entropy=entropy,
                explained_variance=record.explained_variance,
                value_loss=record.loss_value,
                grad_norm=record.grad_norm,
            )
        )


def train_live(
    course: Course, seed: int, examiner: Examiner, watch: Watch, clone: Clone | None = None
) -> Run:
    """Train in the town and examine along the way.

    Args:
        course: The comparison.
        seed: Of the run.
        examiner: Who examines.
        watch: Called after every examination.
        clone: Whose weights to begin with; None: fresh ones.
    """
    name = "live_native" if clone is None else "bc_then_live"
    points: list[Point] = [] if clone is None else list(clone.points)
    captured, before = (0, 0) if clone is None else _spent(clone)
    health = Health()

    def keep(record: EpochRecord) -> None:
        health.keep(record, "live")
        if len(harness.result().records) in course.examined_updates:
            examine("live")

    def examine(stage: Stage) -> None:
        counts = (harness.standing.live_steps, captured, before + health.gradient_steps)
        points.append(examiner.examine_network(harness.network, stage, counts))
        watch(f"{name}, seed {seed}")

    harness = TrainingHarness(course.with_seed(seed), keep)
    if clone is None:
        examine("untrained")
    else:
        harness.network.load_state_dict(clone.network.state_dict())
    harness.run_live()
    return Run(
        seed=seed,
        points=tuple(points),
        weights=harness.network.digest,
        health=tuple(health.points),
        triptych=None if clone is None else clone.triptych,
    )


def _spent(clone: Clone) -> tuple[int, int]:
    """Return captured and gradient steps of a clone."""
    return clone.points[-1].captured_steps, clone.points[-1].gradient_steps


def make_clone(course: Course, capture: ReplayDataset, seed: int, examiner: Examiner) -> Clone:
    """Clone a capture, from the first weights that all arms of this seed have.

    Raises:
        CaptureError: The capture has another vocabulary or feature list than the scenario.
        TrainingError: It shows nothing that can be cloned.
    """
    harness = TrainingHarness(course.with_seed(seed))
    untrained = examiner.examine_network(harness.network, "untrained", (0, 0, 0))
    result = harness.run_bc(capture)
    if result.cloning is None:
        raise TrainingError("expected a clone of the capture, found none")
    counts = (0, rows_of(capture), sum(record.updates for record in result.records))
    cloned = examiner.examine_network(harness.network, "cloned", counts)
    words = Words("The capture", "the clone made of it", course.source_in_words)
    with examiner.aside():
        triptych = triptych_of(harness.network, result.cloning, capture, examiner)
        card = card_of(words, capture, harness.network)
    return Clone(harness.network, (untrained, cloned), triptych, card)


def verdict_on(course: Course, capture: ReplayDataset, seed: int) -> Objective:
    """Decide what capture arms may do with a capture.

    Raises:
        TrainingError: The objective that the settings insist on is unsound on the capture.
    """
    config = course.with_seed(seed)
    if config.objective not in ("auto", "ppo", "bc"):
        raise TrainingError(
            f"objective {config.objective!r}: expected auto, ppo or bc in a comparison, whose arms "
            "are trained alike by both learners"
        )
    network = TrainingHarness(config).network
    return judge(capture, config.objective, network, accept_bias=config.accept_bias)


def start_fresh(
    course: Course, capture: ReplayDataset, seed: int, examiner: Examiner, *, biased: bool
) -> Start:
    """Begin on a capture whose log-probs support PPO against fresh weights."""
    network = TrainingHarness(course.with_seed(seed)).network
    untrained = examiner.examine_network(network, "untrained", (0, 0, 0))
    bias = " against the reasons, which biases it" if biased else ""
    return Start(network, capture, (untrained,), 0, f"PPO on the capture, from fresh weights{bias}")


def start_with_clone(clone: Clone, recorded: ReplayDataset | None) -> Start:
    """Begin with a clone, and with its own recording if PPO is to follow."""
    if recorded is None:
        how = "behaviour cloning of the capture"
        return Start(clone.network, None, clone.points, 0, how, clone)
    how = "behaviour cloning of the capture, then PPO on a recording of the clone itself"
    return Start(clone.network, recorded, clone.points, rows_of(recorded), how, clone)


def train_on_capture(course: Course, seed: int, start: Start, examiner: Examiner) -> Run:
    """Train on a recording with the native PPO.

    Raises:
        TrainingError: PPO is unsound on it.
    """
    if start.dataset is None:
        return clone_of(start).run.model_copy(update={"seed": seed})
    health = Health()
    harness = TrainingHarness(
        course.with_seed(seed), lambda record: health.keep(record, "ppo on capture")
    )
    harness.network.load_state_dict(start.network.state_dict())
    harness.run_ppo(start.dataset)
    counts = counts_after(start, health.gradient_steps)
    trained = examiner.examine_network(harness.network, "ppo on capture", counts)
    with examiner.aside():
        cards = cards_after(course, start, harness.network, start.dataset)
    return Run(
        seed=seed,
        points=(*start.points, trained),
        weights=harness.network.digest,
        health=tuple(health.points),
        triptych=None if start.clone is None else start.clone.triptych,
        cards=cards,
    )


def clone_of(start: Start) -> Clone:
    """Return the clone that a start ends with.

    Raises:
        TrainingError: There is none.
    """
    if start.clone is None:
        raise TrainingError("expected a clone, found fresh weights")
    return start.clone


def cards_after(
    course: Course, start: Start, network: TownletNetwork, dataset: ReplayDataset
) -> tuple[CaptureCard, ...]:
    """Return what is to be said of the recordings that a run was trained on."""
    whose = "the policy that PPO made of it"
    if start.clone is None:
        words = Words("The capture", whose, course.source_in_words)
        return (card_of(words, dataset, network),)
    words = Words("The clone's own recording", whose, "the clone, recorded for this comparison")
    return start.clone.card, card_of(words, dataset, network)


def counts_after(start: Start, gradient_steps: int) -> tuple[int, int, int]:
    """Return live, captured and gradient steps after PPO on the recording of ``start``."""
    before = start.points[-1]
    captured = before.captured_steps
    if start.live_steps == 0 and start.dataset is not None:
        captured += rows_of(start.dataset)
    return start.live_steps, captured, before.gradient_steps + gradient_steps
