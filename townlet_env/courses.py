"""How the state of somebody or something went in a story: one value for every tick."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from townlet_env.config.claims import NOBODY, ObjectClaim, TownClaim
from townlet_env.sim.ids import NEED_NAMES, NONE, SHIFT_STATE_NAMES
from townlet_env.story import Bools, Story

Course = npt.NDArray[Any]  # (T + 1, ...) numbers or words, by ticks done


def slot_of(story: Story, resident: str) -> int | None:
    """Return the slot that a resident has or had; None for a newcomer who never came."""
    slots = np.flatnonzero((story.who == resident).any(axis=0))
    return int(slots[0]) if len(slots) else None


def in_town(story: Story, resident: str) -> Bools:
    """Return (T + 1,) when a resident was in town."""
    present: Bools = (story.alive & (story.who == resident)).any(axis=1)
    return present


def resident_course(story: Story, resident: str, field: str) -> Course:
    """Return (T + 1,) a field of a resident; it means something while ``in_town`` is true.

    ``field`` is one of ``config.claims.OWN_FIELDS`` or a column of the features.
    """
    if field == "alive":
        return in_town(story, resident)
    i = slot_of(story, resident)
    if i is None:
        return np.zeros(story.ticks + 1)
    if field == "shift_state":
        return np.array(SHIFT_STATE_NAMES)[story.shift_state[:, i]]
    if field == "mean_need":
        return np.asarray(story.needs[:, i].mean(axis=1))
    # `wallet` and `ingredients` are also columns, squashed: the plain number is meant.
    own: dict[str, Course] = {
        "wallet": story.wallet,
        "ingredients": story.ingredients,
        "x": story.x,
        "y": story.y,
    }
    if field in own:
        return np.asarray(own[field][:, i])
    if field in NEED_NAMES:
        return np.asarray(story.needs[:, i, NEED_NAMES.index(field)])
    return np.asarray(story.features[:, i, story.names.features.index(field)])


def object_course(story: Story, claim: ObjectClaim) -> Course:
    """Return (T + 1,) a field of an object: names of residents, or numbers."""
    o = story.names.objects.index(claim.object)
    if claim.field == "stock":
        return story.stock[:, o]
    if claim.field == "waiting":
        return np.asarray((story.queue_object == o).sum(axis=1))
    if claim.field == "free":
        return np.asarray((story.user[:, o] == NONE) & (story.holder[:, o] == NONE))
    slots = (story.user if claim.field == "user" else story.holder)[:, o]
    ticks = range(story.ticks + 1)
    return np.array([NOBODY if slots[t] == NONE else story.who[t, slots[t]] for t in ticks])


def town_course(story: Story, claim: TownClaim) -> Course:
    """Return (T + 1,) a field of the town."""
    fields = {
        "power": story.power,
        "water": story.water,
        "price_meal": story.price_meal,
        "price_groceries": story.price_groceries,
        "people": story.alive.sum(axis=1),
    }
    return np.asarray(fields[claim.town])


def longest_wait(story: Story, by: str | None, place: str | None) -> tuple[int, str, int]:
    """Return the longest time somebody spent in a line without a break: ticks, who, until when.

    Args:
        story: The run.
        by: Whose waiting; None for anybody's.
        place: In the line of which object; None for any.
    """
    longest, whose, until = 0, NOBODY, 0
    for i in range(story.alive.shape[1]):
        waited = 0
        for t in range(1, story.ticks + 1):
            o = int(story.queue_object[t, i])
            meant = by in (None, story.who[t, i]) and (
                place is None or o == story.names.objects.index(place)
            )
            same = o == int(story.queue_object[t - 1, i])
            waited = (waited + 1 if same else 1) if o != NONE and meant else 0
            if waited > longest:
                longest, whose, until = waited, str(story.who[t, i]), t
    return longest, whose, until
