"""Compiled parts of the fused PPO update: the loss with its gradient, and the way back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Index = npt.NDArray[np.int64]
Cells = npt.NDArray[np.uint16]
Numbers = npt.NDArray[np.int32]
Sums = npt.NDArray[np.float64]

BLOCK = 64  # rows judged side by side
TANH = 0  # policy.fused_kernels.TANH
_ONE, _ZERO = np.float32(1.0), np.float32(0.0)

# What ``ppo_gradient`` adds up over the rows of a minibatch.
POLICY, VALUE, ENTROPY, K3, OUTSIDE, RATIO, RATIO_SQUARED, RATIO_MAX = range(8)
SUMS = 8


class Targets(NamedTuple):
    """What rows are trained towards, (N,) each."""

    actions: Index
    old_log_probs: Floats
    old_values: Floats
    advantages: Floats
    returns: Floats


class Terms(NamedTuple):
    """The coefficients of one minibatch, all float32."""

    rows: np.float32  # of the whole minibatch
    adv_mean: np.float32  # subtracted from advantages
    adv_scale: np.float32  # then multiplied with them
    low: np.float32  # 1 - clip_range
    high: np.float32  # 1 + clip_range
    clip_range: np.float32
    clip_range_vf: np.float32  # infinite: no clipping
    ent_coef: np.float32
    vf_coef: np.float32


class Pace(NamedTuple):
    """The coefficients of one step of Adam, all float32."""

    clip_scale: np.float32  # what clipping leaves of the gradient
    new_mean: np.float32  # 1 - beta1
    old_square: np.float32  # beta2
    new_square: np.float32  # 1 - beta2
    step_size: np.float32  # learning rate / (1 - beta1^t)
    root: np.float32  # sqrt(1 - beta2^t)
    eps: np.float32


@kernel
def mean_and_deviation(values: Floats, index: Index) -> tuple[float, float]:
    """Return the mean of the values of rows ``index``, and their unbiased deviation (0 of one)."""
    total = 0.0
    for r in range(index.shape[0]):
        total += np.float64(values[index[r]])
    mean = total / index.shape[0]
    squares = 0.0
    for r in range(index.shape[0]):
        squares += (np.float64(values[index[r]]) - mean) ** 2
    return mean, np.sqrt(squares / max(index.shape[0] - 1, 1))


@kernel
def ppo_gradient(
    heads: Floats,
    log_probs: Floats,
    probs: Floats,
    index: Index,
    targets: Targets,
    terms: Terms,
    sums: Sums,
) -> None:
    """Replace the heads' output by the gradient of PPO's loss, and add up what it consists of.

    Schulman et al. 2017, eq. 7 and 9, for a chunk of a minibatch; the operations of
    ``ppo.minibatch_loss`` and of its derivative.

    Args:
        heads: (A + 1, >= n): logits, and values in the last row; overwritten.
        log_probs: (A, >= n) masked log-probabilities.
        probs: (A, >= n) their exponentials.
        index: (n,) rows of ``targets``.
        targets: Of all rows.
        terms: Coefficients.
        sums: (8,) added to; the largest ratio is kept.
    """
    actions, rows = log_probs.shape[0], index.shape[0]
    entropy = np.empty(BLOCK, np.float32)
    pull = np.empty(BLOCK, np.float32)
    bonus = terms.ent_coef / terms.rows
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        entropy[:] = _ZERO
        for a in range(actions):
            judged, part = log_probs[a, start : start + size], probs[a, start : start + size]
            for r in range(size):
                entropy[r] -= part[r] * judged[r]
        for r in range(size):
            n = index[start + r]
            judged_action = log_probs[targets.actions[n], start + r]
            pull[r] = policy_pull(judged_action, targets, n, terms, sums)
            heads[actions, start + r] = value_pull(
                heads[actions, start + r], targets, n, terms, sums
            )
            sums[ENTROPY] += np.float64(entropy[r])
        for a in range(actions):
            judged, part = log_probs[a, start : start + size], probs[a, start : start + size]
            gradient = heads[a, start : start + size]
            for r in range(size):
                gradient[r] = part[r] * (bonus * (judged[r] + entropy[r]) - pull[r])
        for r in range(size):
            heads[targets.actions[index[start + r]], start + r] += pull[r]


@kernel
def policy_pull(
    log_prob: np.float32, targets: Targets, n: int, terms: Terms, sums: Sums
) -> np.float32:
    """Return the derivative of the clipped objective with respect to the action's log-prob."""
    log_ratio = log_prob - targets.old_log_probs[n]
    ratio = np.float32(np.exp(log_ratio))
    advantage = (targets.advantages[n] - terms.adv_mean) * terms.adv_scale
    gain = advantage * ratio
    clipped = advantage * min(max(ratio, terms.low), terms.high)
    sums[POLICY] -= np.float64(min(gain, clipped))
    sums[K3] += np.float64((ratio - _ONE) - log_ratio)
    sums[OUTSIDE] += np.float64(abs(ratio - _ONE) > terms.clip_range)
    sums[RATIO] += np.float64(ratio)
    sums[RATIO_SQUARED] += np.float64(ratio) * np.float64(ratio)
    sums[RATIO_MAX] = max(sums[RATIO_MAX], np.float64(ratio))
    # Inside the range both are the same number; beyond it the clipped one has no slope.
    return -gain / terms.rows if gain <= clipped else _ZERO


