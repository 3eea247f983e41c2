"""Scenario names and files to checked configurations."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from townlet_env.config.catalogue import Catalogue
from townlet_env.config.faults import Source, sentences
from townlet_env.config.layout import lay_out
from townlet_env.config.safe_yaml import Document, read_yaml
from townlet_env.config.schedules import check_schedules
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError, nearest

__all__ = ["Source", "configs_dir", "list_scenarios", "load_scenario", "scenario_path", "validate"]

Model = TypeVar("Model", bound=BaseModel)


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
            raise ConfigError(f"expected a scenario file, found none at {text}")
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
    data["catalogue"] = _catalogue(source, data)
    config = validate(TownConfig, data, source)
    check_schedules(config, lay_out(config, source.at), source.at)
    return config


def _nest(keys: list[str], value: Any) -> dict[str, Any]:
    return {keys[0]: value if len(keys) == 1 else _nest(keys[1:], value)}


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with a change: mappings key by key, everything else replaced."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both and isinstance(old, dict) else value
    return merged


def _catalogue(source: Source, data: dict[str, Any]) -> Catalogue:
    """Return the shipped catalogue with the scenario's changes."""
    path = configs_dir() / "affordances.yaml"
    document: Document = read_yaml(path)
    changes = data.get("affordances") or {}
    if not isinstance(changes, dict):
        raise ConfigError(f"{source.name}: affordances: expected a mapping of names to changes")
    known = document.data.get("affordances", {})
    for name, change in changes.items():
        if name not in known:
            where = source.at(("affordances", name))
            raise ConfigError(f"{where}: unknown affordance {name!r}{nearest(str(name), known)}")
        if not isinstance(change, dict):
            where = source.at(("affordances", name))
            raise ConfigError(f"{where}: expected a mapping of keys to values, found {change!r}")
    changed = source if changes else Source(str(path), document.lines)
    return validate(Catalogue, merge(document.data, {"affordances": changes}), changed)


def validate(model: type[Model], data: Mapping[str, Any], source: Source) -> Model:
    """Check ``data`` against a model; every fault becomes one line of one ConfigError."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(sentences(model, error, source))) from error
