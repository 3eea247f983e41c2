"""NPZ archives: the same arrays give the same bytes, and a hostile archive is refused unread.

Written files are plain ``.npz`` (``numpy.load`` reads them). Reading does not use ``numpy.load``:
the header of every member is matched against the one form that plain numeric arrays have, and the
size it declares against the size of the member, before anything is allocated. Nothing is ever
unpickled.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

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
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\{\s*'descr':\s*'([<>|=][biuf]\d)',\s*'fortran_order':\s*(True|False),"
    rb"\s*'shape':\s*\(((?:\d{1,15}\s*,\s*)*(?:\d{1,15})?)\s*\),?\s*\}\s*"
)


class _Header(NamedTuple):
    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def encode_npz(arrays: Mapping[str, NDArray[Any]], *, compress: bool) -> bytes:
    """Return ``arrays`` as an NPZ archive, members in the order given.

    Args:
        arrays: name -> array of booleans, integers or floats of at most 8 bytes.
        compress: deflate the members. Left out where the archive would shrink so far that
            :func:`decode_npz` took it for a bomb.

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


def decode_npz(data: bytes, where: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of an NPZ archive, in native byte order, writable and C-contiguous.

    Args:
        data: the content of the file.
        where: the file, for the message.

    Raises:
        CaptureError: not an NPZ of plain numeric arrays, damaged, or larger than the limits of this
            module; names the member.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_members(infos, len(data))
            return {info.filename[:-4]: _read_member(archive, info) for info in infos}
    except CaptureError as error:
        raise CaptureError(f"{where}: {error}") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        ValueError,
        OverflowError,
        RuntimeError,  # also what zipfile does not implement
        OSError,
    ) as error:
        raise CaptureError(f"{where}: not a sound NPZ archive ({error})") from error


def _check_members(infos: list[zipfile.ZipInfo], stored: int) -> None:
    if len(infos) > MAX_MEMBERS:
        raise CaptureError(f"{len(infos)} members; at most {MAX_MEMBERS} are read")
    seen: set[str] = set()
    for info in infos:
        name = info.filename
        if not (name.endswith(".npy") and MEMBER_NAME.fullmatch(name[:-4])):
            raise CaptureError(f"member {name[:80]!r} is not named like an array of a capture")
        if name in seen:
            raise CaptureError(f"member {name!r} appears twice")
        seen.add(name)
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise CaptureError(f"member {name!r} is encrypted or packed by an unknown method")
    declared = sum(info.file_size for info in infos)
    if declared > MAX_TOTAL_BYTES or looks_like_bomb(declared, stored):
        raise CaptureError(
            f"{stored} bytes claim to hold {declared}; at most {MAX_TOTAL_BYTES} bytes and "
            f"{MAX_RATIO} times the size of the file are unpacked"
        )


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as member:
        start = member.read(len(_MAGIC) + 2)
        if not start.startswith(_MAGIC) or start[-2:] not in {b"\x01\x00", b"\x02\x00"}:
            raise CaptureError(f"member {info.filename!r} does not hold an array")
        width, code = (2, "<H") if start[-2] == 1 else (4, "<I")
        (length,) = struct.unpack(code, member.read(width))
        if length > MAX_HEADER_BYTES:
            raise CaptureError(f"member {info.filename!r} has a header of {length} bytes")
        header = _parse_header(member.read(length), info.filename)
        body = info.file_size - len(start) - width - length
        if header.nbytes != body:
            raise CaptureError(
                f"member {info.filename!r} declares {header.dtype}{list(header.shape)}, "
                f"{header.nbytes} bytes, but holds {body}"
            )
        content = member.read(body)
        if member.read(1) or len(content) != body:  # reading to the end checks the CRC
            raise CaptureError(f"member {info.filename!r} is longer or shorter than declared")
    if header.dtype.kind == "b" and content.strip(b"\x00\x01"):
        raise CaptureError(f"member {info.filename!r} has booleans that are neither 0 nor 1")
    flat = np.frombuffer(content, header.dtype).astype(header.dtype.newbyteorder("="))
    if header.fortran_order:
        return np.asarray(flat.reshape(header.shape[::-1]).transpose(), order="C")
    return flat.reshape(header.shape)


def _parse_header(text: bytes, name: str) -> _Header:
    match = _HEADER.fullmatch(text)
    if match is None:
        raise CaptureError(
            f"member {name!r} is not a plain array of booleans, integers or floats up to 8 bytes"
        )
    shape = tuple(int(size) for size in match[3].replace(b" ", b"").split(b",") if size)
    if len(shape) > MAX_NDIM:
        raise CaptureError(f"member {name!r} has {len(shape)} dimensions; at most {MAX_NDIM}")
    try:
        dtype = np.dtype(match[1].decode())
    except TypeError as error:
        raise CaptureError(f"member {name!r} has the unknown dtype {match[1]!r}") from error
    return _Header(dtype, match[2] == b"True", shape)
