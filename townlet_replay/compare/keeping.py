"""Finished work on disk: one file per run and per clone, each whole or not there.

Every file carries the identity of its comparison: the settings that decide its bits. Arms and
number of training seeds are not among them, so that a comparison can be extended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from townlet_env.jit import kernel_digest
from townlet_replay.compare.course import Course
from townlet_replay.compare.results import (
    ArmName,
    CaptureCard,
    ParityCheck,
    Point,
    Run,
    Triptych,
    WallClock,
)
from townlet_replay.errors import TrainingError
from townlet_replay.lock import WriterLock
from townlet_replay.provenance import versions
from townlet_replay.safe_files import check_json, first_problem, read_bytes, to_json, write_files
from townlet_replay.training.settings import Settings

RUNS, PLAN = "runs", "plan.json"
_FREE = ("arms", "seeds")
"""Settings that may change between two calls: they say which runs there are, not what they are."""


_ELSEWHERE = ("checkpoint", "resume", "tensorboard", "trace", "telemetry", "capture_dir")
"""Settings of a single run's files, which runs of a comparison do not write, and the capture, whose
content counts, not its place."""


_COMPARING = "is comparing into this folder; wait for it or stop it, or take another folder"


class Kept(Settings):
    """What all files have."""

    identity: str = Field(description="SHA-256 of the settings that decide the bits")


class RunFile(Kept):
    """One arm under one training seed."""

    arm: ArmName
    seed: int | None
    how: str
    refused: str | None = None
    run: Run | None
    clock: WallClock | None


class CloneFile(Kept):
    """A clone; its weights lie beside it."""

    points: tuple[Point, ...]
    triptych: Triptych
    card: CaptureCard
    moments: tuple[float, ...]
    training: float
    evaluation: float


class StartFile(Kept):
    """What PPO on a capture may do under one training seed."""

    objective: str
    biased: bool
    recorded: bool = Field(description="whether there is a recording of the clone")
    refused: str | None = None
    training: float = Field(description="seconds that recording the clone took")


class ParityFile(Kept):
    """A check of one learner."""

    check: ParityCheck | None
    refused: str | None = None


AnyFile = TypeVar("AnyFile", bound=Kept)


def identity_of(course: Course) -> dict[str, Any]:
    """Return what decides the bits of every run, by name."""
    settings = course.settings.model_dump(mode="json", exclude=set(_FREE))
    config = course.config
    training = config.model_dump(mode="json", exclude=set(_ELSEWHERE))
    capture = config.capture_dir
    return {
        "scenario": course.scenario.digest(),
        "training": training,
        "settings": settings,
        "capture": None if capture is None else _digest_of(course.dataset(capture).config.manifest),
        "rules": kernel_digest(),
        "versions": versions(),
    }


def _digest_of(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def seal(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of an identity."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Keeper:
    """Reads and writes the finished work of one comparison.

    Args:
        directory: Of the comparison.
        identity: See :func:`identity_of`.
    """

    def __init__(self, directory: Path, identity: Mapping[str, Any]) -> None:
        self.directory = directory
        self.identity = dict(identity)
        self.seal = seal(identity)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process from comparing into this folder meanwhile.

        Raises:
            DiskError: Another one does, or the disk refuses.
        """
        lock = WriterLock(self.directory / PLAN, "compare", _COMPARING)
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def open(self) -> None:
        """Begin or go on.

        Raises:
            TrainingError: The folder holds runs of other settings; says which ones differ.
            CaptureError: The folder cannot be read or written.
        """
        path = self.directory / PLAN
        if path.exists():
            found = check_json(read_bytes(path), str(path))
            before = found if isinstance(found, dict) else {}
            apart = list(_differences(before, self.identity))
            if apart:
                more = f", and {len(apart) - 3} more" if len(apart) > 3 else ""
                raise TrainingError(
                    f"{self.directory}: holds runs of other settings: {'; '.join(apart[:3])}{more}"
                    ". Take another folder, or begin anew with restart, which deletes them"
                )
            return
        text = json.dumps(self.identity, indent=1, sort_keys=True)
        write_files(self.directory, {PLAN: f"{text}\n".encode("ascii")})

    def read(self, name: str, kind: type[AnyFile]) -> AnyFile | None:
        """Return a finished file; None if there is none.

        Raises:
            TrainingError: It is no file of this comparison; names it.
            CaptureError: It cannot be read.
        """
        path = self.directory / RUNS / f"{name}.json"
        if not path.exists():
            return None
        try:
            found = kind.model_validate_json(read_bytes(path))
        except ValidationError as error:
            raise TrainingError(
                f"{path}: no finished run: {first_problem(error)}; delete it, and it is made again"
            ) from error
        if found.identity != self.seal:
            raise TrainingError(
                f"{path}: a run of other settings than those of {PLAN}; delete it, and it is made "
                "again"
            )
        return found

    def write(self, name: str, file: Kept) -> None:
        """Keep a finished file: whole, or not at all.

        Raises:
            CaptureError: The disk refuses.
        """
        write_files(self.directory / RUNS, {f"{name}.json": to_json(file)})

    def path(self, name: str) -> Path:
        """Return where weights of this name are kept."""
        return self.directory / RUNS / f"{name}.weights.json"


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Name what differs between two identities, leaf by leaf."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            inner = f"{name}.{key}" if name else key
            yield from _differences(before.get(key), now.get(key), inner)
    elif before != now:
        yield f"{name} was {_short(before)}, is {_short(now)}"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
