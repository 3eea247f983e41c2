"""Reading the Parquet files of a capture: columns, types and sizes are checked beforehand."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from townlet_replay.errors import CaptureError
from townlet_replay.exchange.lives import (
    FINAL_VALUE,
    Lives,
    Origin,
    Parts,
    library,
    put_together,
    unknown_like,
)
from townlet_replay.npz import MAX_NDIM, MAX_TOTAL_BYTES, looks_like_bomb
from townlet_replay.safe_files import open_regular
from townlet_replay.sample import FINAL, ReplaySample
from townlet_replay.sidecar import SampleMeta, read_document

EXTRA = "parquet"  # what to install for it
STEPS, LIVES = "steps.parquet", "lives.parquet"
OURS = b"townlet"  # key in the metadata of a schema
SIDECAR = "sidecar"
HAS = "has_"
OBSERVATION = "observation."  # so that an observation cannot be taken for another column
FINAL_OBSERVATION = "final_observation."
FINAL_VALUE_COLUMN = "final_value"
MAX_PARQUET_BYTES = 2**40
ROW_BYTES = 8  # counted for every row besides its arrays: also rows of nothing take memory

_Arrays = Mapping[str, NDArray[Any]]


class Column(BaseModel):
    """What a row of a column holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dtype: Literal[
        "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
        "float16", "float32", "float64",
    ]  # fmt: skip
    shape: tuple[Annotated[int, Field(ge=0)], ...] = Field(max_length=MAX_NDIM)

    @classmethod
    def of(cls, array: NDArray[Any]) -> Self:
        """Return the column of an array (rows, ...)."""
        return cls.model_validate({"dtype": array.dtype.name, "shape": array.shape[1:]})

    @property
    def size(self) -> int:
        """Numbers in a row."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of a row, as NumPy has them."""
        return self.size * np.dtype(self.dtype).itemsize

    def arrow(self) -> Any:
        """Return the type of the column."""
        pyarrow = library("pyarrow", EXTRA)
        value = pyarrow.from_numpy_dtype(np.dtype(self.dtype))
        return value if self.shape == () else pyarrow.list_(value, self.size)

    def unknown(self, count: int) -> NDArray[Any]:
        """Return so many rows that say nothing."""
        return unknown_like(np.empty((count, *self.shape), self.dtype))


class Layout(Origin):
    """The metadata of a schema."""

    columns: dict[str, Column]


def read(source: Path) -> Lives:
    """Open a directory that :func:`write` wrote.

    Raises:
        CaptureError: pyarrow is not installed, or the files are not those of :func:`write`, unsafe
            or damaged. While iterating: a life is unsound.
    """
    library("pyarrow.parquet", EXTRA)
    with _open_table(source / LIVES, [SIDECAR]) as table:
        if table.groups != 1:
            raise CaptureError(f"{table.where}: {table.groups} row groups, expected 1")
        ends, sidecars = table.group(0), table.texts(0, SIDECAR)
        metadata = table.layout.metadata
    has = {name.removeprefix(HAS): ends.pop(name) for name in list(ends) if name.startswith(HAS)}
    if any(flags.dtype != np.bool_ or flags.ndim != 1 for flags in has.values()):
        raise CaptureError(f"{source / LIVES}: {HAS}... columns that are not yes or no")
    return Lives(metadata, len(sidecars), _lives(source, ends, has, sidecars))


def _lives(
    source: Path, ends: _Arrays, has: _Arrays, sidecars: Sequence[str]
) -> Iterator[ReplaySample]:
    with _open_table(source / STEPS) as table:
        if table.groups != len(sidecars):
            raise CaptureError(
                f"{table.where}: {table.groups} row groups, but {LIVES} has {len(sidecars)} lives"
            )
        for index, text in enumerate(sidecars):
            where = f"{source}: life {index}"
            rows = table.group(index)
            gone = {name for name, flags in has.items() if not flags[index]}
            parts = Parts(
                {_array_name(name): array for name, array in rows.items() if name not in gone},
                {_array_name(n): array[index, ...] for n, array in ends.items() if n not in gone},
                read_document(SampleMeta, text.encode(), f"{where}: {SIDECAR}"),
            )
            yield put_together(parts, where)


