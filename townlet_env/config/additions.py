"""The catalogue of a scenario: the shipped one, changed, and with kinds and affordances added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from townlet_env.config.catalogue import Catalogue
from townlet_env.config.faults import Source, Where, validate
from townlet_env.config.safe_yaml import Document, Path_, merge
from townlet_env.config.sections import Name, Section
from townlet_env.errors import ConfigError, nearest
from townlet_env.sim.rules import MAX_AFFORDANCES
from townlet_env.sim.state import MAX_KINDS

Kinds = Annotated[tuple[Name, ...], Field(description="kinds of objects of one's own")]
Meets = Annotated[
    tuple[Name, ...] | None, Field(description="kinds at which people meet; by default bench")
]
Changes = Annotated[
    dict[Name, dict[str, object]],
    Field(description="by name: changes of shipped ones, or ones of one's own"),
]


class Additions(Section):
    """What a scenario file says about the catalogue."""

    kinds: Kinds = ()
    affordances: Changes = Field(default={})
    meets: Meets = None


def catalogue_of(
    shipped: Document, shipped_at: Source, data: Mapping[str, Any], source: Source
) -> Catalogue:
    """Return the catalogue of a scenario.

    Args:
        shipped: The shipped catalogue as it stands in its file.
        shipped_at: That file, for messages.
        data: The scenario as it stands in its file.
        source: That file, for messages.

    Raises:
        ConfigError: Something is misspelt, unknown, there twice, or too much.
    """
    base = validate(Catalogue, shipped.data, shipped_at)
    _check_kinds_are_known(base, shipped_at.at)
    said = {key: data[key] for key in Additions.model_fields if key in data}
    if not said:
        return base
    own = validate(Additions, said, source)
    added = [name for name in own.affordances if name not in base.affordances]
    for name in added:
        _check_is_whole(name, own.affordances[name], base, source.at)
    _check_kinds_are_new(own.kinds, base.kinds, source.at)
    _check_limit("kinds", len(base.kinds), len(own.kinds), MAX_KINDS, source.at)
    _check_limit("affordances", len(base.affordances), len(added), MAX_AFFORDANCES, source.at)
    changes: dict[str, Any] = {
        "kinds": (*base.kinds, *own.kinds),
        "meets": base.meets if own.meets is None else own.meets,
        "affordances": own.affordances,
        "own_kinds": len(own.kinds),
        "own_affordances": len(added),
    }
    catalogue = validate(Catalogue, merge(shipped.data, changes), source)
    _check_kinds_are_known(catalogue, source.at)
    return catalogue


def _check_is_whole(name: str, found: Mapping[str, object], base: Catalogue, where: Where) -> None:
    """Refuse what is neither a change of a shipped affordance nor one of its own."""
    if not {"object", "ticks"} <= set(found):
        raise ConfigError(
            f"{where(('affordances', name))}: unknown affordance "
            f"{name!r}{nearest(name, base.affordances)}; one of your own needs object and ticks"
        )


def _check_kinds_are_new(own: Sequence[str], shipped: Sequence[str], where: Where) -> None:
    for index, kind in enumerate(own):
        if kind in (*shipped, *own[:index]):
            there = "shipped" if kind in shipped else "named before"
            raise ConfigError(
                f"{where(('kinds', index))}: expected a new kind, found {kind!r}, which is "
                f"{there}; take it out"
            )


def _check_limit(what: str, shipped: int, own: int, most: int, where: Where) -> None:
    if shipped + own > most:
        raise ConfigError(
            f"{where((what,))}: expected at most {most - shipped} {what} beside the {shipped} "
            f"shipped ones, found {own}; take some out"
        )


def _check_kinds_are_known(catalogue: Catalogue, where: Where) -> None:
    named: list[tuple[Path_, str]] = []
    for name, affordance in catalogue.affordances.items():
        path = ("affordances", name)
        named += [((*path, "object"), kind) for kind in affordance.kinds]
        if affordance.gives.stock_of is not None:
            named.append(((*path, "gives", "stock_of"), affordance.gives.stock_of))
    named += [(("meets",), kind) for kind in catalogue.meets]
    named += [(("restocks",), kind) for kind in catalogue.restocks]
    for place, kind in named:
        if kind not in catalogue.kinds:
            raise ConfigError(
                f"{where(place)}: unknown kind {kind!r}{nearest(kind, catalogue.kinds)}"
            )
