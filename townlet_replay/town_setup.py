"""How the town of a recording is built again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from townlet_env.config.schema import TownConfig
from townlet_env.views.spaces import (
    OBSERVATION_VARIANTS,
    MaskMode,
    ObservationVariant,
    map_channels,
)
from townlet_replay.errors import CaptureError

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


def variant_of(channels: tuple[str, ...]) -> ObservationVariant:
    """Return the observation variant whose maps have these channels.

    Raises:
        CaptureError: none has.
    """
    for variant in OBSERVATION_VARIANTS:
        if map_channels(variant) == channels:
            return variant
    raise CaptureError(f"the map channels {channels} are none of this version")
