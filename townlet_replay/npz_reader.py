"""NPZ archives, read: a hostile archive is refused before anything is set aside for it.

Reading does not use ``numpy.load``. The sizes that the directory of the archive declares are held
against the size of the file, then the header of every member against the one form that plain
numeric arrays have, and the size it declares against that of the member. Nothing is unpickled.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from functools import lru_cache
from typing import Any, NamedTuple

import deflate
import numpy as np
from numpy.typing import NDArray

from townlet_replay.archive import CENTRAL, DEFLATED, END, LOCAL, STORED
from townlet_replay.errors import CaptureError
from townlet_replay.npz import (
    MAX_HEADER_BYTES,
    MAX_MEMBERS,
    MAX_NDIM,
    MAX_RATIO,
    MAX_TOTAL_BYTES,
    MEMBER_NAME,
    looks_like_bomb,
)

_UNREADABLE = 0x1 | 0x20 | 0x40  # flags: encrypted, a patch, strongly encrypted
_LOCAL_SIGNATURE, _ENTRY_SIGNATURE, _END_SIGNATURE = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_MAGIC = b"\x93NUMPY"
_NPY = struct.Struct("<6sHH")  # how an NPY file begins: magic, version, length of its header,
_NPY2_LENGTH = struct.Struct("<I")  # which version 2 writes so
_HEADER = re.compile(
    rb"\{\s*'descr':\s*'([<>|=][biuf]\d)',\s*'fortran_order':\s*(True|False),"
    rb"\s*'shape':\s*\(((?:\d{1,15}\s*,\s*)*(?:\d{1,15})?)\s*\),?\s*\}\s*"
)
_USUAL_HEADER_BYTES = 256  # headers that are parsed once and remembered


class _Member(NamedTuple):
    """What the directory of an archive says of a member."""

    name: str
    flags: int
    method: int
    checksum: int  # CRC-32
    packed: int  # bytes in the archive
    size: int  # bytes
    offset: int  # of its local header


class _Header(NamedTuple):
    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]
    nbytes: int
    plain: bool  # neither byte order nor order of axes has to change


def decode_npz(data: bytes, where: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of an NPZ archive, in native byte order, writable and C-contiguous.

    Args:
        data: the content of the file.
        where: the file, for the message.

    Raises:
        CaptureError: not an NPZ of plain numeric arrays, damaged, or larger than the limits of
            :mod:`townlet_replay.npz`; names the member.
    """
    try:
        members = _plain_directory(data) or _any_directory(data)
        _check_members(members, len(data))
        return {member.name[:-4]: _read_member(data, member) for member in members}
    except CaptureError as error:
        raise CaptureError(f"{where}: {error}") from error
    except (
        zipfile.BadZipFile,
        deflate.DeflateError,
        struct.error,
        EOFError,
        ValueError,
        OverflowError,
        RuntimeError,  # also what zipfile does not implement
        OSError,
    ) as error:
        raise CaptureError(f"{where}: not a sound NPZ archive ({error})") from error


def _plain_directory(data: bytes) -> list[_Member] | None:
    """Return the directory of an archive laid out as zipfile does it; ``None`` for any other."""
    tail = len(data) - END.size
    if tail < 0:
        return None
    signature, disk, first, here, total, size, start, comment = END.unpack_from(data, tail)
    if (signature, disk, first, comment) != (_END_SIGNATURE, 0, 0, 0) or here != total:
        return None
    if start + size != tail or total > MAX_MEMBERS:
        return None
    members, at = [], start
    for _ in range(total):
        if at + CENTRAL.size > tail:
            return None
        entry = CENTRAL.unpack_from(data, at)
        signature, _, _, flags, method, _, _, checksum, packed, full, length = entry[:11]
        extra, comment, _, _, _, offset = entry[11:]
        at += CENTRAL.size + length
        if signature != _ENTRY_SIGNATURE or extra or comment or at > tail:
            return None
        name = data[at - length : at].decode("ascii")
        members.append(_Member(name, flags, method, checksum, packed, full, offset))
    return members if at == tail else None


def _any_directory(data: bytes) -> list[_Member]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [
            _Member(
                info.filename,
                info.flag_bits,
                info.compress_type,
                info.CRC,
                info.compress_size,
                info.file_size,
                info.header_offset,
            )
            for info in archive.infolist()
        ]


