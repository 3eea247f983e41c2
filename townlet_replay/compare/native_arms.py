"""The native learner in a comparison: live, and on captures."""

from __future__ import annotations

from typing import NamedTuple

from townlet_replay.compare.course import Course, Watch, rows_of
from townlet_replay.compare.exam import Examiner
from townlet_replay.compare.results import Point, Run, Stage
from townlet_replay.dataset import ReplayDataset
from townlet_replay.errors import TrainingError
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.judging import judge
from townlet_replay.training.telemetry_schema import EpochRecord


class Start(NamedTuple):
    """Where PPO on a capture begins, whoever does it."""

    network: TownletNetwork  # who acted in `dataset`, or is close enough to it
    dataset: ReplayDataset | None  # None: the objective ends with cloning
    points: tuple[Point, ...]  # untrained and, if there was a clone, cloned
    live_steps: int  # of the clone, while it was recorded
    how: str


def train_live(course: Course, seed: int, examiner: Examiner, watch: Watch) -> Run:
    """Train in the town and examine along the way."""
    points: list[Point] = []
    gradient_steps = 0

    def keep(record: EpochRecord) -> None:
        nonlocal gradient_steps
        gradient_steps += record.updates
        if len(harness.result().records) in course.examined_updates:
            examine("live")

    def examine(stage: Stage) -> None:
        counts = (harness.standing.live_steps, 0, gradient_steps)
        points.append(examiner.examine_network(harness.network, stage, counts))
        watch(f"live_native, seed {seed}")

    harness = TrainingHarness(course.with_seed(seed), keep)
    examine("untrained")
    harness.run_live()
    return Run(seed=seed, points=tuple(points))


def start_on_capture(
    course: Course, capture: ReplayDataset, seed: int, examiner: Examiner
) -> Start:
    """Bring a network to where PPO on a capture is sound.

    A capture whose log-probs support PPO against fresh weights is taken as it is. Any other one is
    cloned, and the clone is recorded with its own log-probs and values.

    Raises:
        TrainingError: The objective that the settings insist on is unsound on the capture.
    """
    config = course.with_seed(seed)
    if config.objective not in ("auto", "ppo", "bc"):
        raise TrainingError(
            f"objective {config.objective!r}: expected auto, ppo or bc in a comparison, whose arms "
            "are trained alike by both learners"
        )
    harness = TrainingHarness(config)
    verdict = judge(capture, config.objective, harness.network, accept_bias=config.accept_bias)
    bias = " against the reasons, which biases it" if verdict.biased else ""
    points = [examiner.examine_network(harness.network, "untrained", (0, 0, 0))]
    if verdict.name == "ppo":
        how = f"PPO on the capture, from fresh weights{bias}"
        return Start(harness.network, capture, tuple(points), 0, how)
    records = harness.run_bc(capture).records
    counts = (0, rows_of(capture), sum(record.updates for record in records))
    points.append(examiner.examine_network(harness.network, "cloned", counts))
    if config.objective == "bc":
        return Start(harness.network, None, tuple(points), 0, "behaviour cloning of the capture")
    how = "behaviour cloning of the capture, then PPO on a recording of the clone itself"
    recorded = course.record_network(harness.network, seed)
    return Start(harness.network, recorded, tuple(points), rows_of(recorded), how)


def train_on_capture(course: Course, seed: int, start: Start, examiner: Examiner) -> Run:
    """Train on a recording with the native PPO.

    Raises:
        TrainingError: PPO is unsound on it.
    """
    if start.dataset is None:
        return Run(seed=seed, points=start.points)
    harness = TrainingHarness(course.with_seed(seed))
    harness.network.load_state_dict(start.network.state_dict())
    records = harness.run_ppo(start.dataset).records
    counts = counts_after(start, sum(record.updates for record in records))
    trained = examiner.examine_network(harness.network, "ppo on capture", counts)
    return Run(seed=seed, points=(*start.points, trained))


def counts_after(start: Start, gradient_steps: int) -> tuple[int, int, int]:
    """Return live, captured and gradient steps after PPO on the recording of ``start``."""
    before = start.points[-1]
    captured = before.captured_steps
    if start.live_steps == 0 and start.dataset is not None:
        captured += rows_of(start.dataset)
    return start.live_steps, captured, before.gradient_steps + gradient_steps
