"""Tables of settings, read off the models that check them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from townlet_env.config.schema import JobConfig, ObjectConfig, ResidentConfig, TownConfig
from townlet_replay.entries import ManifestEntry
from townlet_replay.reference.markdown import code, table
from townlet_replay.sidecar import SampleMeta

RULE_SECTIONS = (
    "needs",
    "movement",
    "queues",
    "employment",
    "ties",
    "rewards",
    "prices",
    "utilities",
    "perturbations",
    "arrivals",
    "personalities",
    "economy",
    "lives",
)
_HEAD = ("key", "value", "default", "meaning")


class _Setting(NamedTuple):
    """One key of a settings file."""

    key: str
    kind: str
    default: str
    meaning: str

    def row(self) -> tuple[str, str, str, str]:
        """Return the cells of its line."""
        return code(self.key), self.kind, self.default, self.meaning


def scenario_keys() -> str:
    """Keys at the top of a scenario file; sections of rules are named, not opened."""
    hidden = {"catalogue", *RULE_SECTIONS}
    return _table(TownConfig, lambda key: key not in hidden, depth=0)


def object_keys() -> str:
    """Keys of an entry of ``objects``."""
    return _table(ObjectConfig)


def resident_keys() -> str:
    """Keys of an entry of ``residents``."""
    return _table(ResidentConfig)


def job_keys() -> str:
    """Keys of an entry of ``jobs``."""
    return _table(JobConfig)


def rule_settings() -> str:
    """Numbers of the rules that a scenario may change."""
    return _table(TownConfig, lambda key: key in RULE_SECTIONS)


def training_settings() -> str:
    """Keys of a training file."""
    # Imported here: it loads torch, which none of the other tables needs.
    from townlet_replay.training.config import TrainConfig

    return _table(TrainConfig)


def sidecar() -> str:
    """Fields of a sidecar; metrics are named, not opened."""
    return _table(SampleMeta, depth=1)


def manifest_entry() -> str:
    """Fields of an entry of a manifest."""
    return _table(ManifestEntry)


def _table(
    model: type[BaseModel], wanted: Callable[[str], bool] | None = None, depth: int = 8
) -> str:
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    settings = [
        setting
        for key, field in schema["properties"].items()
        if wanted is None or wanted(key)
        for setting in _walk(key, field, definitions, schema.get("required", []), depth)
    ]
    return table(_HEAD, [setting.row() for setting in settings])


def _walk(
    key: str, field: dict[str, Any], definitions: dict[str, Any], required: list[str], depth: int
) -> Iterator[_Setting]:
    """Yield a key, or the keys of the section it opens."""
    section = _section(field, definitions)
    if section is None or depth == 0:
        leaf = key.rsplit(".", 1)[-1]
        default = "required" if leaf in required else _default(field)
        yield _Setting(key, _kind(field, definitions), default, field.get("description", ""))
        section = _section_of_choice(field, definitions) if depth else None
    if section is None:
        return
    defaults = field.get("default", {})
    for name, own in section["properties"].items():
        # What the section is given here wins over its own default.
        child = {**own, "default": defaults[name]} if name in defaults else own
        inner = section.get("required", [])
        yield from _walk(f"{key}.{name}", child, definitions, inner, depth - 1)


def _section(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    if "$ref" not in field:
        return None
    found: dict[str, Any] = definitions[field["$ref"].rsplit("/", 1)[-1]]
    return found if "properties" in found else None


def _section_of_choice(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    """Return the one section among what a value may be, if there is something else as well."""
    parts = [part for part in field.get("anyOf", []) if part.get("type") != "null"]
    sections = [found for part in parts if (found := _section(part, definitions)) is not None]
    return sections[0] if len(sections) == 1 < len(parts) else None


def _default(field: dict[str, Any]) -> str:
    found = field.get("default")
    if found is None:
        return "none"
    if isinstance(found, bool):
        return code(str(found).lower())
    return code(_flow(found))


def _flow(found: Any) -> Any:
    """Return mappings as one writes them in a scenario, anything else as it is."""
    if not isinstance(found, dict):
        return found
    return f"{{{', '.join(f'{key}: {_flow(value)}' for key, value in found.items())}}}"


def _kind(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return what a value may be, in words."""
    if "$ref" in field:
        return "section"
    if "anyOf" in field or "oneOf" in field:
        kinds = [_kind(part, definitions) for part in field.get("anyOf") or field["oneOf"]]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "nothing"))
    if "enum" in field:
        return ", ".join(code(value) for value in field["enum"])
    if "const" in field:
        return code(field["const"])
    words = {"string": "text", "boolean": "true or false", "null": "nothing", "object": "mapping"}
    kind = str(field.get("type", "anything"))
    if kind == "array":
        return "list" if "items" in field else f"list of {field['minItems']}"
    return f"{words.get(kind, kind)}{_bounds(field)}"


def _bounds(field: dict[str, Any]) -> str:
    """Return the bounds of a number as they are usually written; huge ones are no news."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [
        f"{sign} {field[name]:g}"
        for name, sign in signs.items()
        if name in field and abs(field[name]) < 1e6
    ]
    return f" {', '.join(bounds)}" if bounds else ""
