"""The same rows read from a capture, from NumPy's NPZ, from Minari's HDF5 and from Parquet."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.report import Report
from townlet_env import townlet_v0
from townlet_env.config.load import load_scenario
from townlet_replay.bench.measure import Arm, Clock, Play, timed
from townlet_replay.bench.plays import SEED, script
from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.recorder import RecordReplay
from townlet_replay.rollout import Rollout
from townlet_replay.sidecar import Mode

TOWN = "town_day"
DAYS = 2  # episodes of whole days
SHORT, EPISODES = 400, 4  # ticks, and episodes of as many
DRAWN = 4096  # rows of a minibatch
MODES: tuple[Mode, ...] = get_args(Mode)
LIVES = 8 * DAYS
RANDOM = f"random minibatches of {DRAWN} rows from memory"
NPZ, HDF5, PARQUET = "NumPy compressed NPZ", "HDF5 as Minari writes it", "Parquet (zstd)"

Columns = dict[str, np.ndarray]


def capture(mode: str) -> str:
    """Return the name of an arm."""
    return f"capture ({mode}), verified"


def short(mode: str) -> str:
    """Return the name of an arm."""
    return f"capture ({mode}), verified, lives of {SHORT} ticks"


def record(folder: Path, mode: Mode, ticks: int, episodes: int) -> Path:
    """Record the beginnings of days of eight residents and return the folder."""
    out = folder / f"{mode}_{ticks}"
    told = script(load_scenario(TOWN), ticks, episodes)
    with RecordReplay(townlet_v0.parallel_env(TOWN, max_ticks=ticks), out, mode=mode) as env:
        for episode in range(episodes):
            env.reset(seed=SEED + episode)
            names = env.possible_agents
            for row in told[:, episode]:
                if env.agents:
                    orders = dict(zip(names, row.tolist(), strict=True))
                    env.step({agent: orders[agent] for agent in env.agents})
    return out


def opened(out: Path, **settings: object) -> ReplayDataset:
    """Open a capture as learners do; what is read is checked against its digests."""
    return ReplayDataset(ReplayDatasetConfig.from_capture_dir(out, **settings))


def read_capture(out: Path) -> Rollout:
    """Read all rows of a capture as one batch, once."""
    return next(iter(opened(out, batch_size=1_000_000, streaming=True)))


def read_and_keep(out: Path) -> Rollout:
    """Read all rows of a capture, keep them for later epochs, and return them as one batch."""
    return next(iter(opened(out, batch_size=1_000_000)))


def drawn(out: Path) -> Play:
    """Draw minibatches from all rows of a capture that is in memory, into the same arrays."""
    dataset, rng = opened(out), np.random.default_rng(SEED)
    batch = dataset.sample_rows(rng, DRAWN)

    def act(clock: Clock) -> int:
        with clock:
            dataset.sample_rows(rng, DRAWN, reuse=batch)
        return DRAWN

    return lambda seconds: timed(act, seconds)


def columns(out: Path) -> Columns:
    """Return the rows of a capture as plain arrays."""
    rows = read_capture(out)
    names = ("action_mask", "actions", "rewards", "terminations", "truncations")
    names += ("old_log_probs", "values")
    return {**rows.observations, **{name: np.asarray(getattr(rows, name)) for name in names}}


def read_often(read: Callable[[], Any], rows: int) -> Play:
    """Read everything again and again."""

    def act(clock: Clock) -> int:
        with clock:
            read()
        return rows

    return lambda seconds: timed(act, seconds)


def npz(folder: Path, rows: Columns) -> Callable[[], Any]:
    """Write an NPZ as NumPy compresses it, and return what reads it."""
    path = folder / "rows.npz"
    np.savez_compressed(path, **rows)

    def read() -> Columns:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}

    return read


def hdf5(folder: Path, rows: Columns) -> Callable[[], Any]:
    """Write HDF5 with one group per episode and no compression, as Minari's storage does."""
    import h5py

    path = folder / "rows.hdf5"
    with h5py.File(path, "w") as file:
        pieces = {name: np.array_split(values, LIVES) for name, values in rows.items()}
        for life in range(LIVES):
            for name, parts in pieces.items():
                file[f"episode_{life}/{name}"] = parts[life]

    def read() -> list[Columns]:
        with h5py.File(path) as file:
            return [{name: life[name][()] for name in life} for life in file.values()]

    return read


def parquet(folder: Path, rows: Columns) -> Callable[[], Any]:
    """Write Parquet, one list per row and column, and return what reads it back into arrays."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    path = folder / "rows.parquet"
    flat = {name: values.reshape(len(values), -1) for name, values in rows.items()}
    table = pa.table(
        {
            name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
            for name, values in flat.items()
        }
    )
    pq.write_table(table, path, compression="zstd")

    def read() -> Columns:
        found = pq.read_table(path)
        return {
            name: found[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            for name in found.column_names
        }

    return read


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(report: Report) -> None:
    """Write the same rows in every format, then read them all in turn."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ticks = load_scenario(TOWN).ticks
        outs = {mode: record(folder, mode, ticks, DAYS) for mode in MODES}
        rows = columns(outs[MODES[0]])
        number = len(rows["actions"])
        arms = []
        for mode, out in outs.items():
            report.figure(f"capture ({mode})", size_of(out) / number, "bytes per agent step")
            arms.append(Arm(capture(mode), read_often(lambda out=out: read_capture(out), number)))
        kept = read_often(lambda: read_and_keep(outs[MODES[0]]), number)
        arms.append(Arm(f"{capture(MODES[0])}, and kept in memory", kept))
        for name, write in ((NPZ, npz), (HDF5, hdf5), (PARQUET, parquet)):
            before = size_of(folder)
            arms.append(Arm(name, read_often(write(folder, rows), number)))
            report.figure(name, (size_of(folder) - before) / number, "bytes per agent step")
        for mode in MODES:
            out = record(folder, mode, SHORT, EPISODES)
            number = len(read_capture(out).rewards)
            arms.append(Arm(short(mode), read_often(lambda out=out: read_capture(out), number)))
        arms.append(Arm(RANDOM, drawn(outs[MODES[0]])))
        rates = report.take_turns(arms, "loading")
    for mode in MODES:
        for peer in (NPZ, HDF5, PARQUET):
            report.compare(rates, capture(mode), peer, "rows")
    report.figure(RANDOM, DRAWN / statistics.median(r.wall for r in rates[RANDOM]) * 1e3, "ms each")
