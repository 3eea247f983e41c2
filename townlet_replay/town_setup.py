"""How the town of a recording is built again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from townlet_env.config.schema import TownConfig
from townlet_env.views.spaces import MaskMode, ObservationVariant, map_channels

if TYPE_CHECKING:
    from townlet_env.views.parallel import TownletParallelEnv


class TownSetup(NamedTuple):
    """Everything that what is seen of a town depends on, besides seeds and actions."""

    config: TownConfig
    observation: ObservationVariant
    mask: MaskMode
    details: bool

    @classmethod
    def of(cls, town: TownletParallelEnv) -> TownSetup:
        """Return how a town was built."""
        return cls(town.config, town.observation_variant, town.mask_mode, town.details)

    @property
    def channels(self) -> int:
        """Of the maps that residents see; 0 if they see none."""
        return len(map_channels(self.observation))

    def build(self) -> TownletParallelEnv:
        """Return the town."""
        from townlet_env.views.parallel import TownletParallelEnv

        return TownletParallelEnv(
            self.config, observation=self.observation, mask=self.mask, details=self.details
        )