def _check_members(members: list[_Member], stored: int) -> None:
    if len(members) > MAX_MEMBERS:
        raise CaptureError(f"{len(members)} members; at most {MAX_MEMBERS} are read")
    seen: set[str] = set()
    for member in members:
        name = member.name
        if not (name.endswith(".npy") and MEMBER_NAME.fullmatch(name, 0, len(name) - 4)):
            raise CaptureError(f"member {name[:80]!r} is not named like an array of a capture")
        if name in seen:
            raise CaptureError(f"member {name!r} appears twice")
        seen.add(name)
        if member.flags & _UNREADABLE or member.method not in (STORED, DEFLATED):
            raise CaptureError(f"member {name!r} is encrypted or packed by an unknown method")
    declared = sum(member.size for member in members)
    if declared > MAX_TOTAL_BYTES or looks_like_bomb(declared, stored):
        raise CaptureError(
            f"{stored} bytes claim to hold {declared}; at most {MAX_TOTAL_BYTES} bytes and "
            f"{MAX_RATIO} times the size of the file are unpacked"
        )


def _read_member(data: bytes, member: _Member) -> NDArray[Any]:
    content = _content(data, member)
    header, start = _split(content, member.name)
    if header.nbytes != member.size - start:
        raise CaptureError(
            f"member {member.name!r} declares {header.dtype}{list(header.shape)}, "
            f"{header.nbytes} bytes, but holds {member.size - start}"
        )
    if deflate.crc32(content) != member.checksum:
        raise CaptureError(f"member {member.name!r} is damaged: its checksum does not fit")
    flat = np.frombuffer(content, header.dtype, offset=start)
    if header.dtype.kind == "b" and flat.size and flat.view(np.uint8).max() > 1:
        raise CaptureError(f"member {member.name!r} has booleans that are neither 0 nor 1")
    if header.plain and flat.flags.aligned:
        return flat.reshape(header.shape)
    flat = flat.astype(header.dtype.newbyteorder("="))
    if header.fortran_order:
        return np.asarray(flat.reshape(header.shape[::-1]).transpose(), order="C")
    return flat.reshape(header.shape)


def _content(data: bytes, member: _Member) -> bytearray:
    """Return the bytes of a member: as many as the directory declares, which has been checked."""
    name, _, method, _, stored, size, start = member
    if not 0 <= start <= len(data) - LOCAL.size:
        raise CaptureError(f"member {name!r} lies beyond the file")
    signature, _, flags, _, _, _, _, _, _, length, extra = LOCAL.unpack_from(data, start)
    start += LOCAL.size
    label = data[start : start + length]
    if signature != _LOCAL_SIGNATURE or flags & _UNREADABLE or label != name.encode("ascii"):
        raise CaptureError(f"member {name!r} is not where the directory of the archive says")
    start += length + extra
    packed = memoryview(data)[start : start + stored]
    deflated = method == DEFLATED
    content = deflate.deflate_decompress(packed, size) if deflated else bytearray(packed)
    if len(packed) != stored or len(content) != size:
        raise CaptureError(f"member {name!r} is longer or shorter than declared")
    return content


def _split(content: bytearray, name: str) -> tuple[_Header, int]:
    """Return the header of an NPY file, and where its numbers begin."""
    if len(content) < _NPY.size:
        raise CaptureError(f"member {name!r} does not hold an array")
    magic, version, size = _NPY.unpack_from(content)
    start = _NPY.size
    if magic != _MAGIC or version not in (1, 2):
        raise CaptureError(f"member {name!r} does not hold an array")
    if version == 2:
        (size,) = _NPY2_LENGTH.unpack_from(content, start - 2)
        start += 2
    if size > MAX_HEADER_BYTES:
        raise CaptureError(f"member {name!r} has a header of {size} bytes")
    text = bytes(content[start : start + size])
    parse = _known_header if size <= _USUAL_HEADER_BYTES else _parse_header
    return parse(text, name), start + size


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
    fortran_order, nbytes = match[2] == b"True", math.prod(shape) * dtype.itemsize
    return _Header(dtype, fortran_order, shape, nbytes, dtype.isnative and not fortran_order)


_known_header = lru_cache(maxsize=1024)(_parse_header)  # most samples have headers of others
