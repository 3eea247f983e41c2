"""Scenario names and files to checked configurations."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from townlet_env.config.catalogue import Catalogue
from townlet_env.config.safe_yaml import Document, Path_, read_yaml
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError, nearest

Model = TypeVar("Model", bound=BaseModel)


class Source(NamedTuple):
    """Where settings came from, for messages."""

    name: str
    lines: dict[Path_, int]


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
        raise ConfigError(f"unknown scenario {text!r}{nearest(text, names)}; or give a .yaml file")
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
        data = _merge(data, _nest(key.split("."), value))
    data["catalogue"] = _catalogue(Source(str(path), document.lines), data)
    return validate(TownConfig, data, Source(str(path), document.lines))


def _nest(keys: list[str], value: Any) -> dict[str, Any]:
    return {keys[0]: value if len(keys) == 1 else _nest(keys[1:], value)}


def _merge(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping)
        merged[key] = _merge(old, value) if both and isinstance(old, dict) else value
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
            where = _located(source, ("affordances", name))
            raise ConfigError(f"{where}: unknown affordance{nearest(str(name), known)}")
        if not isinstance(change, dict):
            raise ConfigError(f"{_located(source, ('affordances', name))}: expected a mapping")
    changed = Source(source.name, source.lines) if changes else Source(str(path), document.lines)
    return validate(Catalogue, _merge(document.data, {"affordances": changes}), changed)


def validate(model: type[Model], data: Mapping[str, Any], source: Source) -> Model:
    """Check ``data`` against a model; every fault becomes one line of one ConfigError."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = [_sentence(model, fault, source) for fault in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(faults))) from error


def _sentence(model: type[BaseModel], fault: Any, source: Source) -> str:
    # Tags of unions and the names of their members are not keys of the file.
    path = tuple(part for part in fault["loc"] if _is_key(part, source))
    where = _located(source, path)
    if fault["type"] == "extra_forbidden":
        key = str(fault["loc"][-1])
        known = _known_keys(model, fault["loc"][:-1])
        return f"{where}: unknown key {key!r}{nearest(key, known) if known else ''}"
    if fault["type"] == "missing":
        return f"{where}: expected this key, found nothing; add it"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    expected = message if message.startswith("expected") else f"expected {message}"
    found = fault.get("input")
    short = isinstance(found, str | int | float | bool | type(None))
    return f"{where}: {expected}" + (f", found {found!r}" if short else "")


def _is_key(part: str | int, source: Source) -> bool:
    if isinstance(part, int):
        return True
    return "[" not in part and not part.startswith("function-") and part not in _TAG_NAMES


_TAG_NAMES = frozenset({"str", "int", "float", "constrained-str", "WaitUntil", "WaitFor", "tuple"})


def _located(source: Source, path: Path_) -> str:
    """Return ``file: line N: dotted.key``; the line of the nearest known parent if need be."""
    # A union adds its tag to the path (`steps.0.go.go`): drop what repeats its successor.
    keys = tuple(p for k, p in enumerate(path) if k + 1 >= len(path) or p != path[k + 1])
    for length in range(len(keys), 0, -1):
        if keys[:length] in source.lines:
            dotted = ".".join(map(str, keys))
            return f"{source.name}: line {source.lines[keys[:length]]}: {dotted}"
    return f"{source.name}: {'.'.join(map(str, keys))}" if keys else source.name


def _known_keys(model: type[BaseModel], path: Path_) -> list[str]:
    """Return the keys allowed at ``path``; empty where they cannot be told."""
    current: Any = model
    for part in path:
        current = _child(current, part)
    models = _models(current)
    return sorted({name for m in models for name in _aliases(m)})


def _aliases(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _child(annotation: Any, part: str | int) -> Any:
    """Follow one key of a fault's path into the annotation it belongs to."""
    candidates = _models(annotation)
    for model in candidates:
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                return field.annotation
    if candidates and isinstance(part, str):
        tagged = [m for m in candidates if part in _aliases(m)]
        return tagged[0] if tagged else annotation
    return annotation


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models inside an annotation: itself, list items, union members."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Literal:
        return []
    return [model for part in get_args(annotation) for model in _models(part)]
