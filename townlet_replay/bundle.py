"""Bundles: many files of a capture in one, so that a thousand short lives are not as many files.

A bundle is a plain ZIP archive of the NPZ files and sidecars that would otherwise lie side by side;
unpacked, they do. A path of a manifest whose first part ends in ``.zip`` leads into one. Its
table of contents is read once; every file in it is found by its place and checked by the digest
that the manifest gives, as any other.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

from townlet_replay.archive import CENTRAL, DEFLATED, END, LOCAL, STORED, member_of, zip_archive
from townlet_replay.entries import ManifestEntry
from townlet_replay.errors import CaptureError
from townlet_replay.safe_files import (
    MAX_FILE_BYTES,
    inside,
    open_regular,
    plain_files,
    read_bytes,
)

BUNDLE_SUFFIX = ".zip"
BUNDLE_NAME = re.compile(r"(.+)_bundle_\d{3,}\.zip")  # and the prefix in it
BUNDLE_BYTES = 64 * 2**20  # then another one is begun,
BUNDLE_FILES = 20_000  # or with so many files
MAX_BUNDLE_FILES = 60_000  # what a table of contents without extensions can count
MAX_TABLE_BYTES = 16 * 2**20

_LEVEL = 1  # of deflate; words are few beside arrays


class Place(NamedTuple):
    """Where a file is in a bundle."""

    offset: int  # of its local header
    stored: int  # bytes
    size: int  # bytes, unpacked
    method: int
    crc: int  # CRC-32 of the content


def container(name: str) -> str:
    """Return the file on disk that a path of a manifest leads to or into."""
    first, slash, _ = name.partition("/")
    return first if slash and first.endswith(BUNDLE_SUFFIX) else name


def containers(entries: Iterable[ManifestEntry]) -> list[str]:
    """Return the files on disk that samples and their sidecars are, or are in."""
    paths = (path for entry in entries for path in (entry.sample, entry.meta))
    return list(dict.fromkeys(container(path) for path in paths))


def encode_bundle(files: Mapping[str, bytes]) -> bytes:
    """Return a bundle of ``files`` in the order given; the same files give the same bytes.

    Args:
        files: name -> content; what is not an NPZ is deflated.
    """
    return zip_archive(
        member_of(name, content, None if name.endswith(".npz") else _deflated(content))
        for name, content in files.items()
    )


def _deflated(content: bytes) -> bytes:
    deflater = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


class Shelf:
    """Puts the files of a capture into bundles as they come.

    Args:
        prefix: of the capture.
        first: number of the first bundle.
    """

    def __init__(self, prefix: str, first: int) -> None:
        self._prefix = prefix
        self._first = first
        self._bundles: list[dict[str, bytes]] = []
        self._bytes = 0  # in the last one

    def path(self, stem: str) -> str:
        """Return the path, without its end, of a pair of files that comes next."""
        if not self._bundles or self._bytes > BUNDLE_BYTES or len(self._bundles[-1]) > BUNDLE_FILES:
            self._bundles.append({})
            self._bytes = 0
        return f"{self._name(len(self._bundles) - 1)}/{stem}"

    def add(self, files: Mapping[str, bytes]) -> None:
        """Add a pair of files under paths that begin with what :meth:`path` returned."""
        for path, content in files.items():
            self._bundles[-1][path.partition("/")[2]] = content
            self._bytes += len(content)

    def bundles(self) -> dict[str, bytes]:
        """Return name and content of every bundle."""
        return {self._name(k): encode_bundle(files) for k, files in enumerate(self._bundles)}

    def _name(self, number: int) -> str:
        return f"{self._prefix}_bundle_{self._first + number:03d}{BUNDLE_SUFFIX}"


class Bundle:
    """A bundle on disk; its table of contents is read when first needed.

    Where the table is damaged, the headers of the files themselves tell where they are: damage in
    one place does not take other files along.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def places(self) -> dict[str, Place]:
        """Where every file in it is, by name.

        Raises:
            CaptureError: missing, or neither table nor headers can be read.
        """
        with open_regular(self.path, MAX_FILE_BYTES) as file:
            try:
                return _read_table(file)
            except (OSError, struct.error, UnicodeDecodeError, CaptureError) as error:
                if not self._by_headers:
                    raise CaptureError(f"{self.path}: not a sound bundle ({error})") from error
        return self._by_headers

    @cached_property
    def _by_headers(self) -> dict[str, Place]:
        with open_regular(self.path, MAX_FILE_BYTES) as file:
            try:
                return _read_headers(file)
            except (OSError, ValueError) as error:
                raise CaptureError(f"{self.path}: not a sound bundle ({error})") from error

    def place(self, name: str) -> Place:
        """Return where a file is.

        Raises:
            CaptureError: it is not there, or the bundle is missing or damaged.
        """
        place = self.places.get(name) or self._by_headers.get(name)
        if place is None:
            raise CaptureError(f"{self.path}: {name[:200]} is missing in this bundle")
        return place

    def read(self, name: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return the content of a file of at most ``max_bytes``.

        Raises:
            CaptureError: it is not there, too large, or the bundle is missing or damaged.
        """
        first = self.place(name)
        try:
            return self._read_at(first, name, max_bytes)
        except CaptureError:
            other = self._by_headers.get(name, first)
            if other == first:
                raise
            return self._read_at(other, name, max_bytes)

    def _read_at(self, place: Place, name: str, max_bytes: int) -> bytes:
        if max(place.size, place.stored) > max_bytes:
            raise CaptureError(
                f"{self.path}: {name[:200]} has {place.size} bytes; at most {max_bytes} bytes are "
                "read from one file"
            )
        with open_regular(self.path, MAX_FILE_BYTES) as file:
            try:
                return _read(file, place)
            except (OSError, struct.error, zlib.error, CaptureError) as error:
                raise CaptureError(f"{self.path}: {name[:200]} is damaged ({error})") from error


class CaptureFiles:
    """The files of a capture by their paths, on their own or in bundles.

    Args:
        directory: of the manifest.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._bundles: dict[str, Bundle] = {}

    def read(self, name: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return the content of a file of at most ``max_bytes``.

        Raises:
            CaptureError: missing, unreadable, too large, outside of the directory, or in a bundle
                that is damaged.
        """
        bundle = self._bundle(name)
        if bundle is None:
            return read_bytes(inside(self.directory, name), max_bytes)
        return bundle.read(name.partition("/")[2], max_bytes)

    def check(self, names: Iterable[str]) -> None:
        """Refuse names of which there is no file, without reading any.

        Raises:
            CaptureError: one is missing, outside of the directory, or in a bundle that is damaged.
        """
        there = plain_files(self.directory)  # asked once, not file by file
        for name in names:
            if name not in there:
                self.stored(name)

    def stored(self, name: str) -> int:
        """Return the bytes that a file takes on disk, without reading it.

        Raises:
            CaptureError: missing, or in a bundle that is damaged.
        """
        bundle = self._bundle(name)
        if bundle is not None:
            return bundle.place(name.partition("/")[2]).stored
        path = inside(self.directory, name)
        try:
            status = path.stat()
        except OSError as error:
            raise CaptureError(f"{path}: missing") from error
        if not stat.S_ISREG(status.st_mode):
            raise CaptureError(f"{path}: missing")
        return status.st_size

    def _bundle(self, name: str) -> Bundle | None:
        file = container(name)
        if file == name:
            return None
        if file not in self._bundles:
            self._bundles[file] = Bundle(inside(self.directory, file))
        return self._bundles[file]


def _read_table(file: BinaryIO) -> dict[str, Place]:
    """Return where everything is; nothing is taken on trust that decides about memory."""
    total = file.seek(0, os.SEEK_END)
    file.seek(max(0, total - END.size))
    magic, *_, count, size, start, comment = END.unpack(file.read(END.size))
    if magic != b"PK\5\6" or comment or start + size + END.size != total:
        raise CaptureError("it does not end as a bundle does: cut off, or altered")
    if size > MAX_TABLE_BYTES or count > MAX_BUNDLE_FILES:
        raise CaptureError(f"a table of {count} files in {size} bytes; that many are not read")
    file.seek(start)
    table = file.read(size)
    found: dict[str, Place] = {}
    at = 0
    for _ in range(count):
        magic, _, _, flags, method, _, _, *rest = CENTRAL.unpack_from(table, at)
        crc, stored, unpacked, label, extra, note, *_, offset = rest
        at += CENTRAL.size
        name = table[at : at + label].decode("ascii")
        at += label + extra + note
        if magic != b"PK\1\2" or name in found or not _is_plain(flags, method):
            raise CaptureError(f"the entry of {name[:80]!r} is twice there, or none of a bundle")
        if offset + LOCAL.size + stored > start:
            raise CaptureError(f"{name[:80]!r} would not fit into it")
        found[name] = Place(offset, stored, unpacked, method, crc)
    return found


def _read_headers(file: BinaryIO) -> dict[str, Place]:
    """Return what the headers of the files say, wherever something looks like one."""
    found: dict[str, Place] = {}
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in re.finditer(re.escape(b"PK\3\4"), content):
            head = content[match.start() : match.start() + LOCAL.size]
            if len(head) < LOCAL.size or len(found) == MAX_BUNDLE_FILES:
                break
            _, _, flags, method, _, _, crc, stored, size, label, extra = LOCAL.unpack(head)
            start = match.start() + LOCAL.size
            name = content[start : start + label]
            if _is_plain(flags, method) and start + label + extra + stored <= len(content):
                place = Place(match.start(), stored, size, method, crc)
                found.setdefault(name.decode("ascii", "replace"), place)
    return found


def _is_plain(flags: int, method: int) -> bool:
    return not flags & 1 and method in (STORED, DEFLATED)


def _read(file: BinaryIO, place: Place) -> bytes:
    file.seek(place.offset)
    magic, *_, label, extra = LOCAL.unpack(file.read(LOCAL.size))
    file.seek(label + extra, os.SEEK_CUR)
    data = file.read(place.stored)
    if magic != b"PK\3\4":
        raise CaptureError("something else is in its place")
    if place.method == DEFLATED:
        inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        data = inflater.decompress(data, place.size + 1)
    if len(data) != place.size or zlib.crc32(data) != place.crc:
        raise CaptureError("not as it was put there")
    return data
