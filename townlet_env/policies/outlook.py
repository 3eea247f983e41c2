"""What a resident could do now, where, and how long it would take: the ground of a decision."""

from __future__ import annotations

from typing import NamedTuple

from townlet_env.policies.kernels.judgement import FAR, MARGIN, OPEN_END, Atlas
from townlet_env.policies.policy import Seat
from townlet_env.sim.ids import NONE
from townlet_env.sim.places import UNREACHABLE
from townlet_env.sim.plan import Plan
from townlet_env.sim.state import World


class Deed(NamedTuple):
    """An affordance of the catalogue, in plain numbers."""

    kinds: int  # bit per kind it is done at
    duration: int  # ticks; 0 if open ended
    works: bool
    power: bool
    water: bool
    serves: int  # need that gains most, or NONE; what it does by the way does not count
    gain: float  # of that need
    money: float  # meals, whatever the prices
    meals: float  # times the price of a meal
    groceries: float  # times the price of groceries
    portion: int  # units of stock it takes
    ingredients: int  # it takes
    gives_ingredients: int
    gives_stock: int
    gives_stock_kind: int


class Scene(NamedTuple):
    """The town as one resident finds it, in plain numbers; lists are by object unless said."""

    slot: int
    tick: int
    steps: list[int]  # to its reach
    kind: list[int]
    stock: list[int]
    user: list[int]
    holder: list[int]
    lines: list[list[int]]  # residents waiting, first in line first
    ready: list[int]  # tick before which the own cooldown lasts
    remaining: list[int]  # by resident: ticks of what they do; 0 if open ended
    avoided: list[bool]  # by resident: a rival one keeps away from
    committed: int  # object held or waited for, or NONE
    wallet: float  # meals
    ingredients: int
    prices: tuple[float, float]  # of a meal, of groceries
    power: bool
    water: bool


class Prospect(NamedTuple):
    """Doing an affordance at the best place for it."""

    place: int  # object, or NONE if there is none
    trip: int  # ticks until it is done: the way or the wait, the request, the doing
    line: int  # ticks of them spent standing in line
    shunned: bool  # an avoided rival is there
    first: int  # what to do first: the affordance itself, or what provides for it
    ticks: int  # until it is done, provisions included; FAR if it cannot be done
    cost: float  # meals, provisions included


NOWHERE = Prospect(NONE, FAR, 0, shunned=False, first=NONE, ticks=FAR, cost=0.0)


def learn(plan: Plan, atlas: Atlas) -> list[Deed]:
    """Return the catalogue of a scenario by affordance."""
    r = plan.rules[0]
    return [
        Deed(
            kinds=int(r.affordance_kinds[a]),
            duration=int(r.affordance_ticks[a]),
            works=bool(r.affordance_work[a]),
            power=bool(r.affordance_power[a]),
            water=bool(r.affordance_water[a]),
            serves=int(atlas.serves[a]),
            gain=float(r.affordance_effect[a, atlas.serves[a]]),
            money=float(r.takes_money[a]),
            meals=float(r.takes_meal_price[a]),
            groceries=float(r.takes_groceries_price[a]),
            portion=int(r.takes_stock[a]),
            ingredients=int(r.takes_ingredients[a]),
            gives_ingredients=int(r.gives_ingredients[a]),
            gives_stock=int(r.gives_stock[a]),
            gives_stock_kind=int(r.gives_stock_kind[a]),
        )
        for a in range(len(plan.names.affordances))
    ]


def look_around(seat: Seat, world: World) -> Scene:
    """Return what matters to the resident of a seat now."""
    i, plan = seat.slot, seat.plan
    n, m = int(world.n_residents), int(world.n_objects)
    held, waited = int(world.reserved_object[i]), int(world.queue_object[i])
    lengths = world.queue_length[:m].tolist()
    threshold = float(plan.rules[0].avoid_threshold)
    return Scene(
        slot=i,
        tick=int(world.tick),
        steps=plan.distance[:, world.y[i], world.x[i]].tolist(),
        kind=world.kind[:m].tolist(),
        stock=world.stock[:m].tolist(),
        user=world.user[:m].tolist(),
        holder=world.holder[:m].tolist(),
        lines=[world.queue[o, : lengths[o]].tolist() if lengths[o] else [] for o in range(m)],
        ready=world.cooldown_until[i, :m].tolist(),
        remaining=world.busy_remaining[:n].tolist(),
        avoided=[rivalry > threshold for rivalry in world.rivalry[i, :n].tolist()],
        committed=held if held != NONE else waited,
        wallet=float(world.wallet[i]),
        ingredients=int(world.ingredients[i]),
        prices=(float(world.price_meal), float(world.price_groceries)),
        power=bool(world.power),
        water=bool(world.water),
    )


