"""Zip archives, written: the same members give the same bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from deflate import crc32

STORED, DEFLATED = 0, 8  # methods

# PKWARE APPNOTE, 4.3.7: signature, version to read it, flags, method, time, date, CRC, bytes in the
# archive, unpacked, of the name, of extra fields.
LOCAL = struct.Struct("<4s5H3I2H")
# 4.3.12: signature, version of the writer, then as above; comment, disk, two kinds of attributes,
# where the local header is.
CENTRAL = struct.Struct("<4s6H3I5H2I")
# 4.3.16: signature, this disk, first disk, members here, members, bytes and place of the table,
# comment.
END = struct.Struct("<4s4H2IH")
_VERSION, _UNIX = 20, 3 << 8
_DATE = 0x21  # 1 January 1980, the earliest
_RIGHTS = 0o600 << 16  # of an unpacked file


class Member(NamedTuple):
    """A file in an archive."""

    name: str  # ASCII
    method: int  # STORED or DEFLATED
    data: bytes | memoryview  # as the method has it
    size: int  # bytes, unpacked
    crc: int  # CRC-32 of the content, unpacked


def member_of(
    name: str, content: bytes | memoryview, packed: bytes | memoryview | None = None
) -> Member:
    """Return a file with this content, as it is if it does not shrink when ``packed``.

    Args:
        name: ASCII.
        content: of the file.
        packed: the same as a raw DEFLATE stream.
    """
    crc = crc32(content)
    if packed is not None and len(packed) < len(content):
        return Member(name, DEFLATED, packed, len(content), crc)
    return Member(name, STORED, content, len(content), crc)


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
        parts += (LOCAL.pack(b"PK\3\4", *facts), name, member.data)
        table += (CENTRAL.pack(b"PK\1\2", _VERSION | _UNIX, *facts, 0, 0, 0, _RIGHTS, at), name)
        at += LOCAL.size + len(name) + len(member.data)
    count, length = len(table) // 2, sum(map(len, table))
    end = END.pack(b"PK\5\6", 0, 0, count, count, length, at, 0)
    return b"".join((*parts, *table, end))
