"""The sections of a scenario that hold numbers of the rules; defaults are those of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Signed = Annotated[float, Field(ge=-1.0, le=1.0)]
Amount = Annotated[float, Field(ge=0.0, le=1e6, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=30_000)]
Loss = Annotated[float, Field(ge=-1e6, le=0.0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
PolicyName = Name


class Section(BaseModel):
    """Base of every configuration model: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def ordered(span: tuple[float, float]) -> tuple[float, float]:
    """Return ``span`` if its first number is not above its second.

    Raises:
        ValueError: It is.
    """
    if span[0] > span[1]:
        raise ValueError(f"expected [least, most], found {list(span)}; swap them")
    return span


def first_key(raw: Any, keys: Sequence[str]) -> str | None:
    """Return the first of ``keys`` that a mapping or a model has; it tells union members apart."""
    names = raw if isinstance(raw, dict) else type(raw).model_fields
    return next((key for key in keys if key in names), None)


class NeedValues(Section):
    """One number per need."""

    hunger: Unit = 1.0
    hygiene: Unit = 1.0
    energy: Unit = 1.0

    def values(self) -> tuple[float, float, float]:
        """Return the numbers in the order of ``ids.Need``."""
        return self.hunger, self.hygiene, self.energy


class NeedDecay(NeedValues):
    """Fall of each need per tick."""

    hunger: Unit = 0.0035
    hygiene: Unit = 0.0020
    energy: Unit = 0.0025


class NeedsConfig(Section):
    """Rules 3.7."""

    decay: NeedDecay = NeedDecay()
    pace_effect: Unit = Field(default=0.3, description="decay x (1 + effect x pace)")


class MovementConfig(Section):
    """Rules 3.3."""

    ghost_step_after: Count = Field(
        default=3, description="blocked tries before places are swapped"
    )


class QueuesConfig(Section):
    """Rules 3.4 and 3.5."""

    range: Annotated[int, Field(ge=1, le=64)] = Field(default=3, description="Manhattan cells")
    reservation_ticks: Annotated[int, Field(ge=1, le=1440)] = Field(
        default=5, description="ticks to start after the turn has come"
    )
    cooldown_ticks: Count = Field(default=15, description="ticks skipped after finishing")
    age_priority_weight: Amount = Field(default=0.1, description="places per tick waited")


class EmploymentConfig(Section):
    """Rules 3.8."""

    arrival_buffer: Count = Field(default=20, description="ticks before the start")
    grace_ticks: Annotated[int, Field(ge=1, le=720)] = Field(default=5, description="still on time")
    absent_cutoff: Count = Field(default=30, description="ticks after the start")
    absence_slack: Count = Field(default=20, description="ticks away during a shift")
    dismissal_absences: Annotated[int, Field(ge=1, le=7)] = Field(
        default=3, description="absences in the last seven shifts that cost the job"
    )


class TiesConfig(Section):
    """Rules 3.9."""

    conflict_increment: Unit = Field(default=0.05, description="rivalry per unit of intensity")
    rotated_increment: Unit = Field(
        default=0.02, description="rivalry towards who held up the line"
    )
    decay: Unit = Field(default=0.0005, description="rivalry lost per tick")
    avoid_threshold: Unit = Field(default=0.3, description="above it the other is avoided")
    max_edges: Annotated[int, Field(ge=1, le=256)] = Field(default=6, description="rivals kept")
    courtesy_rivalry: Unit = Field(default=0.05, description="rivalry lost when let go first")
    courtesy_trust: Signed = Field(default=0.05, description="trust gained when let go first")
    courtesy_familiarity: Signed = Field(default=0.05, description="familiarity gained likewise")
    patience_effect: Unit = Field(default=0.5, description="rivalry x (1 - effect x patience)")
    warmth_effect: Unit = Field(default=0.5, description="ties x (1 + effect x warmth)")
    chat_range: Annotated[int, Field(ge=1, le=64)] = Field(default=2, description="Manhattan cells")
    chat_probability: Unit = Field(default=0.7, description="success of a chat between strangers")
    chat_trust: Unit = Field(default=0.04, description="trust per chat of full quality")
    chat_familiarity: Unit = Field(default=0.08, description="familiarity likewise")
    shared_meal_trust: Unit = Field(default=0.10, description="trust gained by eating together")
    shared_meal_familiarity: Unit = Field(default=0.25, description="familiarity gained likewise")
    meal_range: Annotated[int, Field(ge=1, le=64)] = Field(default=2, description="Manhattan cells")
    meal_ticks: Count = Field(default=15, description="ticks that two meals may be apart")
    company_range: Annotated[int, Field(ge=1, le=64)] = Field(
        default=3, description="Manhattan cells"
    )
    helped_trust: Unit = Field(default=0.20, description="trust of who is late and let go first")
    helped_familiarity: Unit = Field(default=0.10, description="familiarity gained likewise")
    helped_rivalry: Unit = Field(default=0.10, description="rivalry lost likewise")
    shift_taken_trust: Unit = Field(
        default=0.10, description="trust lost in who took the shift over"
    )
    shift_taken_rivalry: Unit = Field(default=0.30, description="rivalry gained likewise")
    met_trust: Unit = Field(default=0.05, description="trust gained at a meet")
    met_familiarity: Unit = Field(default=0.15, description="familiarity gained likewise")
    missed_trust: Unit = Field(default=0.05, description="trust lost in who did not come")


class NeedWeights(Section):
    """Weights w_k of the needs in the reward."""

    hunger: Amount = 1.0
    hygiene: Amount = 0.6
    energy: Amount = 0.8

    def values(self) -> tuple[float, float, float]:
        """Return the weights in the order of ``ids.Need``."""
        return self.hunger, self.hygiene, self.energy


class SocialRewards(Section):
    """The rewards of chats, and of letting rivals go first."""

    enabled: bool = False
    base: Amount = 0.01
    trust: Amount = 0.3
    familiarity: Amount = 0.2
    avoided: Amount = Field(default=0.02, description="courtesy towards an avoided rival")
    deficit_limit: Unit = Field(default=0.85, description="no social reward beyond this deficit")


class RewardsConfig(Section):
    """Rules 5."""

    survival_tick: Amount = 0.002
    needs_scale: Amount = 0.05
    need_weights: NeedWeights = NeedWeights()
    shaping_scale: Amount = 0.5
    shaping_gamma: Unit = 0.99
    wage_weight: Amount = 1.0
    punctuality_scale: Amount = 0.1
    social: SocialRewards = SocialRewards()
    faint: Loss = Field(default=-1.0, description="once, of who faints")
    eviction: Loss = Field(default=-2.0, description="once, of who is evicted")
    quiet_ticks: Count = Field(default=10, description="ticks around an exit without gains")
    clip: Annotated[float, Field(gt=0.0, le=1e6)] = 1.0


class PricesConfig(Section):
    """What things cost, in meals."""

    meal: Amount = 1.0
    groceries: Amount = Field(default=0.4, description="per unit of ingredients")


class UtilitiesConfig(Section):
    """What the town supplies."""

    power: bool = True
    water: bool = True
