"""Parquet: ``steps.parquet`` has a row per agent step, ``lives.parquet`` a row per life.

Every life is a row group of the steps, in the order of ``lives.parquet``. Arrays of more than one
number per row are fixed-size lists; their shapes stand in the metadata of the schema, under
``townlet``. An optional array that some lives lack is NaN, -1 or false there, and ``has_<name>`` of
``lives.parquet`` says where.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from townlet_replay.exchange.lives import (
    FINAL_VALUE,
    Lives,
    check_absent,
    library,
    take_apart,
    unknown_like,
    whole_directory,
)
from townlet_replay.exchange.parquet_reader import (
    EXTRA,
    FINAL_OBSERVATION,
    FINAL_VALUE_COLUMN,
    HAS,
    LIVES,
    OBSERVATION,
    OURS,
    SIDECAR,
    STEPS,
    Column,
    Layout,
    declared_bytes,
    read,
)
from townlet_replay.npz import looks_like_bomb
from townlet_replay.safe_files import to_json
from townlet_replay.sample import FINAL
from townlet_replay.sidecar import CaptureMetadata, SampleMeta

__all__ = ["read", "write"]

_Arrays = Mapping[str, NDArray[Any]]


def write(lives: Lives, output: Path) -> None:
    """Write ``lives`` as a directory of two Parquet files.

    Raises:
        CaptureError: pyarrow is not installed, or the output exists or cannot be written.
    """
    library("pyarrow.parquet", EXTRA)
    check_absent(output)
    with whole_directory(output) as folder:
        metas: list[SampleMeta] = []
        names: list[set[str]] = []
        ends: list[dict[str, NDArray[Any]]] = []
        with _Writer(folder / STEPS, lives.metadata) as steps:
            for sample in lives.samples:
                parts = take_apart(sample)
                keys = sample.observations.keys()
                rows = {_column_name(name, keys): array for name, array in parts.rows.items()}
                steps.add(rows, _who(parts.meta, len(metas)))
                metas.append(parts.meta)
                names.append(set(rows))
                ends.append({_column_name(name, keys): a for name, a in parts.ends.items()})
        with _Writer(folder / LIVES, lives.metadata) as table:
            table.add(*_table_of_lives(metas, names, ends))


def _column_name(name: str, keys: Collection[str]) -> str:
    if name in keys:
        return f"{OBSERVATION}{name}"
    if name.removeprefix(FINAL) in keys and name.startswith(FINAL):
        return f"{FINAL_OBSERVATION}{name.removeprefix(FINAL)}"
    return FINAL_VALUE_COLUMN if name == FINAL_VALUE else name


def _who(meta: SampleMeta, life: int) -> dict[str, list[Any]]:
    """Return the columns that say whose rows they are."""
    count = meta.timesteps
    return {
        "life": [life] * count,
        "agent_id": [meta.agent_id] * count,
        "episode_id": [meta.episode_id] * count,
        "row": list(range(count)),
    }


def _table_of_lives(
    metas: Sequence[SampleMeta], names: Sequence[set[str]], ends: Sequence[_Arrays]
) -> tuple[dict[str, NDArray[Any]], dict[str, list[Any]]]:
    present = [known | set(end) for known, end in zip(names, ends, strict=True)]
    every = {name for known in present for name in known}
    optional = {name for name in every if not all(name in known for known in present)}
    like = {name: array for end in ends for name, array in end.items()}
    arrays = {
        name: np.stack([end.get(name, unknown_like(like[name])) for end in ends]) for name in like
    }
    arrays |= {f"{HAS}{name}": np.array([name in p for p in present]) for name in sorted(optional)}
    return arrays, {
        "life": list(range(len(metas))),
        "agent_id": [meta.agent_id for meta in metas],
        "episode_id": [meta.episode_id for meta in metas],
        "rows": [meta.timesteps for meta in metas],
        "seed": [meta.capture_metadata.seed for meta in metas],
        "behaviour": [meta.behaviour.kind for meta in metas],
        SIDECAR: [to_json(meta).decode() for meta in metas],
    }


class _Writer:
    """Writes row groups, and begins anew when one brings a column or packs beyond belief."""

    def __init__(self, path: Path, metadata: CaptureMetadata) -> None:
        self._parquet = library("pyarrow.parquet", EXTRA)
        self._path = path
        self._metadata = metadata
        self._columns: dict[str, Column] = {}
        self._open: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._open is None:
            return
        self._open.close()
        if kind is None and _beyond_belief(self._path, self._columns.values()):
            self._again({}, compression="none")
            self._open.close()

    def add(self, arrays: _Arrays, words: Mapping[str, list[Any]]) -> None:
        """Write one row group: arrays (T, ...) and plain lists of T."""
        found = {name: Column.of(array) for name, array in arrays.items()}
        fresh = {name: found[name] for name in found if name not in self._columns}
        table = self._table(arrays, words)
        if self._open is None:
            self._columns = found
            self._start(table.schema)
        elif fresh:
            self._again(fresh)
        self._open.write_table(self._filled(table), row_group_size=max(1, table.num_rows))

    def _table(self, arrays: _Arrays, words: Mapping[str, list[Any]]) -> Any:
        pyarrow = library("pyarrow", EXTRA)
        texts = ("agent_id", "behaviour", SIDECAR)
        columns = {
            name: pyarrow.array(values, pyarrow.string() if name in texts else pyarrow.int64())
            for name, values in words.items()
        }
        for name, array in arrays.items():
            column = Column.of(array)
            flat = pyarrow.array(np.ascontiguousarray(array).reshape(-1))
            if column.shape == ():
                columns[name] = flat
            elif column.size:  # Parquet has no lists of nothing: their shape says it all
                columns[name] = pyarrow.FixedSizeListArray.from_arrays(flat, column.size)
        return pyarrow.table(columns)

    def _start(self, schema: Any, compression: str = "zstd") -> None:
        layout = Layout(metadata=self._metadata, columns=self._columns)
        self._open = self._parquet.ParquetWriter(
            self._path,
            schema.with_metadata({OURS: to_json(layout)}),
            compression=compression,
            write_page_checksum=True,
            use_dictionary=[
                "agent_id",
                "behaviour",
            ],  # of numbers they cost more time than bytes saved
        )

    def _again(self, fresh: Mapping[str, Column], compression: str = "zstd") -> None:
        """Write what there is once more, with more columns or packed in another way."""
        self._open.close()
        self._columns = {**self._columns, **fresh}
        old = self._path.with_suffix(".old")
        self._path.rename(old)
        with self._parquet.ParquetFile(old) as file:
            groups = (file.read_row_group(i) for i in range(file.num_row_groups))
            for index, table in enumerate(groups):
                filled = self._filled(table)
                if index == 0:
                    self._start(filled.schema, compression)
                self._open.write_table(filled, row_group_size=max(1, table.num_rows))
        old.unlink()

    def _filled(self, table: Any) -> Any:
        """Return ``table`` with every column there is, in order."""
        missing = {
            name: column.unknown(table.num_rows)
            for name, column in self._columns.items()
            if name not in table.column_names and column.size
        }
        words = [name for name in table.column_names if name not in self._columns]
        for name, column in zip(missing, self._table(missing, {}).columns, strict=True):
            table = table.append_column(name, column)
        return table.select([*words, *(n for n, column in self._columns.items() if column.size)])


def _beyond_belief(path: Path, columns: Iterable[Column]) -> bool:
    """Say whether :func:`read` would take the file for a bomb."""
    metadata = library("pyarrow.parquet", EXTRA).read_metadata(path)
    return looks_like_bomb(sum(declared_bytes(metadata, columns)), path.stat().st_size)
