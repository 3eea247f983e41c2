"""Our DEFLATE: zlib reads every stream back, and nothing depends on the compiler."""

import hashlib
import heapq
import subprocess
import sys
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from townlet_replay.deflate import deflate, deflate_parts
from townlet_replay.deflate.huffman import code_lengths, codes
from townlet_replay.deflate.matching import MOST_TOKENS
from townlet_replay.deflate.stream import Block, Output, _put_stored
from townlet_replay.deflate.tables import (
    DISTANCE_BASE,
    DISTANCE_EXTRA,
    DISTANCE_SYMBOL,
    LENGTH_BASE,
    LENGTH_EXTRA,
    LENGTH_SYMBOL,
    distance_symbol,
    low_zero_bytes,
)

WIDTHS = st.sampled_from((1, 2, 3, 4, 8, 0, -1))
STRIDES = (1, 2, 4, 7, 8, 30, 456, 484, 32767, 32768, 32769, 0, -3)


def inflate(stream):
    """What zlib makes of a stream, which must end where it says."""
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    data = inflater.decompress(bytes(stream))
    assert inflater.eof
    assert not inflater.unused_data
    return data


def rows_of(rng, rows, stride, changes):
    """Rows that are like the one before but for some bytes, now and then like an older one."""
    row = rng.integers(0, 256, stride, dtype=np.uint8)
    kept, found = [row.copy()], []
    for _ in range(rows):
        row[rng.integers(0, stride, rng.integers(0, changes + 1))] = rng.integers(0, 256)
        if rng.random() < 0.2:
            row[: stride // 2] = kept[rng.integers(len(kept))][: stride // 2]
        if rng.random() < 0.1:
            row = np.roll(row, rng.integers(-3, 4))
        kept.append(row.copy())
        found.append(row.tobytes())
    return b"".join(found)


@st.composite
def tables(draw):
    """Bytes with the shape of a recorded array, and a stride that may be wrong."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stride = draw(st.integers(1, 600))
    data = rows_of(rng, draw(st.integers(0, 200)), stride, draw(st.integers(0, 40)))
    cut = draw(st.integers(0, 30))
    return data[cut:], draw(st.sampled_from((stride, *STRIDES))), draw(WIDTHS)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.sampled_from(STRIDES), WIDTHS)
@example(b"", 1, 1)
@example(b"\xa0", 1, 1)
@example(bytes(range(256)), 1, 4)
def test_any_bytes_come_back(data, stride, width):
    assert inflate(deflate(data, stride, width)) == data


@settings(max_examples=200, deadline=None)
@given(tables())
def test_tables_come_back(table):
    data, stride, width = table
    assert inflate(deflate(data, stride, width)) == data


def noise(size, seed=0):
    return np.random.default_rng(seed).bytes(size)


LONG = {
    "zeros": (bytes(300_000), 8),
    "zeros of one block's tokens and more": (bytes(258 * (MOST_TOKENS + 3)), 1),
    "noise": (noise(300_000), 4),
    "noise as long as a stored block": (noise(65535), 4),
    "one byte longer": (noise(65536), 4),
    "two stored blocks": (noise(2 * 65535), 4),
    "a block's tokens": (noise(MOST_TOKENS), 4),
    "one token more": (noise(MOST_TOKENS + 1), 4),
    "noise that comes again at the edge of the window": (noise(32768) * 3, 32768),
    "noise that comes again beyond it": (noise(32769) * 3, 32769),
    "noise that comes again far away": (noise(20000) + bytes(12000) + noise(20000), 7),
    "noise, then rows": (noise(50_000) + noise(100) * 900, 100),
    "few bytes of each value": (bytes(np.repeat(np.arange(256), 300).astype(np.uint8)), 1),
    "text": (b"It was the best of times, it was the worst of times. " * 2000, 1),
    "counters": (np.arange(50_000, dtype=np.int32).tobytes(), 4),
    "copies of every length": (b"".join(noise(n, n) * 2 for n in range(1, 700)), 1),
}


@pytest.mark.parametrize("name", LONG)
def test_long_bytes_come_back(name):
    data, stride = LONG[name]
    for width in (1, 4):
        assert inflate(deflate(data, stride, width)) == data


def test_what_cannot_shrink_hardly_grows():
    for size in (1, 100, 65535, 300_000):
        data = noise(size)
        assert len(deflate(data, 4)) <= size + 5 * (size // MOST_TOKENS + 1)


def test_stored_blocks_have_a_greatest_size():
    """Tokens of so many bytes are always shorter, so only a direct call gets there."""
    data, out = np.frombuffer(noise(150_000), np.uint8), np.zeros(150_100, np.uint8)
    zero = np.uint64(0)
    block = Block(zero, np.uint64(len(data)), zero, True)
    end = _put_stored(data, block, out, Output(zero, zero, zero))
    assert inflate(out[: int(end.at)]) == data.tobytes()


def test_a_row_that_comes_again_takes_next_to_nothing():
    row = noise(400)
    once, often = len(deflate(row, 400)), len(deflate(row * 500, 400))
    assert often - once < 2 * 500 * 400 / 258  # two bytes for each of the longest copies


def test_fewer_bytes_than_zlib_on_rows_with_few_changes():
    rng = np.random.default_rng(3)
    data = rows_of(rng, 700, 456, 25)
    assert len(deflate(data, 456)) < len(zlib.compress(data, 3))


def test_a_stride_decides_how_well_not_whether():
    data = rows_of(np.random.default_rng(4), 100, 300, 3)
    sizes = {stride: len(deflate(data, stride)) for stride in (300, 1)}
    assert sizes[300] < sizes[1] < len(data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_taken(kind):
    assert deflate(kind(b"rows and rows and rows"), 9) == deflate(b"rows and rows and rows", 9)


def test_bytes_are_counted_not_numbers():
    numbers = np.arange(900.0).reshape(30, 30)
    assert deflate(numbers.data, 240) == deflate(numbers.tobytes(), 240)
    assert inflate(deflate(numbers.data, 240)) == numbers.tobytes()


def test_parts_are_as_they_would_be_alone():
    """What was packed before, in the same call or another, does not show."""
    parts = [noise(700), b"", bytes(5000), noise(700), rows_of(np.random.default_rng(5), 90, 50, 4)]
    steps = [(7, 1), (1, 4), (8, 2), (7, 1), (50, 1)]
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    found = deflate_parts(b"".join(parts), starts, steps)
    assert [bytes(stream) for stream in found] == [
        deflate(part, *step) for part, step in zip(parts, steps, strict=True)
    ]


def test_nothing_to_pack_is_nothing():
    assert deflate_parts(b"", [0], []) == []


PACK = """
import hashlib, zlib
import numpy as np
from townlet_replay.deflate import deflate
rng = np.random.default_rng(6)
row = rng.integers(0, 256, 61, dtype=np.uint8)
rows = []
for _ in range(150):
    row[rng.integers(0, 61, 3)] = rng.integers(0, 256, 3)
    rows.append(row.tobytes())
for data in (b"".join(rows), rng.bytes(3000), bytes(5000), b"abc" * 50, b"", b"x"):
    for stride in (61, 1):
        for width in (1, 2, 4):
            print(hashlib.sha256(deflate(data, stride, width)).hexdigest())
"""


def test_plain_python_packs_the_same_bytes(monkeypatch):
    def run():
        command = [sys.executable, "-W", "error", "-W", "ignore:overflow encountered", "-c", PACK]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    compiled = run()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert run() == compiled


def test_the_bytes_are_promised():
    """Captures are compared by digests of their files: other bytes need a line in the changelog."""
    rows = np.arange(400)[:, None] // np.arange(1, 41) ** 2 * 2654435761 % 2**32
    data = rows.astype("<u4").tobytes()
    stream = deflate(data, 160, 4)
    assert len(stream) == 3305
    assert hashlib.sha256(stream).hexdigest()[:16] == "aa225233cd5afa7a"


def huffman_bits(counts):
    """Bits of a text in Huffman's code: the sum of the inner nodes of his tree."""
    heap = [int(count) for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total


def lengths_of(counts, longest):
    bits = np.full(len(counts), 99, np.int64)
    code_lengths(np.array(counts, np.int64), longest, bits)
    return bits


def is_complete(bits):
    return sum(2.0 ** -int(length) for length in bits if length) == 1


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=2, max_size=288))
def test_codes_are_huffmans(counts):
    bits = lengths_of(counts, 15)
    assert is_complete(bits)
    if sum(count > 0 for count in counts) >= 2:
        assert [length > 0 for length in bits] == [count > 0 for count in counts]
        assert int(bits @ np.array(counts)) >= huffman_bits(counts)
        if bits.max() < 15:
            assert int(bits @ np.array(counts)) == huffman_bits(counts)


