"""The catalogue: kinds of objects and affordances; it fixes action ids and feature columns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from townlet_env.config.sections import Amount, Count, Name, Section, Signed, Unit
from townlet_env.sim.ids import DIRECTION_NAMES

Kinds = Annotated[tuple[Name, ...], Field(min_length=1)]


class Requires(Section):
    """What must hold while an affordance runs."""

    power: bool = False
    water: bool = False
    on_shift: bool = Field(default=False, description="at the own work place, inside the shift")


class Takes(Section):
    """What an affordance uses up, on finish; there must be enough at the start."""

    money: Amount = Field(default=0.0, description="meals, whatever the prices")
    meal_price: Amount = Field(default=0.0, description="times the price of a meal")
    groceries_price: Amount = Field(default=0.0, description="times the price of groceries")
    stock: Count = Field(default=0, description="units of the object's stock")
    ingredients: Count = Field(default=0, description="units carried")


class Gives(Section):
    """What an affordance yields, on finish."""

    hunger: Signed = 0.0
    hygiene: Signed = 0.0
    energy: Signed = 0.0
    ingredients: Count = 0
    stock: Count = Field(default=0, description="units into the nearest object of `stock_of`")
    stock_of: Name | None = None
    company: Unit = Field(default=0.0, description="familiarity with others who do it near by")

    @model_validator(mode="after")
    def _stock_needs_a_place(self) -> Gives:
        if (self.stock > 0) != (self.stock_of is not None):
            raise ValueError("expected stock and stock_of together")
        return self

    def needs(self) -> tuple[float, float, float]:
        """Return the changes of the needs in the order of ``ids.Need``."""
        return self.hunger, self.hygiene, self.energy


class AffordanceConfig(Section):
    """Something one can do with a kind of object."""

    object: Name | Kinds = Field(description="kind, or kinds, it is done at")
    ticks: Annotated[int, Field(ge=1, le=1440)] | Literal["until_released"]
    requires: Requires = Requires()
    takes: Takes = Takes()
    gives: Gives = Gives()

    @model_validator(mode="after")
    def _only_work_is_open_ended(self) -> AffordanceConfig:
        if self.ticks == "until_released" and not self.requires.on_shift:
            raise ValueError("expected requires.on_shift with ticks: until_released")
        return self

    @field_validator("object")
    @classmethod
    def _kinds_differ(cls, found: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(found, tuple) and len(set(found)) != len(found):
            raise ValueError("expected every kind once")
        return found

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of objects it is done at."""
        return (self.object,) if isinstance(self.object, str) else self.object


class Catalogue(Section):
    """Every kind and affordance, in the order of their indices; those of the scenario come last."""

    kinds: tuple[Name, ...] = Field(min_length=1)
    meets: tuple[Name, ...] = Field(default=(), description="kinds at which people meet")
    restocks: tuple[Name, ...] = Field(default=(), description="kinds filled up every day")
    affordances: dict[Name, AffordanceConfig]
    own_kinds: Count = Field(default=0, description="how many of the kinds the scenario added")
    own_affordances: Count = Field(default=0, description="likewise of the affordances")

    @field_validator("kinds")
    @classmethod
    def _kinds_differ(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(kinds)) != len(kinds):
            raise ValueError("expected every kind once")
        return kinds

    def action_names(self) -> tuple[str, ...]:
        """Return the action vocabulary, by id (rules 4): what a scenario adds comes last."""
        names = tuple(self.affordances)
        kinds, own_kinds = _split(self.kinds, self.own_kinds)
        affordances, own_affordances = _split(names, self.own_affordances)
        return (
            "wait",
            *(f"move:{direction}" for direction in DIRECTION_NAMES),
            *_about(kinds, affordances),
            "release",
            "chat",
            *_about(own_kinds, own_affordances),
        )


def _split(names: tuple[str, ...], own: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the shipped names and the last ``own`` of them."""
    shipped = len(names) - own
    return names[:shipped], names[shipped:]


def _about(kinds: tuple[str, ...], affordances: tuple[str, ...]) -> tuple[str, ...]:
    return (
        *(f"approach:{kind}" for kind in kinds),
        *(f"request:{kind}" for kind in kinds),
        *(f"start:{name}" for name in affordances),
    )
