"""The backward pass of the default network over one chunk of rows, into preallocated buffers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from townlet_replay.policy.fused_kernels import Floats
from townlet_replay.policy.fused_net import FusedNetwork, Rows, Slab, Workspace
from townlet_replay.training.fused_kernels import (
    map_gradient,
    row_sums,
    through_activation,
    unsign_gradient,
)


class Gradients:
    """One flat vector and its parts, in the order of the network's parameters.

    Attributes:
        flat: (P,). The map's part holds sums by cell until :meth:`finish`.
    """

    def __init__(self, fused: FusedNetwork, flat: Tensor) -> None:
        """Cut ``flat`` (``width_of(fused)``,) into parts."""
        self.flat = flat
        self._fused = fused
        heads, head_width = fused.head_weight.shape
        shapes = [(fused.cells, fused.map_width), (fused.joint_width,)]
        shapes.append(tuple(fused.features_weight.full.shape))
        for slab in fused.trunk_weights:
            shapes += [tuple(slab.full.shape), (len(slab.full),)]
        shapes += [(heads, head_width), (heads,)]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes]).tolist()
        parts = [
            flat[start:end].view(shape)
            for start, end, shape in zip([0, *ends], ends, shapes, strict=False)
        ]
        self.cells: Floats = parts[0].numpy()  # (C, M)
        self.joint_bias = parts[1]  # (J,) map first
        self.features = Slab.of(parts[2], fused.precision)
        trunk = parts[3:-2]
        self.trunk = [Slab.of(part, fused.precision) for part in trunk[::2]]
        self.trunk_bias = trunk[1::2]
        self.head_weight, self.head_bias = parts[-2:]

    def hand_over(self) -> None:
        """Make these the gradients of the network's parameters."""
        fused, network = self._fused, self._fused.network
        width, count = fused.map_width, fused.cells
        tensors = []
        if count:
            tensors += [self.flat[: count * width].view(width, count), self.joint_bias[:width]]
        tensors += [self.features.full, self.joint_bias[width:]]
        for weight, bias in zip(self.trunk, self.trunk_bias, strict=True):
            tensors += [weight.full, bias]
        tensors += [self.head_weight[:-1], self.head_bias[:-1]]
        tensors += [self.head_weight[-1:], self.head_bias[-1:]]
        for parameter, gradient in zip(network.parameters(), tensors, strict=True):
            parameter.grad = gradient

    def finish(self) -> None:
        """Turn sums by cell into the gradient of the map encoder's weight, in its place."""
        fused = self._fused
        if fused.cells:
            width, count = fused.map_width, fused.cells
            unsign_gradient(self.cells, self.joint_bias[:width].numpy(), fused.reference)
            by_cell = torch.from_numpy(self.cells.copy())
            self.flat[: count * width].view(width, count).copy_(by_cell.t())


def width_of(fused: FusedNetwork) -> int:
    """Return how many numbers the gradients of a network are."""
    return sum(parameter.numel() for parameter in fused.network.parameters())


class Slopes(NamedTuple):
    """Buffers of the backward pass over n rows."""

    joint: Slab  # (n, J)
    from_features: Slab  # its columns of the features
    hidden: tuple[Slab, ...]
    work: npt.NDArray[np.int32]

    @classmethod
    def of(cls, fused: FusedNetwork, rows: int) -> Slopes:
        """Return buffers for ``rows`` rows."""
        space = fused.workspace(rows)
        work = np.empty((rows + 1) * fused.cells + 2, np.int32)
        return cls(space.joint, space.from_features, space.hidden, work)


@torch.no_grad()
def backward(
    fused: FusedNetwork, rows: Rows, space: Workspace, slopes: Slopes, into: Gradients
) -> None:
    """Write the gradients of one chunk.

    Args:
        fused: The network.
        rows: What ``fused.forward`` read.
        space: What it wrote; the heads hold the gradient of the loss with respect to them.
        slopes: Scratch.
        into: Written.
    """
    actives, gradients = (space.joint, *space.hidden), (slopes.joint, *slopes.hidden)
    row_sums(space.padded, len(rows.chosen), into.head_bias.numpy())
    torch.mm(space.heads, actives[-1].full, out=into.head_weight)
    torch.mm(space.heads.t(), fused.head_weight, out=gradients[-1].full)
    for k in range(len(fused.trunk_weights) - 1, -1, -1):
        above, below = gradients[k + 1], gradients[k]
        bias = into.trunk_bias[k].numpy()
        through_activation(above.array, actives[k + 1].array, fused.kind, bias)
        above.lower()
        torch.mm(above.low.t(), actives[k].low, out=into.trunk[k].low)
        into.trunk[k].lift()
        torch.mm(above.low, fused.trunk_weights[k].low, out=below.low)
        below.lift()
    joint = slopes.joint.array
    through_activation(joint, space.joint.array, fused.kind, into.joint_bias.numpy())
    slopes.from_features.lower()
    torch.mm(slopes.from_features.low.t(), rows.features, out=into.features.low)
    into.features.lift()
    if fused.cells:
        map_gradient(*rows.maps, rows.chosen, joint, slopes.work, into.cells)
