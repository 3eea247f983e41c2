"""The scripted residents of a batch of worlds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError, nearest
from townlet_env.policies.policy import Policy, Seat, look
from townlet_env.policies.registry import LEARNER, build_policy
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.plan import Plan


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


class Crew:
    """Residents who follow their scripts, in as many worlds of a batch as are asked for.

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
        self._seats = [
            Seat(plan, resident, slot)
            for slot, resident in enumerate(config.residents)
            if resident.id in chosen
        ]
        self.residents = tuple(seat.resident.id for seat in self._seats)
        self._policies: dict[int, list[Policy]] = {}
        self._of(0)

    def reset(self, w: int) -> None:
        """Begin a new episode in world ``w``."""
        for policy in self._of(w):
            policy.reset()

    def act(self, batch: WorldBatch, w: int) -> dict[int, int]:
        """Return slot -> action of the scripted residents in town, world ``w``.

        To be called once per tick of that world.
        """
        alive = batch.worlds[w].alive
        return {
            policy.seat.slot: policy.act(look(batch, w, policy.seat.slot))
            for policy in self._of(w)
            if alive[policy.seat.slot] != 0
        }

    def get_memory(self, w: int) -> tuple[Any, ...]:
        """Return what the residents of world ``w`` remember: immutable, can be pickled."""
        return tuple(policy.get_memory() for policy in self._of(w))

    def set_memory(self, memory: Sequence[Any], w: int) -> None:
        """Let the residents of world ``w`` go on from what ``get_memory`` returned."""
        for policy, remembered in zip(self._of(w), memory, strict=True):
            policy.set_memory(remembered)

    def _of(self, w: int) -> list[Policy]:
        if w not in self._policies:
            self._policies[w] = [build_policy(seat.resident.policy, seat) for seat in self._seats]
        return self._policies[w]
