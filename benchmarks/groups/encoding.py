"""Arrays of recorded lives turned into the files of mode ``full``, by several encoders."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

import deflate as libdeflate

from benchmarks.groups.packing import NPZ, Life, each, lives, npz
from benchmarks.report import Report
from townlet_replay.bench.measure import Arm
from townlet_replay.deflate import deflate
from townlet_replay.digests import array_digest
from townlet_replay.npz import encode_npz

OURS, FILE = "our DEFLATE", "NPZ of mode full"
ZLIB = {level: f"zlib, level {level}" for level in (1, 3, 6)}
LIBDEFLATE = "libdeflate, level 4"
DIGESTS = "SHA-256 of every array"

Encoder = Callable[[bytes, int, int], bytes]
"""Takes bytes, and how many of them a row has, and a number."""

ENCODERS: dict[str, Encoder] = {
    OURS: deflate,
    **{
        name: lambda data, *_, level=level: zlib.compress(data, level)
        for level, name in ZLIB.items()
    },
    LIBDEFLATE: lambda data, *_: bytes(libdeflate.deflate_compress(data, 4)),
}


def pieces(life: Life) -> list[tuple[bytes, int, int]]:
    """Return the bytes of every array with those of its rows and numbers."""
    return [(array.tobytes(), array.strides[0], array.itemsize) for array in life.values()]


def encode(encoder: Encoder, parts: list[tuple[bytes, int, int]]) -> int:
    """Deflate every array and return the bytes of all."""
    return sum(len(encoder(*part)) for part in parts)


def digest(life: Life) -> None:
    """Hash every array as a writer does."""
    for array in life.values():
        array_digest(array)


def measure(report: Report) -> None:
    """Deflate the same arrays with every encoder, then write whole files."""
    found = lives()
    rows = sum(len(life["rewards"]) for life in found)
    parts = [pieces(life) for life in found]
    size = sum(len(data) for life in parts for data, *_ in life)
    report.figure("not deflated", size / rows, "bytes per agent step")
    arms = []
    for name, encoder in ENCODERS.items():
        packed = sum(encode(encoder, life) for life in parts)
        report.figure(name, packed / rows, "bytes per agent step")
        arms.append(Arm(name, each(partial(encode, encoder), parts, rows)))
    rates = report.take_turns(arms, "encoding")
    for peer in list(ENCODERS)[1:]:
        report.compare(rates, OURS, peer, "rows")
    arms = [Arm(DIGESTS, each(digest, found, rows))]
    for name, write in {FILE: partial(encode_npz, compress=True), NPZ: npz}.items():
        packed = sum(len(write(life)) for life in found)
        report.figure(name, packed / rows, "bytes per agent step")
        arms.append(Arm(name, each(write, found, rows)))
    report.compare(report.take_turns(arms, "writing files"), FILE, NPZ, "rows")
