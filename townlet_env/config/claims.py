"""The words of ``expect:``, in which a scenario says what must happen in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from townlet_env.config.sections import Section, first_key
from townlet_env.sim.ids import EVENT_NAMES, REWARD_COMPONENTS

Tick = Annotated[int, Field(ge=0)]
EventName = Literal[EVENT_NAMES]  # type: ignore[valid-type]
RewardName = Literal[("reward", *REWARD_COMPONENTS)]  # type: ignore[valid-type]


class Bounds(Section):
    """Bounds on a number; at least one must be given."""

    equals: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    more_than: float | None = None
    less_than: float | None = None

    def hold(self, value: float) -> bool:
        """Tell whether ``value`` is inside every bound."""
        return (
            (self.equals is None or value == self.equals)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.more_than is None or value > self.more_than)
            and (self.less_than is None or value < self.less_than)
        )

    @model_validator(mode="after")
    def _some_bound(self) -> Bounds:
        bounds = set(Bounds.model_fields) | {"more_than_of"}
        if not bounds & self.model_fields_set:
            raise ValueError(f"expected one of {', '.join(sorted(bounds))}")
        return self


class EventClaim(Bounds):
    """How often something happened: ``{event: queue_conflict, at_least: 2}``."""

    event: EventName
    by: str | None = None
    other: str | None = None
    object: str | None = None
    affordance: str | None = None


class TieClaim(Section):
    """How a tie went: ``{tie: [anna, ben], field: rivalry, peak_at_least: 0.2}``."""

    tie: tuple[str, str]
    field: Literal["rivalry", "trust", "familiarity"]
    peak_at_least: float | None = None
    peak_at_most: float | None = None
    end_at_least: float | None = None
    end_at_most: float | None = None
    end_at_most_of_peak: float | None = Field(default=None, description="share of the peak")

    @model_validator(mode="after")
    def _some_bound(self) -> TieClaim:
        if not self.model_fields_set - {"tie", "field"}:
            raise ValueError("expected a bound on the peak or the end")
        return self


class ResidentClaim(Section):
    """A resident's state at a tick: ``{resident: dawn, field: shift_state, at: 20, is: on_time}``.

    ``field`` is a need, ``wallet``, ``ingredients``, ``shift_state``, ``alive``, ``x``, ``y``
    or the name of a feature column. Without ``at`` the end counts.
    """

    resident: str
    field: str
    at: Tick | None = None
    value: str | float | None = Field(default=None, alias="is")
    at_least: float | None = None
    at_most: float | None = None
    more_than_at_start: bool = False
    less_than: str | None = Field(default=None, description="resident with a larger value")
    more_than: str | None = Field(default=None, description="resident with a smaller value")

    @model_validator(mode="after")
    def _some_bound(self) -> ResidentClaim:
        if not self.model_fields_set - {"resident", "field", "at"}:
            raise ValueError("expected what the field is, a bound, or whom to compare with")
        return self


class RewardOf(Section):
    """Whose reward, and which part of it."""

    by: str
    component: RewardName = "reward"


class RewardClaim(Bounds):
    """The sum of a reward over the episode; ``every_tick`` holds the bound at each tick."""

    reward: RewardOf
    every_tick: bool = False
    more_than_of: str | None = Field(default=None, description="resident with a smaller sum")


class ConstantOf(Section):
    """Which observation must not change."""

    by: str
    view: Literal["map", "features"]
    except_group: tuple[str, ...] = Field(
        default=(), alias="except", description="feature groups that may change"
    )


class ConstantClaim(Section):
    """An observation never changes: ``{constant: {by: olga, view: map}}``."""

    constant: ConstantOf


CLAIM_KEYS = ("event", "tie", "resident", "reward", "constant")


def _key_of(raw: Any) -> str | None:
    return first_key(raw, CLAIM_KEYS)


Claim = Annotated[
    Annotated[EventClaim, Tag("event")]
    | Annotated[TieClaim, Tag("tie")]
    | Annotated[ResidentClaim, Tag("resident")]
    | Annotated[RewardClaim, Tag("reward")]
    | Annotated[ConstantClaim, Tag("constant")],
    Discriminator(
        _key_of,
        custom_error_type="unknown_claim",
        custom_error_message=f"expected a claim with one of the keys {', '.join(CLAIM_KEYS)}",
    ),
]
