"""What every view is built from: a scenario with changes, and words out of a list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from townlet_env.config.load import load_scenario
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError, nearest
from townlet_env.policies.registry import LEARNER


def town_config(
    scenario: str | Path | TownConfig,
    overrides: Mapping[str, Any],
    max_ticks: int | None = None,
) -> TownConfig:
    """Return the checked scenario that a view was asked for.

    Args:
        scenario: A shipped name, the path of a scenario file, or a checked configuration.
        overrides: Settings of the scenario to replace.
        max_ticks: Length of an episode; that of the scenario by default.

    Raises:
        ConfigError: The scenario or a setting is unknown or wrong, or a checked configuration is
            to be changed.
    """
    changes = {**overrides, **({} if max_ticks is None else {"ticks": max_ticks})}
    if not isinstance(scenario, TownConfig):
        return load_scenario(scenario, changes)
    if changes:
        raise ConfigError(
            f"expected no further settings with a checked configuration, "
            f"found {', '.join(sorted(changes))}; give them to load_scenario"
        )
    return scenario


def default_learner(config: TownConfig) -> str:
    """Return the first resident that the scenario leaves to a learner, else the first of all."""
    left = [resident.id for resident in config.residents if resident.policy == LEARNER]
    return left[0] if left else config.residents[0].id


def check_choice(option: str, found: str, known: tuple[str, ...]) -> None:
    """Raise ConfigError unless an option has one of the known values."""
    if found not in known:
        raise ConfigError(f"{option}: unknown value {found!r}{nearest(str(found), known)}")
