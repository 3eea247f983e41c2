"""Tokens into the bits of DEFLATE: blocks, each with the code that makes it shortest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from townlet_env.jit import kernel
from townlet_replay.deflate.huffman import code_lengths, codes
from townlet_replay.deflate.matching import MOST_TOKENS, PLACES, SLACK, Rows, Work, tokenise
from townlet_replay.deflate.tables import (
    CODE_BITS,
    DISTANCE_BASE,
    DISTANCE_EXTRA,
    DISTANCES,
    END,
    FIXED_BITS,
    LENGTH_BASE,
    LENGTH_CODE_BITS,
    LENGTH_EXTRA,
    LENGTH_SYMBOL,
    LENGTHS,
    LITERALS,
    ORDER,
    REPEAT_BITS,
    SHORTEST,
    U0,
    U1,
    U3,
    U7,
    Bytes,
    Ints,
    Words,
    put_word,
)

STORED, FIXED, DYNAMIC = 0, 1, 2  # kinds of blocks
_PIECE = np.int64(65535)  # bytes that a stored block holds at most
MEMORY = PLACES + MOST_TOKENS + SLACK  # numbers that the search needs
_COPIES = 256  # where the words of lengths begin
_DISTANCES = np.uint64(2 * _COPIES)
_END = np.uint64(2 * _COPIES + DISTANCES)
_LITERAL = np.uint64(255)  # the last token that is one
_S15, _S23, _U256 = np.uint64(15), np.uint64(23), np.uint64(256)
_LOW5, _LOW6, _LOW8, _LOW15 = (np.uint64((1 << n) - 1) for n in (5, 6, 8, 15))
_U6 = np.uint64(6)


class Output(NamedTuple):
    """How far the stream has come."""

    at: np.uint64  # byte that is written next
    held: np.uint64  # bits of it so far, the first one lowest
    width: np.uint64  # of them, below 8


class Lengths(NamedTuple):
    """The lengths of both codes as RFC 1951, 3.2.7, writes them."""

    literals: int  # lengths sent of the first code
    distances: int  # ... and of the second
    symbols: Ints  # (K,) 0 to 15, or a repetition
    repeats: Ints  # (K,) what the extra bits of a repetition say
    sent: int  # lengths sent of the code of these symbols
    bits: Ints  # (19,) its lengths


class Block(NamedTuple):
    """Part of an array."""

    begin: np.uint64
    end: np.uint64
    tokens: np.uint64
    final: bool


@kernel
def deflate_all(
    data: Bytes, starts: Ints, steps: Ints, memory: Words, out: Bytes, ends: Ints
) -> None:
    """Deflate arrays that lie one behind the other, each to a stream of its own.

    Args:
        data: (n,).
        starts: (M + 1,) where each array begins, and the last one ends.
        steps: (M, 2) bytes per row of each, 1 to 32768, and per number, 1, 2 or 4.
        memory: (MEMORY,) uint32, for the search.
        out: Written; as long as the arrays, 1/4096 more, and 16 for each and 16.
        ends: (M,) written: where in ``out`` each stream ends.
    """
    for slot in range(PLACES):
        memory[slot] = 0
    counts = np.zeros(LITERALS + DISTANCES, np.int64)
    work = Work(memory[:PLACES], memory[PLACES:], counts)
    output = Output(U0, U0, U0)
    for i in range(steps.shape[0]):
        rows = Rows(
            np.uint64(starts[i]),
            np.uint64(starts[i + 1]),
            np.uint64(steps[i, 0]),
            np.uint64(steps[i, 1]),
        )
        at = rows.start
        final = False
        while not final:
            begin = at
            at, count = tokenise(data, rows, begin, work)
            final = bool(at >= rows.end)
            output = _put_block(data, Block(begin, at, count, final), work, out, output)
            for symbol in range(counts.shape[0]):
                counts[symbol] = 0
        output = _to_byte(output)
        ends[i] = output.at


@kernel
def _put_block(data: Bytes, block: Block, work: Work, out: Bytes, output: Output) -> Output:
    """Write a block in the shortest of the three ways."""
    work.counts[END] = 1
    bits = np.zeros(LITERALS + DISTANCES, np.int64)
    code_lengths(work.counts[:LITERALS], CODE_BITS, bits[:LITERALS])
    code_lengths(work.counts[LITERALS:], CODE_BITS, bits[LITERALS:])
    fixed_bits = np.zeros(LITERALS + DISTANCES, np.int64)
    for symbol in range(fixed_bits.shape[0]):
        fixed_bits[symbol] = FIXED_BITS[symbol]
    lengths = _lengths(bits)
    dynamic = _header_size(lengths) + _body_size(work.counts, bits)
    fixed = _body_size(work.counts, fixed_bits)
    size = np.int64(block.end - block.begin)
    stored = 8 * size + 40 * (size // _PIECE + 1)
    if stored < min(dynamic, fixed):
        return _put_stored(data, block, out, output)
    if fixed <= dynamic:
        output = _add(out, output, np.uint64(block.final | (FIXED << 1)), U3)
        bits = fixed_bits
    else:
        output = _add(out, output, np.uint64(block.final | (DYNAMIC << 1)), U3)
        output = _put_lengths(lengths, out, output)
    return _put_tokens(block, work.tokens, bits, out, output)


@kernel
def _body_size(counts: Ints, bits: Ints) -> np.int64:
    """Return the bits that the tokens of a block take."""
    size = np.int64(0)
    for symbol in range(LITERALS + DISTANCES):
        size += counts[symbol] * bits[symbol]
    for symbol in range(LENGTH_EXTRA.shape[0]):
        size += counts[END + 1 + symbol] * LENGTH_EXTRA[symbol]
    for symbol in range(DISTANCES):
        size += counts[LITERALS + symbol] * DISTANCE_EXTRA[symbol]
    return size


@kernel
def _lengths(bits: Ints) -> Lengths:
    """Return how the lengths of both codes are sent."""
    literals, distances = LITERALS, DISTANCES
    while bits[literals - 1] == 0:
        literals -= 1
    while bits[LITERALS + distances - 1] == 0:
        distances -= 1
    both = np.zeros(literals + distances, np.int64)
    for i in range(literals + distances):
        both[i] = bits[i if i < literals else LITERALS + i - literals]
    symbols, repeats = _in_runs(both)
    counts = np.zeros(LENGTHS, np.int64)
    for symbol in symbols:
        counts[symbol] += 1
    own = np.zeros(LENGTHS, np.int64)
    code_lengths(counts, LENGTH_CODE_BITS, own)
    sent = LENGTHS
    while own[ORDER[sent - 1]] == 0:
        sent -= 1
    return Lengths(literals, distances, symbols, repeats, max(sent, 4), own)


@kernel
def _in_runs(lengths: Ints) -> tuple[Ints, Ints]:
    """Return lengths with runs written as repetitions: the symbols, and how often less the least.

    16 repeats the length before 3 to 6 times; 17 and 18 stand for 3 to 10 and 11 to 138 zeros.
    """
    n = lengths.shape[0]
    symbols, repeats = np.zeros(n, np.int64), np.zeros(n, np.int64)
    count, at = 0, 0
    while at < n:
        value = lengths[at]
        run = 1
        while at + run < n and lengths[at + run] == value:
            run += 1
        at += run
        if value != 0:
            symbols[count] = value
            count += 1
            run -= 1
        while run > 0:
            symbol, least, most = value, 1, 1
            if run >= 3:
                symbol, least, most = 16, 3, 6
                if value == 0:
                    symbol, least, most = (17, 3, 10) if run < 11 else (18, 11, 138)
            times = min(run, most)
            symbols[count] = symbol
            repeats[count] = times - least
            count += 1
            run -= times
    return symbols[:count], repeats[:count]


@kernel
def _header_size(lengths: Lengths) -> int:
    """Return the bits that the codes of a block take."""
    size = 14 + 3 * lengths.sent
    for symbol in lengths.symbols:
        size += lengths.bits[symbol] + REPEAT_BITS[symbol]
    return size


@kernel
def _put_lengths(lengths: Lengths, out: Bytes, output: Output) -> Output:
    """Write the codes of a block."""
    numbers = lengths.literals - 257 + ((lengths.distances - 1) << 5) + ((lengths.sent - 4) << 10)
    output = _add(out, output, np.uint64(numbers), np.uint64(14))
    for i in range(lengths.sent):
        output = _add(out, output, np.uint64(lengths.bits[ORDER[i]]), U3)
    words = np.zeros(LENGTHS, np.int64)
    codes(lengths.bits, words)
    for i in range(lengths.symbols.shape[0]):
        symbol = lengths.symbols[i]
        width = np.uint64(lengths.bits[symbol])
        value = np.uint64(words[symbol]) | (np.uint64(lengths.repeats[i]) << width)
        output = _add(out, output, value, width + np.uint64(REPEAT_BITS[symbol]))
    return output


@kernel
def _put_tokens(block: Block, tokens: Words, bits: Ints, out: Bytes, output: Output) -> Output:
    """Write the tokens of a block, and its end."""
    words = _words(bits)
    at, held, width = output
    for i in range(block.tokens):
        token = np.uint64(tokens[i])
        word = np.uint64(words[token if token <= _LITERAL else _U256 + ((token >> _S15) & _LOW8)])
        held |= (word >> _U6) << width
        width += word & _LOW6
        if token > _LITERAL:
            symbol = (token >> _S23) & _LOW5
            word = np.uint64(words[_DISTANCES + symbol])
            held |= (word >> _U6) << width
            width += word & _LOW6
            held |= ((token & _LOW15) + U1 - np.uint64(DISTANCE_BASE[symbol])) << width
            width += np.uint64(DISTANCE_EXTRA[symbol])
        put_word(out, at, held)
        done = width >> U3
        at += done
        held >>= done << U3
        width &= U7
    word = np.uint64(words[_END])
    return _add(out, Output(at, held, width), word >> _U6, word & _LOW6)


@kernel
def _words(bits: Ints) -> Ints:
    """Return what is written for every token: the bits, and in the lowest six how many.

    First literals, then lengths less three with their extra bits, symbols of distances, the end.
    """
    own = np.zeros(LITERALS + DISTANCES, np.int64)
    codes(bits[:LITERALS], own[:LITERALS])
    codes(bits[LITERALS:], own[LITERALS:])
    for symbol in range(own.shape[0]):
        own[symbol] = (own[symbol] << 6) | bits[symbol]
    words = np.zeros(2 * _COPIES + DISTANCES + 1, np.int64)
    for i in range(_COPIES):
        words[i] = own[i]
        symbol = LENGTH_SYMBOL[i] + END + 1
        extra = i + SHORTEST - LENGTH_BASE[symbol - END - 1]
        words[_COPIES + i] = own[symbol] + (extra << (bits[symbol] + 6))
        words[_COPIES + i] += LENGTH_EXTRA[symbol - END - 1]
    for i in range(DISTANCES):
        words[2 * _COPIES + i] = own[LITERALS + i]
    words[2 * _COPIES + DISTANCES] = own[END]
    return words


@kernel
def _put_stored(data: Bytes, block: Block, out: Bytes, output: Output) -> Output:
    """Write bytes as they are."""
    begin, end = np.int64(block.begin), np.int64(block.end)
    while begin < end:
        size = min(end - begin, _PIECE)
        final = np.uint64(block.final and begin + size == end)
        output = _to_byte(_add(out, output, final, U3))
        output = _add(out, output, np.uint64(size | ((size ^ 0xFFFF) << 16)), np.uint64(32))
        at = np.int64(output.at)
        for i in range(size):
            out[at + i] = data[begin + i]
        output = Output(np.uint64(at + size), U0, U0)
        begin += size
    return output


@kernel
def _add(out: Bytes, output: Output, value: np.uint64, width: np.uint64) -> Output:
    """Write up to 48 bits."""
    held = output.held | (value << output.width)
    bits = output.width + width
    put_word(out, output.at, held)
    done = bits >> U3
    return Output(output.at + done, held >> (done << U3), bits & U7)


@kernel
def _to_byte(output: Output) -> Output:
    """Fill the last byte up with zeros."""
    return Output(output.at + ((output.width + U7) >> U3), U0, U0)
