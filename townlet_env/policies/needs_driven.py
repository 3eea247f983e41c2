"""A resident who works on shift, eats, cooks, buys, washes and sleeps when it is time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.policies.errands import pursue, work_affordance
from townlet_env.policies.policy import WAIT, Policy, Seat, Sight
from townlet_env.policies.walking import steps_left
from townlet_env.sim.features import AT_NEEDS
from townlet_env.sim.ids import NEED_COUNT, NONE

CRITICAL = 0.35  # below it a need comes before work
COMFORT = 0.5  # below it a need is attended to even if some of the gain would be wasted
PATIENCE = 60  # ticks after which an aim is thought over
MARGIN = 1e-3  # features are rounded: what is only just affordable is not counted on
DISTANCE_SCALE, STOCK_SCALE = 8.0, 4.0  # of the columns *_distance and *_stock
ARRIVAL_SLACK = 3  # minutes to spare on the way to work
FAR = 1_000_000  # steps to what cannot be reached
HALF_DAY = 720.0  # minutes: scale of minutes_to_shift


class Aim(NamedTuple):
    """What a resident has set out to do, so that it does not waver on the way."""

    affordance: int  # NONE for nothing
    urgent: bool  # a critical need: not dropped for work
    age: int  # ticks since it was chosen


NO_AIM = Aim(NONE, urgent=False, age=0)


class NeedsDriven(Policy):
    """Decides from the own features and mask; knows what things cost, and the way to work by heart.

    It remembers no more than its aim, so it can take over at any tick of any world. A need is
    attended to once nothing of the gain would be wasted, or below ``COMFORT``; what is missing for
    it (a meal, ingredients) is provided first. Below ``CRITICAL`` it comes before work.
    """

    def __init__(self, seat: Seat) -> None:
        """Take a seat and look up the catalogue."""
        super().__init__(seat)
        names, rules = seat.plan.names, seat.plan.rules[0]
        self._rules = rules
        self._column = {name: index for index, name in enumerate(names.features)}
        count = len(names.affordances)
        self._gain = np.asarray(rules.affordance_effect[:count], np.float64)
        self._kinds = [
            [k for k in range(len(names.kinds)) if int(rules.affordance_kinds[a]) >> k & 1]
            for a in range(count)
        ]
        self._aim = NO_AIM

    def reset(self) -> None:
        """Forget the aim."""
        self._aim = NO_AIM

    def get_memory(self) -> Aim:
        """Return the aim."""
        return self._aim

    def set_memory(self, memory: Aim) -> None:
        """Go on towards an aim."""
        self._aim = memory

    def act(self, sight: Sight) -> int:
        """Return the next action towards what is wanted most."""
        busy = self._see(sight, "busy") > 0.0
        if busy and self._see(sight, "busy_remaining") > 0.0:
            self._aim = NO_AIM  # it runs; what comes next is decided when it is finished
            return WAIT
        wanted = self._wanted(sight)
        works = wanted != NONE and bool(self._rules.affordance_work[wanted])
        if busy:  # with open-ended work, which is left only for something urgent
            return WAIT if works or wanted == NONE else self.seat.action("release")
        if wanted == NONE:
            return self._if_legal(sight, "release") or WAIT
        if works:
            return pursue(self.seat, sight, wanted, int(sight.world.job_object[self.seat.slot]))
        return self._pursue(sight, wanted)

    def _wanted(self, sight: Sight) -> int:
        """Return the affordance to do next, or NONE; remember it as the aim."""
        aim = self._aim
        if aim.affordance != NONE and aim.age < PATIENCE and self._is_doable(sight, aim.affordance):
            self._aim = aim._replace(age=aim.age + 1)
        else:
            self._aim = NO_AIM
        if self._aim.urgent:
            return self._aim.affordance
        critical = self._most_pressing(sight, critical=True)
        if critical != NONE:
            self._aim = Aim(critical, urgent=True, age=0)
        elif self._work_calls(sight):
            self._aim = NO_AIM
            return work_affordance(self.seat, sight)
        elif self._aim == NO_AIM:
            self._aim = Aim(self._most_pressing(sight, critical=False), urgent=False, age=0)
        return self._aim.affordance

    def _pursue(self, sight: Sight, wanted: int) -> int:
        """Start if it is our turn; else get into line and into reach, and give up other lines."""
        names = self.seat.plan.names
        start = self._if_legal(sight, f"start:{names.affordances[wanted]}")
        if start is not None:
            return start
        kind = names.kinds[self._nearest_kind(sight, wanted)]
        steps = self._count(sight, f"{kind}_distance", DISTANCE_SCALE)
        holds, waits = self._see(sight, "reservation") > 0.0, self._see(sight, "in_queue") > 0.0
        elsewhere = (holds or waits) and self._see(sight, f"{kind}_queue") == 0.0
        if elsewhere or (holds and steps == 0):
            return self._if_legal(sight, "release") or WAIT
        if waits:
            return WAIT
        request = self._if_legal(sight, f"request:{kind}")
        if request is not None and steps <= self._rules.queue_range:
            return request
        return self._if_legal(sight, f"approach:{kind}") or WAIT

    def _most_pressing(self, sight: Sight, *, critical: bool) -> int:
        """Return what leads to satisfying the lowest need that is low enough, or NONE."""
        needs = sight.features[AT_NEEDS : AT_NEEDS + NEED_COUNT]
        for k in np.argsort(needs, kind="stable"):
            for a in np.argsort(-self._gain[:, k], kind="stable"):
                gain = self._gain[a, k]
                level = CRITICAL if critical else max(COMFORT, 1.0 - gain)
                if gain <= 0.0 or needs[k] >= level:
                    break
                means = self._means(sight, int(a), depth=len(self._gain))
                if means != NONE:
                    return means
        return NONE

    def _means(self, sight: Sight, affordance: int, depth: int) -> int:
        """Return the affordance itself if it can be done, else what provides for it, or NONE."""
        rules, kind = self._rules, self._nearest_kind(sight, affordance)
        if kind == NONE or depth == 0 or not self._is_affordable(sight, affordance):
            return NONE
        if self._count(sight, "ingredients", 1.0) < rules.takes_ingredients[affordance]:
            return self._provider(sight, rules.gives_ingredients > 0, depth)
        # Those who are served first take theirs.
        portions = 1 + self._people_ahead(sight, kind)
        if self._stock(sight, kind) < portions * int(rules.takes_stock[affordance]):
            gives = (rules.gives_stock > 0) & (rules.gives_stock_kind == kind)
            return self._provider(sight, gives, depth)
        return affordance

    def _is_doable(self, sight: Sight, affordance: int) -> bool:
        """Tell whether an aim can still be reached, and will be when the turn comes."""
        kind = self._nearest_kind(sight, affordance)
        portions = 1 + self._count(sight, "place_in_line", 1.0)
        return (
            kind != NONE
            and self._is_affordable(sight, affordance)
            and self._count(sight, "ingredients", 1.0) >= self._rules.takes_ingredients[affordance]
            and self._stock(sight, kind) >= portions * int(self._rules.takes_stock[affordance])
        )

    def _stock(self, sight: Sight, kind: int) -> int:
        return self._count(sight, f"{self.seat.plan.names.kinds[kind]}_stock", STOCK_SCALE)

    def _people_ahead(self, sight: Sight, kind: int) -> int:
        """Return how many would be served before this resident at the nearest object of a kind."""
        people = self._count(sight, f"{self.seat.plan.names.kinds[kind]}_queue", 1.0)
        if self._see(sight, "in_queue") > 0.0:
            return min(people, self._count(sight, "place_in_line", 1.0))
        return people

    def _provider(self, sight: Sight, gives: npt.NDArray[np.bool_], depth: int) -> int:
        """Return the first affordance of those marked that leads on, or NONE."""
        for affordance in np.flatnonzero(gives):
            means = self._means(sight, int(affordance), depth - 1)
            if means != NONE:
                return means
        return NONE

    def _is_affordable(self, sight: Sight, affordance: int) -> bool:
        rules = self._rules
        if rules.affordance_power[affordance] and not self._see(sight, "power"):
            return False
        if rules.affordance_water[affordance] and not self._see(sight, "water"):
            return False
        cost = (
            rules.takes_money[affordance]
            + rules.takes_meal_price[affordance] * self._amount(sight, "price_meal", 1.0)
            + rules.takes_groceries_price[affordance] * self._amount(sight, "price_groceries", 1.0)
        )
        return bool(cost == 0.0 or self._amount(sight, "wallet", 1.0) >= cost + MARGIN)

    def _work_calls(self, sight: Sight) -> bool:
        """Tell whether the shift is open, or it is time to go there."""
        if work_affordance(self.seat, sight) == NONE:
            return False
        world, i = sight.world, self.seat.slot
        steps = steps_left(world, i, self.seat.plan.distance[int(world.job_object[i])])
        minutes = self._see(sight, "minutes_to_shift") * HALF_DAY
        if minutes > 0.5:
            return minutes <= steps + ARRIVAL_SLACK
        return not (self._see(sight, "shift_off") or self._see(sight, "shift_done"))

    def _nearest_kind(self, sight: Sight, affordance: int) -> int:
        """Return the kind with the shortest path among those an affordance is done at, or NONE."""
        names = self.seat.plan.names.kinds
        best, best_distance = NONE, 1.0
        for kind in self._kinds[affordance]:
            distance = self._see(sight, f"{names[kind]}_distance")
            if distance < best_distance:
                best, best_distance = kind, distance
        return best

    def _see(self, sight: Sight, name: str) -> float:
        return float(sight.features[self._column[name]])

    def _amount(self, sight: Sight, name: str, scale: float) -> float:
        """Undo the squashing v / (v + scale) of a column; 1 stands for no bound."""
        seen = self._see(sight, name)
        return np.inf if seen >= 1.0 else scale * seen / (1.0 - seen)

    def _count(self, sight: Sight, name: str, scale: float) -> int:
        """Undo the squashing of a whole number."""
        amount = self._amount(sight, name, scale)
        return FAR if np.isinf(amount) else round(amount)

    def _if_legal(self, sight: Sight, name: str) -> int | None:
        action = self.seat.action(name)
        return action if sight.mask[action] else None
