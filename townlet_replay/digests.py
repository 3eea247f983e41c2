"""SHA-256 of every array of a sample, so that damage is found down to the array."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_replay.npz import MAX_TOTAL_BYTES, looks_like_bomb, npy_header
from townlet_replay.packing.directory import damaged_packed
from townlet_replay.sample import ReplaySample, arrays_of
from townlet_replay.sidecar import SampleMeta

_SUFFIX = ".npy"
_CHUNK = 2**20
# What reading a damaged archive may raise; RuntimeError is also what zipfile does not implement.
_BAD = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, RuntimeError, OSError)


def member_digests(sample: ReplaySample) -> dict[str, str]:
    """Return the SHA-256 of every array, by the name of its member in a file of mode ``full``."""
    return {f"{name}{_SUFFIX}": array_digest(array) for name, array in arrays_of(sample).items()}


def array_digest(array: NDArray[Any]) -> str:
    """Return the SHA-256 of ``array`` as an NPY file, which is what a member of an archive is."""
    plain = np.asarray(array, order="C")
    digest = hashlib.sha256(npy_header(plain))
    digest.update(plain.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def damaged_arrays(data: bytes, meta: SampleMeta) -> list[str]:
    """Return which arrays of an altered file are not as they were recorded.

    Args:
        data: the content of the file.
        meta: the sidecar.

    Returns:
        Their names. Empty if nothing can be said: not one array is whole, there are no checksums of
        arrays in it or its sidecar, or what holds them is damaged itself.
    """
    if meta.mode == "packed" and (packed := damaged_packed(data)):
        return packed
    expected = {name: sha256 for name, sha256 in meta.digests.items() if name.endswith(_SUFFIX)}
    found: dict[str, str] = {}
    with contextlib.suppress(*_BAD), zipfile.ZipFile(io.BytesIO(data)) as archive:
        declared = sum(info.file_size for info in archive.infolist())
        if declared <= MAX_TOTAL_BYTES and not looks_like_bomb(declared, len(data)):
            for name in expected.keys() & {*archive.namelist()}:
                with contextlib.suppress(*_BAD):
                    found[name] = _member_digest(archive, name)
    damaged = [name for name, sha256 in expected.items() if found.get(name) != sha256]
    return [name.removesuffix(_SUFFIX) for name in damaged if len(damaged) < len(expected)]


def _member_digest(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as member:
        while chunk := member.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
