"""The words of ``expect:``, in which a scenario says what must happen in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from townlet_env.config.sections import Section, Unit, first_key, ordered
from townlet_env.sim.ids import EVENT_NAMES, NEED_NAMES, REWARD_COMPONENTS

Tick = Annotated[int, Field(ge=0)]
Span = Annotated[tuple[Tick, Tick], AfterValidator(ordered)]
EventName = Literal[EVENT_NAMES]  # type: ignore[valid-type]
RewardName = Literal[("reward", *REWARD_COMPONENTS)]  # type: ignore[valid-type]

EVERYBODY: Literal["all"] = "all"  # every resident that the scenario names
NOBODY = "nobody"  # what `user` and `holder` of a free object are

# Fields of a resident besides the columns of `features`. `wallet` and `ingredients` are columns,
# too, squashed: the plain number is meant.
OWN_FIELDS = (
    *NEED_NAMES,
    "mean_need",
    "wallet",
    "ingredients",
    "shift_state",
    "alive",
    "x",
    "y",
)


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


class Happening(Section):
    """Which events are meant; what is left out may be anything."""

    event: EventName
    by: str | None = None
    other: str | None = None
    object: str | None = None
    affordance: str | None = None

    def narrowing(self) -> dict[str, str]:
        """Return what an event must have, by its field."""
        fields = ("event", "by", "other", "object", "affordance")
        return {key: value for key, value in self if key in fields and value is not None}


class EventClaim(Bounds, Happening):
    """How often something happened: ``{event: queue_conflict, at_least: 2}``."""

    each: Literal["all"] | tuple[str, ...] | None = Field(
        default=None, description="the bound holds for each of these residents by itself"
    )
    between: Span | None = Field(default=None, description="ticks, both included")

    @model_validator(mode="after")
    def _by_or_each(self) -> EventClaim:
        if self.by is not None and self.each is not None:
            raise ValueError("expected either by or each, found both")
        return self


class OrderClaim(Section):
    """Things happened one after the other: ``{order: [{event: arrived}, {event: chat}]}``."""

    order: list[Happening] = Field(min_length=2)


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


class StateClaim(Section):
    """What something is at a tick, at every tick, or on average. Without ``at`` the end counts."""

    at: Tick | None = Field(default=None, description="ticks done; by default the end")
    value: bool | float | str | None = Field(default=None, alias="is")
    at_least: float | None = None
    at_most: float | None = None
    always_at_least: float | None = Field(default=None, description="at every tick")
    always_at_most: float | None = Field(default=None, description="at every tick")
    mean_at_least: float | None = Field(default=None, description="on average over the ticks")
    mean_at_most: float | None = Field(default=None, description="on average over the ticks")

    @model_validator(mode="after")
    def _some_bound(self) -> StateClaim:
        about = {"resident", "residents", "object", "town", "field", "at", "share"}
        if not self.model_fields_set - about:
            raise ValueError("expected what it is, a bound, or whom to compare with")
        return self


class ResidentClaim(StateClaim):
    """A resident's state: ``{resident: dawn, field: shift_state, at: 20, is: on_time}``.

    ``field`` is one of ``OWN_FIELDS`` or the name of a feature column. Only ticks in which the
    resident is in town count.
    """

    resident: str
    field: str
    more_than_at_start: bool = False
    less_than: str | None = Field(default=None, description="resident with a larger value")
    more_than: str | None = Field(default=None, description="resident with a smaller value")


class ResidentsClaim(StateClaim):
    """The same of several: ``{residents: all, field: alive, is: true, share: 0.95}``."""

    residents: Literal["all"] | tuple[str, ...]
    field: str
    share: Unit = Field(default=1.0, description="of them that it must hold for, at least")


class ObjectClaim(StateClaim):
    """An object's state: ``{object: shower, field: user, at: 61, is: nobody}``."""

    object: str
    field: Literal["user", "holder", "free", "stock", "waiting"]


class TownClaim(StateClaim):
    """The state of the town: ``{town: price_meal, at: 70, is: 1.5}``."""

    town: Literal["power", "water", "price_meal", "price_groceries", "people"]


class WaitOf(Section):
    """Whose waiting, and where; what is left out may be anybody or anything."""

    by: str | None = None
    object: str | None = None


class WaitingClaim(Bounds):
    """The longest wait in a line, in ticks: ``{waiting: {object: till_1}, at_most: 30}``."""

    waiting: WaitOf


class RewardOf(Section):
    """Whose reward, and which part of it; ``by: all`` is each of the scenario's residents."""

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


# An event claim also has the key `object`: the first of these keys says what a claim is about.
CLAIM_KEYS = (
    "event",
    "order",
    "tie",
    "resident",
    "residents",
    "object",
    "town",
    "waiting",
    "reward",
    "constant",
)


def _key_of(raw: Any) -> str | None:
    return first_key(raw, CLAIM_KEYS)


Claim = Annotated[
    Annotated[EventClaim, Tag("event")]
    | Annotated[OrderClaim, Tag("order")]
    | Annotated[TieClaim, Tag("tie")]
    | Annotated[ResidentClaim, Tag("resident")]
    | Annotated[ResidentsClaim, Tag("residents")]
    | Annotated[ObjectClaim, Tag("object")]
    | Annotated[TownClaim, Tag("town")]
    | Annotated[WaitingClaim, Tag("waiting")]
    | Annotated[RewardClaim, Tag("reward")]
    | Annotated[ConstantClaim, Tag("constant")],
    Discriminator(
        _key_of,
        custom_error_type="unknown_claim",
        custom_error_message=f"expected a claim with one of the keys {', '.join(CLAIM_KEYS)}",
    ),
]
