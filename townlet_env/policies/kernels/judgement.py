"""The numbers that ``needs_driven`` lives by, the tables it knows by heart, and its memory.

Both forms of the rule read them: the plain one in ``policies/needs_driven.py`` and the kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from townlet_env.sim.ids import NONE, Verb
from townlet_env.sim.places import UNREACHABLE
from townlet_env.sim.plan import Plan

# In compiled code `int` of an int8 stays an int8, and sums of it wrap around; these do not.
whole = cast(Callable[[Any], int], np.int64)
real = cast(Callable[[Any], float], np.float64)

# What an aim is for; the lower is the more pressing.
DIRE, CRITICAL, DUTY, MEETING, COMFORT, PROVISION, REST = range(7)
SILENT = -2  # nothing calls

CRITICAL_LEVEL = 0.35  # a need below it comes before all but work
DANGER = 0.08  # what is left of a dire need when it is at last attended to
COMFORT_LEVEL = 0.5  # a need below it is attended to even if some of the gain would be wasted
WORTH = 2.0  # a comfort gives that many times of what the need loses meanwhile
NIGHT_LEVEL = 0.95  # of energy: at night one goes to bed
NIGHT_FALLS, NIGHT_ENDS = 22 * 60, 6 * 60  # minutes of the day
EVE = 120  # minutes before a shift in which one prepares for it
EVE_RESERVE = CRITICAL_LEVEL  # of each need, to be left at the end of the shift
EVE_LEVEL = 0.85  # no need is prepared beyond it
THRIFT = 60.0  # ticks that spending the whole wallet counts as
PANTRY = 2  # ingredients in the bag, and units in the store, that one likes to have
LINE = 20  # ticks in line that are borne for what can wait
PATIENCE = 90  # ticks after which an aim is thought over
ARRIVAL_SLACK = 4  # minutes to spare on the way to work
DETOUR = 8  # steps more than the shortest path that are better than to stand behind somebody
OPEN_END = 480  # ticks that work of somebody else is expected to last
FAR = 1_000_000  # ticks to what cannot be had
MARGIN = 1e-3  # meals: what is only just affordable is not counted on

# Whom the kernels decide for, and how.
NOBODY, NEEDS_DRIVEN, RANDOM, IDLE = range(4)

MEMORY: np.dtype[np.void] = np.dtype(
    [
        ("follows", np.uint8),  # NOBODY, NEEDS_DRIVEN, RANDOM or IDLE
        ("affordance", np.int8),  # of the aim, or NONE
        ("rank", np.int8),  # DIRE to REST; REST is no aim
        ("age", np.int16),  # ticks since the aim was chosen
    ],
    align=True,
)
Memory: TypeAlias = Any  # one record of MEMORY


class Atlas(NamedTuple):
    """What everybody in a town knows by heart; K kinds, A affordances, M objects."""

    between: npt.NDArray[np.int32]  # (M, M) steps from the reach of an object to that of another
    moves: npt.NDArray[np.int32]  # (4,) actions by direction
    requests: npt.NDArray[np.int32]  # (K,) actions by kind
    starts: npt.NDArray[np.int32]  # (A,) actions by affordance
    release: int  # action
    chat: int  # action
    serves: npt.NDArray[np.int32]  # (A,) need that gains most, or NONE
    supplies: npt.NDArray[np.uint8]  # (A,) 1 if it gives what another affordance takes
    stores: npt.NDArray[np.int32]  # (A, M) object that gets what is given there, or NONE
    reach: npt.NDArray[np.uint8]  # (H, W) 1 next to an object


def survey(plan: Plan) -> Atlas:
    """Return the tables of a scenario."""
    rules, names = plan.rules[0], plan.names
    verbs = rules.action_verb[: len(names.actions)]
    arguments = rules.action_argument[: len(names.actions)]

    def actions(verb: Verb) -> npt.NDArray[np.int32]:
        found = np.flatnonzero(verbs == verb)
        return found[np.argsort(arguments[found], kind="stable")].astype(np.int32)

    return Atlas(
        between=_between(plan),
        moves=actions(Verb.MOVE),
        requests=actions(Verb.REQUEST),
        starts=actions(Verb.START),
        release=int(actions(Verb.RELEASE)[0]),
        chat=int(actions(Verb.CHAT)[0]),
        serves=_serves(plan),
        supplies=_supplies(plan),
        stores=_stores(plan),
        reach=(plan.distance == 0).any(axis=0).astype(np.uint8),
    )


def _between(plan: Plan) -> npt.NDArray[np.int32]:
    count = len(plan.names.objects)
    steps = np.full((count, count), UNREACHABLE, np.int32)
    for o in range(count):
        reach = plan.distance[o] == 0
        if reach.any():
            steps[o] = plan.distance[:, reach].min(axis=1)
    return steps


def _serves(plan: Plan) -> npt.NDArray[np.int32]:
    effects = plan.rules[0].affordance_effect[: len(plan.names.affordances)]
    best = effects.argmax(axis=1)
    return np.where(effects.max(axis=1) > 0.0, best, NONE).astype(np.int32)


def _supplies(plan: Plan) -> npt.NDArray[np.uint8]:
    rules, count = plan.rules[0], len(plan.names.affordances)
    supplies = np.zeros(count, np.uint8)
    takers = [int(kinds) for kinds in rules.affordance_kinds[rules.takes_stock > 0]]
    for a in range(count):
        kind = int(rules.gives_stock_kind[a])
        stock = rules.gives_stock[a] > 0 and kind != NONE and any(t >> kind & 1 for t in takers)
        ingredients = rules.gives_ingredients[a] > 0 and (rules.takes_ingredients > 0).any()
        supplies[a] = bool(stock or ingredients)
    return supplies


def _stores(plan: Plan) -> npt.NDArray[np.int32]:
    """The nearest to the place of work: who works there stands next to it (rules 3.6)."""
    rules, world, count = plan.rules[0], plan.template[0], len(plan.names.objects)
    stores = np.full((len(plan.names.affordances), count), NONE, np.int32)
    x, y = world.object_x[:count].astype(np.int32), world.object_y[:count].astype(np.int32)
    cells = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
    for a in range(len(stores)):
        fits = np.flatnonzero(world.kind[:count] == rules.gives_stock_kind[a])
        if rules.gives_stock[a] > 0 and len(fits):
            stores[a] = fits[cells[:, fits].argmin(axis=1)]
    return stores