def prospects(deeds: list[Deed], scene: Scene) -> list[Prospect]:
    """Return what every affordance would take; work is no matter of wishes and has no prospect.

    Who lacks ingredients or finds the store empty does first what provides them, if that can be
    done; what all of it costs must be in the wallet.
    """
    found = [_best_place(deed, scene) for deed in deeds]
    improved = True
    while improved:  # provisions of provisions: each round looks one further back
        improved = False
        for a, deed in enumerate(deeds):
            better = _provided(deeds, found, scene, deed, a)
            if better.ticks < found[a].ticks:
                found[a], improved = better, True
    return found


def _best_place(deed: Deed, scene: Scene) -> Prospect:
    """Return the place with what it takes; where one is in line; without rivals; the nearest."""
    if deed.works or (deed.power and not scene.power) or (deed.water and not scene.water):
        return NOWHERE
    best: tuple[bool, bool, bool, int, int] | None = None
    line = 0
    for o, steps in enumerate(scene.steps):
        if steps >= UNREACHABLE or not deed.kinds >> scene.kind[o] & 1:
            continue
        people, wait = people_ahead(scene, o, deed.duration)
        trip = max(steps, wait) + 1 + deed.duration
        lacking = scene.stock[o] < deed.portion * (1 + people)
        key = (lacking, o != scene.committed, _is_shunned(scene, o), trip, o)
        if best is None or key < best:
            best, line = key, max(wait - steps, 0)
    if best is None:
        return NOWHERE
    return NOWHERE._replace(place=best[4], trip=best[3], line=line, shunned=best[2])


def people_ahead(scene: Scene, o: int, duration: int) -> tuple[int, int]:
    """Return how many are served before this resident at an object, and ticks until they are."""
    if scene.holder[o] == scene.slot:
        return 0, 0
    people = wait = 0
    user = scene.user[o]
    if user not in (NONE, scene.slot):
        people, wait = 1, scene.remaining[user] or OPEN_END
    if scene.holder[o] != NONE:
        people, wait = people + 1, wait + duration
    for j in scene.lines[o]:
        if j == scene.slot:
            break
        people, wait = people + 1, wait + duration
    return people, max(wait, scene.ready[o] - scene.tick)


def _is_shunned(scene: Scene, o: int) -> bool:
    """Tell whether an avoided rival uses an object, holds it or waits for it.

    Who waits in line stays; who holds the reservation may let a rival go first.
    """
    there = [scene.user[o], scene.holder[o], *scene.lines[o]]
    if o == scene.committed:
        there = scene.lines[o] if scene.holder[o] == scene.slot else []
    return any(j != NONE and scene.avoided[j] for j in there)


def _provided(
    deeds: list[Deed], found: list[Prospect], scene: Scene, deed: Deed, affordance: int
) -> Prospect:
    """Return a prospect with the provisions that it needs as far as they are known by now."""
    here = found[affordance]
    if here.place == NONE:
        return here
    people, _ = people_ahead(scene, here.place, 0)
    providers = []
    if scene.stock[here.place] < deed.portion * (1 + people):
        providers.append(_quickest(deeds, found, scene.kind[here.place]))
    if scene.ingredients < deed.ingredients:
        providers.append(_quickest(deeds, found, NONE))
    first, ticks = affordance, here.trip
    cost = deed.money + deed.meals * scene.prices[0] + deed.groceries * scene.prices[1]
    for provider in providers:  # the last comes first: ingredients, if both are lacking
        if provider == NONE:
            return NOWHERE
        first, ticks = found[provider].first, ticks + found[provider].ticks
        cost += found[provider].cost
    if cost > 0.0 and scene.wallet < cost + MARGIN:
        return NOWHERE
    return here._replace(first=first, ticks=ticks, cost=cost)


def _quickest(deeds: list[Deed], found: list[Prospect], kind: int) -> int:
    """Return what soonest gives stock into a kind, or ingredients with kind NONE; NONE if none."""
    best, soonest = NONE, FAR
    for p, deed in enumerate(deeds):
        gives = deed.gives_stock > 0 and deed.gives_stock_kind == kind
        if kind == NONE:
            gives = deed.gives_ingredients > 0
        if gives and found[p].ticks < soonest:
            best, soonest = p, found[p].ticks
    return best
