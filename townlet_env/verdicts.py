"""Holding a run of a scenario against what it says it ``expect``s."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.config.claims import (
    CLAIM_KEYS,
    EVERYBODY,
    Claim,
    ConstantClaim,
    EventClaim,
    Happening,
    ObjectClaim,
    OrderClaim,
    ResidentClaim,
    ResidentsClaim,
    RewardClaim,
    StateClaim,
    TieClaim,
    TownClaim,
    WaitingClaim,
)
from townlet_env.config.expectations import check_claims
from townlet_env.config.faults import Source
from townlet_env.config.schema import TownConfig
from townlet_env.courses import (
    Course,
    in_town,
    longest_wait,
    object_course,
    resident_course,
    slot_of,
    town_course,
)
from townlet_env.sim.events import Event
from townlet_env.sim.features import feature_table
from townlet_env.sim.ids import REWARD_COMPONENTS
from townlet_env.story import Bools, Story, run_story

_NARROWING = ("field", "affordance", "by", "other", "each", "between", "share", "at")  # said second

Verdict = tuple[bool, str]  # whether it holds, and what the run shows


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
        ConfigError: A claim names somebody or something that is not there, or a tick after the end.
    """
    check_claims(config, Source(config.name, {}).at)
    told = run_story(config) if story is None else story
    return [ClaimResult(_as_written(claim), *_check(claim, told)) for claim in config.expect]


def _check(claim: Claim, story: Story) -> Verdict:
    check: Callable[[Any, Story], Verdict] = _CHECKS[type(claim)]
    return check(claim, story)


def _as_written(claim: Claim) -> str:
    """Return a claim in the words of the file: what it is about, where and when, then how much."""
    words = claim.model_dump(by_alias=True, exclude_unset=True)
    first = {key: words[key] for key in (*CLAIM_KEYS, *_NARROWING) if key in words}
    return json.dumps(_plain({**first, **words})).replace('"', "")


