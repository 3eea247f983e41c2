"""The one decorator for compiled code.

Numba's cache on disk does not notice edits in functions or constants imported from *other* files,
nor a changed ``NUMBA_BOUNDSCHECK``. The cache therefore lives in a folder named by a hash of every
source file of the simulation, the Numba version and that flag: edit one file and everything
recompiles, edit none and nothing does. Kernels that live elsewhere are cached in a folder below,
named by a hash of the sources beside them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")

_SOURCES = Path(__file__).parent / "sim"


def kernel_digest() -> str:
    """Return the hash that names the compiled code: sources, Numba version, bounds checks."""
    return _hash(_SOURCES, f"{numba.__version__} boundscheck={numba.config.BOUNDSCHECK}")


def _hash(folder: Path, words: str = "") -> str:
    digest = hashlib.blake2b(words.encode(), digest_size=8)
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _cache_dir() -> Path:
    home = os.environ.get("TOWNLET_CACHE_DIR")
    root = Path(home) if home else Path.home() / ".cache" / "townlet"
    return root / kernel_digest()


CACHE_DIR = _cache_dir()


def _cache_of(source: Path) -> Path:
    """Return where the kernels of a source file are cached."""
    inside = source.is_relative_to(_SOURCES)
    return CACHE_DIR if inside else CACHE_DIR / _hash(source.parent)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` with Numba, keeping its type for the type checker.

    ``error_model="numpy"`` and no fastmath: bits must not depend on the machine's mood.
    """
    previous = numba.config.CACHE_DIR
    folder = _cache_of(Path(function.__code__.co_filename))
    numba.config.CACHE_DIR = str(folder)  # read at decoration time only
    try:
        compiled: Callable[P, R] = numba.njit(cache=True, error_model="numpy", nogil=True)(function)
    finally:
        numba.config.CACHE_DIR = previous  # other packages keep their own cache
    return compiled
