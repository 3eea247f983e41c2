"""Running a comparison: every arm under every seed, results on disk after each run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from townlet_env.errors import ConfigError, TownletError
from townlet_env.policies.crew import scripted_residents
from townlet_replay.compare import native_arms
from townlet_replay.compare.course import Course, Watch, kinds_of, lesson_of, rows_of
from townlet_replay.compare.exam import Examiner
from townlet_replay.compare.native_arms import Start, start_on_capture
from townlet_replay.compare.results import (
    REFERENCES,
    Arm,
    ArmName,
    CompareSettings,
    Comparison,
    Point,
    Run,
    WallClock,
)
from townlet_replay.dataset import ReplayDataset
from townlet_replay.errors import TrainingError
from townlet_replay.evaluation import script_actor
from townlet_replay.safe_files import first_problem, read_bytes, to_json, write_files
from townlet_replay.training.config import TrainConfig

RESULTS = "results.json"

_CAPTURE_ARMS: tuple[ArmName, ...] = ("capture_native", "capture_sb3")
_LIVE = "PPO in the town, from fresh weights"


def examinations(config: TrainConfig, settings: CompareSettings) -> int:
    """Return how often ``watch`` of :func:`compare` is called, if nothing is refused."""
    course = Course.plan(config, settings, Path())
    live = sum(arm.startswith("live") for arm in settings.arms)
    capture = sum(arm in _CAPTURE_ARMS for arm in settings.arms)
    references = sum(arm in REFERENCES for arm in settings.arms)
    return references + settings.seeds * (live * (1 + len(course.examined_updates)) + capture)


def compare(
    config: TrainConfig,
    settings: CompareSettings,
    directory: Path,
    watch: Watch | None = None,
) -> Comparison:
    """Train and evaluate the arms, and keep ``results.json`` in ``directory`` up to date.

    Every run is examined in the same town on the same evaluation seeds. An arm that cannot be
    trained soundly is refused, with the reason in the results; the others go on.

    Args:
        config: Settings of training, the same for all arms; ``capture_dir`` is what the capture
            arms get, by default a recording of the scenario's scripts.
        settings: Arms, seeds, evaluation.
        directory: Takes ``results.json`` and ``captures/``; files of an older comparison of these
            names are replaced.
        watch: Called after every examination.

    Raises:
        ConfigError: The scenario is unknown or wrong.
        TrainingError: Seeds overlap, or no arm is asked for.
        CaptureError: The capture given is damaged or of another catalogue, or the directory cannot
            be written.
        KeyboardInterrupt: Passed on; the results so far are on disk, marked incomplete.
    """
    if not settings.arms:
        raise TrainingError("expected at least one arm to compare, found none")
    course = Course.plan(config, settings, directory)
    bench = _Bench(course, watch or _unwatched)
    bench.write(complete=False)
    # References first: even an interrupted comparison can then be scaled.
    for name in sorted(dict.fromkeys(settings.arms), key=lambda name: name not in REFERENCES):
        bench.run(name)
    return bench.write(complete=True)


def _unwatched(_: str) -> None:
    """Nobody looks."""


class _Spent(NamedTuple):
    """Seconds."""

    training: float = 0.0
    evaluation: float = 0.0

    def plus(self, other: _Spent) -> _Spent:
        return _Spent(self.training + other.training, self.evaluation + other.evaluation)


class _Bench:
    """A comparison in progress."""

    def __init__(self, course: Course, watch: Watch) -> None:
        self._course = course
        self._watch = watch
        self._examiner = Examiner(course.scenario, course.evaluation_seeds)
        self._arms: dict[ArmName, Arm] = {}
        self._clocks: list[WallClock] = []
        self._starts: dict[int, tuple[Start, _Spent]] = {}
        self._capture: ReplayDataset | None = None
        self._no_capture = "there is no capture"
        self._recording = _Spent()
        if set(_CAPTURE_ARMS) & set(course.settings.arms):
            self._open_capture()

    def _open_capture(self) -> None:
        began = self._now()
        try:
            self._capture = self._course.record_scripts()
            self._examiner.lesson = lesson_of(self._capture)
        except ConfigError as error:  # somebody has no script to record
            self._no_capture = str(error)
        self._recording = self._since(began)

    def run(self, name: ArmName) -> None:
        """Train and examine one arm under every seed, or note why it is refused."""
        seeds: tuple[int | None, ...] = self._course.training_seeds
        for seed in (None,) if name in REFERENCES else seeds:
            began = self._now()
            try:
                how, run, borrowed = self._trained(name, seed)
            except TownletError as error:
                self._arms[name] = Arm(name=name, how="", runs=(), refused=str(error))
                break
            spent = self._since(began).plus(borrowed)
            self._clocks.append(WallClock(arm=name, seed=seed, **spent._asdict()))
            before = self._arms[name].runs if name in self._arms else ()
            self._arms[name] = Arm(name=name, how=how, runs=(*before, run))
            self.write(complete=False)
        self.write(complete=False)

    def write(self, *, complete: bool) -> Comparison:
        """Write what there is, and return it."""
        course = self._course
        found = Comparison(
            scenario=course.scenario.name,
            scenario_digest=course.scenario.digest(),
            settings=course.settings,
            training=course.config.model_dump(mode="json"),
            training_seeds=course.training_seeds,
            evaluation_seeds=course.evaluation_seeds,
            capture=self._capture_in_words(),
            arms=tuple(self._arms.values()),
            complete=complete,
            wall_clock=tuple(self._clocks),
        )
        write_files(course.directory, {RESULTS: to_json(found)})
        return found

    def _trained(self, name: ArmName, seed: int | None) -> tuple[str, Run, _Spent]:
        """Return how a run went, the run, and what it owes to work done for an earlier one."""
        if seed is None:
            return (*self._reference(name), _Spent())
        if name in _CAPTURE_ARMS:
            return self._on_capture(name, seed)
        if name == "live_native":
            train = native_arms.train_live
        else:
            from townlet_replay.compare import sb3_arms

            train = sb3_arms.train_live
        return _LIVE, train(self._course, seed, self._examiner, self._watch), _Spent()

    def _reference(self, name: ArmName) -> tuple[str, Run]:
        scenario = self._course.scenario
        if name == "script" and len(scripted_residents(scenario)) < len(scenario.residents):
            raise TrainingError("somebody in the scenario has no script, so nobody can follow all")
        actor = script_actor(scenario, "random" if name == "random" else None)
        point = Point(
            stage="plays",
            live_steps=0,
            captured_steps=0,
            gradient_steps=0,
            sampled=self._examiner.play(actor),
            greedy=None,
        )
        self._watch(name)
        how = "uniform over the legal actions" if name == "random" else "the scenario's own scripts"
        return how, Run(seed=None, points=(point,))

    def _on_capture(self, name: ArmName, seed: int) -> tuple[str, Run, _Spent]:
        if self._capture is None:
            raise TrainingError(self._no_capture)
        borrowed = self._recording
        if seed in self._starts:
            borrowed = borrowed.plus(self._starts[seed][1])
        else:
            began = self._now()
            start = start_on_capture(self._course, self._capture, seed, self._examiner)
            self._starts[seed] = start, self._since(began)
        start = self._starts[seed][0]
        if name == "capture_native":
            train = native_arms.train_on_capture
        else:
            from townlet_replay.compare import sb3_arms

            train = sb3_arms.train_on_capture
        run = train(self._course, seed, start, self._examiner)
        self._watch(f"{name}, seed {seed}")
        return start.how, run, borrowed

    def _now(self) -> _Spent:
        return _Spent(time.perf_counter(), self._examiner.seconds)

    def _since(self, began: _Spent) -> _Spent:
        now = self._now()
        evaluation = now.evaluation - began.evaluation
        return _Spent(now.training - began.training - evaluation, evaluation)

    def _capture_in_words(self) -> str:
        if self._capture is None:
            return "none"
        where = self._course.config.capture_dir
        source = "the scenario's scripts, recorded for this comparison" if where is None else where
        samples = self._capture.count
        return (
            f"{source}: {samples} samples, {rows_of(self._capture)} agent steps by "
            f"{kinds_of(self._capture)}"
        )


def read_results(directory: Path) -> Comparison:
    """Read what :func:`compare` left.

    Raises:
        CaptureError: There is no file, or it cannot be read.
        TrainingError: It is no result of a comparison.
    """
    path = directory / RESULTS
    try:
        return Comparison.model_validate_json(read_bytes(path))
    except ValidationError as error:
        raise TrainingError(
            f"{path}: no results of a comparison: {first_problem(error)}"
        ) from error
