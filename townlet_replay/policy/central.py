"""A critic that sees everybody who learns in a town, for training alone (Yu et al. 2022, MAPPO).

It reads the features of the resident it values and the mean over those of all, so that it fits
towns of any size. Who acts never reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

TOWN = "town"  # key of the features (N, L, F) of all learners in the town of a row


class CentralCritic(nn.Module):
    """Hidden layers of a value on one resident's features and those of the whole town.

    Args:
        features: F, columns of the features.
        widths: Units of each layer, at least one.
        activation: Between them.
    """

    def __init__(self, features: int, widths: Sequence[int], activation: type[nn.Module]) -> None:
        super().__init__()
        first, *rest = widths
        self.one = nn.Sequential(nn.Linear(features, first), activation())
        self.everybody = nn.Sequential(nn.Linear(features, first), activation())
        layers: list[nn.Module] = []
        joint = 2 * first
        for width in rest or [first]:
            layers += [nn.Linear(joint, width), activation()]
            joint = width
        self.joint = nn.Sequential(*layers)
        self.width = joint

    def forward(self, features: Tensor, town: Tensor) -> Tensor:
        """Return hidden units ``(N, width)``.

        Args:
            features: ``(N, F)`` of who is valued.
            town: ``(N, L, F)`` of all; rows of zeros are people who are not in town.
        """
        present = (town != 0).any(dim=2, keepdim=True)
        encoded = self.everybody(town) * present
        mean = encoded.sum(dim=1) / present.sum(dim=1).clamp(min=1)
        hidden: Tensor = self.joint(torch.cat([self.one(features), mean], dim=1))
        return hidden