def _plain(value: Any) -> Any:
    """Return a value with whole numbers as one writes them: 1, not 1.0."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_event(claim: EventClaim, story: Story) -> Verdict:
    first, last = claim.between or (0, story.ticks)
    ticks = [
        (event.tick, event.by)
        for tick in story.events
        for event in tick
        if _is_meant(event, claim) and first <= event.tick <= last
    ]
    if claim.each is not None:
        who = _names(story, claim.each)
        counts = {name: sum(by == name for _, by in ticks) for name in who}
        return all(map(claim.hold, counts.values())), _listed(counts)
    when = f", at ticks {', '.join(str(tick) for tick, _ in ticks[:6])}" if ticks else ""
    more = ", ..." if len(ticks) > 6 else ""
    return claim.hold(len(ticks)), f"{len(ticks)} times{when}{more}"


def _is_meant(event: Event, happening: Happening) -> bool:
    return happening.narrowing().items() <= event._asdict().items()


def _check_order(claim: OrderClaim, story: Story) -> Verdict:
    events = [event for tick in story.events for event in tick]
    found: list[int] = []
    at = 0
    for happening in claim.order:
        step = next((k for k in range(at, len(events)) if _is_meant(events[k], happening)), None)
        if step is None:
            words = ", ".join(happening.narrowing().values())
            after = f" after tick {found[-1]}" if found else ""
            return False, f"no {words}{after}"
        found.append(events[step].tick)
        at = step + 1
    return True, f"at ticks {', '.join(map(str, found))}"


def _check_tie(claim: TieClaim, story: Story) -> Verdict:
    i, j = (slot_of(story, name) for name in claim.tie)
    together = in_town(story, claim.tie[0]) & in_town(story, claim.tie[1])
    if i is None or j is None or not together.any():
        return False, "never in town together"
    ties = {"rivalry": story.rivalry, "trust": story.trust, "familiarity": story.familiarity}
    course = np.where(together, ties[claim.field][:, i, j].astype(np.float64), -np.inf)
    peak, end = float(course.max()), float(course[together][-1])
    held = (
        _between(peak, claim.peak_at_least, claim.peak_at_most)
        and _between(end, claim.end_at_least, claim.end_at_most)
        and (claim.end_at_most_of_peak is None or end <= claim.end_at_most_of_peak * peak)
    )
    return held, f"peak {peak:.3f} at tick {int(course.argmax())}, end {end:.3f}"


def _check_resident(claim: ResidentClaim, story: Story) -> Verdict:
    course, present = _of_resident(story, claim.resident, claim.field)
    held, words = _state_holds(claim, course, present)
    at = _tick_of(claim, story)
    if not present[at]:
        compares = claim.more_than_at_start or claim.less_than or claim.more_than
        return held and not compares, words
    if claim.more_than_at_start:
        start = course[int(present.argmax())]
        held = held and bool(course[at] > start)
        words = f"{words}, {_say(start)} at the start"
    for other, sign in ((claim.less_than, -1), (claim.more_than, 1)):
        if other is not None:
            their_course, there = _of_resident(story, other, claim.field)
            theirs = their_course[at]
            held = held and bool(there[at]) and bool(sign * (course[at] - theirs) > 0)
            words = f"{words}, {other} {_say(theirs) if there[at] else 'not in town'}"
    return held, words


def _check_residents(claim: ResidentsClaim, story: Story) -> Verdict:
    found = {
        name: _state_holds(claim, *_of_resident(story, name, claim.field))
        for name in _names(story, claim.residents)
    }
    kept = sum(held for held, _ in found.values())
    failed = [f"{name} {words}" for name, (held, words) in found.items() if not held]
    but = f"; not {', '.join(failed[:3])}{', ...' if len(failed) > 3 else ''}" if failed else ""
    return kept >= claim.share * len(found), f"{kept} of {len(found)}{but}"


def _check_object(claim: ObjectClaim, story: Story) -> Verdict:
    return _state_holds(claim, object_course(story, claim), _always(story))


def _check_town(claim: TownClaim, story: Story) -> Verdict:
    return _state_holds(claim, town_course(story, claim), _always(story))


def _state_holds(claim: StateClaim, course: Course, present: Bools) -> Verdict:
    """Judge a course by what all claims about states may say.

    Args:
        claim: What must hold.
        course: (T + 1,) the values.
        present: (T + 1,) when they mean something.
    """
    at = len(course) - 1 if claim.at is None else claim.at
    if not present.any():
        return False, "never in town"
    while_there = course[present]
    held, words = True, []
    if {"value", "at_least", "at_most"} & claim.model_fields_set or claim.at is not None:
        if not present[at]:
            return False, f"not in town at tick {at}"
        held = (claim.value is None or bool(course[at] == claim.value)) and _holds_between(
            course[at], claim.at_least, claim.at_most
        )
    if claim.always_at_least is not None or claim.always_at_most is not None:
        least, most = while_there.min(), while_there.max()
        held = held and _holds_between(least, claim.always_at_least, None)
        held = held and _holds_between(most, None, claim.always_at_most)
        words.append(f"from {_say(least)} to {_say(most)}")
    if claim.mean_at_least is not None or claim.mean_at_most is not None:
        mean = while_there.astype(np.float64).mean()
        held = held and _holds_between(mean, claim.mean_at_least, claim.mean_at_most)
        words.append(f"{mean:.4f} on average")
    if not words:
        words.append(f"{_say(course[at])} at tick {at}" if present[at] else "has left town")
    return held, ", ".join(words)


def _of_resident(story: Story, resident: str, field: str) -> tuple[Course, Bools]:
    course = resident_course(story, resident, field)
    # Whether somebody is in town has an answer at every tick.
    return course, _always(story) if field == "alive" else in_town(story, resident)


def _always(story: Story) -> Bools:
    return np.ones(story.ticks + 1, np.bool_)


def _tick_of(claim: StateClaim, story: Story) -> int:
    return story.ticks if claim.at is None else claim.at


def _check_waiting(claim: WaitingClaim, story: Story) -> Verdict:
    ticks, whose, until = longest_wait(story, claim.waiting.by, claim.waiting.object)
    words = f"{whose} waited {ticks} ticks until tick {until}" if ticks else "nobody waited"
    return claim.hold(ticks), words


def _check_reward(claim: RewardClaim, story: Story) -> Verdict:
    if claim.reward.by != EVERYBODY:
        return _reward_holds(claim, story, claim.reward.by)
    found = {name: _reward_holds(claim, story, name) for name in story.names.residents}
    words = ", ".join(f"{name} {words}" for name, (_, words) in list(found.items())[:3])
    failed = ", ".join(f"{name} {words}" for name, (held, words) in found.items() if not held)
    return not failed, failed or words


def _reward_holds(claim: RewardClaim, story: Story, who: str) -> Verdict:
    course = _rewards(who, claim.reward.component, story)
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
    """Return (T,) the reward of a resident, 0 while not in town."""
    i = slot_of(story, resident)
    if i is None:
        return np.zeros(story.ticks)
    theirs = in_town(story, resident)[:-1]  # who acted in the tick gets its reward
    if component == "reward":
        return np.where(theirs, story.rewards[:, i].astype(np.float64), 0.0)
    column = story.components[:, i, REWARD_COMPONENTS.index(component)]
    return np.where(theirs, column.astype(np.float64), 0.0)


def _check_constant(claim: ConstantClaim, story: Story) -> Verdict:
    i = story.names.residents.index(claim.constant.by)
    if claim.constant.view == "map":
        changed = [
            t for t in range(1, story.ticks + 1) if (story.maps[t, i] != story.maps[0, i]).any()
        ]
        return not changed, f"first changed at tick {changed[0]}" if changed else "never changed"
    differs = (story.features[:, i] != story.features[0, i]).any(axis=0)
    names = [
        column.name
        for column, other in zip(feature_table(story.names.kinds), differs, strict=True)
        if other and column.group not in claim.constant.except_group
    ]
    return not names, f"{', '.join(names)} changed" if names else "never changed"


_CHECKS: dict[type[Any], Callable[[Any, Story], Verdict]] = {
    EventClaim: _check_event,
    OrderClaim: _check_order,
    TieClaim: _check_tie,
    ResidentClaim: _check_resident,
    ResidentsClaim: _check_residents,
    ObjectClaim: _check_object,
    TownClaim: _check_town,
    WaitingClaim: _check_waiting,
    RewardClaim: _check_reward,
    ConstantClaim: _check_constant,
}


def _names(story: Story, said: str | tuple[str, ...]) -> tuple[str, ...]:
    return said if isinstance(said, tuple) else story.names.residents


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _holds_between(value: Any, low: float | None, high: float | None) -> bool:
    """Like ``_between``, for what may be a word, which nothing needs to bound."""
    return (low is None and high is None) or _between(float(value), low, high)


def _between(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _say(value: Any) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    return f"{plain:.4f}" if isinstance(plain, float) else str(plain)
