"""What may befall the town, and who may arrive: settings of rules 3.1 and 3.2."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from townlet_env.config.sections import Amount, Count, NeedValues, PolicyName, Section, ordered
from townlet_env.config.steps import Cell
from townlet_env.sim.ids import MINUTES_PER_DAY, PERTURBATION_COUNT
from townlet_env.sim.rules import MAX_ROADSIDE, MAX_TIMES

MAX_TICKS = 1_000_000  # of an episode

Tick = Annotated[int, Field(ge=0, le=MAX_TICKS)]
Length = Annotated[int, Field(ge=1, le=MAX_TICKS)]
Factor = Annotated[float, Field(gt=0.0, le=100.0)]
Lengths = Annotated[tuple[Length, Length], AfterValidator(ordered)]
Factors = Annotated[tuple[Factor, Factor], AfterValidator(ordered)]
Delays = Annotated[tuple[Count, Count], AfterValidator(ordered)]


class Perturbation(Section):
    """When something befalls the town, and for how long."""

    daily: Annotated[float, Field(ge=0.0, le=MINUTES_PER_DAY)] = Field(
        default=0.0, description="expected number per day, by chance"
    )
    at: tuple[Tick, ...] = Field(
        default=(), max_length=MAX_TIMES, description="ticks in which it begins anyway"
    )
    ticks: Lengths = Field(default=(15, 60), description="shortest and longest")
    cooldown: Tick = Field(default=720, description="ticks after its end without chance")


class PriceSpike(Perturbation):
    """Everything costs more."""

    ticks: Lengths = Field(default=(30, 120), description="shortest and longest")
    magnitude: Factors = Field(default=(1.2, 1.8), description="prices x, least and most")


class Meet(Perturbation):
    """Two residents are invited to a place."""

    ticks: Lengths = Field(default=(60, 120), description="shortest and longest")
    cooldown: Tick = Field(default=120, description="ticks after its end without chance")
    invite_cooldown: Tick = Field(
        default=360, description="ticks between two invitations of one resident"
    )


class PerturbationsConfig(Section):
    """Rules 3.1."""

    price_spike: PriceSpike = PriceSpike()
    blackout: Perturbation = Perturbation()
    outage: Perturbation = Perturbation()
    meet: Meet = Meet()
    max_at_once: Annotated[int, Field(ge=0, le=PERTURBATION_COUNT)] = Field(
        default=2, description="more than these do not begin by chance"
    )

    def in_order(self) -> tuple[Perturbation, ...]:
        """Return the four in the order of ``ids.Perturbation``."""
        return self.price_spike, self.blackout, self.outage, self.meet


class NewcomerNeeds(NeedValues):
    """How a newcomer arrives."""

    hunger: Annotated[float, Field(ge=0.0, le=1.0)] = 0.8
    hygiene: Annotated[float, Field(ge=0.0, le=1.0)] = 0.8
    energy: Annotated[float, Field(ge=0.0, le=1.0)] = 0.8


class ArrivalsConfig(Section):
    """Rules 3.2."""

    enabled: bool = Field(default=False, description="an exit leaves its slot to a newcomer")
    delay: Delays = Field(default=(5, 20), description="ticks a slot stays vacant")
    wallet: Amount = Field(default=3.0, description="meals")
    ingredients: Count = 1
    needs: NewcomerNeeds = NewcomerNeeds()
    cells: tuple[Cell, ...] = Field(
        default=(),
        max_length=MAX_ROADSIDE,
        description="[column, row] where they appear; by default floor near the edge of the map",
    )
    policy: PolicyName = Field(default="needs_driven", description="in slots of scripts")
    max_newcomers: Count | None = Field(
        default=None, description="per episode; by default as many as can leave"
    )

    @field_validator("policy")
    @classmethod
    def _newcomers_have_no_schedule(cls, policy: str) -> str:
        if policy == "schedule":
            raise ValueError("expected a policy without a schedule, found 'schedule'")
        return policy
