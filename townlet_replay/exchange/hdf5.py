"""Reading HDF5 of unknown origin: plain arrays of the file itself, sizes checked before allocation.

HDF5 can point to other files, name plug-ins that unpack it, and declare arrays larger than the
disk. All of that is refused. What is inside a plain array is still read by the HDF5 library.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.exchange.lives import library
from townlet_replay.npz import (
    DTYPE_KINDS,
    MAX_ITEM_BYTES,
    MAX_NDIM,
    MAX_TOTAL_BYTES,
    RATIO_FREE_BYTES,
    looks_like_bomb,
)
from townlet_replay.safe_files import open_regular

MAX_HDF5_BYTES = 2**40
MAX_CHUNK_BYTES = 64 * 2**20
MAX_TEXT_BYTES = 4096  # of a text attribute
MAX_UNPACKED = 1100  # bytes of arrays per byte of the file: a little more than deflate can reach

_GZIP, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_FILTERS = {_GZIP, _SHUFFLE, _FLETCHER32, _LZF}
_CHUNK_BYTES = 2**20
_LAYOUT = "v110"  # of HDF5: with checksums over its own structures, and little of them


class Hdf5File:
    """An HDF5 file that is open for reading."""

    def __init__(self, root: Any, size: int) -> None:
        self._h5py = library("h5py", "minari")
        self._root = root
        self._budget = RATIO_FREE_BYTES + MAX_UNPACKED * size

    def group(self, path: str) -> Any:
        """Return the group at ``path``.

        Raises:
            CaptureError: not there, or not a group of this file.
        """
        with _at(path):
            found = self._member(path)
            if not isinstance(found, self._h5py.Group):
                raise CaptureError("not a group")
        return found

    def has(self, path: str) -> bool:
        """Say whether the parent group of ``path`` has a member of its name."""
        parent, _, name = path.rpartition("/")
        return name in self.group(parent)

    def array(self, path: str) -> NDArray[Any]:
        """Return the array at ``path``, checked before it is read.

        Raises:
            CaptureError: not there, not a plain array of numbers of this file, or too large.
        """
        with _at(path):
            found = self._dataset(path)
            self._check(found)
            array: NDArray[Any] = np.asarray(found[()], order="C")
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    def images(self, path: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the images that lie at ``path`` as JPEG, ``(rows, *shape)``.

        Args:
            path: of an array of bytes, a row per image.
            shape: (height, width) or (height, width, channels) that every image must have.

        Raises:
            CaptureError: not there, not JPEG, of another shape, or too large; no Pillow.
        """
        with _at(path):
            found = self._dataset(path)
            # One length for all images: (rows, bytes). Otherwise (rows,) of bytes of any length.
            ragged = found.ndim == 1 and self._h5py.check_vlen_dtype(found.dtype) == np.uint8
            if not ragged and (found.ndim != 2 or found.dtype != np.uint8):
                raise CaptureError(f"{found.dtype}{list(found.shape)}, expected bytes of JPEG")
            rows = found if ragged else self.array(path)
            self._claim(found, len(found) * math.prod(shape))
            images = np.empty((len(found), *shape), np.uint8)
            for index in range(len(images)):
                images[index] = _unpacked(rows[index].tobytes(), shape, f"image {index}")
        return images

    def text(self, path: str, name: str) -> str | None:
        """Return a short text that a group carries; ``None`` if it has none.

        Raises:
            CaptureError: anything else under this name.
        """
        value = self._attribute(path, name, is_text=True)
        return None if value is None else str(value)

    def number(self, path: str, name: str) -> int | None:
        """Return a whole number that a group carries; ``None`` if it has none.

        Raises:
            CaptureError: anything else under this name.
        """
        value = self._attribute(path, name, is_text=False)
        return None if value is None else int(value)

    def _attribute(self, path: str, name: str, *, is_text: bool) -> Any:
        attributes = self.group(path).attrs
        if name not in attributes:
            return None
        found = attributes.get_id(name)
        string = self._h5py.check_string_dtype(found.dtype)
        fits = string is not None if is_text else found.dtype.kind in "iu"
        if found.shape == () and fits and found.dtype.itemsize <= MAX_TEXT_BYTES:
            value = attributes[name]
            if not is_text:
                return value
            value = value if isinstance(value, str) else bytes(value).decode("utf-8")
            if len(value) <= MAX_TEXT_BYTES:
                return value
        raise CaptureError(
            f"the attribute {name!r} of {path} is {found.dtype} of shape {found.shape}; "
            f"expected one {'short text' if is_text else 'whole number'}"
        )

    def _dataset(self, path: str) -> Any:
        found = self._member(path)
        if not isinstance(found, self._h5py.Dataset):
            raise CaptureError("not an array")
        return found

    def _member(self, path: str) -> Any:
        found = self._root
        for part in filter(None, path.split("/")):
            link = found.get(part, getlink=True) if isinstance(found, self._h5py.Group) else None
            if link is None:
                raise CaptureError("missing")
            if not isinstance(link, self._h5py.HardLink):
                raise CaptureError("a link, or behind one; links are not followed")
            found = found[part]
        return found

    def _check(self, found: Any) -> None:
        dtype, shape = found.dtype, found.shape
        if shape is None or dtype.kind not in DTYPE_KINDS or dtype.itemsize > MAX_ITEM_BYTES:
            raise CaptureError(f"has dtype {dtype}; expected booleans, integers or floats")
        size = math.prod(shape) * dtype.itemsize
        stored = found.id.get_storage_size()
        self._claim(found, size)
        if len(shape) > MAX_NDIM or looks_like_bomb(size, stored):
            raise CaptureError(_too_much(found, size))

    def _claim(self, found: Any, size: int) -> None:
        """Refuse an array that is not in the file or would take too much of memory."""
        if found.external or found.is_virtual:
            raise CaptureError("its numbers are in other files, which are not read")
        plan = found.id.get_create_plist()
        filters = {plan.get_filter(i)[0] for i in range(plan.get_nfilters())}
        if filters - _FILTERS:
            raise CaptureError(f"packed by the filters {sorted(filters)}; gzip and lzf are known")
        chunk = math.prod(found.chunks or (0,)) * found.dtype.itemsize
        self._budget -= size
        if max(size, found.id.get_storage_size()) > MAX_TOTAL_BYTES or self._budget < 0:
            raise CaptureError(_too_much(found, size))
        if chunk > MAX_CHUNK_BYTES:
            raise CaptureError(_too_much(found, chunk))


