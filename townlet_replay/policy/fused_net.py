"""The default network's forward pass without autograd: preallocated, masked, compiled.

The map of a resident is 0/1 and mostly the same from row to row, so that its dense layer is a sum
over the few cells that differ from a reference map; dense layers on floats are matrix products of
torch written into buffers. Rounding apart it is ``TownletNetwork.forward`` under
``policy.masked.masked_log_probs``.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from townlet_replay.errors import TrainingError
from townlet_replay.policy.fused_kernels import (
    RELU,
    TANH,
    Bytes,
    Cells,
    Floats,
    Index,
    Masks,
    activate,
    encode_maps,
    list_cells,
    mask_logits,
    normalise,
    sign_table,
)
from townlet_replay.policy.network import TownletNetwork

Precision = Literal["f32", "bf16"]

_KINDS = {"tanh": TANH, "relu": RELU}
_LARGEST_MAP = np.iinfo(np.uint16).max  # cells are numbered in 16 bits
_PADDING = 16  # float32 numbers in a line of the cache


class Slab:
    """A float32 matrix, and the one that matrix products read and write: itself, or a bfloat16."""

    def __init__(self, full: Tensor, low: Tensor) -> None:
        self.full = full
        self.low = low
        self.array: Floats = full.numpy()

    @classmethod
    def of(cls, full: Tensor, precision: Precision) -> Slab:
        """Return a slab around ``full``."""
        return cls(full, full if precision == "f32" else full.bfloat16())

    def columns(self, start: int) -> Slab:
        """Return the columns from ``start`` on, as a view."""
        return Slab(self.full[:, start:], self.low[:, start:])

    def lower(self) -> None:
        """Round what is to be multiplied."""
        if self.low.dtype != self.full.dtype:
            self.low.copy_(self.full)

    def lift(self) -> None:
        """Take over what was multiplied."""
        if self.low.dtype != self.full.dtype:
            self.full.copy_(self.low)


class CellLists(NamedTuple):
    """Maps of N rows as lists of cells that differ from a reference map."""

    starts: Index  # (N + 1,)
    cells: Cells

    @classmethod
    def empty(cls, rows: int, cells: int) -> CellLists:
        """Return room for ``rows`` maps."""
        return cls(np.zeros(rows + 1, np.int64), np.empty(rows * cells + 4, np.uint16))

    def fill(self, maps: npt.NDArray[np.generic], reference: Bytes) -> None:
        """List the cells of ``maps`` (N, ...).

        Raises:
            TrainingError: The maps are not uint8, or hold more than 0 and 1.
        """
        flat = np.ascontiguousarray(maps).reshape(len(maps), -1)
        united = np.int64(2)
        if flat.dtype == np.uint8:
            size = next(size for size in (4, 2, 1) if flat.shape[1] % size == 0)
            words, usual = flat.view(f"<u{size}"), reference.view(f"<u{size}")
            united = list_cells(words, usual, size, self.starts, self.cells)
        if united & ~0x01010101:
            raise TrainingError(
                f"map: expected uint8 of 0 and 1, found {maps.dtype} up to {maps.max()}; the "
                "fused learner knows no other maps: choose compute autograd"
            )


class Rows(NamedTuple):
    """What a forward pass reads; n of N rows."""

    maps: CellLists  # of all N
    chosen: Index  # (n,) which of them
    mask: Masks  # (N, A), or (0, 0): everything is legal
    features: Tensor  # (n, F) of these rows alone, in the precision of the products


class Workspace(NamedTuple):
    """Buffers of n rows."""

    joint: Slab  # (n, J) both encoders side by side, activated
    from_features: Slab  # (n, J - map width) the columns of the features
    hidden: tuple[Slab, ...]  # (n, W) each, activated
    heads: Tensor  # (A + 1, n) masked logits, values; of longer rows, as all below
    padded: Floats  # (A + 1, > n) the same
    log_probs: Floats  # (A, > n)
    probs: Floats  # (A, > n)

    @property
    def last(self) -> Slab:
        """What both heads read."""
        return self.hidden[-1] if self.hidden else self.joint

    @property
    def values(self) -> Floats:
        """(n,), a view."""
        return self.padded[-1, : self.heads.shape[1]]


def refusal(network: TownletNetwork) -> str | None:
    """Say why a network is none of those that can be fused; None if it can."""
    if network.config.encoder != "linear":
        return f"its map encoder is {network.config.encoder!r}, not 'linear'"
    if network.core is not None:
        return "it has a recurrent core"
    if network.critic is not None:
        return "it has a central critic"
    if network.device.type != "cpu":
        return f"it is on device {str(network.device)!r}, not on the CPU"
    shape = network.spec.map_shape
    if shape is not None and math.prod(shape) > _LARGEST_MAP:
        return f"its map has {math.prod(shape)} cells, more than {_LARGEST_MAP}"
    return None


def linear_layers(module: nn.Module | None) -> list[nn.Linear]:
    """Return the dense layers of a part of a network, in order."""
    return [] if module is None else [m for m in module.modules() if isinstance(m, nn.Linear)]


class FusedNetwork:
    """A default :class:`TownletNetwork`, seen as tables that kernels and matrix products read.

    The weights stay in the network; :meth:`refresh` follows a change of them.

    Attributes:
        network: Whose weights these are.
        kind: TANH or RELU.
        precision: Of the matrix products of encoder and trunk; maps and heads are float32.
        cells: C of the map; 0 without one.
        map_width: Units the map is encoded into.
        reference: (C,) of 0 and 1; ``refresh`` follows a change.
        features_weight: Slab of the features' encoder.
        trunk_weights: Slabs of the trunk.
        head_weight: (A + 1, H) of both heads.
    """

    def __init__(self, network: TownletNetwork, precision: Precision = "f32") -> None:
        """Read the weights.

        Raises:
            TrainingError: The network cannot be fused.
        """
        reason = refusal(network)
        if reason is not None:
            raise TrainingError(f"expected a network that can be fused, but {reason}")
        self.network = network
        self.kind = _KINDS[network.config.activation]
        self.precision = precision
        self._map = linear_layers(network.map_encoder)
        self._features = linear_layers(network.features_encoder)[0]
        self._trunk = linear_layers(network.trunk)
        shape = network.spec.map_shape
        self.cells = 0 if shape is None else math.prod(shape)
        self.map_width = self._map[0].out_features if self._map else 0
        self.joint_width = self.map_width + self._features.out_features
        self.reference: Bytes = np.zeros(self.cells, np.uint8)
        self._table: Floats = np.zeros((self.cells + 1, self.map_width), np.float32)
        self._cell_weights = torch.from_numpy(self._table)[: self.cells]
        self._joint_bias = np.zeros(self.joint_width, np.float32)
        self.features_weight = Slab.of(self._features.weight.detach(), precision)
        self.trunk_weights = [Slab.of(layer.weight.detach(), precision) for layer in self._trunk]
        heads = network.spec.action_dim + 1
        self.head_weight = torch.zeros(heads, network.action_head.in_features)
        self._head_bias = torch.zeros(heads)
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Read the weights anew; the reference map as well."""
        network = self.network
        for layer in self._map:
            self._cell_weights.copy_(layer.weight.t())
            sign_table(self._table, layer.bias.detach().numpy(), self.reference)
        self._joint_bias[self.map_width :] = self._features.bias.detach().numpy()
        self.features_weight.lower()
        for slab in self.trunk_weights:
            slab.lower()
        for part, action, value in (
            (self.head_weight, network.action_head.weight, network.value_head.weight),
            (self._head_bias, network.action_head.bias, network.value_head.bias),
        ):
            part[:-1].copy_(action)
            part[-1:].copy_(value)

    def workspace(self, rows: int) -> Workspace:
        """Return buffers for ``rows`` rows."""
        actions = len(self.head_weight) - 1
        padded = torch.zeros(actions + 1, rows + _PADDING)
        joint = Slab.of(torch.zeros(rows, self.joint_width), self.precision)
        return Workspace(
            joint=joint,
            from_features=joint.columns(self.map_width),
            hidden=tuple(
                Slab.of(torch.zeros(rows, len(slab.full)), self.precision)
                for slab in self.trunk_weights
            ),
            heads=padded[:, :rows],
            padded=padded.numpy(),
            log_probs=np.zeros((actions, rows + _PADDING), np.float32),
            probs=np.zeros((actions, rows + _PADDING), np.float32),
        )

    @torch.no_grad()
    def forward(self, rows: Rows, space: Workspace) -> None:
        """Write what the network says of n rows into the buffers of n rows."""
        joint = space.joint
        if self.cells:
            encode_maps(*rows.maps, rows.chosen, self._table, joint.array)
        torch.mm(rows.features, self.features_weight.low.t(), out=space.from_features.low)
        space.from_features.lift()
        activate(joint.array, self._joint_bias, self.kind)
        below = joint
        for layer, weight, above in zip(self._trunk, self.trunk_weights, space.hidden, strict=True):
            below.lower()
            torch.mm(below.low, weight.low.t(), out=above.low)
            above.lift()
            activate(above.array, layer.bias.detach().numpy(), self.kind)
            below = above
        torch.mm(self.head_weight, below.full.t(), out=space.heads)
        mask_logits(space.padded, self._head_bias.numpy(), rows.mask, rows.chosen)
        normalise(space.padded, len(rows.chosen), space.log_probs, space.probs)
