"""Our own DEFLATE (RFC 1951): fast on arrays whose rows are alike; any zlib reads it.

:func:`deflate` packs bytes; :func:`deflate_parts` several arrays in one call of compiled code,
which lets go of Python's lock once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from townlet_replay.deflate.stream import MEMORY, deflate_all
from townlet_replay.deflate.tables import WINDOW

_Raw = bytes | bytearray | memoryview


def deflate(data: _Raw, stride: int) -> bytes:
    """Return ``data`` as one raw DEFLATE stream, as ``zlib.compressobj(wbits=-15)`` would.

    Made for arrays. Where a row is much like the one before, as in captures, it is three times as
    fast as zlib's level 3 and takes 5 to 8 % less; level 9 takes 10 to 14 % less than it, in fifty
    times the time. Noise takes a sixth of zlib's time; text two thirds of that of level 1, and a
    fifth more bytes. The same bytes and stride give the same stream everywhere.

    Args:
        data: anything; empty too.
        stride: bytes from one row to the next; 1, or those of a number, where there are no rows. It
            decides how well and how fast, never whether; one above 32768 counts as 1.
    """
    return bytes(deflate_parts(data, (0, memoryview(data).nbytes), (stride,))[0])


def deflate_parts(data: _Raw, starts: Sequence[int], strides: Sequence[int]) -> list[memoryview]:
    """Return each part of ``data`` as a raw DEFLATE stream of its own; see :func:`deflate`.

    Args:
        data: the parts, one behind the other.
        starts: where each part begins, and at last where the last one ends.
        strides: bytes from one row to the next, of each part.
    """
    # Compiled code is kept by the types of its arguments: read-only bytes, whatever came.
    whole = np.frombuffer(memoryview(data).toreadonly(), np.uint8)
    begins = np.array(starts, np.int64)
    widths = np.array([s if 1 <= s <= WINDOW else 1 for s in strides], np.int64)
    size = int(begins[-1] - begins[0])  # a stored block has 5 bytes besides, and 32768 or more
    out = np.empty(size + size // 4096 + 16 * len(begins), np.uint8)
    ends = np.empty(len(widths), np.int64)
    deflate_all(whole, begins, widths, np.empty(MEMORY, np.uint32), out, ends)
    stops = [0, *ends.tolist()]
    return [out.data[begin:end] for begin, end in pairwise(stops)]
