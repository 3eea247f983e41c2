"""Scenario names and files to checked configurations."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from townlet_env.config.additions import catalogue_of
from townlet_env.config.economy_check import check_economy
from townlet_env.config.expectations import check_claims
from townlet_env.config.faults import Source, validate
from townlet_env.config.layout import lay_out
from townlet_env.config.safe_yaml import merge, read_yaml
from townlet_env.config.schedules import check_schedules
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError, nearest

__all__ = [
    "Source",
    "configs_dir",
    "list_scenarios",
    "load_scenario",
    "merge",
    "scenario_path",
    "validate",
]


def configs_dir() -> Path:
    """Return the folder of scenarios and catalogues: of the checkout, or the packaged copy."""
    packaged = Path(str(files("townlet_env"))) / "configs"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "configs"


def list_scenarios() -> list[str]:
    """Return the names of the shipped scenarios, sorted."""
    return sorted(path.stem for path in (configs_dir() / "scenarios").glob("*.yaml"))


def scenario_path(name_or_path: str | Path) -> Path:
    """Return the file of a scenario given by name or path.

    Raises:
        ConfigError: No such scenario.
    """
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")):
        if not Path(text).is_file():
            what = "a folder" if Path(text).is_dir() else "none"
            raise ConfigError(f"expected a scenario file, found {what} at {text}")
        return Path(text)
    names = list_scenarios()
    if text not in names:
        raise ConfigError(f"unknown scenario {text!r}, and no .yaml file{nearest(text, names)}")
    return configs_dir() / "scenarios" / f"{text}.yaml"


def load_scenario(
    name_or_path: str | Path, overrides: Mapping[str, Any] | None = None
) -> TownConfig:
    """Read and check a scenario.

    Args:
        name_or_path: A shipped name such as ``"queue_conflict"``, or the path of a YAML file.
        overrides: Settings that replace those of the file. Mappings are merged key by key,
            everything else is replaced; keys may be dotted (``{"needs.decay.hunger": 0.01}``).

    Raises:
        ConfigError: With file, line where known, and dotted key.
    """
    path = scenario_path(name_or_path)
    document = read_yaml(path)
    data = dict(document.data)
    if "catalogue" in data:
        raise ConfigError(f"{path}: catalogue: set by the loader; change `affordances` instead")
    for key, value in (overrides or {}).items():
        data = merge(data, _nest(key.split("."), value))
    source = Source(str(path), document.lines)
    shipped_path = configs_dir() / "affordances.yaml"
    shipped = read_yaml(shipped_path)
    shipped_at = Source(str(shipped_path), shipped.lines)
    data["catalogue"] = catalogue_of(shipped, shipped_at, data, source)
    config = validate(TownConfig, data, source)
    check_schedules(config, lay_out(config, source.at), source.at)
    check_economy(config, source.at)
    # What a caller replaces may take away what the file's claims are about.
    if not overrides or "expect" in overrides:
        check_claims(config, source.at)
    return config


def _nest(keys: list[str], value: Any) -> dict[str, Any]:
    return {keys[0]: value if len(keys) == 1 else _nest(keys[1:], value)}
