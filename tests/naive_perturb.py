"""Twin of what befalls the town as a whole; see ``naive.py``."""

from __future__ import annotations

from typing import Any

from naive_town import DAY, PERTURBATIONS, Tick, Town
from splitmix import draw, uniform

EVENTS = 1  # the stream
CHANCE, LENGTH, FACTOR, PLACE, INVITE = 4, 5, 6, 7, 8  # what a draw is for


def perturb_town(town: Town, tick: Tick) -> None:
    """3.1: each kind has its turn: what lasts may end, what does not last may begin."""
    t = town.tick
    for turn in range(t, t + 4):
        kind = PERTURBATIONS[turn % 4]
        if kind == "meet" and town.until[3]:
            _meet(town, tick)
        elif town.until[turn % 4] and t >= town.until[turn % 4]:
            _end(town, tick, kind)
        if not town.until[turn % 4] and _is_due(town, kind):
            _begin(town, tick, kind)


def _settings(town: Town, kind: str) -> Any:
    return dict(town.config.perturbations)[kind]


def _end(town: Town, tick: Tick, kind: str) -> None:
    k, t = PERTURBATIONS.index(kind), town.tick
    town.until[k] = 0
    town.silent[k] = t + _settings(town, kind).cooldown
    if kind == "price_spike":
        town.price_meal = town.config.prices.meal
        town.price_groceries = town.config.prices.groceries
    if kind == "blackout":
        town.power = town.config.utilities.power
    if kind == "outage":
        town.water = town.config.utilities.water
    if kind != "meet":
        town.calm_from = t + town.config.lives.grace_ticks
    tick.say(f"{kind}_over")


def _is_due(town: Town, kind: str) -> bool:
    k, t, settings = PERTURBATIONS.index(kind), town.tick, _settings(town, kind)
    if t in settings.at:  # whatever the cooldown and the limit
        return True
    lasting = sum(until != 0 for until in town.until)
    if t < town.silent[k] or lasting >= town.config.perturbations.max_at_once:
        return False
    return uniform(town.seed, EVENTS, t, k * 64 + CHANCE) < settings.daily / DAY


def _begin(town: Town, tick: Tick, kind: str) -> None:
    k, t, settings = PERTURBATIONS.index(kind), town.tick, _settings(town, kind)
    if kind == "meet" and not _invite(town, tick):
        return
    least, most = settings.ticks
    length = least + draw(town.seed, EVENTS, t, k * 64 + LENGTH) % (most - least + 1)
    town.until[k] = t + length
    if kind == "price_spike":
        least, most = settings.magnitude
        factor = least + (most - least) * uniform(town.seed, EVENTS, t, k * 64 + FACTOR)
        town.price_meal = town.config.prices.meal * factor
        town.price_groceries = town.config.prices.groceries * factor
        tick.say(kind, value=factor)
    if kind == "blackout":
        town.power = False
        tick.say(kind)
    if kind == "outage":
        town.water = False
        tick.say(kind)


def _invite(town: Town, tick: Tick) -> bool:
    """Find two, and a place; tell whether there are."""
    t = town.tick
    free = [i for i, me in enumerate(town.people) if me.alive and t >= me.meet_from]
    free.sort(key=lambda i: (town.people[i].meets, draw(town.seed, EVENTS, t, i * 64 + INVITE)))
    liked = [o for kind in town.config.catalogue.meets for o in town.of_kind(kind)]
    places = sorted(liked) or list(range(len(town.things)))
    if len(free) < 2 or not places:
        return False
    by, other = sorted(free[:2])
    place = places[draw(town.seed, EVENTS, t, 3 * 64 + PLACE) % len(places)]
    town.meet_thing = place
    for i, j in ((by, other), (other, by)):
        me = town.people[i]
        me.meet_with = j
        me.meets += 1
        me.meet_from = t + _settings(town, "meet").invite_cooldown
    tick.say("meet", by, other, thing=place)
    return True


def _meet(town: Town, tick: Tick) -> None:
    """Whether two who are to meet have met, or will not."""
    place = town.meet_thing
    assert place is not None
    by, other = (i for i, me in enumerate(town.people) if me.meet_with is not None)
    near = town.config.ties.chat_range
    both = [i for i in (by, other) if town.people[i].alive]
    there = [i for i in both if town.cells_between(i, place) <= near]
    if len(both) == 2 and len(there) == 2:
        tick.say("met", by, other, thing=place)
    elif len(both) == 2 and town.tick < town.until[3]:
        return
    elif len(both) == 2 and len(there) == 1:
        tick.say("meet_missed", there[0], by + other - there[0], thing=place)
    town.meet_thing = None
    town.people[by].meet_with = town.people[other].meet_with = None
    _end(town, tick, "meet")
