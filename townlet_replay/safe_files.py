"""Reading files that strangers made, and writing files that never exist by half.

Reading: paths named in a file stay inside their directory and end at a regular file, sizes are
capped, JSON is strict. Writing: a temporary file in the same directory, flush, fsync, rename, fsync
of the directory, so that a reader sees the old bytes or the new ones. Every failure is a
:class:`~townlet_replay.errors.CaptureError`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import BaseModel, JsonValue, ValidationError

from townlet_replay.errors import CaptureError, DiskError

MAX_JSON_BYTES = 64 * 2**20
MAX_JSON_DEPTH = 64
MAX_JSON_DIGITS = 19  # digits of the largest int64
MAX_FILE_BYTES = 2 * 2**30
TEMPORARY_SUFFIX = ".tmp"  # behind a dot and the name that the file is to get

_line = json.JSONEncoder(allow_nan=False).encode
_MINUS_ZERO = re.compile(r"-0\.0(?!\d)")
_key = lru_cache(maxsize=1024)(_line)  # there are few, and every sidecar has them
_PATH_PART = re.compile(r"[A-Za-z0-9._-]{1,200}")
_BLOCK = 2**16  # bytes of JSON whose nesting is looked at together
_QUOTE = ord('"')
_STEPS = np.zeros(256, np.int64)  # by a character outside of texts: how much deeper it leads
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1
_NO_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_FILE_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def inside(root: Path, name: str) -> Path:
    """Return the path of ``name`` under ``root``, wherever it came from.

    Args:
        root: the directory that must not be left.
        name: a relative path with ``/`` between its parts.

    Raises:
        CaptureError: the name is absolute, has ``..`` or odd characters, or a link leads out.
    """
    parts = name.split("/")
    if not all(_PATH_PART.fullmatch(part) and part not in {".", ".."} for part in parts):
        raise CaptureError(
            f"{root}: the path {name!r} is not a plain relative path inside the capture; "
            "letters, digits, '.', '_', '-' and '/' are allowed, '..' is not"
        )
    way = str(root)
    for part in parts:
        way = os.path.join(way, part)
        if os.path.islink(way):
            raise CaptureError(f"{way}: is a symbolic link; a capture holds plain files")
    return root.joinpath(name)


def plain_files(directory: Path) -> set[str]:
    """Return the names of the regular files in a directory that :func:`inside` lets pass.

    Raises:
        CaptureError: the directory cannot be read.
    """
    try:
        with os.scandir(directory) as found:
            names = [entry.name for entry in found if entry.is_file(follow_symlinks=False)]
    except OSError as error:
        raise CaptureError(f"{directory}: cannot be read ({error.strerror})") from error
    return {name for name in names if _PATH_PART.fullmatch(name)}


def read_bytes(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file of at most ``max_bytes``.

    Raises:
        CaptureError: missing, not a regular file (links are not followed), unreadable, too large.
    """
    handle, size = _open(path, max_bytes)
    try:
        # As large as it was when opened, however it grows.
        data = os.read(handle, size)
        while len(data) < size and (more := os.read(handle, size - len(data))):
            data += more
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read ({error.strerror})") from error
    finally:
        os.close(handle)
    return data


