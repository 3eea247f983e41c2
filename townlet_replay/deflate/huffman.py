"""Prefix codes: lengths from counts, codes from lengths."""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_replay.deflate.tables import Ints

_DIGIT = 256  # values of a digit of a count, which has two


@kernel
def code_lengths(counts: Ints, longest: np.int64, bits: Ints) -> None:
    """Find the lengths of a code whose words are at most so long, and the text then shortest.

    Where fewer than two symbols are used, two get a word all the same: not every reader takes a
    code that is not complete.

    Args:
        counts: (S,) how often each symbol is used, below 65536.
        longest: Bits of the longest word allowed.
        bits: (S,) written; 0 for a symbol without a word.
    """
    for symbol in range(bits.shape[0]):
        bits[symbol] = 0
    symbols = _by_count(counts)
    used = symbols.shape[0]
    if used < 2:
        bits[0] = 1
        bits[symbols[0] if used == 1 and symbols[0] > 0 else 1] = 1
        return
    depths = np.zeros(used, np.int64)
    for i in range(used):
        depths[i] = counts[symbols[i]]
    _depths(depths)
    of_length = np.zeros(longest + 1, np.int64)
    for depth in depths:
        of_length[min(depth, longest)] += 1
    _shorten(of_length)
    rarest = 0
    for length in range(longest, 0, -1):
        for _ in range(of_length[length]):
            bits[symbols[rarest]] = length
            rarest += 1


@kernel
def _by_count(counts: Ints) -> Ints:
    """Return the symbols that are used, the rarest first, equals in their own order."""
    used = 0
    found = np.zeros(counts.shape[0], np.int64)
    for candidate in range(counts.shape[0]):
        found[used] = candidate
        used += counts[candidate] > 0
    found = found[:used]
    ordered = np.zeros(used, np.int64)
    for shift in (0, 8):
        places = np.zeros(_DIGIT + 1, np.int64)
        for symbol in found:
            places[((counts[symbol] >> shift) & (_DIGIT - 1)) + 1] += 1
        for lower in range(_DIGIT):
            places[lower + 1] += places[lower]
        for symbol in found:
            value = (counts[symbol] >> shift) & (_DIGIT - 1)
            ordered[places[value]] = symbol
            places[value] += 1
        found, ordered = ordered, found
    return found


@kernel
def _depths(counts: Ints) -> None:
    """Turn two or more ascending counts into the depths of their leaves in Huffman's tree.

    In place, after Moffat and Katajainen 1995, "In-place calculation of minimum-redundancy codes".
    """
    n = counts.shape[0]
    _parents(counts)
    counts[n - 2] = 0
    for node in range(n - 3, -1, -1):
        counts[node] = counts[counts[node]] + 1
    # Inner nodes are counted by depth; every place on a level that is no inner node is a leaf.
    places, depth, node, leaf = 1, 0, n - 2, n - 1
    while places > 0:
        inner = 0
        while node >= 0 and counts[node] == depth:
            inner += 1
            node -= 1
        for _ in range(places - inner):
            counts[leaf] = depth
            leaf -= 1
        places = 2 * inner
        depth += 1


@kernel
def _parents(counts: Ints) -> None:
    """Join the two rarest of what is left again and again; inner nodes end as their parents."""
    n = counts.shape[0]
    node, leaf = 0, 0
    for joined in range(n - 1):
        total = np.int64(0)
        for _ in range(2):
            if leaf >= n or (node < joined and counts[node] < counts[leaf]):
                total += counts[node]
                counts[node] = joined
                node += 1
            else:
                total += counts[leaf]
                leaf += 1
        counts[joined] = total


@kernel
def _shorten(of_length: Ints) -> None:
    """Make room for words that had been too long, by making others longer.

    Args:
        of_length: (L + 1,) how many words have each length; changed.
    """
    longest = of_length.shape[0] - 1
    room = np.int64(1) << longest  # in words of the greatest length
    taken = np.int64(0)
    for length in range(1, longest + 1):
        taken += of_length[length] << (longest - length)
    while taken > room:
        length = longest - 1
        while of_length[length] == 0:
            length -= 1
        of_length[length] -= 1  # becomes a pair, with one of the longest words
        of_length[length + 1] += 2
        of_length[longest] -= 1
        taken -= 1


@kernel
def codes(bits: Ints, words: Ints) -> None:
    """Find the words of the canonical code with these lengths, the first bit lowest.

    Args:
        bits: (S,).
        words: (S,) written.
    """
    following = np.zeros(17, np.int64)  # the next word of each length
    for length in bits:
        following[length + 1] += 1
    following[1] = 0
    for length in range(1, 17):
        following[length] = (following[length] + following[length - 1]) << 1
    for symbol in range(bits.shape[0]):
        length = bits[symbol]
        word = following[length]
        following[length] += 1
        turned = 0
        for _ in range(length):
            turned = (turned << 1) | (word & 1)
            word >>= 1
        words[symbol] = turned
