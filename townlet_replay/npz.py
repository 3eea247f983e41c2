"""NPZ archives, written: the same arrays give the same bytes. Limits of what is read back.

The files are plain ``.npz``, which ``numpy.load`` reads, and :mod:`townlet_replay.npz_reader`.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

LEVEL = 3  # of deflate: a seventh more bytes than 6, in two fifths of the time
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip member
_UNIX = 3  # zipfile writes the running system here, which would change the bytes


def encode_npz(arrays: Mapping[str, NDArray[Any]], *, compress: bool) -> bytes:
    """Return ``arrays`` as an NPZ archive, members in the order given.

    Args:
        arrays: name -> array of booleans, integers or floats of at most 8 bytes.
        compress: deflate the members. Left out where the archive would shrink so far that
            :func:`~townlet_replay.npz_reader.decode_npz` took it for a bomb.

    Raises:
        CaptureError: a name or dtype that could not be read back, or too many bytes.
    """
    total = sum(array.nbytes for array in arrays.values())
    if total > MAX_TOTAL_BYTES:
        raise CaptureError(
            f"{total} bytes of arrays in one sample; at most {MAX_TOTAL_BYTES} are written: "
            "end episodes earlier"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            _check_writable(name, array)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            info.create_system = _UNIX
            info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            member = io.BytesIO()
            np.lib.format.write_array(
                member, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False
            )
            archive.writestr(info, member.getvalue(), compresslevel=LEVEL)
    data = buffer.getvalue()
    if compress and looks_like_bomb(total + MAX_HEADER_BYTES * len(arrays), len(data)):
        return encode_npz(arrays, compress=False)
    return data


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
