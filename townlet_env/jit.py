"""The one decorator for compiled code.

Numba's cache on disk does not notice edits in functions or constants imported from *other* files,
nor a changed ``NUMBA_BOUNDSCHECK``. The cache therefore lives in a folder named by a hash of every
source file of the simulation, the Numba version and that flag: edit one file and everything
recompiles, edit none and nothing does.
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
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{numba.__version__} boundscheck={numba.config.BOUNDSCHECK}".encode())
    for path in sorted(_SOURCES.rglob("*.py")):
        digest.update(path.relative_to(_SOURCES).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _cache_dir() -> Path:
    home = os.environ.get("TOWNLET_CACHE_DIR")
    root = Path(home) if home else Path.home() / ".cache" / "townlet"
    return root / kernel_digest()


CACHE_DIR = _cache_dir()


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` with Numba, keeping its type for the type checker.

    ``error_model="numpy"`` and no fastmath: bits must not depend on the machine's mood.
    """
    previous = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(CACHE_DIR)  # read at decoration time only
    try:
        compiled: Callable[P, R] = numba.njit(cache=True, error_model="numpy", nogil=True)(function)
    finally:
        numba.config.CACHE_DIR = previous  # other packages keep their own cache
    return compiled
