"""Running a comparison: every arm under every seed, finished runs on disk, results gathered."""

from __future__ import annotations

import importlib.util
import shutil
import time
from pathlib import Path

from pydantic import ValidationError

from townlet_env.errors import ConfigError
from townlet_replay.compare.bench import LEARNERS, Situation, Task, tasks_of
from townlet_replay.compare.course import Course, Watch, kinds_of, rows_of
from townlet_replay.compare.keeping import PLAN, RUNS, Keeper, ParityFile, RunFile, identity_of
from townlet_replay.compare.processes import Order, do_here, do_in_processes
from townlet_replay.compare.results import (
    REFERENCES,
    Arm,
    ArmName,
    CompareSettings,
    Comparison,
    ParityCheck,
    Run,
    WallClock,
)
from townlet_replay.compare.tidy import LINES, TABLE, lines_of, table_bytes
from townlet_replay.errors import TrainingError
from townlet_replay.safe_files import first_problem, read_bytes, to_json, write_files
from townlet_replay.training.config import TrainConfig

RESULTS = "results.json"


def examinations(
    config: TrainConfig, settings: CompareSettings, directory: Path | None = None
) -> int:
    """Return how often ``watch`` of :func:`compare` is called, if nothing is refused.

    Args:
        config: As there.
        settings: As there.
        directory: Its finished runs are not made again; None: there are none.

    Raises:
        ConfigError: The scenario is unknown or wrong.
        TrainingError: Seeds overlap, or a run in the folder belongs to another comparison.
    """
    course = Course.plan(config, settings, directory or Path())
    tasks = tasks_of(course)
    if directory is not None and (directory / PLAN).exists():
        keeper = Keeper(directory, identity_of(course))
        keeper.open()
        tasks = [task for task in tasks if not _is_done(keeper, task)]
    live = len(course.examined_updates)
    calls = {"live_native": 1 + live, "live_sb3": 1 + live, "bc_then_live": live}
    return sum(calls.get(task.who, 1) for task in tasks if task.kind != "prepare")


def compare(
    config: TrainConfig,
    settings: CompareSettings,
    directory: Path,
    watch: Watch | None = None,
    *,
    jobs: int = 1,
    threads: int = 1,
    restart: bool = False,
) -> Comparison:
    """Train and evaluate the arms, and keep ``results.json`` in ``directory`` up to date.

    Every run is examined in the same town on the same evaluation seeds. An arm that cannot be
    trained soundly is refused, with the reason in the results; the others go on. Finished runs are
    kept in ``directory/runs``: what is there already is not made again.

    Args:
        config: Settings of training, the same for all arms; ``capture_dir`` is what the capture
            arms get, by default a recording of the scenario's scripts.
        settings: Arms, seeds, evaluation.
        directory: Takes results, ``runs/`` and ``captures/``.
        watch: Called after every examination.
        jobs: Processes; 1 does everything in this one.
        threads: Of torch, in each process there is.
        restart: Begin anew: runs that are there are deleted.

    Raises:
        ConfigError: The scenario is unknown or wrong.
        TrainingError: Seeds overlap, no arm is asked for, or the folder holds runs of other
            settings.
        CaptureError: The capture given is damaged or of another catalogue, or the directory cannot
            be written, or another process compares into it.
        KeyboardInterrupt: Passed on; the results so far are on disk, marked incomplete.
    """
    if not settings.arms:
        raise TrainingError("expected at least one arm to compare, found none")
    _check_extras(settings)
    course = Course.plan(config, settings, directory)
    if config.capture_dir is not None:
        course.capture()
    keeper = Keeper(directory, identity_of(course))
    with keeper.alone():
        if restart:
            _clear(directory)
        keeper.open()
        order = Order(config, settings, directory, keeper.identity, _situation(course), threads)
        return _finish(course, keeper, order, jobs, watch or _unwatched)


def _finish(course: Course, keeper: Keeper, order: Order, jobs: int, watch: Watch) -> Comparison:
    """Do what is left to be done, and write the results before and after."""
    tasks = [task for task in tasks_of(course) if not _is_done(keeper, task)]
    tasks = _without_idle_preparation(tasks)

    def gather(*, complete: bool) -> Comparison:
        found = _gather(course, keeper, order.situation, complete=complete)
        files = {RESULTS: to_json(found), LINES: lines_of(found)}
        table = table_bytes(found)
        write_files(course.directory, files if table is None else {**files, TABLE: table})
        return found

    gather(complete=False)
    try:
        _do_all(order, tasks, jobs, watch)
    except KeyboardInterrupt:
        gather(complete=False)
        raise
    return gather(complete=True)


