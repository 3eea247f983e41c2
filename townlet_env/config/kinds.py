"""What kinds of objects are for, read off what can be done at them."""

from __future__ import annotations

from collections.abc import Container

from townlet_env.config.catalogue import AffordanceConfig, Catalogue
from townlet_env.sim.ids import NONE, KindGroup, Need

GROUP_OF_NEED = {
    Need.HUNGER: KindGroup.FOOD,
    Need.HYGIENE: KindGroup.HYGIENE,
    Need.ENERGY: KindGroup.REST,
}


def done_at(catalogue: Catalogue, kind: str) -> list[AffordanceConfig]:
    """Return what can be done at a kind, in the order of the catalogue."""
    return [found for found in catalogue.affordances.values() if kind in found.kinds]


def kind_groups(catalogue: Catalogue) -> list[KindGroup]:
    """Return the group of each kind, by kind (rules 6).

    Work comes first, then what feeds, what supplies ingredients or fills the store of what feeds,
    and last the need that is raised most.
    """
    fed_at = {kind for kind in catalogue.kinds if _most_raised(catalogue, kind) is Need.HUNGER}
    return [_group(catalogue, kind, fed_at) for kind in catalogue.kinds]


def _group(catalogue: Catalogue, kind: str, fed_at: set[str]) -> KindGroup:
    done = done_at(catalogue, kind)
    if any(found.requires.on_shift for found in done):
        return KindGroup.WORK
    if kind in fed_at:
        return KindGroup.FOOD
    if any(found.gives.ingredients for found in done):
        return KindGroup.SUPPLY
    need = _most_raised(catalogue, kind)
    if need is not None:
        return GROUP_OF_NEED[need]
    if any(found.gives.stock_of in fed_at for found in done):
        return KindGroup.FOOD
    return KindGroup.OTHER


def _most_raised(catalogue: Catalogue, kind: str) -> Need | None:
    """Return the need that everything done at a kind raises most in sum, if it raises any."""
    gains = [found.gives.needs() for found in done_at(catalogue, kind)]
    sums = [sum(gain[need] for gain in gains) for need in Need]
    best = max(Need, key=lambda need: sums[need])
    return best if sums[best] > 0.0 else None


def done_in_town(catalogue: Catalogue, kinds: Container[str]) -> list[AffordanceConfig]:
    """Return what can be done where there are objects of these kinds."""
    affordances = catalogue.affordances.values()
    return [found for found in affordances if any(kind in kinds for kind in found.kinds)]


def need_kinds(catalogue: Catalogue, kinds: Container[str]) -> list[int]:
    """Return, per need, the kind in town of the affordance that raises it most, or NONE.

    Args:
        catalogue: Kinds and affordances.
        kinds: Those of the objects in town.
    """
    best_kinds = []
    for need in Need:
        best, most = NONE, 0.0
        for found in done_in_town(catalogue, kinds):
            if found.gives.needs()[need] > most:
                most = found.gives.needs()[need]
                best = catalogue.kinds.index(next(kind for kind in found.kinds if kind in kinds))
        best_kinds.append(best)
    return best_kinds
