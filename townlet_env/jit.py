"""The one decorator for compiled code.

Numba's cache on disk does not notice edits in functions or constants imported from *other* files,
nor a changed ``NUMBA_BOUNDSCHECK``. The cache therefore lives in a folder named by a hash of every
source file of the simulation, the Numba version and that flag: edit one file and everything
recompiles, edit none and nothing does. Kernels that live elsewhere are cached in a folder below,
named by a hash of the sources beside them.

Where the cache cannot be written, as with a read-only home, a temporary folder of the user takes
its place, or none; a warning says so. What another version compiled is deleted when nobody used it
for a month.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

from townlet_env.notices import say

P = ParamSpec("P")
R = TypeVar("R")

UNUSED_DAYS = 30  # after which compiled code of another version is deleted

_SOURCES = Path(__file__).parent / "sim"


def kernel_digest() -> str:
    """Return the hash that names the compiled code: sources, Numba version, bounds checks."""
    return _hash(_SOURCES, f"{numba.__version__} boundscheck={numba.config.BOUNDSCHECK}")


@cache
def _hash(folder: Path, words: str = "") -> str:
    digest = hashlib.blake2b(words.encode(), digest_size=8)
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _cache_dir() -> Path | None:
    """Return the folder of this version's compiled code, or None if nothing can be written."""
    chosen = os.environ.get("TOWNLET_CACHE_DIR")
    places = (Path(chosen) if chosen else _home(), _temporary())
    for root in places:
        if root is not None and _is_writable(root):
            if root != places[0]:
                _warn(places[0], f"kept in {root}, which may be emptied at any time")
            folder = root / kernel_digest()
            if not folder.exists():
                _prune(root)
            folder.mkdir(exist_ok=True)
            os.utime(folder)  # used now
            return folder
    _warn(places[0], "not kept: every start compiles again, for about half a minute")
    return None


def _home() -> Path | None:
    try:
        return Path.home() / ".cache" / "townlet"
    except RuntimeError:  # nobody's home is known
        return None


def _temporary() -> Path | None:
    """Return a folder of this user among the temporary ones, or None if somebody else has it."""
    root = Path(tempfile.gettempdir()) / f"townlet-{os.getuid()}"
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        # Compiled code is run: it must not come from a folder that others can write to.
        return root if root.stat().st_uid == os.getuid() else None
    except OSError:
        return None


def _is_writable(root: Path) -> bool:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return True
    except OSError:
        return False


def _warn(wanted: Path | None, instead: str) -> None:
    place = "a home folder" if wanted is None else str(wanted)
    text = f"{place} cannot be written to; compiled code is {instead} (TOWNLET_CACHE_DIR moves it)"
    warnings.warn(text, stacklevel=2)


def _prune(root: Path) -> None:
    """Delete the compiled code of versions that nobody used for a month."""
    for folder in root.iterdir():
        is_ours = re.fullmatch("[0-9a-f]{16}", folder.name) is not None
        if is_ours and folder.stat().st_mtime < time.time() - UNUSED_DAYS * 86400:
            shutil.rmtree(folder, ignore_errors=True)


CACHE_DIR = _cache_dir()


class _CompileListener(event.Listener):  # type: ignore[misc]
    """Says once per process that something is compiled, which a cached start never does."""

    said = False

    def on_start(self, event: event.Event) -> None:
        """Speak up for a kernel of ours."""
        package = (event.data["dispatcher"].py_func.__module__ or "").partition(".")[0]
        if package in ("townlet_env", "townlet_replay") and not self.said:
            self.said = True
            once = "once per version" if CACHE_DIR else "at every start"
            say(f"compiling the town's rules ({once}, about half a minute) ...")

    def on_end(self, event: event.Event) -> None:
        """Nothing is to be said."""


event.register("numba:compile", _CompileListener())


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache, which loads compiled code without what only compiling needs.

    Numba learns all of NumPy and SciPy's linear algebra before it looks into a cache: a third of a
    warm start. Its compiler does so as well, when there is something to compile.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled code for a signature, or None."""
        rtsys.initialize(target_context)  # the symbols that compiled code is linked with
        return self._load_overload(sig, target_context)


def _cache_of(source: Path, root: Path) -> Path:
    """Return where the kernels of a source file are cached."""
    return root if source.is_relative_to(_SOURCES) else root / _hash(source.parent)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` with Numba, keeping its type for the type checker.

    ``error_model="numpy"`` and no fastmath: bits must not depend on the machine's mood.
    """
    compiled: Any = numba.njit(error_model="numpy", nogil=True)(function)
    if CACHE_DIR is not None and not numba.config.DISABLE_JIT:
        previous = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(_cache_of(Path(function.__code__.co_filename), CACHE_DIR))
        try:
            compiled._cache = _Cache(function)  # reads the folder now
        finally:
            numba.config.CACHE_DIR = previous  # other packages keep their own cache
    as_typed: Callable[P, R] = compiled
    return as_typed
