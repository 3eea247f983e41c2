"""Lives packed and unpacked in memory, and the same arrays in NumPy's compressed NPZ."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.groups.loading import EPISODES, SHORT, record
from benchmarks.report import Report
from townlet_replay.bench.measure import Arm, Clock, Play, timed
from townlet_replay.bench.plays import SEED
from townlet_replay.manifest import load_capture
from townlet_replay.packing import pack, unpack
from townlet_replay.sample import arrays_of

PACK, NPZ = "packed", "NumPy compressed NPZ"

Life = dict[str, np.ndarray]


def lives() -> list[Life]:
    """Return lives of 400 ticks as the writer packs them; log-probs and values are noise."""
    rng = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as folder:
        out = record(Path(folder), "full", SHORT, EPISODES)
        found = [arrays_of(sample) for sample in load_capture(out)]
    for life in found:
        del life["dones"]
        life["old_log_probs"] = -rng.exponential(1, life["rewards"].shape).astype(np.float32)
        life["value_preds"] = rng.normal(size=life["value_preds"].shape).astype(np.float32)
    return found


def npz(life: Life) -> bytes:
    """Return arrays as NumPy compresses them."""
    file = io.BytesIO()
    np.savez_compressed(file, **life)
    return file.getvalue()


def read_npz(data: bytes) -> Life:
    """Return what ``npz`` wrote."""
    with np.load(io.BytesIO(data)) as file:
        return {name: file[name] for name in file.files}


def read_packed(packed: np.ndarray) -> Life:
    """Return what ``pack`` wrote."""
    return unpack(packed, len(packed))


def each(act_on: Callable[[Any], Any], things: Sequence[Any], rows: int) -> Play:
    """Do something with every life, again and again."""

    def act(clock: Clock) -> int:
        with clock:
            for thing in things:
                act_on(thing)
        return rows

    return lambda seconds: timed(act, seconds)


def measure(report: Report) -> None:
    """Write the same lives both ways, then read them."""
    found = lives()
    rows = sum(len(life["rewards"]) for life in found)
    formats = {PACK: (pack, read_packed), NPZ: (npz, read_npz)}
    writing, reading = [], []
    for name, (write, read) in formats.items():
        files = [write(life) for life in found]
        size = sum(len(file) for file in files) / rows
        report.figure(f"{name}, 400 ticks", size, "bytes per agent step")
        writing.append(Arm(f"{name}, written", each(write, found, rows)))
        reading.append(Arm(f"{name}, read", each(read, files, rows)))
    for arms, what in ((writing, "packing"), (reading, "unpacking")):
        ours, peer = (arm.name for arm in arms)
        report.compare(report.take_turns(arms, what), ours, peer, "rows")