def _unpacked(data: bytes, shape: tuple[int, ...], where: str) -> NDArray[np.uint8]:
    pillow = library("PIL.Image", "minari")
    try:
        with pillow.open(io.BytesIO(data), formats=["JPEG"]) as image:
            bands = (len(image.getbands()),) if len(shape) == 3 else ()
            declared = (image.height, image.width, *bands)
            if declared == shape:  # the header says so: nothing is unpacked yet
                return np.asarray(image)
    except (OSError, SyntaxError, pillow.DecompressionBombError) as error:
        raise CaptureError(f"{where}: not a sound JPEG ({error})") from error
    raise CaptureError(f"{where} has shape {declared}, expected {shape}")


def _too_much(found: Any, size: int) -> str:
    return (
        f"declares {found.dtype}{list(found.shape)}, {size} bytes, in "
        f"{found.id.get_storage_size()} bytes of the file; that is more than is unpacked"
    )


@contextlib.contextmanager
def _at(path: str) -> Iterator[None]:
    try:
        yield
    except CaptureError as error:
        raise CaptureError(f"{path}: {error}") from error


@contextlib.contextmanager
def reading(where: str) -> Iterator[None]:
    """Say where, and turn every way in which the HDF5 library gives up into one error."""
    try:
        yield
    except CaptureError as error:
        raise CaptureError(f"{where}: {error}") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        raise CaptureError(f"{where}: not sound HDF5 ({error})") from error


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[Hdf5File]:
    """Open an HDF5 file for reading.

    Raises:
        CaptureError: h5py is not installed, or the file is missing, a link, or no HDF5.
    """
    h5py = library("h5py", "minari")
    with open_regular(path, MAX_HDF5_BYTES) as raw:
        with reading(str(path)):
            root = h5py.File(raw, "r")
        with root:
            yield Hdf5File(root, path.stat().st_size)


class _Sink(io.RawIOBase):
    """A file that HDF5 writes to; what the disk refuses is kept, and told when HDF5 has closed.

    HDF5 brings the process down if it cannot write while it closes.
    """

    def __init__(self, file: io.FileIO) -> None:
        super().__init__()
        self._file = file
        self._at = 0
        self._end = 0
        self._kept: list[tuple[int, bytes]] = []  # what the disk refused: position, content
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        content = bytes(data)
        try:
            if self.error is None:
                self._file.seek(self._at)
                left = memoryview(content)
                while left:  # a raw file may take a part
                    left = left[self._file.write(left) :]
        except OSError as error:
            self.error = error
        if self.error is not None:
            self._kept.append((self._at, content))
        self._at += len(content)
        self._end = max(self._end, self._at)
        return len(content)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self._at)
        content = self._file.read(len(view))
        view[:] = content.ljust(len(view), b"\0")
        for start, kept in self._kept:
            first, last = max(start, self._at), min(start + len(kept), self._at + len(view))
            if first < last:
                view[first - self._at : last - self._at] = kept[first - start : last - start]
        self._at += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._end = self._at if size is None else size
        try:
            if self.error is None:
                self._file.truncate(self._end)
        except OSError as error:
            self.error = error
        return self._end


@contextlib.contextmanager
def create_hdf5(path: Path) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Make an HDF5 file; yield it and what to call now and then to hear that the disk refuses.

    Raises:
        OSError: the disk refuses.
    """
    h5py = library("h5py", "minari")
    with io.FileIO(path, "w+") as file:
        sink = _Sink(file)

        def check() -> None:
            if sink.error is not None:
                raise sink.error

        with h5py.File(sink, "w", libver=_LAYOUT) as root:
            yield root, check
        check()


def add_array(group: Any, name: str, array: NDArray[Any]) -> None:
    """Write ``array`` with checksums, packed unless it would look like a bomb."""
    rows = max(1, min(len(array), _CHUNK_BYTES * len(array) // array.nbytes))
    chunks = {"chunks": (rows, *array.shape[1:]), "fletcher32": True}
    found = group.create_dataset(name, data=array, compression="gzip", shuffle=True, **chunks)
    if array.nbytes > RATIO_FREE_BYTES:
        group.file.flush()
        if looks_like_bomb(array.nbytes, found.id.get_storage_size()):
            del group[name]
            group.create_dataset(name, data=array, **chunks)
