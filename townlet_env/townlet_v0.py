"""Townlet, version 0, by the conventions of PettingZoo: ``env``, ``raw_env``, ``parallel_env``.

Example:
    >>> from townlet_env import townlet_v0
    >>> env = townlet_v0.parallel_env(scenario="queue_conflict")
    >>> observations, infos = env.reset(seed=7)
    >>> sorted(observations["anna"])
    ['action_mask', 'features', 'map']
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pettingzoo import AECEnv
from pettingzoo.utils.conversions import parallel_to_aec
from pettingzoo.utils.wrappers import AssertOutOfBoundsWrapper, OrderEnforcingWrapper

from townlet_env.config.schema import TownConfig
from townlet_env.views.options import town_config
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.views.spaces import MaskMode, ObservationVariant


def parallel_env(
    scenario: str | Path | TownConfig = "queue_conflict",
    *,
    observation: ObservationVariant = "hybrid",
    mask: MaskMode = "obs",
    max_ticks: int | None = None,
    max_cycles: int | None = None,
    render_mode: str | None = None,
    render_size: int | None = None,
    details: bool = False,
    **overrides: Any,
) -> TownletParallelEnv:
    """Return a town as a PettingZoo ``ParallelEnv``.

    Args:
        scenario: A shipped name, the path of a scenario file, or a checked configuration.
        observation: ``hybrid``, ``full`` or ``compact``.
        mask: ``obs``, ``info`` or ``none``.
        max_ticks: Length of an episode; that of the scenario by default.
        max_cycles: PettingZoo's word for ``max_ticks``.
        render_mode: ``ansi``, ``rgb_array``, ``human``, or None to draw nothing.
        render_size: Longer side of the picture in pixels.
        details: Also put reward components, events and the tick into every info.
        **overrides: Settings of the scenario to replace, by key: ``needs={"decay": {...}}``.

    Raises:
        ConfigError: The scenario or a setting is unknown or wrong.
    """
    config = town_config(scenario, overrides, max_cycles if max_ticks is None else max_ticks)
    return TownletParallelEnv(
        config,
        observation=observation,
        mask=mask,
        details=details,
        render_mode=render_mode,
        render_size=render_size,
    )


def raw_env(scenario: str | Path | TownConfig = "queue_conflict", **settings: Any) -> AECEnv:
    """Return a town as a PettingZoo ``AECEnv`` without wrappers; settings as ``parallel_env``."""
    return parallel_to_aec(parallel_env(scenario, **settings))


def env(scenario: str | Path | TownConfig = "queue_conflict", **settings: Any) -> AECEnv:
    """Return a town as an ``AECEnv`` with PettingZoo's checks; settings as ``parallel_env``."""
    return OrderEnforcingWrapper(AssertOutOfBoundsWrapper(raw_env(scenario, **settings)))
