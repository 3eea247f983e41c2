"""What the settings of all learners share: frozen, no unknown keys, counts that count."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo


def _at_least_one(value: int, info: ValidationInfo) -> int:
    if value < 1:
        raise ValueError(f"{info.field_name} must be at least 1, got {value}")
    return value


AtLeastOne = Annotated[int, AfterValidator(_at_least_one)]
"""A count; 0 is refused with the setting's name in the sentence."""


class Settings(BaseModel):
    """Base of learner settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