def fibonacci(n):
    numbers = [1, 1]
    while len(numbers) < n:
        numbers.append(numbers[-1] + numbers[-2])
    return numbers


@pytest.mark.parametrize(("used", "longest"), [(19, 7), (23, 15), (22, 7), (17, 15), (12, 7)])
def test_codes_stay_short_where_huffmans_do_not(used, longest):
    """Counts like Fibonacci's make the deepest trees: 22 bits for 23 symbols below 65536."""
    counts = [min(n, 65535) for n in fibonacci(used)]
    bits = lengths_of(counts, longest)
    assert bits.max() == longest
    assert is_complete(bits)
    assert all(a >= b for a, b in pairwise(bits))  # rarer is not shorter


@pytest.mark.parametrize("counts", [[0, 0, 0], [5, 0, 0], [0, 0, 5]])
def test_two_words_at_least(counts):
    bits = lengths_of(counts, 15)
    assert sorted(bits) == [0, 1, 1]
    assert bits[np.argmax(counts)] == 1


def test_words_are_canonical():
    """The example of RFC 1951, 3.2.2, each word turned round."""
    words = np.empty(8, np.uint64)
    codes(np.array([3, 3, 3, 3, 3, 2, 4, 4], np.int64), words)
    texts = ["010", "011", "100", "101", "110", "00", "1110", "1111"]
    assert words.tolist() == [int(text[::-1], 2) for text in texts]


def test_symbols_cover_every_length_and_distance():
    for length in range(3, 259):
        symbol = LENGTH_SYMBOL[length - 3]
        assert 0 <= length - LENGTH_BASE[symbol] < 1 << LENGTH_EXTRA[symbol]
    assert LENGTH_SYMBOL[255] == 28
    for distance in range(1, 32769):
        less = distance - 1
        symbol = DISTANCE_SYMBOL[less if less < 256 else 256 + (less >> 7)]
        assert 0 <= distance - DISTANCE_BASE[symbol] < 1 << DISTANCE_EXTRA[symbol]
    assert distance_symbol(np.uint64(32768)) == 29


def test_zero_bytes_are_counted():
    for place in range(64):
        assert low_zero_bytes(np.uint64(1 << place)) == place // 8
        assert low_zero_bytes(np.uint64((1 << 64) - (1 << place))) == place // 8
