"""The steps of a resident's schedule; each is done when it is done, never because a tick passed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from townlet_env.config.sections import Section, first_key

Cell = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
Ticks = Annotated[int, Field(ge=1, le=100_000)]
Clock = Annotated[int, Field(ge=0, le=100_000)]


class GoStep(Section):
    """Walk into reach of an object, or onto a cell (column, row)."""

    go: str | Cell


class UseStep(Section):
    """Go there, queue, wait for the turn, start and finish."""

    use: str
    at: str | None = Field(default=None, description="object; the nearest of the kind by default")
    give_up_after: Ticks | None = None


class WorkSpan(Section):
    """How long to work."""

    until: Clock = Field(description="tick of the episode")


class WorkStep(Section):
    """Work at the own work place until a tick, coming back after interruptions."""

    work: WorkSpan


class RequestStep(Section):
    """Issue one request."""

    request: str = Field(description="object id")


class StartStep(Section):
    """Issue one start."""

    start: str = Field(description="affordance")


def _or_the_word(schema: dict[str, Any]) -> None:
    """Let the JSON schema take what the validator takes: the mapping, or the word alone."""
    mapping = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"const": "release"}, mapping]


class ReleaseStep(Section):
    """Issue one release; ``- release`` alone will do."""

    model_config = ConfigDict(json_schema_extra=_or_the_word)

    release: Literal[True]

    @model_validator(mode="before")
    @classmethod
    def _is_a_word(cls, raw: Any) -> Any:
        return {"release": True} if raw == "release" else raw


class MoveStep(Section):
    """Issue one move."""

    move: Literal["north", "south", "east", "west"]


class ChatStep(Section):
    """Talk once to a resident, who must be the nearest free one in range."""

    chat: str = Field(description="resident id")


class WaitUntil(Section):
    """Wait for a tick of the episode."""

    until: Clock


class WaitFor(Section):
    """Wait for a named condition.

    ``meal_ready``: some fridge holds a meal; ``turn``: the reservation is held;
    ``shift``: the own shift is open; ``shift_over``: it is done.
    """

    # `for` is a word of Python, hence the alias.
    condition: Literal["meal_ready", "turn", "shift", "shift_over"] = Field(alias="for")


class WaitStep(Section):
    """Wait some ticks, until a tick, or for a condition."""

    wait: Ticks | WaitUntil | WaitFor


class RepeatSpan(Section):
    """What to repeat, and how often."""

    times: Ticks
    steps: list[Step] = Field(min_length=1)


class RepeatStep(Section):
    """Do some steps several times."""

    repeat: RepeatSpan


STEP_KEYS = ("go", "use", "work", "request", "start", "release", "move", "chat", "wait", "repeat")


def _key_of(raw: Any) -> str | None:
    """Return the key that says which step this is."""
    return "release" if raw == "release" else first_key(raw, STEP_KEYS)


Step = Annotated[
    Annotated[GoStep, Tag("go")]
    | Annotated[UseStep, Tag("use")]
    | Annotated[WorkStep, Tag("work")]
    | Annotated[RequestStep, Tag("request")]
    | Annotated[StartStep, Tag("start")]
    | Annotated[ReleaseStep, Tag("release")]
    | Annotated[MoveStep, Tag("move")]
    | Annotated[ChatStep, Tag("chat")]
    | Annotated[WaitStep, Tag("wait")]
    | Annotated[RepeatStep, Tag("repeat")],
    Discriminator(
        _key_of,
        custom_error_type="unknown_step",
        custom_error_message=f"expected a step with one of the keys {', '.join(STEP_KEYS)}",
    ),
]

RepeatSpan.model_rebuild()
