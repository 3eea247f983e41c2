"""What a scenario file may hold; docs/ROLLOUT_SCENARIOS.md shows one. Units are in the fields."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field, model_validator

from townlet_env.config.additions import Changes, Kinds, Meets
from townlet_env.config.catalogue import Catalogue
from townlet_env.config.claims import Claim
from townlet_env.config.happenings import MAX_TICKS, ArrivalsConfig, PerturbationsConfig
from townlet_env.config.lives import EconomyConfig, LivesConfig
from townlet_env.config.personalities import PersonalitiesConfig, Personality
from townlet_env.config.sections import (
    Amount,
    Count,
    EmploymentConfig,
    MovementConfig,
    Name,
    NeedsConfig,
    NeedValues,
    PolicyName,
    PricesConfig,
    QueuesConfig,
    RewardsConfig,
    Section,
    Signed,
    TiesConfig,
    Unit,
    UtilitiesConfig,
)
from townlet_env.config.steps import Cell, Step
from townlet_env.sim.ids import MINUTES_PER_DAY

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
Minute = Annotated[int, Field(ge=0, le=MINUTES_PER_DAY)]
MAX_SIDE = 512  # cells
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class ObjectConfig(Section):
    """A thing on a cell."""

    id: Identifier
    kind: str
    cell: Cell | None = Field(default=None, description="[column, row]; or a letter of the map")
    stock: Count = Field(default=0, description="units")
    restock: Count | None = Field(
        default=None,
        description="units it is filled up to every day; by default the stock of a till",
    )


class JobConfig(Section):
    """A daily shift at an object."""

    object: str
    start: Minute = Field(description="minute of the day")
    end: Minute = Field(description="minute of the day, exclusive")
    wage: Amount = Field(default=0.02, description="meals per tick worked")
    lateness_penalty: Amount = Field(default=0.1, description="meals withheld when late")

    @model_validator(mode="after")
    def _ends_after_start(self) -> JobConfig:
        if self.end <= self.start:
            raise ValueError(f"expected end after start ({self.start}), got {self.end}")
        if self.end - self.start >= MINUTES_PER_DAY:
            raise ValueError("expected a shift shorter than a day, got one that never ends")
        return self


class TieConfig(Section):
    """How a resident feels about another at the start."""

    rivalry: Unit = 0.0
    trust: Signed = 0.0
    familiarity: Signed = 0.0


class Inventory(Section):
    """What a resident carries."""

    ingredients: Count = 0


class ResidentConfig(Section):
    """A resident, and who decides for them."""

    id: Identifier
    cell: Cell | None = Field(default=None, description="[column, row]; or a letter of the map")
    needs: NeedValues = NeedValues()
    wallet: Amount = Field(default=5.0, description="meals")
    inventory: Inventory = Inventory()
    job: str | None = None
    personality: Personality | Name = Field(
        default=Personality(), description="traits, the name of a profile, or drawn"
    )
    ties: dict[str, TieConfig] = Field(default={}, description="by resident id")
    policy: PolicyName = Field(
        default="needs_driven",
        description="schedule, needs_driven, random, idle, learner, or a registered name",
    )
    then: PolicyName = Field(default="idle", description="policy after the schedule is done")
    schedule: list[Step] = Field(default=[])

    @model_validator(mode="after")
    def _schedule_has_steps(self) -> ResidentConfig:
        if self.policy == "schedule" and not self.schedule:
            raise ValueError("expected a schedule with steps, as policy is 'schedule'")
        if self.policy != "schedule" and self.schedule:
            raise ValueError(f"expected policy 'schedule' with a schedule, got {self.policy!r}")
        return self


class TownConfig(Section):
    """One scenario, checked."""

    name: Identifier
    description: str = Field(min_length=1)
    ticks: Annotated[int, Field(ge=1, le=MAX_TICKS)] = Field(description="length of an episode")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    start_minute: Annotated[int, Field(ge=0, lt=MINUTES_PER_DAY)] = Field(
        default=480, description="time of day at tick 0"
    )
    map: str | None = Field(default=None, description="rows of characters; see legend")
    legend: dict[Annotated[str, Field(min_length=1, max_length=1)], str] = Field(
        default={}, description="character -> wall, floor, or the id of an object or resident"
    )
    size: tuple[Side, Side] | None = Field(
        default=None, description="[columns, rows] of open floor"
    )
    objects: list[ObjectConfig] = Field(default=[])
    residents: list[ResidentConfig] = Field(min_length=1)
    jobs: dict[str, JobConfig] = Field(default={})
    kinds: Kinds = ()
    affordances: Changes = Field(default={})
    meets: Meets = None
    needs: NeedsConfig = NeedsConfig()
    movement: MovementConfig = MovementConfig()
    queues: QueuesConfig = QueuesConfig()
    employment: EmploymentConfig = EmploymentConfig()
    ties: TiesConfig = TiesConfig()
    rewards: RewardsConfig = RewardsConfig()
    prices: PricesConfig = PricesConfig()
    utilities: UtilitiesConfig = UtilitiesConfig()
    perturbations: PerturbationsConfig = PerturbationsConfig()
    arrivals: ArrivalsConfig = ArrivalsConfig()
    personalities: PersonalitiesConfig = PersonalitiesConfig()
    economy: EconomyConfig = EconomyConfig()
    lives: LivesConfig = LivesConfig()
    expect: list[Claim] = Field(default=[])
    catalogue: Catalogue = Field(description="filled in by the loader")

    @model_validator(mode="after")
    def _map_or_size(self) -> TownConfig:
        if (self.map is None) == (self.size is None):
            raise ValueError("expected either map or size")
        return self

    def digest(self) -> str:
        """Return a hash of every setting, expectations and description aside."""
        text = self.model_dump_json(exclude={"expect", "description"}, by_alias=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
