"""Compiled parts of the default network's forward pass: maps as lists of cells, activations, draws.

Heads are stored action-major, ``(A, n)``: loops over rows are then free of sums over them, which
lets the compiler use the machine's vectors without touching the order of operations. Their rows are
a little longer than n: strides of a power of two would fight for the same places in the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.random import uniform

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.unsignedinteger[Any]]
Masks = npt.NDArray[np.int8]
Index = npt.NDArray[np.int64]
Cells = npt.NDArray[np.uint16]

TANH, RELU = 0, 1
BLOCK = 64  # rows judged side by side

_ONE, _ZERO, _TWO = np.float32(1.0), np.float32(0.0), np.float32(2.0)
# tanh as an odd rational function; the coefficients of Eigen's ptanh. Absolute error below 4e-7.
_TANH_LIMIT = np.float32(7.90531110763549805)
_P1, _P3 = np.float32(4.89352455891786e-3), np.float32(6.37261928875436e-4)
_P5, _P7 = np.float32(1.48572235717979e-5), np.float32(5.12229709037114e-8)
_P9, _P11 = np.float32(-8.60467152213735e-11), np.float32(2.00018790482477e-13)
_P13 = np.float32(-2.76076847742355e-16)
_Q0, _Q2 = np.float32(4.89352518554385e-3), np.float32(2.26843463243900e-3)
_Q4, _Q6 = np.float32(1.18534705686654e-4), np.float32(1.19825839466702e-6)
# exp as 2^k times a polynomial; the constants of Cephes' expf. Relative error below 1e-7.
_EXP_LOW, _LOG2_E = np.float32(-87.0), np.float32(1.44269504088896341)
_ROUND = np.float32(12582912.0)  # 1.5 * 2^23: adding it rounds to a whole number
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_E0, _E1 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3)
_E2, _E3 = np.float32(8.3334519073e-3), np.float32(4.1665795894e-2)
_E4, _E5 = np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_ILLEGAL = np.float32(-1e8)  # policy.masked.ILLEGAL_LOGIT


@kernel
def tanh(x: np.float32) -> np.float32:
    """Return the hyperbolic tangent."""
    x = min(max(x, -_TANH_LIMIT), _TANH_LIMIT)
    q = x * x
    top = ((((((_P13 * q + _P11) * q + _P9) * q + _P7) * q + _P5) * q + _P3) * q + _P1) * x
    return top / (((_Q6 * q + _Q4) * q + _Q2) * q + _Q0)


@kernel
def exp(x: np.float32) -> np.float32:
    """Return e^x for x up to 80; 0 below -87, where probabilities are none."""
    bounded = max(x, _EXP_LOW)
    whole = (bounded * _LOG2_E + _ROUND) - _ROUND
    r = bounded - whole * _LN2_HIGH - whole * _LN2_LOW
    near = (((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5) * r * r + r + _ONE
    power = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
    return near * power.view(np.float32) if x > _EXP_LOW else _ZERO


@kernel
def list_cells(words: Words, reference: Words, size: int, starts: Index, cells: Cells) -> np.int64:
    """List the cells of every map that differ from ``reference``.

    Args:
        words: (N, C / size) maps of bytes 0 and 1, ``size`` of them to a word, lowest first.
        reference: (C / size,) likewise.
        size: Bytes per word.
        starts: (N + 1,) written: where the cells of a row begin.
        cells: (>= N * C + 4,) written.

    Returns:
        All words of all maps, united: unless its bytes are 0 and 1 the lists mean nothing.
    """
    count = np.int64(0)
    united = np.uint32(0)
    differing = np.empty(words.shape[1], np.int64)
    for n in range(words.shape[0]):
        starts[n] = count
        row = words[n]
        for i in range(row.shape[0]):
            united |= np.uint32(row[i])
        # Two passes without branches: what differs from row to row cannot be predicted.
        found = np.int64(0)
        for i in range(row.shape[0]):
            differing[found] = i
            found += np.int64(row[i] != reference[i])
        for k in range(found):
            i = differing[k]
            bits = np.int64(row[i] ^ reference[i])
            for byte in range(size):
                cells[count] = i * size + byte
                count += (bits >> (8 * byte)) & 1
    starts[words.shape[0]] = count
    return np.int64(united)


@kernel
def sign_table(table: Floats, bias: Floats, reference: Bytes) -> None:
    """Turn the columns of a dense layer over 0/1 cells into differences from ``reference``.

    ``W m + b`` is then ``base + sum over differing cells of table[cell]``.

    Args:
        table: (C + 1, M) changed in place: columns of W; ``base`` is written into the last row.
        bias: (M,).
        reference: (C,) of 0 and 1.
    """
    count, width = table.shape[0] - 1, table.shape[1]
    base = table[count]
    for j in range(width):
        base[j] = bias[j]
    for c in range(count):
        if reference[c] != 0:
            row = table[c]
            for j in range(width):
                base[j] += row[j]
                row[j] = -row[j]


@kernel
def encode_maps(starts: Index, cells: Cells, index: Index, table: Floats, out: Floats) -> None:
    """Write the dense layer of the maps of rows ``index`` into the first M columns of ``out``."""
    width = table.shape[1]
    base = table[table.shape[0] - 1]
    for r in range(index.shape[0]):
        k, end = starts[index[r]], starts[index[r] + 1]
        row = out[r]
        for j in range(width):
            row[j] = base[j]
        while k + 8 <= end:
            a, b = table[cells[k]], table[cells[k + 1]]
            c, d = table[cells[k + 2]], table[cells[k + 3]]
            e, f = table[cells[k + 4]], table[cells[k + 5]]
            g, h = table[cells[k + 6]], table[cells[k + 7]]
            for j in range(width):
                row[j] += ((a[j] + b[j]) + (c[j] + d[j])) + ((e[j] + f[j]) + (g[j] + h[j]))
            k += 8
        while k < end:
            a = table[cells[k]]
            for j in range(width):
                row[j] += a[j]
            k += 1


@kernel
def activate(z: Floats, bias: Floats, kind: int) -> None:
    """Replace every row of ``z`` (n, M) by the activation of ``z + bias``."""
    for r in range(z.shape[0]):
        row = z[r]
        if kind == TANH:
            for j in range(row.shape[0]):
                row[j] = tanh(row[j] + bias[j])
        else:
            for j in range(row.shape[0]):
                row[j] = max(row[j] + bias[j], _ZERO)


@kernel
def mask_logits(heads: Floats, bias: Floats, mask: Masks, index: Index) -> None:
    """Add the bias to what the heads gave, and put -1e8 where an action is illegal.

    Args:
        heads: (A + 1, >= n) changed in place: logits, and values in the last row.
        bias: (A + 1,).
        mask: (N, A), nonzero where legal; (0, 0) allows everything.
        index: (n,) the rows of ``mask``.
    """
    actions, rows = heads.shape[0] - 1, index.shape[0]
    for a in range(actions + 1):
        row = heads[a]
        for r in range(rows):
            row[r] += bias[a]
    if mask.shape[0] == 0:
        return
    for r in range(rows):
        allowed = mask[index[r]]
        for a in range(actions):
            if allowed[a] == 0:
                heads[a, r] = _ILLEGAL


@kernel
def normalise(heads: Floats, rows: int, log_probs: Floats, probs: Floats) -> None:
    """Turn masked logits into log-probabilities and probabilities.

    The distribution of ``policy.masked.masked_log_probs``; an illegal action has a log-probability
    of about -1e8 and the probability 0.

    Args:
        heads: (A + 1, >= n) from ``mask_logits``.
        rows: n.
        log_probs: (A, >= n) written.
        probs: (A, >= n) written.
    """
    actions = log_probs.shape[0]
    top, total = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        stop = start + size
        top[:] = _ILLEGAL
        total[:] = _ZERO
        for a in range(actions):
            logits = heads[a, start:stop]
            for r in range(size):
                top[r] = max(top[r], logits[r])
        for a in range(actions):
            logits, part = heads[a, start:stop], probs[a, start:stop]
            for r in range(size):
                part[r] = exp(logits[r] - top[r])
                total[r] += part[r]
        for r in range(size):
            top[r] += np.float32(np.log(total[r]))
        for a in range(actions):
            logits, judged = heads[a, start:stop], log_probs[a, start:stop]
            part = probs[a, start:stop]
            for r in range(size):
                judged[r] = logits[r] - top[r]
                part[r] /= total[r]


@kernel
def draw_each(
    probs: Floats, log_probs: Floats, key: np.uint64, tick: int, actions: Index, chosen: Floats
) -> None:
    """Draw one action per row by inverting the cumulative distribution.

    Row ``r`` of tick ``t`` draws a number of its own, a pure function of (key, t, r): what it is
    does not depend on other rows, on threads, or on how rows are cut into calls.

    Args:
        probs: (A, >= n).
        log_probs: (A, >= n).
        key: Of the stream.
        tick: Draws of every row so far.
        actions: (n,) written.
        chosen: (n,) written: log-probabilities of ``actions``.
    """
    count = probs.shape[0]
    for r in range(actions.shape[0]):
        total = 0.0
        for a in range(count):
            total += probs[a, r]
        # At most (1 - 2^-53) of the total, which rounds to less than the total.
        target = uniform(key, 0, tick, r) * total
        action = np.int64(0)
        reached = 0.0
        for a in range(count):
            reached += probs[a, r]
            action += np.int64(reached <= target)
        actions[r] = action
        chosen[r] = log_probs[action, r]
