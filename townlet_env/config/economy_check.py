"""Whether wages pay for living: checked when a scenario with rent is read (rules 3.10)."""

from __future__ import annotations

from townlet_env.config.catalogue import AffordanceConfig
from townlet_env.config.faults import Where
from townlet_env.config.kinds import done_in_town
from townlet_env.config.personalities import DRAWN, Personality
from townlet_env.config.schema import ResidentConfig, TownConfig
from townlet_env.errors import ConfigError
from townlet_env.sim.ids import MINUTES_PER_DAY, Need

ROUNDING = 1e-9


def check_economy(config: TownConfig, where: Where) -> None:
    """Hold the wages of everybody with a job against their basket, if there is rent.

    Args:
        config: The scenario.
        where: Says for a message where a key stands.

    Raises:
        ConfigError: Wages are not within ``economy.slack`` of the basket; one line per resident.
    """
    if config.economy.rent == 0.0:
        return
    least, most = (1.0 + share for share in config.economy.slack)
    faults = []
    for index, resident in enumerate(config.residents):
        if resident.job is None:
            continue
        wages, costs = daily_wages(config, resident), basket(config, resident)
        if not least * costs - ROUNDING <= wages <= most * costs + ROUNDING:
            faults.append(
                f"{where(('residents', index, 'job'))}: expected wages of {least * costs:.2f} to "
                f"{most * costs:.2f} meals a day for {resident.id}, whose basket is {costs:.2f}, "
                f"found {wages:.2f}; change jobs.{resident.job}.wage, economy.rent or economy.slack"
            )
    if faults:
        raise ConfigError("\n".join(faults))


def daily_wages(config: TownConfig, resident: ResidentConfig) -> float:
    """Return what a full shift pays, in meals; 0 without a job."""
    if resident.job is None:
        return 0.0
    job = config.jobs[resident.job]
    return job.wage * (job.end - job.start)


def basket(config: TownConfig, resident: ResidentConfig) -> float:
    """Return what a day of living costs at the scenario's prices, in meals (rules 3.10)."""
    pace = 1.0 + config.needs.pace_effect * _pace(config, resident)
    costs = config.economy.rent
    for need, decay in zip(Need, config.needs.decay.values(), strict=True):
        ordinary = ordinary_affordance(config, need)
        if ordinary is not None:
            times = decay * pace * MINUTES_PER_DAY / ordinary.gives.needs()[need]
            costs += times * price(config, ordinary)
    return costs


def ordinary_affordance(config: TownConfig, need: Need) -> AffordanceConfig | None:
    """Return what raises a need most of all that can be done in town; the first of equals."""
    raising = [found for found in _done_in_town(config) if found.gives.needs()[need] > 0.0]
    return max(raising, key=lambda found: found.gives.needs()[need], default=None)


def price(config: TownConfig, affordance: AffordanceConfig) -> float:
    """Return what doing it once costs, in meals; ingredients cost what the town asks at least."""
    per_unit = [
        _money(config, found) / found.gives.ingredients
        for found in _done_in_town(config)
        if found.gives.ingredients
    ]
    ingredients = affordance.takes.ingredients * min(per_unit, default=0.0)
    return _money(config, affordance) + ingredients


def _money(config: TownConfig, affordance: AffordanceConfig) -> float:
    takes, prices = affordance.takes, config.prices
    return takes.money + takes.meal_price * prices.meal + takes.groceries_price * prices.groceries


def _done_in_town(config: TownConfig) -> list[AffordanceConfig]:
    return done_in_town(config.catalogue, {thing.kind for thing in config.objects})


def _pace(config: TownConfig, resident: ResidentConfig) -> float:
    """Return the pace of a resident; the mean of the mix if it is drawn."""
    settings, personality = config.personalities, resident.personality
    if isinstance(personality, Personality):
        return personality.pace
    if personality != DRAWN:
        return settings.profiles[personality].pace
    paces = [share * settings.profiles[name].pace for name, share in settings.mix.items()]
    return sum(paces) / sum(settings.mix.values())
