"""One writer per capture: an advisory lock that vanishes with the process that holds it."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

from townlet_replay.errors import DiskError

try:
    import fcntl
except ImportError:  # not a POSIX system: writers go without a lock
    fcntl = None  # type: ignore[assignment]

LOCK_SUFFIX = ".lock"

_RECORDING = (
    "is recording into this capture; wait for it or close it, or choose another directory or prefix"
)
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
_TRIES = 100  # each means that another writer let go of the lock in between


class WriterLock:
    """The lock of one capture, held through a hidden file beside its manifest.

    The system lets go when the process ends, however it ends; the file may stay behind and means
    nothing. Where files cannot be locked, nobody is refused: a writer still sees that the manifest
    is not the one it knows.
    """

    def __init__(self, manifest_path: Path, prefix: str, doing: str = _RECORDING) -> None:
        """Nothing is locked yet; the manifest as it is now is the one that is known.

        Args:
            manifest_path: of the capture.
            prefix: captures with other prefixes have locks of their own.
            doing: what the owner does and what to do about it, for the one that is refused.
        """
        self._doing = doing
        self.path = manifest_path.parent / f".{prefix}{LOCK_SUFFIX}"
        self._manifest = manifest_path
        self._known = _stamp(manifest_path)
        self._release: weakref.finalize[[int, Path, int], WriterLock] | None = None

    def acquire(self) -> None:
        """Hold the lock until :meth:`release`, or until this object or the process is gone.

        Raises:
            DiskError: another writer holds it, or the disk refuses.
        """
        if fcntl is None or self._release is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = self._locked()
        except OSError as error:
            raise DiskError(
                f"{self.path.parent}: cannot write the lock {self.path.name} ({error.strerror})"
            ) from error
        if handle is not None:
            self._release = weakref.finalize(self, _let_go, handle, self.path, os.getpid())

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock while the manifest is written anew, and afterwards.

        Raises:
            DiskError: as :meth:`acquire`, or the manifest is not the one that is known.
        """
        self.acquire()
        if _stamp(self._manifest) != self._known:
            raise DiskError(
                f"{self._manifest}: changed, but not by this writer; nothing is written over it: "
                "record into another directory, or with another prefix"
            )
        try:
            yield
        finally:
            self._known = _stamp(self._manifest)

    def release(self) -> None:
        """Let others write."""
        if self._release is not None:
            self._release()
            self._release = None

    def _locked(self) -> int | None:
        """Return the open lock file; ``None`` where files cannot be locked."""
        for _ in range(_TRIES):
            handle = os.open(self.path, _FLAGS, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                owner = os.read(handle, 20).decode("ascii", "replace") or "unknown"
                os.close(handle)
                raise DiskError(
                    f"{self.path.parent}: another writer (process {owner}) {self._doing}"
                ) from error
            except OSError:  # a file system without locks
                os.close(handle)
                return None
            if _is_file(handle, self.path):
                os.truncate(handle, 0)
                os.write(handle, str(os.getpid()).encode("ascii"))
                return handle
            os.close(handle)  # its owner removed it between the two calls above
        raise OSError(None, "too many writers come and go")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written anew; ``None`` without a file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _is_file(handle: int, path: Path) -> bool:
    """Tell whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _let_go(handle: int, path: Path, owner: int) -> None:
    with contextlib.suppress(OSError):
        if os.getpid() == owner and _is_file(handle, path):  # a forked child shares the handle
            path.unlink()
    os.close(handle)
