"""NPZ archives, written: the same arrays give the same bytes. Limits of what is read back.

The files are plain ``.npz``, which ``numpy.load`` reads, and :mod:`townlet_replay.npz_reader`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_replay.archive import member_of, zip_archive
from townlet_replay.deflate import deflate_parts
from townlet_replay.deflate.tables import WINDOW
from townlet_replay.errors import CaptureError

MAX_MEMBERS = 128
MAX_NDIM = 8
MAX_TOTAL_BYTES = 2 * 2**30  # of all arrays of one archive
MAX_RATIO = 200  # declared bytes per byte of the archive ...
RATIO_FREE_BYTES = 16 * 2**20  # ... beyond so many declared bytes
MAX_HEADER_BYTES = 10_000
DTYPE_KINDS = "biuf"
MAX_ITEM_BYTES = 8

MEMBER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")

_USUAL_HEADERS = 512  # kept in memory


def encode_npz(arrays: Mapping[str, NDArray[Any]], *, compress: bool) -> bytes:
    """Return ``arrays`` as an NPZ archive, members in the order given.

    Args:
        arrays: name -> array of booleans, integers or floats of at most 8 bytes.
        compress: deflate the members. Left out where the archive would shrink so far that
            :func:`~townlet_replay.npz_reader.decode_npz` took it for a bomb.

    Raises:
        CaptureError: a name or dtype that could not be read back, or too many bytes or arrays.
    """
    total = sum(array.nbytes for array in arrays.values())
    if total > MAX_TOTAL_BYTES:
        raise CaptureError(
            f"{total} bytes of arrays in one sample; at most {MAX_TOTAL_BYTES} are written: "
            "end episodes earlier"
        )
    if len(arrays) > MAX_MEMBERS:
        raise CaptureError(f"{len(arrays)} arrays in one file; at most {MAX_MEMBERS} are written")
    plain: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        _check_writable(name, array)
        plain[f"{name}.npy"] = np.asarray(array, order="C")
    files = [(npy_header(array), array.data) for array in plain.values()]
    whole = b"".join(part for file in files for part in file)
    starts = [0, *accumulate(len(header) + body.nbytes for header, body in files)]
    contents = [memoryview(whole)[begin:end] for begin, end in pairwise(starts)]
    packed: Sequence[memoryview | None] = [None] * len(files)
    if compress:
        packed = deflate_parts(whole, starts, [_steps(array) for array in plain.values()])
    data = zip_archive(map(member_of, plain, contents, packed))
    if compress and looks_like_bomb(total + MAX_HEADER_BYTES * len(arrays), len(data)):
        return encode_npz(arrays, compress=False)
    return data


def npy_header(array: NDArray[Any]) -> bytes:
    """Return what an NPY file, version 1.0, has before the numbers of a C-contiguous array."""
    return _npy_header(array.dtype.str, array.shape)


@lru_cache(_USUAL_HEADERS)
def _npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    facts = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, facts)
    return buffer.getvalue()


def _steps(array: NDArray[Any]) -> tuple[int, int]:
    """Return the bytes from one row to the next, and of a number.

    Rows are the outermost ones that DEFLATE looks back to: in pictures larger than its window those
    are lines.
    """
    steps = zip(array.strides, array.shape, strict=True)
    row = next((step for step, rows in steps if rows > 1 and step <= WINDOW), array.itemsize)
    return row, array.itemsize


def _check_writable(name: str, array: NDArray[Any]) -> None:
    if not MEMBER_NAME.fullmatch(name):
        raise CaptureError(f"the array name {name!r} is not a letter and then letters, digits, _")
    if array.dtype.kind not in DTYPE_KINDS or array.dtype.itemsize > MAX_ITEM_BYTES:
        raise CaptureError(
            f"the array {name!r} has dtype {array.dtype}; "
            "captures hold booleans, integers and floats of at most 8 bytes"
        )


def looks_like_bomb(declared: int, stored: int) -> bool:
    """Say whether so many bytes in so few are beyond what honest packing gives."""
    return declared > RATIO_FREE_BYTES and declared > MAX_RATIO * stored
