"""The NPZ of a packed sample: one array of bytes that holds all the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.npz import MAX_MEMBERS, MEMBER_NAME, encode_npz, looks_like_bomb
from townlet_replay.packing import pack, unpack

PACKED = "packed"  # name of the array
_DERIVED = "dones"  # follows from the two kinds of ends


def encode_packed(arrays: Mapping[str, NDArray[Any]]) -> bytes | None:
    """Return the NPZ of the arrays of a sample, packed.

    Returns:
        ``None`` if they would shrink so far that :func:`decode_packed` took it for a bomb.
    """
    kept = {name: array for name, array in arrays.items() if name != _DERIVED}
    data = encode_npz({PACKED: pack(kept)}, compress=False)
    total = sum(array.nbytes for array in kept.values())
    return None if looks_like_bomb(total, len(data)) else data


def decode_packed(
    arrays: Mapping[str, NDArray[Any]], file_bytes: int, where: str
) -> dict[str, NDArray[Any]]:
    """Return what a packed NPZ holds, as a full one would hold it.

    Args:
        arrays: of the NPZ.
        file_bytes: its size.
        where: the file, for the message.

    Raises:
        CaptureError: damaged, larger than the limits of an NPZ, or not packed arrays alone.
    """
    try:
        found = unpack(arrays[PACKED], file_bytes)
    except CaptureError as error:
        raise CaptureError(f"{where}: {error}") from error
    odd = [name for name in found if not MEMBER_NAME.fullmatch(name)]
    if len(arrays) > 1 or odd or len(found) > MAX_MEMBERS:
        raise CaptureError(
            f"{where}: expected at most {MAX_MEMBERS} packed arrays with the names of a capture "
            f"and none beside them, found {len(found)}, {odd[:1]} and {len(arrays) - 1} beside them"
        )
    if {"terminations", "truncations"} <= found.keys():
        found[_DERIVED] = found["terminations"] | found["truncations"]
    return found