@kernel
def value_pull(value: np.float32, targets: Targets, n: int, terms: Terms, sums: Sums) -> np.float32:
    """Return the derivative of the weighted squared error with respect to the value."""
    old = targets.old_values[n]
    moved = value - old
    kept = min(max(moved, -terms.clip_range_vf), terms.clip_range_vf)
    error = (value if kept == moved else old + kept) - targets.returns[n]
    sums[VALUE] += np.float64(error) * np.float64(error)
    slope = np.float32(2.0) * terms.vf_coef * error / terms.rows
    return slope if kept == moved else _ZERO


@kernel
def row_sums(heads: Floats, rows: int, out: Floats) -> None:
    """Write the sum of every row of (A + 1, >= n): the gradient of the heads' bias."""
    lanes = np.empty(BLOCK, np.float32)
    for a in range(heads.shape[0]):
        row = heads[a, :rows]
        lanes[:] = _ZERO
        whole = row.shape[0] - row.shape[0] % BLOCK
        for start in range(0, whole, BLOCK):
            for r in range(BLOCK):
                lanes[r] += row[start + r]
        total = _ZERO
        for r in range(BLOCK):
            total += lanes[r]
        for r in range(whole, row.shape[0]):
            total += row[r]
        out[a] = total


@kernel
def through_activation(gradient: Floats, active: Floats, kind: int, bias_gradient: Floats) -> None:
    """Take a gradient back through an activation, and sum it over the rows for the bias.

    Args:
        gradient: (n, M) changed in place.
        active: (n, M) the activation's output.
        kind: TANH or RELU.
        bias_gradient: (M,) written.
    """
    bias_gradient[:] = _ZERO
    for r in range(gradient.shape[0]):
        g, h = gradient[r], active[r]
        if kind == TANH:
            for j in range(g.shape[0]):
                g[j] *= _ONE - h[j] * h[j]
                bias_gradient[j] += g[j]
        else:
            for j in range(g.shape[0]):
                g[j] = g[j] if h[j] > _ZERO else _ZERO
                bias_gradient[j] += g[j]


@kernel
def map_gradient(
    starts: Index, cells: Cells, index: Index, gradient: Floats, work: Numbers, out: Floats
) -> None:
    """Sum the gradient rows of all maps in which a cell differs from the reference.

    Args:
        starts: (N + 1,) where the cells of a row begin.
        cells: Their numbers.
        index: (n,) the rows.
        gradient: (n, >= M) of the encoder's first M units.
        work: (>= C + 2 + number of differing cells,) scratch.
        out: (C, M) written.
    """
    count, width = out.shape
    rows_of = work[count + 2 :]
    sort_by_cell(starts, cells, index, work[: count + 2], rows_of)
    for c in range(count):
        k, end = np.int64(work[c]), np.int64(work[c + 1])
        total = out[c]
        for j in range(width):
            total[j] = _ZERO
        while k + 8 <= end:
            a, b = gradient[rows_of[k]], gradient[rows_of[k + 1]]
            d, e = gradient[rows_of[k + 2]], gradient[rows_of[k + 3]]
            f, g = gradient[rows_of[k + 4]], gradient[rows_of[k + 5]]
            h, i = gradient[rows_of[k + 6]], gradient[rows_of[k + 7]]
            for j in range(width):
                total[j] += ((a[j] + b[j]) + (d[j] + e[j])) + ((f[j] + g[j]) + (h[j] + i[j]))
            k += 8
        while k < end:
            a = gradient[rows_of[k]]
            for j in range(width):
                total[j] += a[j]
            k += 1


@kernel
def sort_by_cell(
    starts: Index, cells: Cells, index: Index, ends: Numbers, rows_of: Numbers
) -> None:
    """Turn lists of cells by row into lists of rows by cell (a counting sort).

    Args:
        starts: (N + 1,).
        cells: By row.
        index: (n,) the rows.
        ends: (C + 2,) written: the rows of cell ``c`` are ``rows_of[ends[c] : ends[c + 1]]``.
        rows_of: Written, positions in ``index``.
    """
    ends[:] = 0
    for r in range(index.shape[0]):
        for k in range(starts[index[r]], starts[index[r] + 1]):
            ends[np.int64(cells[k]) + 2] += 1
    for c in range(1, ends.shape[0]):
        ends[c] += ends[c - 1]
    for r in range(index.shape[0]):
        for k in range(starts[index[r]], starts[index[r] + 1]):
            place = np.int64(cells[k]) + 1
            rows_of[ends[place]] = r
            ends[place] += 1


@kernel
def unsign_gradient(cell_sums: Floats, bias_gradient: Floats, reference: Bytes) -> None:
    """Turn sums over differing rows into the gradient by cell, in place.

    Args:
        cell_sums: (C, M) from ``map_gradient``.
        bias_gradient: (M,) the sum over all rows.
        reference: (C,) of 0 and 1.
    """
    for c in range(cell_sums.shape[0]):
        if reference[c] != 0:
            row = cell_sums[c]
            for j in range(row.shape[0]):
                row[j] = bias_gradient[j] - row[j]


@kernel
def adam_step(weight: Floats, gradient: Floats, mean: Floats, square: Floats, pace: Pace) -> None:
    """Move weights (P,) as ``torch.optim.Adam`` does (Kingma & Ba 2015, algorithm 1)."""
    for k in range(weight.shape[0]):
        g = gradient[k] * pace.clip_scale
        mean[k] += (g - mean[k]) * pace.new_mean
        square[k] = square[k] * pace.old_square + g * g * pace.new_square
        weight[k] -= pace.step_size * mean[k] / (np.sqrt(square[k]) / pace.root + pace.eps)
