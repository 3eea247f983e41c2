"""What living costs and when a life ends: settings of rules 3.10."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from townlet_env.config.sections import Amount, Count, Section, Unit, ordered
from townlet_env.sim.ids import MINUTES_PER_DAY

Ticks = Annotated[int, Field(ge=1, le=30_000)]
Share = Annotated[float, Field(ge=-1.0, le=1e6)]


class EconomyConfig(Section):
    """Rules 3.10, accounts."""

    restock_minute: Annotated[int, Field(ge=0, lt=MINUTES_PER_DAY)] = Field(
        default=300, description="minute of the day"
    )
    rent: Amount = Field(default=0.0, description="meals per day")
    slack: Annotated[tuple[Share, Share], AfterValidator(ordered)] = Field(
        default=(0.10, 0.25), description="share by which wages exceed the basket, least and most"
    )


class LivesConfig(Section):
    """Rules 3.10, lives."""

    enabled: bool = Field(default=True, description="residents may leave town")
    faint_level: Unit = Field(default=0.03, description="a need at or below it is desperate")
    faint_after: Ticks = Field(default=30, description="ticks in a row")
    rent_patience: Ticks = Field(default=2, description="midnights without rent")
    empty_wallet: Amount = Field(default=0.01, description="meals; less is nothing")
    notice_ticks: Count = Field(default=10, description="ticks from notice to eviction")
    exits_per_day: Annotated[int, Field(ge=0, le=64)] = Field(
        default=2, description="since midnight"
    )
    exit_gap: Count = Field(default=120, description="ticks between two exits")
    grace_ticks: Count = Field(
        default=60, description="ticks without exits after an arrival or a perturbation"
    )
