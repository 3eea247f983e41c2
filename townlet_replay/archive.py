"""Zip archives, written: the same members give the same bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

STORED, DEFLATED = 0, 8  # methods

# Signature, version to read it, flags, method, time, date, CRC, two sizes, two lengths of texts.
_LOCAL = struct.Struct("<4s5H3I2H")
# Signature, version and system of the writer, version to read it; as above; comment, disk, two
# kinds of attributes, where the local header is.
_ENTRY = struct.Struct("<4sBB5H3I5H2I")
# Signature, this disk, first disk, members here, members, bytes and place of the table, comment.
_END = struct.Struct("<4s4H2IH")
_VERSION, _UNIX = 20, 3
_DATE = 1 << 5 | 1  # 1 January 1980, the earliest
_RIGHTS = 0o600 << 16  # of an unpacked file


class Member(NamedTuple):
    """A file in an archive."""

    name: str  # ASCII
    method: int  # STORED or DEFLATED
    data: bytes | memoryview  # as the method has it
    size: int  # bytes, unpacked
    crc: int  # CRC-32 of the content, unpacked


def zip_archive(members: Iterable[Member]) -> bytes:
    """Return an archive of ``members`` in their order, below 4 GiB and 65536 members.

    The bytes are those of Python's ``zipfile`` on Unix, with dates of 1980.
    """
    parts: list[bytes | memoryview] = []
    table: list[bytes] = []
    at = 0
    for member in members:
        name = member.name.encode("ascii")
        sizes = (member.crc, len(member.data), member.size, len(name), 0)
        facts = (_VERSION, 0, member.method, 0, _DATE, *sizes)
        parts += (_LOCAL.pack(b"PK\3\4", *facts), name, member.data)
        table += (_ENTRY.pack(b"PK\1\2", _VERSION, _UNIX, *facts, 0, 0, 0, _RIGHTS, at), name)
        at += _LOCAL.size + len(name) + len(member.data)
    count, length = len(table) // 2, sum(map(len, table))
    end = _END.pack(b"PK\5\6", 0, 0, count, count, length, at, 0)
    return b"".join((*parts, *table, end))
