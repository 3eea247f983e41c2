"""How many bytes a recording takes, by field, and what a longer one would take."""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, get_args

from townlet_env.config.schema import TownConfig
from townlet_replay.action_log import load_log
from townlet_replay.bundle import container
from townlet_replay.manifest import METRICS_SUFFIX, find_log, load_capture
from townlet_replay.npz_reader import decode_npz
from townlet_replay.packed_file import PACKED
from townlet_replay.packing import read_directory
from townlet_replay.safe_files import inside, read_bytes
from townlet_replay.sidecar import RecordMode

CONTAINER = "(container)"  # names, shapes, checksums: what a file has beside its arrays
SIDECARS = "(sidecars)"
LISTS = "(lists)"  # manifest and metrics, or the list of episodes
SCENARIO = "(scenario)"  # of a log, once for all episodes
_KIND = re.compile(r"_(?:[if]|\d+)$")  # of numbers in a log; before format 1.2 a number by agent

Recording = Callable[[RecordMode, TownConfig, Path], Path]
"""Records one episode of a scenario in a mode into a directory; returns the manifest or log."""


class Sizes(NamedTuple):
    """What a recording takes on disk."""

    samples: int
    rows: int  # agent steps
    fields: dict[str, int]  # bytes by array, and of what is beside the arrays in brackets

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(self.fields.values())


class ModePlan(NamedTuple):
    """What a mode is expected to take."""

    mode: str
    total: int  # bytes
    per_row: float  # bytes
    fields: dict[str, float]  # bytes per row, by array


def capture_sizes(path: str | Path) -> Sizes:
    """Return the bytes of a capture or action log on disk, by field.

    Raises:
        CaptureError: nothing there, or a file is damaged or missing.
    """
    return _log_sizes(path) if find_log(path) is not None else _capture_sizes(path)


def plan_capture(
    config: TownConfig,
    record: Recording,
    *,
    episodes: int = 1,
    sample_ticks: int = 360,
    watch: Callable[[int], None] | None = None,
) -> list[ModePlan]:
    """Say what every mode would take, from the beginning of an episode recorded in each.

    Args:
        config: the scenario.
        record: records it.
        episodes: how many are planned.
        sample_ticks: ticks recorded, in a temporary folder, at most.
        watch: called with 1 after every mode.

    Raises:
        CaptureError: it cannot be recorded.
    """
    ticks = min(config.ticks, sample_ticks)
    short = config.model_copy(update={"ticks": ticks})
    times = config.ticks / ticks
    plans = []
    for mode in get_args(RecordMode):
        with tempfile.TemporaryDirectory(prefix="townlet-plan-") as folder:
            found = capture_sizes(record(mode, short, Path(folder) / "capture"))
        # Arrays grow with the ticks; what is beside them is there once per sample.
        arrays = {name: size for name, size in found.fields.items() if not name.startswith("(")}
        once = found.fields.get(SCENARIO, 0)
        beside = found.total - once - sum(arrays.values())
        total = once + episodes * (sum(arrays.values()) * times + beside)
        rows = episodes * found.rows * times
        fields = {name: size / found.rows for name, size in arrays.items()}
        plans.append(ModePlan(mode, round(total), total / rows, fields))
        if watch is not None:
            watch(1)
    return plans


def _capture_sizes(path: str | Path) -> Sizes:
    capture = load_capture(path)
    fields: Counter[str] = Counter()
    bundles: Counter[str] = Counter()
    for entry in capture.manifest.samples:
        data = capture.files.read(entry.sample)
        fields.update(_file_sizes(data, str(capture.directory / entry.sample)))
        fields[SIDECARS] += capture.files.stored(entry.meta)
        if container(entry.sample) != entry.sample:
            bundles[container(entry.sample)] -= len(data) + capture.files.stored(entry.meta)
    for bundle, less in bundles.items():
        fields[CONTAINER] += inside(capture.directory, bundle).stat().st_size + less
    metrics = capture.directory / f"{capture.prefix}{METRICS_SUFFIX}"
    fields[LISTS] += capture.path.stat().st_size + len(read_bytes(metrics))
    rows = sum(entry.rows for entry in capture.manifest.samples)
    return Sizes(len(capture), rows, dict(fields))


def _log_sizes(path: str | Path) -> Sizes:
    opened = load_log(path)
    fields: Counter[str] = Counter()
    for entry in opened.log.files:
        file = inside(opened.path.parent, entry.file)
        for name, size in _file_sizes(read_bytes(file), str(file)).items():
            fields[_KIND.sub("", name)] += size
    lists = (opened.path, opened.journal)
    fields[LISTS] += sum(path.stat().st_size for path in lists if path.exists())
    if opened.log.town is not None:
        fields[SCENARIO] += len(read_bytes(inside(opened.path.parent, opened.log.town.scenario)))
    return Sizes(opened.count("samples"), opened.count("rows"), dict(fields))


def _file_sizes(data: bytes, where: str) -> dict[str, int]:
    """Return the bytes of one NPZ by array; the rest of them is its container."""
    arrays = decode_npz(data, where)
    if PACKED in arrays:
        directory, _ = read_directory(arrays[PACKED])
        found = {name: entry.stored for name, entry in directory.items()}
    else:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = {info.filename[:-4]: info.compress_size for info in archive.infolist()}
    return {**found, CONTAINER: len(data) - sum(found.values())}