@contextlib.contextmanager
def _open_table(path: Path, texts: Sequence[str] = ()) -> Iterator[_Table]:
    parquet = library("pyarrow.parquet", EXTRA)
    with open_regular(path, MAX_PARQUET_BYTES) as raw:
        with _reading(str(path)):
            file = parquet.ParquetFile(
                raw, read_dictionary=list(texts), page_checksum_verification=True
            )
            table = _Table(file, str(path), os.fstat(raw.fileno()).st_size)
        yield table


@contextlib.contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turn every way in which pyarrow gives up into a :class:`CaptureError`."""
    try:
        yield
    except CaptureError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        MemoryError,
        OverflowError,
    ) as error:
        raise CaptureError(f"{where}: not sound Parquet of a capture ({error})") from error


class _Table:
    """A Parquet file that is open for reading, with checked columns and sizes."""

    def __init__(self, file: Any, where: str, size: int) -> None:
        self.where = where
        self._file = file
        words = (file.schema_arrow.metadata or {}).get(OURS)
        if words is None:
            raise CaptureError(f"{where}: not of a capture; expected what `--to parquet` writes")
        self.layout = read_document(Layout, words, f"{where}: {OURS.decode()}")
        self._columns = {name: c for name, c in self.layout.columns.items() if c.size}
        for name, column in self._columns.items():
            index = file.schema_arrow.get_field_index(name)
            found = file.schema_arrow.field(index).type if index >= 0 else "missing"
            if found != column.arrow():
                raise CaptureError(f"{where}: {name} is {found}, expected {column.arrow()}")
        declared = declared_bytes(file.metadata, self.layout.columns.values())
        if looks_like_bomb(sum(declared), size) or max(declared, default=0) > MAX_TOTAL_BYTES:
            raise CaptureError(
                f"{where}: {size} bytes claim to hold {sum(declared)}; that is more than is "
                "unpacked"
            )

    @property
    def groups(self) -> int:
        """Number of row groups."""
        return int(self._file.num_row_groups)

    def group(self, index: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of a row group: column -> (rows, ...)."""
        with _reading(f"{self.where}: row group {index}"):
            table = self._file.read_row_group(index, columns=list(self._columns))
            count = self._file.metadata.row_group(index).num_rows
            return {
                name: self._array(table, name, column, count)
                for name, column in self.layout.columns.items()
            }

    def texts(self, index: int, name: str) -> list[str]:
        """Return a column of texts; one that comes again takes no more memory."""
        with _reading(f"{self.where}: {name}"):
            found = self._file.read_row_group(index, columns=[name])[name].combine_chunks()
            texts = found.dictionary.to_pylist()
            if found.null_count or not all(isinstance(text, str) for text in texts):
                raise CaptureError(f"{self.where}: {name} has rows without a text")
            return [texts[i] for i in found.indices.to_pylist()]

    def _array(self, table: Any, name: str, column: Column, count: int) -> NDArray[Any]:
        if not column.size:
            return np.zeros((count, *column.shape), column.dtype)
        found = table[name].combine_chunks()
        flat = found if column.shape == () else found.flatten()
        if found.null_count or flat.null_count or len(flat) != count * column.size:
            raise CaptureError(f"{self.where}: {name} has gaps")
        array: NDArray[Any] = flat.to_numpy(zero_copy_only=False)
        return array.reshape(count, *column.shape)


def _array_name(column: str) -> str:
    if column.startswith(OBSERVATION):
        return column.removeprefix(OBSERVATION)
    if column.startswith(FINAL_OBSERVATION):
        return f"{FINAL}{column.removeprefix(FINAL_OBSERVATION)}"
    return FINAL_VALUE if column == FINAL_VALUE_COLUMN else column


def declared_bytes(metadata: Any, columns: Iterable[Column]) -> list[int]:
    """Return the bytes that every row group declares.

    Chunks of columns are not looked at: pyarrow ends the process where a damaged one is asked.
    """
    width = ROW_BYTES + sum(column.nbytes for column in columns)
    return [metadata.row_group(i).num_rows * width for i in range(metadata.num_row_groups)]
