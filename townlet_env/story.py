"""Running a scenario with its scripted residents, and holding the run against ``expect``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.config.claims import (
    CLAIM_KEYS,
    Claim,
    ConstantClaim,
    EventClaim,
    ResidentClaim,
    RewardClaim,
    TieClaim,
)
from townlet_env.config.compile import compile_plan
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError, nearest
from townlet_env.policies.crew import Crew
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.events import Event
from townlet_env.sim.features import feature_table
from townlet_env.sim.ids import NEED_NAMES, REWARD_COMPONENTS, SHIFT_STATE_NAMES
from townlet_env.sim.plan import Names

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Story:
    """One episode of a scenario: T ticks, so T + 1 states; N residents, F features.

    Row ``t`` of a state is the state after ``t`` ticks; row ``t`` of what a tick gave belongs to
    the tick that leads from state ``t`` to state ``t + 1``.
    """

    names: Names
    alive: npt.NDArray[np.bool_]  # (T + 1, N)
    x: npt.NDArray[np.int16]  # (T + 1, N) columns
    y: npt.NDArray[np.int16]  # (T + 1, N) rows
    needs: Floats  # (T + 1, N, 3)
    wallet: Floats  # (T + 1, N) meals
    ingredients: npt.NDArray[np.int16]  # (T + 1, N)
    shift_state: npt.NDArray[np.int8]  # (T + 1, N) ids.ShiftState
    rivalry: Floats  # (T + 1, N, N) row towards column
    trust: Floats  # (T + 1, N, N)
    familiarity: Floats  # (T + 1, N, N)
    features: Floats  # (T + 1, N, F)
    maps: npt.NDArray[np.uint8]  # (T + 1, N, 4, 11, 11)
    actions: npt.NDArray[np.int64]  # (T, N)
    illegal: npt.NDArray[np.bool_]  # (T, N)
    rewards: Floats  # (T, N)
    components: Floats  # (T, N, 8)
    events: tuple[tuple[Event, ...], ...]  # T, what happened in each tick

    @property
    def ticks(self) -> int:
        """Length of the episode."""
        return len(self.rewards)


def run_story(config: TownConfig, seed: int | None = None) -> Story:
    """Play one episode with everybody following their scripts; learners idle.

    Args:
        config: The scenario.
        seed: Of the episode; the scenario's own by default.

    Raises:
        ConfigError: The scenario does not fit together, or names an unknown policy.
    """
    batch = WorldBatch(compile_plan(config), 1)
    crew = Crew(config, batch.plan)
    batch.reset([config.seed if seed is None else seed])
    crew.reset(0)
    states, ticks = [_state(batch)], []
    while batch.worlds[0].tick < config.ticks and batch.alive.any():
        actions = np.zeros((1, batch.num_residents), np.int64)
        for slot, action in crew.act(batch, 0).items():
            actions[0, slot] = action
        step = batch.step(actions)
        ticks.append(
            {
                "actions": actions[0],
                "illegal": step.illegal[0],
                "rewards": step.reward[0],
                "components": batch.components[0],
                "events": tuple(batch.events()),
            }
        )
        states.append(_state(batch))
    events = tuple(tick.pop("events") for tick in ticks)
    arrays = {
        key: np.stack([row[key] for row in rows]) for rows in (states, ticks) for key in rows[0]
    }
    return Story(names=batch.plan.names, events=events, **arrays)


def _state(batch: WorldBatch) -> dict[str, Any]:
    world, n = batch.worlds[0], batch.num_residents
    fields = ("x", "y", "needs", "wallet", "ingredients", "shift_state")
    ties = ("rivalry", "trust", "familiarity")
    return {
        "alive": batch.alive[0],
        **{field: world[field][:n].copy() for field in fields},
        **{tie: world[tie][:n, :n].copy() for tie in ties},
        "features": batch.views.features[0].copy(),
        "maps": batch.views.map[0].copy(),
    }


class ClaimResult(NamedTuple):
    """Whether a claim of ``expect`` holds."""

    claim: str  # as it stands in the file
    held: bool
    found: str  # what the run shows, in words


def check_story(config: TownConfig, story: Story | None = None) -> list[ClaimResult]:
    """Hold a run against every claim of a scenario.

    Args:
        config: The scenario.
        story: The run; played with the scenario's own seed by default.

    Raises:
        ConfigError: A claim names somebody or something that is not there.
    """
    told = run_story(config) if story is None else story
    return [_check(claim, told, config) for claim in config.expect]


def _check(claim: Claim, story: Story, config: TownConfig) -> ClaimResult:
    check: Callable[[Any, Story], tuple[bool, str]] = _CHECKS[type(claim)]
    text = _as_written(claim)
    try:
        held, found = check(claim, story)
    except ConfigError as error:
        raise ConfigError(f"{config.name}: expect: {text}: {error}") from error
    return ClaimResult(text, held, found)


def _as_written(claim: Claim) -> str:
    """Return a claim in the words of the file, what it is about first."""
    words = claim.model_dump(by_alias=True, exclude_unset=True)
    subject = {key: words[key] for key in CLAIM_KEYS if key in words}
    return json.dumps({**subject, **words}).replace('"', "")


def _check_event(claim: EventClaim, story: Story) -> tuple[bool, str]:
    for name in (claim.by, claim.other):
        if name is not None:
            _known(name, story.names.residents, "resident")
    if claim.object is not None:
        _known(claim.object, story.names.objects, "object")
    if claim.affordance is not None:
        _known(claim.affordance, story.names.affordances, "affordance")
    wanted = claim.model_dump(include={"event", "by", "other", "object", "affordance"})
    wanted = {key: value for key, value in wanted.items() if value is not None}
    ticks = [
        event.tick
        for tick in story.events
        for event in tick
        if wanted.items() <= event._asdict().items()
    ]
    when = f", at ticks {', '.join(map(str, ticks[:6]))}" if ticks else ""
    more = ", ..." if len(ticks) > 6 else ""
    return claim.hold(len(ticks)), f"{len(ticks)} times{when}{more}"


def _check_tie(claim: TieClaim, story: Story) -> tuple[bool, str]:
    i, j = (_known(name, story.names.residents, "resident") for name in claim.tie)
    ties = {"rivalry": story.rivalry, "trust": story.trust, "familiarity": story.familiarity}
    course = ties[claim.field][:, i, j].astype(np.float64)
    peak, end = float(course.max()), float(course[-1])
    held = (
        _between(peak, claim.peak_at_least, claim.peak_at_most)
        and _between(end, claim.end_at_least, claim.end_at_most)
        and (claim.end_at_most_of_peak is None or end <= claim.end_at_most_of_peak * peak)
    )
    return held, f"peak {peak:.3f} at tick {int(course.argmax())}, end {end:.3f}"


def _check_resident(claim: ResidentClaim, story: Story) -> tuple[bool, str]:
    at = story.ticks if claim.at is None else claim.at
    if at > story.ticks:
        raise ConfigError(f"expected a tick up to {story.ticks}, found {at}")
    course = _course(claim.field, claim.resident, story)
    value = course[at]
    held, words = True, [f"{_say(value)} at tick {at}"]
    if claim.value is not None:
        held = value == claim.value
    if claim.at_least is not None or claim.at_most is not None:
        held = held and _between(float(value), claim.at_least, claim.at_most)
    if claim.more_than_at_start:
        held = held and value > course[0]
        words.append(f"{_say(course[0])} at the start")
    for other, sign in ((claim.less_than, -1), (claim.more_than, 1)):
        if other is not None:
            theirs = _course(claim.field, other, story)[at]
            held = held and sign * (value - theirs) > 0
            words.append(f"{other} {_say(theirs)}")
    return bool(held), ", ".join(words)


def _course(field: str, resident: str, story: Story) -> list[Any]:
    """Return a field of a resident at every tick: words for shift states, else numbers."""
    i = _known(resident, story.names.residents, "resident")
    if field == "shift_state":
        return [SHIFT_STATE_NAMES[code] for code in story.shift_state[:, i]]
    # `wallet` and `ingredients` are also columns, squashed: the plain number is meant.
    columns: dict[str, npt.NDArray[Any]] = {
        **{name: story.features[:, :, f] for f, name in enumerate(story.names.features)},
        **{need: story.needs[:, :, k] for k, need in enumerate(NEED_NAMES)},
        "wallet": story.wallet,
        "ingredients": story.ingredients,
        "alive": story.alive,
        "x": story.x,
        "y": story.y,
    }
    _known(field, [*columns, "shift_state"], "field")
    values: list[Any] = columns[field][:, i].tolist()
    return values


def _check_reward(claim: RewardClaim, story: Story) -> tuple[bool, str]:
    course = _rewards(claim.reward.by, claim.reward.component, story)
    if claim.every_tick:
        held = all(claim.hold(value) for value in course.tolist())
        # Adding zero makes -0.0 read as 0.
        return held, f"from {course.min() + 0.0:.4f} to {course.max() + 0.0:.4f} per tick"
    total = float(course.sum())
    held, found = claim.hold(total), f"{total:.4f} in sum"
    if claim.more_than_of is not None:
        theirs = float(_rewards(claim.more_than_of, claim.reward.component, story).sum())
        held, found = held and total > theirs, f"{found}, {claim.more_than_of} {theirs:.4f}"
    return held, found


def _rewards(resident: str, component: str, story: Story) -> npt.NDArray[np.float64]:
    i = _known(resident, story.names.residents, "resident")
    if component == "reward":
        return story.rewards[:, i].astype(np.float64)
    return story.components[:, i, REWARD_COMPONENTS.index(component)].astype(np.float64)


def _check_constant(claim: ConstantClaim, story: Story) -> tuple[bool, str]:
    i = _known(claim.constant.by, story.names.residents, "resident")
    if claim.constant.view == "map":
        changed = [
            t for t in range(1, story.ticks + 1) if (story.maps[t, i] != story.maps[0, i]).any()
        ]
        return not changed, f"first changed at tick {changed[0]}" if changed else "never changed"
    table = feature_table(story.names.kinds)
    groups = {column.group for column in table}
    for group in claim.constant.except_group:
        _known(group, sorted(groups), "feature group")
    differs = (story.features[:, i] != story.features[0, i]).any(axis=0)
    names = [
        column.name
        for column, other in zip(table, differs, strict=True)
        if other and column.group not in claim.constant.except_group
    ]
    return not names, f"{', '.join(names)} changed" if names else "never changed"


_CHECKS: dict[type[Any], Callable[[Any, Story], tuple[bool, str]]] = {
    EventClaim: _check_event,
    TieClaim: _check_tie,
    ResidentClaim: _check_resident,
    RewardClaim: _check_reward,
    ConstantClaim: _check_constant,
}


def _known(name: str, names: Any, what: str) -> int:
    """Return the index of a name; ConfigError with the nearest one if it is not there."""
    if name not in names:
        raise ConfigError(f"unknown {what} {name!r}{nearest(name, names)}")
    return list(names).index(name)


def _between(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _say(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