def _check_extras(settings: CompareSettings) -> None:
    asked = [name for name in settings.arms if name.endswith("_sb3")]
    if asked and importlib.util.find_spec("sb3_contrib") is None:
        raise TrainingError(
            f"{', '.join(asked)}: Stable-Baselines3 is not installed: install it with "
            '"pip install townlet[sb3]", or leave these arms out'
        )


def _do_all(order: Order, tasks: list[Task], jobs: int, watch: Watch) -> None:
    if tasks and jobs == 1:
        do_here(order, tasks, watch)
    elif tasks:
        do_in_processes(order, tasks, jobs, watch)


def _unwatched(_: str) -> None:
    """Nobody looks."""


def _clear(directory: Path) -> None:
    """Delete what a comparison keeps in its folder."""
    for name in (RUNS, "captures"):
        if (directory / name).is_dir():
            shutil.rmtree(directory / name)
    for name in (PLAN, RESULTS, LINES, TABLE):
        (directory / name).unlink(missing_ok=True)


def _situation(course: Course) -> Situation:
    """Record the scripts: to learn from, and to measure how far anybody agrees with them."""
    if not set(course.settings.arms) - set(REFERENCES):
        return Situation("nobody needs a capture", 0.0)
    began = time.perf_counter()
    try:
        course.record_scripts()
    except ConfigError as error:  # somebody has no script to record
        return Situation(str(error), 0.0)
    course.capture()
    return Situation(None, time.perf_counter() - began)


def _is_done(keeper: Keeper, task: Task) -> bool:
    if task.kind == "prepare":
        return False  # it is only known by what needs it
    kind = RunFile if task.kind == "arm" else ParityFile
    return keeper.read(task.name, kind) is not None


def _without_idle_preparation(tasks: list[Task]) -> list[Task]:
    needed = {task.needs for task in tasks}
    return [task for task in tasks if task.kind != "prepare" or task in needed]


def _gather(course: Course, keeper: Keeper, situation: Situation, *, complete: bool) -> Comparison:
    clocks: list[WallClock] = []
    arms = [_arm(course, keeper, name, clocks) for name in dict.fromkeys(course.settings.arms)]
    parity, parity_refused = _parity(keeper)
    return Comparison(
        scenario=course.scenario.name,
        scenario_digest=course.scenario.digest(),
        identity=keeper.identity,
        settings=course.settings,
        training=course.config.model_dump(mode="json"),
        training_seeds=course.training_seeds,
        evaluation_seeds=course.evaluation_seeds,
        capture=_capture_in_words(course, situation),
        arms=tuple(arm for arm in arms if arm is not None),
        parity=parity,
        parity_refused=parity_refused,
        complete=complete,
        wall_clock=tuple(clocks),
    )


def _arm(course: Course, keeper: Keeper, name: ArmName, clocks: list[WallClock]) -> Arm | None:
    """Return an arm with the runs that are there; None if it has not begun."""
    seeds: tuple[int | None, ...] = (None,) if name in REFERENCES else course.training_seeds
    read = [keeper.read(Task("arm", name, seed).name, RunFile) for seed in seeds]
    files = [file for file in read if file is not None]
    if not files:
        return None
    clocks.extend(file.clock for file in files if file.clock is not None)
    runs: list[Run] = [file.run for file in files if file.run is not None]
    refused = next((file.refused for file in files if file.refused is not None), None)
    how = next((file.how for file in files if file.run is not None), "")
    return Arm(name=name, how=how, runs=tuple(runs), refused=refused)


def _parity(keeper: Keeper) -> tuple[tuple[ParityCheck, ...], dict[str, str]]:
    """Return the checks that were made, and why others were not."""
    read = {who: keeper.read(Task("parity", who, None).name, ParityFile) for who in LEARNERS}
    files = {who: file for who, file in read.items() if file is not None}
    checks = tuple(file.check for file in files.values() if file.check is not None)
    return checks, {w: f.refused for w, f in files.items() if f.refused is not None}


def _capture_in_words(course: Course, situation: Situation) -> str:
    if situation.no_capture is not None:
        return "none"
    capture = course.capture()
    return (
        f"{course.source_in_words}: {capture.count} samples, {rows_of(capture)} agent steps by "
        f"{kinds_of(capture)}"
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
