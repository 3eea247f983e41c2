"""Comparisons on several scenarios: a folder each, and one report over all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from townlet_env.config.load import load_scenario
from townlet_env.errors import TownletError
from townlet_replay.compare.course import Course, Watch
from townlet_replay.compare.keeping import PLAN, identity_of, seal
from townlet_replay.compare.overall import Overall, Place
from townlet_replay.compare.overall_report import OVERALL, write_overall
from townlet_replay.compare.report import PAGE, write_report
from townlet_replay.compare.results import CompareSettings
from townlet_replay.compare.run import RESULTS, compare, examinations, read_results
from townlet_replay.errors import DiskError, TrainingError
from townlet_replay.training.config import TrainConfig


class Entry(NamedTuple):
    """One scenario to be compared on."""

    name: str  # of the scenario, and of its folder
    config: TrainConfig


def entries_of(configs: Sequence[TrainConfig]) -> tuple[Entry, ...]:
    """Name what is to be compared on.

    Raises:
        ConfigError: A scenario is unknown or wrong.
        TrainingError: Two would share a folder.
    """
    entries = tuple(Entry(load_scenario(config.scenario).name, config) for config in configs)
    # Some file systems do not tell capitals from small letters.
    counts = Counter(entry.name.casefold() for entry in entries)
    twice = next((entry.name for entry in entries if counts[entry.name.casefold()] > 1), None)
    if twice is not None:
        raise TrainingError(
            f"{twice}: expected every scenario once, as each has a folder of its name, found it "
            f"{counts[twice.casefold()]} times; leave it out, or compare it in another folder"
        )
    return entries


def examinations_of(
    entries: Sequence[Entry], settings: CompareSettings, directory: Path | None = None
) -> int:
    """Return how often ``watch`` of :func:`compare_several` is called, if nothing is refused.

    Everything that can be checked before training is checked here, for every scenario.

    Args:
        entries: As there.
        settings: As there.
        directory: Its finished runs are not made again; None: there are none.

    Raises:
        ConfigError: A scenario is wrong.
        TrainingError: Seeds overlap, or runs in the folder belong to another comparison.
        CaptureError: A capture that was given is damaged or of another catalogue.
    """
    total = 0
    for name, config in entries:
        folder = None if directory is None else directory / name
        total += examinations(config, settings, folder)
        if config.capture_dir is not None:
            Course.plan(config, settings, Path()).capture()
    return total


def check_folder(directory: Path, *, several: bool) -> None:
    """Check that a folder holds no comparison of the other kind.

    Raises:
        TrainingError: It does: one report would take the place of the other.
    """
    name, kind = (PLAN, "one scenario") if several else (OVERALL, "several scenarios")
    if (directory / name).exists():
        raise TrainingError(
            f"{directory}: holds a comparison on {kind}, whose report would be replaced; take "
            "another folder"
        )


def compare_several(
    entries: Sequence[Entry],
    settings: CompareSettings,
    directory: Path,
    watch: Watch | None = None,
    *,
    jobs: int = 1,
    threads: int = 1,
    restart: bool = False,
) -> Overall:
    """Compare on every scenario in turn, and write every report and the one over all.

    A scenario on which comparing fails as a whole is told in the report, and the others go on; a
    full disk ends everything.

    Args:
        entries: At least one; see :func:`entries_of`.
        settings: Arms, seeds, evaluation: the same for all.
        directory: Gets a folder per scenario, which is that of a comparison on it alone.
        watch: Called after every examination, with scenario and policy.
        jobs: Processes.
        threads: Of torch, in each process there is.
        restart: Begin anew: runs of these scenarios that are there are deleted.

    Raises:
        TrainingError: The folder holds a comparison on one scenario.
        DiskError: The disk refuses.
        KeyboardInterrupt: Passed on; the reports tell what there is.
    """
    check_folder(directory, several=True)
    places: list[Place] = []
    try:
        for name, config in entries:
            folder = directory / name
            said = None if watch is None else _naming(watch, name)
            try:
                found = compare(
                    config, settings, folder, said, jobs=jobs, threads=threads, restart=restart
                )
                places.append(Place(name, found))
            except DiskError:
                raise
            except TownletError as error:
                left = _left(Entry(name, config), settings, folder)
                places.append(left._replace(trouble=str(error)))
            _report(places[-1], folder)
    except KeyboardInterrupt:
        rest = [_left(e, settings, directory / e.name) for e in entries[len(places) :]]
        for number, place in enumerate(rest):
            folder = directory / place.name
            if number == 0 or not (folder / PAGE).is_file():
                _report(place, folder)
        write_overall(Overall([*places, *rest]), directory)
        raise
    overall = Overall(places)
    write_overall(overall, directory)
    return overall


def _report(place: Place, folder: Path) -> None:
    if place.comparison is not None:
        write_report(place.comparison, folder)


def _naming(watch: Watch, name: str) -> Watch:
    return lambda note: watch(f"{name}: {note}")


def _left(entry: Entry, settings: CompareSettings, folder: Path) -> Place:
    """Return what an earlier or a broken comparison left of what is asked for now."""
    name, config = entry
    if not (folder / RESULTS).is_file():
        return Place(name, None)
    try:
        found = read_results(folder)
        now = identity_of(Course.plan(config, settings, folder))
    except TownletError as error:
        return Place(name, None, str(error))
    if seal(found.identity) != seal(now):
        return Place(name, None)  # of other settings, and about to be replaced
    before = found.settings
    enough = set(settings.arms) <= set(before.arms) and settings.seeds <= before.seeds
    changes = {"settings": settings, "complete": found.complete and enough}
    return Place(name, found.model_copy(update=changes))