@contextlib.contextmanager
def open_regular(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a regular file of at most ``max_bytes`` for reading.

    Raises:
        CaptureError: missing, not a regular file (links are not followed), unreadable, too large.
    """
    handle, _ = _open(path, max_bytes)
    with os.fdopen(handle, "rb") as file:
        yield file


def _open(path: Path, max_bytes: int) -> tuple[int, int]:
    """Return the handle of a regular file, and its size."""
    try:
        handle = os.open(path, _FILE_FLAGS)
    except FileNotFoundError as error:
        raise CaptureError(f"{path}: the file is missing") from error
    except OSError as error:
        raise CaptureError(f"{path}: cannot be opened ({error.strerror})") from error
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode) and status.st_size <= max_bytes:
        return handle, status.st_size
    os.close(handle)
    if not stat.S_ISREG(status.st_mode):
        raise CaptureError(f"{path}: expected a regular file")
    raise CaptureError(
        f"{path}: {status.st_size} bytes; at most {max_bytes} bytes are read from one file"
    )


def check_json(data: bytes, where: str) -> JsonValue:
    """Parse JSON that follows the letter of the standard and stays small.

    Args:
        data: UTF-8 text.
        where: the file, for the message.

    Raises:
        CaptureError: not JSON, a duplicate key, NaN or Infinity, a number beyond 64 bits, nesting
            deeper than ``MAX_JSON_DEPTH``, or more than ``MAX_JSON_BYTES``.
    """
    if len(data) > MAX_JSON_BYTES:
        raise CaptureError(f"{where}: JSON of more than {MAX_JSON_BYTES} bytes")
    try:
        _check_depth(data)
        value: JsonValue = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_int64,
            object_pairs_hook=_unique_keys,
        )
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{where}: not acceptable JSON: {error}") from error
    return value


def _check_depth(data: bytes) -> None:
    if data.count(b"[") + data.count(b"{") <= MAX_JSON_DEPTH:
        return
    if b"\\" in data:  # an escaped quote does not end a text
        data = data.replace(rb"\\", b"").replace(rb"\"", b"")
    depth, quotes = 0, 0
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK].translate(None, _NO_STRUCTURE)
        marks = np.frombuffer(block, np.uint8)
        inside = np.cumsum(marks == _QUOTE) + quotes
        depths = np.cumsum(np.where(inside % 2 == 0, _STEPS[marks], 0)) + depth
        if depths.size:
            depth, quotes = int(depths[-1]), int(inside[-1])
            if depths.max() > MAX_JSON_DEPTH:
                raise ValueError(f"nested deeper than {MAX_JSON_DEPTH}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} does not fit a double")
    return value


def _int64(text: str) -> int:
    if len(text.lstrip("-")) > MAX_JSON_DIGITS or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"an integer of {len(text)} digits does not fit 64 bits")
    return int(text)


def _unique_keys(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:60]!r} appears twice")
    return found


def to_json(model: BaseModel) -> bytes:
    """Return ``model`` as JSON text; NaN and infinities become ``null``, ``-0.0`` becomes ``0.0``.

    Raises:
        CaptureError: a text cannot be written as UTF-8.
    """
    fields = model.model_dump(mode="python", by_alias=True)
    try:
        text = _laid_out(fields)
    except (TypeError, ValueError):  # NaN, or a type that JSON has not
        text = "-0.0"
    if _MINUS_ZERO.search(text):
        text = _laid_out({name: _plain(item) for name, item in fields.items()})
    return text.encode("ascii")


def _laid_out(fields: Mapping[str, object]) -> str:
    lines = ",\n".join(f"{_key(name)}: {_field(item)}" for name, item in fields.items())
    return f"{{\n{lines}\n}}\n"


def _field(item: object) -> str:
    if isinstance(item, tuple) and {*map(type, item)} == {str}:
        return _names(item)
    if isinstance(item, dict) and {*map(type, item)} == {int}:
        pairs = tuple(item.items())
        if {*map(type, item.values())} == {str}:
            return _names(pairs)
    return _block(item)


@lru_cache(maxsize=64)
def _names(names: tuple[str, ...] | tuple[tuple[int, str], ...]) -> str:
    """Write a list of names, or names by number: every sidecar of a capture has the same."""
    return _line(dict(names) if isinstance(names[0], tuple) else names)


def _block(value: object) -> str:
    """Put the items of a container of containers on a line each: to read, and to compare."""
    if isinstance(value, dict) and any(map(_is_container, value.values())):
        return "{\n" + ",\n".join(f" {_key(str(k))}: {_line(v)}" for k, v in value.items()) + "\n}"
    if isinstance(value, (list, tuple)) and any(map(_is_container, value)):
        return "[\n" + ",\n".join(f" {_line(item)}" for item in value) + "\n]"
    return _line(value)


def _is_container(value: object) -> bool:
    return isinstance(value, (dict, list, tuple))


def _plain(value: object) -> JsonValue:
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    raise CaptureError(f"{type(value).__name__} cannot be written as JSON: {value!r}")


def first_problem(error: ValidationError) -> str:
    """Say in one clause which field of a pydantic model is wrong, and how many more are."""
    problems = error.errors(include_url=False, include_context=False)
    field = ".".join(str(part) for part in problems[0]["loc"]) or "document"
    found = repr(problems[0]["input"])
    found = found if len(found) <= 60 else f"{found[:57]}..."
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{field}: {problems[0]['msg']}, found {found}{more}"


def write_files(
    directory: Path, files: Mapping[str, bytes], instead_of: Iterable[str] = ()
) -> None:
    """Write ``files`` (name -> content) into ``directory``: each one whole, or not at all.

    The names appear in the order given, after the content of *all* of them is on disk.

    Args:
        directory: made when needed.
        files: in the order in which they appear.
        instead_of: files that go just before, in the order given; one that is not there is fine.

    Raises:
        DiskError: the disk refuses; temporary files are removed, files of these names that were
            there before are intact unless the failure came while renaming.
    """
    temporary = {name: directory / f".{name}{TEMPORARY_SUFFIX}" for name in files}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            with temporary[name].open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for name in instead_of:
            (directory / name).unlink(missing_ok=True)
        for name, path in temporary.items():
            path.replace(directory / name)
        sync_directory(directory)
    except OSError as error:
        raise DiskError(
            f"{directory}: cannot write {', '.join(files)} ({error.strerror}); "
            "what was written before is intact"
        ) from error
    finally:
        for path in temporary.values():
            with contextlib.suppress(OSError):  # the error above is the one to report
                path.unlink(missing_ok=True)


def append(path: Path, data: bytes, size: int) -> None:
    """Add ``data`` to a file behind its first ``size`` bytes; what is behind them now goes.

    Raises:
        DiskError: the disk refuses; the first ``size`` bytes are intact.
    """
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        handle = os.open(path, flags, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.truncate(size)
            file.seek(size)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if size == 0:
            sync_directory(path.parent)
    except OSError as error:
        raise DiskError(f"{path}: cannot be written ({error.strerror})") from error


def remove_files(directory: Path, names: Iterable[str]) -> None:
    """Remove files that nothing names any more; one that cannot be removed stays."""
    for name in names:
        with contextlib.suppress(OSError):
            (directory / name).unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make renames and removals in ``directory`` survive a power cut, where the system can."""
    if os.name != "posix":
        return  # only POSIX opens directories
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
