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

_WIDTHS = {2: 2, 4: 4, 8: 4}  # bytes that are looked up at once; others count as 1
_Raw = bytes | bytearray | memoryview


def deflate(data: _Raw, stride: int, width: int = 1) -> bytes:
    """Return ``data`` as one raw DEFLATE stream, as ``zlib.compressobj(wbits=-15)`` would.

    Made for arrays. Where a row is much like the one before, as in captures, it is two to three
    times as fast as zlib's level 3 and takes 5 to 8 % less; level 9 takes 10 to 14 % less than it,
    in fifty times the time. Noise takes a sixth of zlib's time; text three quarters of that of
    level 1, and as many bytes. The same arguments give the same stream everywhere.

    Args:
        data: anything; empty too.
        stride: bytes from one row to the next, or those of a number where there are no rows.
        width: bytes of a number. Both decide how well and how fast, never whether; a stride above
            32768 counts as 1.
    """
    return bytes(deflate_parts(data, (0, memoryview(data).nbytes), ((stride, width),))[0])


def deflate_parts(
    data: _Raw, starts: Sequence[int], steps: Sequence[tuple[int, int]]
) -> list[memoryview]:
    """Return each part of ``data`` as a raw DEFLATE stream of its own; see :func:`deflate`.

    Args:
        data: the parts, one behind the other.
        starts: where each part begins, and at last where the last one ends.
        steps: stride and width of each part.
    """
    # Compiled code is kept by the types of its arguments: read-only bytes, whatever came.
    whole = np.frombuffer(memoryview(data).toreadonly(), np.uint8)
    begins = np.array(starts, np.int64)
    known = np.ones((len(steps), 2), np.int64)
    for k, (stride, width) in enumerate(steps):
        known[k] = stride if 1 <= stride <= WINDOW else 1, _WIDTHS.get(width, 1)
    size = int(begins[-1] - begins[0])  # a stored block has 5 bytes besides, and 32768 or more
    out = np.empty(size + size // 4096 + 16 * len(begins), np.uint8)
    ends = np.empty(len(steps), np.int64)
    deflate_all(whole, begins, known, np.empty(MEMORY, np.uint32), out, ends)
    stops = [0, *ends.tolist()]
    return [out.data[begin:end] for begin, end in pairwise(stops)]
