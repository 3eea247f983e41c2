"""The scripted residents of a batch of worlds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError, nearest
from townlet_env.policies.batched import COMPILED, Crowd
from townlet_env.policies.policy import Policy, Seat, look
from townlet_env.policies.registry import LEARNER, build_policy
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.plan import Plan, newcomer_name


def scripted_residents(config: TownConfig, learners: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the residents that follow a script, in slot order.

    Args:
        config: The scenario.
        learners: Residents left to the caller, whatever their ``policy`` says; those whose policy
            is ``learner`` are left to the caller anyway.

    Raises:
        ConfigError: A learner is no resident.
    """
    left = tuple(learners)
    names = [resident.id for resident in config.residents]
    for name in left:
        if name not in names:
            raise ConfigError(f"learners: unknown resident {name!r}{nearest(name, names)}")
    return tuple(r.id for r in config.residents if r.policy != LEARNER and r.id not in left)


class Recollection(NamedTuple):
    """Who sits in a scripted slot, and what they remember."""

    newcomer: int  # 0: who the slot began with; k: newcomer_k
    memory: Any


class Crew:
    """Residents who follow their scripts, in as many worlds of a batch as are asked for.

    A newcomer in a scripted slot follows ``arrivals.policy``, and remembers nothing of who was
    there before. Shipped policies are played in their compiled form, schedules and own ones one by
    one.

    Attributes:
        residents: Ids of the scripted residents, in slot order.

    Example:
        >>> from townlet_env.config.compile import compile_plan
        >>> from townlet_env.config.load import load_scenario
        >>> from townlet_env.sim.batch import WorldBatch
        >>> config = load_scenario("queue_conflict")
        >>> batch = WorldBatch(compile_plan(config), 1)
        >>> batch.reset([7])
        >>> crew = Crew(config, batch.plan, ["ben", "cleo"])
        >>> crew.reset(0)
        >>> sorted(crew.act(batch, 0))
        [1, 2]
        >>> crew.decide(batch).shape
        (1, 3)
    """

    def __init__(
        self, config: TownConfig, plan: Plan, residents: Sequence[str] | None = None
    ) -> None:
        """Check that everybody can act; policies are built per world, when a world first appears.

        Args:
            config: The scenario.
            plan: The same scenario, compiled.
            residents: Who is scripted; by default everybody whose policy is not ``learner``.

        Raises:
            ConfigError: A policy is unknown, or one of ``residents`` is a learner.
        """
        chosen = scripted_residents(config) if residents is None else tuple(residents)
        self._plan = plan
        self._then = config.arrivals.policy
        self._seats = {
            slot: Seat(plan, resident, slot)
            for slot, resident in enumerate(config.residents)
            if resident.id in chosen
        }
        self.residents = tuple(seat.resident.id for seat in self._seats.values())
        self._crowd = Crowd(plan)
        self._sitting: dict[int, dict[int, int]] = {}  # world -> slot -> number of the newcomer
        self._policies: dict[int, dict[int, Policy]] = {}  # of those not in the crowd
        try:
            self._open(0)
            if plan.max_newcomers and self._seats and self._then not in COMPILED:
                build_policy(self._then, self._seat(next(iter(self._seats)), newcomer=1))
        except ConfigError as error:
            raise ConfigError(f"{config.name}: {error}") from error

    def reset(self, w: int) -> None:
        """Begin a new episode in world ``w``."""
        self._open(w)
        for slot in self._seats:
            self._sit(w, slot, newcomer=0)

    def act(self, batch: WorldBatch, w: int) -> dict[int, int]:
        """Return slot -> action of the scripted residents in town, world ``w``.

        To be called once per tick of that world.
        """
        orders = np.zeros((1, batch.num_residents), np.int32)
        self._decide(batch, orders, w)
        alive = batch.worlds[w].alive
        return {slot: int(orders[0, slot]) for slot in self._seats if alive[slot] != 0}

    def decide(self, batch: WorldBatch) -> npt.NDArray[np.int32]:
        """Return the actions (W, N) of the scripted residents of every world; 0 for the others.

        To be called once per tick; the same as ``act`` for each world, and faster.
        """
        orders = np.zeros((batch.num_worlds, batch.num_residents), np.int32)
        self._decide(batch, orders, 0)
        return orders

    def get_memory(self, w: int) -> tuple[Recollection, ...]:
        """Return what the residents of world ``w`` remember: immutable, can be pickled."""
        self._open(w)
        return tuple(
            Recollection(
                self._sitting[w][slot],
                self._policies[w][slot].get_memory()
                if slot in self._policies[w]
                else self._crowd.get_memory(w, slot),
            )
            for slot in self._seats
        )

    def set_memory(self, memory: Sequence[Recollection], w: int) -> None:
        """Let the residents of world ``w`` go on from what ``get_memory`` returned."""
        self._open(w)
        for slot, (newcomer, remembered) in zip(self._seats, memory, strict=True):
            self._sit(w, slot, newcomer)
            if slot in self._policies[w]:
                self._policies[w][slot].set_memory(remembered)
            else:
                self._crowd.set_memory(w, slot, remembered)

    def _decide(self, batch: WorldBatch, orders: npt.NDArray[np.int32], first: int) -> None:
        """Write the actions of ``len(orders)`` worlds, from ``first`` on."""
        if not self._seats:
            return
        for w in range(first, first + len(orders)):
            self._open(w)
            if self._plan.max_newcomers:
                self._welcome(batch, w)
        self._crowd.decide(batch, orders, first)
        for w in range(first, first + len(orders)):
            for slot, policy in self._policies[w].items():
                if batch.worlds[w].alive[slot] != 0:
                    orders[w - first, slot] = policy.act(look(batch, w, slot))
                else:
                    policy.reset()

    def _open(self, w: int) -> None:
        """Let everybody sit down in a world that is new to the crew."""
        if w not in self._sitting:
            self._sitting[w], self._policies[w] = {}, {}
            for slot in self._seats:
                self._sit(w, slot, newcomer=0)

    def _welcome(self, batch: WorldBatch, w: int) -> None:
        """Let those sit down who have arrived since the last tick."""
        numbers = batch.worlds[w].newcomer
        for slot, newcomer in self._sitting[w].items():
            if numbers[slot] != newcomer:
                self._sit(w, slot, int(numbers[slot]))

    def _sit(self, w: int, slot: int, newcomer: int) -> None:
        """Let somebody with nothing to remember sit down, who may have sat here before."""
        policies, known = self._policies[w], self._sitting[w].get(slot) == newcomer
        self._sitting[w][slot] = newcomer
        if known and slot in policies:
            policies[slot].reset()
            return
        policies.pop(slot, None)
        seat = self._seat(slot, newcomer)
        name = seat.resident.policy
        self._crowd.seat(w, slot, name if name in COMPILED else None)
        if name not in COMPILED:
            policies[slot] = build_policy(name, seat)

    def _seat(self, slot: int, newcomer: int) -> Seat:
        """Return the seat of who is in a slot."""
        seat = self._seats[slot]
        if not newcomer:
            return seat
        changes = {"id": newcomer_name(newcomer), "policy": self._then, "schedule": []}
        return seat._replace(resident=seat.resident.model_copy(update=changes))


def with_policy(config: TownConfig, policy: str) -> TownConfig:
    """Return a scenario in which everybody, newcomers included, follows one policy."""
    changes = {"policy": policy, "schedule": []}
    residents = [resident.model_copy(update=changes) for resident in config.residents]
    arrivals = config.arrivals.model_copy(update={"policy": policy})
    return config.model_copy(update={"residents": residents, "arrivals": arrivals})
