"""What the settings of all learners share: frozen, no unknown keys, counts that count."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from townlet_replay.training.schedules import Schedule, ScheduleKind


def _at_least_one(value: int, info: ValidationInfo) -> int:
    if value < 1:
        raise ValueError(f"{info.field_name} must be at least 1, got {value}")
    return value


AtLeastOne = Annotated[int, AfterValidator(_at_least_one)]
"""A count; 0 is refused with the setting's name in the sentence."""


class Settings(BaseModel):
    """Base of learner settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PacedSettings(Settings):
    """Settings of a learner whose step size may follow a schedule."""

    learning_rate: float = Field(3e-4, gt=0, description="Adam step size, at first")
    learning_rate_schedule: ScheduleKind = Field(
        "constant", description="of the step size, over the run"
    )
    learning_rate_end: float = Field(0.0, ge=0, description="what a schedule comes to")

    @property
    def learning_rates(self) -> Schedule:
        """The step size over the run."""
        return Schedule(self.learning_rate_schedule, self.learning_rate, self.learning_rate_end)
