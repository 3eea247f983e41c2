"""Who the residents are: traits, profiles and their mix (rules 3.2)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from townlet_env.config.sections import Name, Section, Signed, Unit
from townlet_env.errors import nearest
from townlet_env.sim.rules import MAX_PROFILES

DRAWN: Literal["drawn"] = "drawn"  # what a resident says instead of a profile

Share = Annotated[float, Field(gt=0.0, le=1e6)]


class Personality(Section):
    """Traits in [-1, 1]; 0 is everybody's neighbour."""

    pace: Signed = 0.0
    patience: Signed = 0.0
    warmth: Signed = 0.0

    def values(self) -> tuple[float, float, float]:
        """Return pace, patience and warmth."""
        return self.pace, self.patience, self.warmth


PROFILES = {
    "steady": Personality(),
    "brisk": Personality(pace=0.6, patience=-0.2),
    "patient": Personality(pace=-0.2, patience=0.7, warmth=0.2),
    "warm": Personality(patience=0.2, warmth=0.7),
    "prickly": Personality(pace=0.2, patience=-0.6, warmth=-0.5),
}
MIX = {"steady": 0.4, "brisk": 0.15, "patient": 0.15, "warm": 0.15, "prickly": 0.15}


class PersonalitiesConfig(Section):
    """From what personalities are drawn."""

    profiles: dict[Name, Personality] = Field(
        default=PROFILES, description="by name, beside the shipped ones"
    )
    mix: dict[Name, Share] = Field(
        default=MIX,
        min_length=1,
        max_length=MAX_PROFILES,
        description="profile -> share of those drawn",
    )
    spread: Unit = Field(default=0.15, description="traits are drawn within it of the profile's")

    @field_validator("profiles", mode="before")
    @classmethod
    def _shipped_ones_stay(cls, found: Any) -> Any:
        return {**PROFILES, **found} if isinstance(found, dict) else found

    @field_validator("profiles")
    @classmethod
    def _none_is_called_drawn(cls, profiles: dict[str, Personality]) -> dict[str, Personality]:
        if DRAWN in profiles:
            raise ValueError(f"expected no profile called {DRAWN!r}, which means to draw one")
        return profiles

    @field_validator("mix")
    @classmethod
    def _names_are_known(cls, mix: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        profiles = info.data.get("profiles", mix)  # not there if it is wrong itself
        for name in mix:
            if name not in profiles:
                raise ValueError(f"unknown profile {name!r}{nearest(name, profiles)}")
        return mix
