"""Which affordance to do next, and where, so that an errand gets done: read from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from townlet_env.sim.ids import NONE
from townlet_env.sim.places import UNREACHABLE
from townlet_env.sim.plan import Plan
from townlet_env.sim.state import World

MAX_CHAIN = 4  # affordances from the first provider to what is wanted: buy, cook, eat are three


class Errand(NamedTuple):
    """An affordance to be done at an object."""

    affordance: int
    place: int


NO_ERRAND = Errand(NONE, NONE)


class Way(NamedTuple):
    """The first errand on the way to an affordance, and how long all of it would take."""

    ticks: int
    errand: Errand


class Scene(NamedTuple):
    """What the errands of one resident depend on, in plain Python: records are slow to read."""

    steps: list[int]  # to each object; UNREACHABLE without a path
    ahead: list[int]  # residents served before at each object
    stock: list[int]  # of each object
    cost: list[float]  # of each affordance, meals
    doable: list[bool]  # by affordance: the utilities that it needs are there
    wallet: float
    ingredients: int


class ErrandPlanner:
    """Finds ways to affordances through what provides for them: groceries, ingredients, meals.

    What is done on shift is work, not an errand.

    Attributes:
        sources: Affordances that give ingredients.
    """

    def __init__(self, plan: Plan) -> None:
        """Read the catalogue of a compiled scenario."""
        rules, names = plan.rules[0], plan.names
        count = len(names.affordances)
        self._plan = plan
        self._ticks = rules.affordance_ticks[:count].tolist()
        self._stock = rules.takes_stock[:count].tolist()
        self._ingredients = rules.takes_ingredients[:count].tolist()
        # float32, so that costs are those of the rules to the last bit
        self._money = rules.takes_money[:count].copy()
        self._meals = rules.takes_meal_price[:count].copy()
        self._groceries = rules.takes_groceries_price[:count].copy()
        self._power = rules.affordance_power[:count] != 0
        self._water = rules.affordance_water[:count] != 0
        kinds = rules.affordance_kinds[:count].tolist()
        of = plan.template[0].kind[: len(names.objects)].tolist()
        self._places = [
            [o for o, kind in enumerate(of) if kinds[a] >> kind & 1] for a in range(count)
        ]
        leisure = (rules.affordance_work[:count] == 0).tolist()
        gives = rules.gives_ingredients[:count].tolist()
        self.sources = frozenset(a for a in range(count) if gives[a] > 0 and leisure[a])
        into, units = rules.gives_stock_kind[:count].tolist(), rules.gives_stock[:count].tolist()
        self._cooks = [
            frozenset(
                b for b in range(count) if leisure[b] and units[b] > 0 and kinds[a] >> into[b] & 1
            )
            if self._stock[a] > 0
            else frozenset()
            for a in range(count)
        ]

    def with_providers(self, affordances: Iterable[int]) -> frozenset[int]:
        """Return affordances with all that provides for them, directly or through others."""
        found: set[int] = set()
        frontier = set(affordances)
        while frontier:
            found |= frontier
            frontier = {p for a in frontier for p in self._providers(a)} - found
        return frozenset(found)

    def look(self, world: World, i: int) -> Scene:
        """Read what the errands of resident ``i`` depend on."""
        cost = (
            self._money + self._meals * world.price_meal + self._groceries * world.price_groceries
        )
        doable = (~self._power | (world.power != 0)) & (~self._water | (world.water != 0))
        return Scene(
            steps=self._plan.distance[:, world.y[i], world.x[i]].tolist(),
            ahead=_ahead(world, i),
            stock=world.stock.tolist(),
            cost=cost.tolist(),
            doable=doable.tolist(),
            wallet=float(world.wallet[i]),
            ingredients=int(world.ingredients[i]),
        )

    def can_do(self, scene: Scene, errand: Errand) -> bool:
        """Tell whether an affordance can be done at an object, once it is the resident's turn.

        There is a path, the utilities hold, money and ingredients suffice, and the stock suffices
        also for those who are served before.
        """
        a, o = errand
        return (
            a != NONE
            and scene.doable[a]
            and scene.steps[o] < UNREACHABLE
            and scene.wallet >= scene.cost[a]
            and scene.ingredients >= self._ingredients[a]
            and scene.stock[o] >= (1 + scene.ahead[o]) * self._stock[a]
        )

    def ways(self, scene: Scene, affordance: int) -> list[Way]:
        """Return the ways to an affordance: where it can be done, or else to its providers.

        Time counts the path to the first place, everybody's turn there and every affordance on the
        way; not the paths between them.
        """
        return self._ways(scene, affordance, spent=0.0, links=1)

    def _ways(self, scene: Scene, a: int, spent: float, links: int) -> list[Way]:
        if scene.wallet < scene.cost[a] + spent or not scene.doable[a]:
            return []
        places = [o for o in self._places[a] if scene.steps[o] < UNREACHABLE]
        ticks = self._ticks[a]
        direct = [
            Way(scene.steps[o] + (1 + scene.ahead[o]) * ticks, Errand(a, o))
            for o in places
            if self.can_do(scene, Errand(a, o))
        ]
        if direct or not places or links == MAX_CHAIN:
            return direct
        lacks_ingredients = scene.ingredients < self._ingredients[a]
        return [
            Way(way.ticks + ticks, way.errand)
            for provider in sorted(self.sources if lacks_ingredients else self._cooks[a])
            for way in self._ways(scene, provider, spent + scene.cost[a], links + 1)
        ]

    def _providers(self, affordance: int) -> frozenset[int]:
        """Return what gives the ingredients or the stock that an affordance takes."""
        takes = self._ingredients[affordance] > 0
        return self._cooks[affordance] | (self.sources if takes else frozenset())


def _ahead(world: World, i: int) -> list[int]:
    """Return how many residents are served at each object before resident ``i`` would be."""
    count = int(world.n_objects)
    users, holders = world.user[:count].tolist(), world.holder[:count].tolist()
    people = world.queue_length[:count].tolist()
    waits = int(world.queue_object[i])
    if waits != NONE:
        people[waits] = world.queue[waits, : people[waits]].tolist().index(i)
    return [
        0 if i in (user, holder) else waiting + (user != NONE) + (holder != NONE)
        for user, holder, waiting in zip(users, holders, people, strict=True)
    ]
