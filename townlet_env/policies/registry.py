"""Scripted behaviours by name."""

from __future__ import annotations

from collections.abc import Callable

from townlet_env.errors import ConfigError, nearest
from townlet_env.policies.needs_driven import NeedsDriven
from townlet_env.policies.policy import Policy, Seat
from townlet_env.policies.schedule import Schedule
from townlet_env.policies.simple import Idle, Random

LEARNER = "learner"  # not a policy: the resident is left to the caller
SCHEDULE = "schedule"

PolicyFactory = Callable[[Seat], Policy]


def _schedule(seat: Seat) -> Policy:
    if seat.resident.then == SCHEDULE:
        raise ConfigError(
            f"residents.{seat.resident.id}.then: expected what follows the schedule, found "
            f"'schedule'; to do the steps again, use repeat"
        )
    return Schedule(seat, then=build_policy(seat.resident.then, seat))


_FACTORIES: dict[str, PolicyFactory] = {
    "idle": Idle,
    "random": Random,
    "needs_driven": NeedsDriven,
    SCHEDULE: _schedule,
}
_SHIPPED = frozenset({*_FACTORIES, LEARNER})


def register_policy(name: str, factory: PolicyFactory) -> None:
    """Offer an own behaviour under a name that scenarios may use in ``policy`` and ``then``.

    Args:
        name: Small letters, digits and underscores; none of the shipped names. A name registered
            before is replaced.
        factory: Called with the seat, once per resident and world.

    Raises:
        ConfigError: The name is that of a shipped policy.
    """
    if name in _SHIPPED:
        raise ConfigError(f"expected a new policy name, found the shipped {name!r}; choose another")
    _FACTORIES[name] = factory


def policy_names() -> tuple[str, ...]:
    """Return what ``policy`` may be, sorted; ``learner`` included."""
    return tuple(sorted({*_FACTORIES, LEARNER}))


def build_policy(name: str, seat: Seat) -> Policy:
    """Return a fresh policy for a seat.

    Raises:
        ConfigError: No such policy, or one that cannot decide for this resident.
    """
    if name == LEARNER:
        raise ConfigError(
            f"residents.{seat.resident.id}: expected a script, found policy 'learner'; "
            f"leave {seat.resident.id} to the caller, or give another policy"
        )
    factory = _FACTORIES.get(name)
    if factory is None:
        known = nearest(name, _FACTORIES)
        raise ConfigError(f"residents.{seat.resident.id}: unknown policy {name!r}{known}")
    return factory(seat)
