"""What ``expect`` names must be there; found out when a scenario is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from townlet_env.config.claims import (
    EVERYBODY,
    OWN_FIELDS,
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
    WaitingClaim,
)
from townlet_env.config.compile_rules import max_newcomers
from townlet_env.config.faults import Where
from townlet_env.config.safe_yaml import Path_
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError, nearest
from townlet_env.sim.features import feature_table
from townlet_env.sim.plan import newcomer_name


def check_claims(config: TownConfig, where: Where) -> None:
    """Check every name and tick in every claim.

    Args:
        config: The scenario.
        where: Says for a message where a key stands.

    Raises:
        ConfigError: An unknown resident, object, affordance, field or feature group; a tick after
            the end.
    """
    reader = _Reader(config, where)
    for index, claim in enumerate(config.expect):
        reader.check(claim, ("expect", index))


class _Reader:
    """Checks claims, one by one."""

    def __init__(self, config: TownConfig, where: Where) -> None:
        newcomers = (newcomer_name(k + 1) for k in range(max_newcomers(config)))
        columns = feature_table(config.catalogue.kinds)
        self._where, self._ticks = where, config.ticks
        self._residents = [resident.id for resident in config.residents]
        self._people = [*self._residents, *newcomers]
        self._objects = [thing.id for thing in config.objects]
        self._affordances = list(config.catalogue.affordances)
        self._fields = [*OWN_FIELDS, *(column.name for column in columns)]
        self._groups = sorted({column.group for column in columns})

    def check(self, claim: Claim, path: Path_) -> None:
        if isinstance(claim, StateClaim):
            self._check_state(claim, path)
        elif isinstance(claim, EventClaim):
            self._check_event(claim, path)
        elif isinstance(claim, OrderClaim):
            for index, happening in enumerate(claim.order):
                self._check_happening(happening, (*path, "order", index))
        elif isinstance(claim, TieClaim):
            for index, name in enumerate(claim.tie):
                self._known(name, self._people, "resident", (*path, "tie", index))
        elif isinstance(claim, WaitingClaim):
            self._maybe(claim.waiting.by, self._people, "resident", (*path, "waiting", "by"))
            self._maybe(claim.waiting.object, self._objects, "object", (*path, "waiting", "object"))
        elif isinstance(claim, RewardClaim):
            self._check_reward(claim, path)
        else:
            self._check_constant(claim, path)

    def _check_event(self, claim: EventClaim, path: Path_) -> None:
        self._check_happening(claim, path)
        self._check_several(claim.each, (*path, "each"))
        if claim.between is not None:
            self._check_tick(claim.between[0], (*path, "between"))

    def _check_happening(self, happening: Happening, path: Path_) -> None:
        self._maybe(happening.by, self._people, "resident", (*path, "by"))
        self._maybe(happening.other, self._people, "resident", (*path, "other"))
        self._maybe(happening.object, self._objects, "object", (*path, "object"))
        self._maybe(happening.affordance, self._affordances, "affordance", (*path, "affordance"))

    def _check_state(self, claim: StateClaim, path: Path_) -> None:
        if claim.at is not None:
            self._check_tick(claim.at, (*path, "at"))
        if isinstance(claim, ResidentClaim):
            self._known(claim.resident, self._people, "resident", (*path, "resident"))
            self._known(claim.field, self._fields, "field", (*path, "field"))
            self._maybe(claim.less_than, self._people, "resident", (*path, "less_than"))
            self._maybe(claim.more_than, self._people, "resident", (*path, "more_than"))
        elif isinstance(claim, ResidentsClaim):
            self._check_several(claim.residents, (*path, "residents"))
            self._known(claim.field, self._fields, "field", (*path, "field"))
        elif isinstance(claim, ObjectClaim):
            self._known(claim.object, self._objects, "object", (*path, "object"))

    def _check_reward(self, claim: RewardClaim, path: Path_) -> None:
        if claim.reward.by != EVERYBODY:
            self._known(claim.reward.by, self._people, "resident", (*path, "reward", "by"))
        self._maybe(claim.more_than_of, self._people, "resident", (*path, "more_than_of"))

    def _check_constant(self, claim: ConstantClaim, path: Path_) -> None:
        at = (*path, "constant")
        self._known(claim.constant.by, self._residents, "resident", (*at, "by"))
        for index, group in enumerate(claim.constant.except_group):
            self._known(group, self._groups, "feature group", (*at, "except", index))

    def _check_several(self, names: str | Sequence[str] | None, path: Path_) -> None:
        if names is not None and names != EVERYBODY:
            for index, name in enumerate(names):
                self._known(name, self._people, "resident", (*path, index))

    def _check_tick(self, tick: int, path: Path_) -> None:
        if tick > self._ticks:
            at = self._where(path)
            raise ConfigError(f"{at}: expected a tick up to {self._ticks}, found {tick}")

    def _maybe(self, name: str | None, names: Iterable[str], what: str, path: Path_) -> None:
        if name is not None:
            self._known(name, names, what, path)

    def _known(self, name: str, names: Iterable[str], what: str, path: Path_) -> None:
        if name not in names:
            raise ConfigError(f"{self._where(path)}: unknown {what} {name!r}{nearest(name, names)}")
