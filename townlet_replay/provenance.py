"""What an environment says about itself: names of its ids and columns, config, versions."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from townlet_replay.sidecar import CaptureMetadata, CaptureNames

if TYPE_CHECKING:
    from townlet_env.views.parallel import TownletParallelEnv
    from townlet_env.wrappers import OptionActions, ScriptedScenario

PACKAGES = ("townlet", "numpy", "gymnasium", "pettingzoo")
_TOWN_MODULE = "townlet_env.views.parallel"


def town_of(env: Any) -> TownletParallelEnv | None:
    """Return the town inside ``env``, or ``None`` if it is another environment.

    The module of the town is not imported for that: an environment of a module that nobody has
    imported cannot be one.
    """
    if _TOWN_MODULE not in sys.modules:
        return None
    from townlet_env.views.parallel import TownletParallelEnv

    town = env.unwrapped
    return town if isinstance(town, TownletParallelEnv) else None


def bare_town_of(env: Any) -> TownletParallelEnv | None:
    """Return the town inside ``env`` if what it shows reaches the caller as it is, else ``None``.

    ``env`` is the town itself, or ``ScriptedScenario`` around it, and no class made from these.
    """
    town = town_of(env)
    if town is None:
        return None
    from townlet_env.views.parallel import TownletParallelEnv
    from townlet_env.wrappers import ScriptedScenario

    while type(env) is ScriptedScenario:
        env = env.env
    return town if type(env) is TownletParallelEnv else None


def decider_of(env: Any) -> OptionActions | ScriptedScenario | None:
    """Return the outermost wrapper in ``env`` that decides what is done, or ``None``.

    Its ``last_actions`` are what was taken, whatever the caller gave.
    """
    if town_of(env) is None:
        return None
    from pettingzoo.utils.wrappers import BaseParallelWrapper

    from townlet_env.wrappers import OptionActions, ScriptedScenario

    deciders = (OptionActions, ScriptedScenario)
    while isinstance(env, BaseParallelWrapper) and not isinstance(env, deciders):
        env = env.env
    return env if isinstance(env, deciders) else None


def played_seed(worlds: Any, w: int = 0) -> int:
    """Return the seed that plays the running episode of a world again, as 64 bits with a sign."""
    return int(worlds["seed"][w].astype(np.int64))


def names_of(env: Any) -> CaptureNames:
    """Return the names a town has for its ids and columns; none for another environment."""
    town = town_of(env)
    if town is None:
        return CaptureNames()
    return CaptureNames(
        action_lookup=dict(env.action_lookup),  # a wrapper may have actions of its own
        feature_names=tuple(town.feature_names),
        map_channels=tuple(town.map_channels),
        reward_components=tuple(town.reward_components),
    )


def metadata_of(env: Any, stated: CaptureMetadata) -> CaptureMetadata:
    """Return ``stated`` with what it leaves open filled in from ``env`` and the installation."""
    found: dict[str, Any] = {"versions": versions()}
    town = town_of(env)
    if town is not None:
        from townlet_env.jit import kernel_digest

        config = town.config
        found.update(
            config_id=config.name,
            config_digest=config.digest(),
            scenario_name=config.name,
            scenario_description=config.description,
            ticks=config.ticks,
            seed=config.seed,
            kernel_digest=kernel_digest(),
        )
    said = {name: value for name, value in stated.model_dump().items() if value not in (None, {})}
    return CaptureMetadata(**{**found, **said})


def versions() -> dict[str, str]:
    """Return the versions that decide what a recording holds."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            continue
    return found
