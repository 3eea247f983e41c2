"""Reading YAML from strangers: no tags, no aliases, no duplicate keys, at most 1 MiB."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from townlet_env.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32

Path_ = tuple[str | int, ...]


class Document(NamedTuple):
    """A YAML file as plain data, and the line of every key."""

    data: dict[str, Any]
    lines: dict[Path_, int]  # dotted path -> line, from 1


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without tags, aliases (a few bytes of them can stand for gigabytes) and depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self._refuse("expected no aliases (*name); write the value out", event)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse(f"expected no tags, found {tag}; write plain values", event)
        if self.depth > MAX_DEPTH:
            self._refuse(f"expected at most {MAX_DEPTH} levels", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refuse(self, problem: str, event: yaml.Event) -> NoReturn:
        mark: Any = event.start_mark  # its stub names a class of the C parser as well
        raise yaml.constructor.ConstructorError(None, None, problem, mark)


def read_yaml(path: Path) -> Document:
    """Read one YAML mapping.

    Raises:
        ConfigError: The file is missing, too large, no mapping, or uses tags, aliases, duplicate
            keys or more than 32 levels.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: expected at most {MAX_BYTES} bytes, found {len(raw)}")
    try:
        loader = _PlainLoader(raw.decode("utf-8"))
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(
                f"{path}: expected a mapping of keys to values at the top, found {_word_for(node)}"
            )
        lines: dict[Path_, int] = {}
        _walk(path, node, (), lines)
        data = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML here: {_where(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8 text: {error.reason}") from error
    except ValueError as error:  # a number of ten thousand digits, a date of the 40th of May
        raise ConfigError(f"{path}: a value cannot be read: {error}") from error
    return Document(data, lines)


def _word_for(node: yaml.Node | None) -> str:
    if node is None:
        return "an empty file"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error)


def _walk(path: Path, node: yaml.Node, at: Path_, lines: dict[Path_, int]) -> None:
    """Note the line of every key; refuse keys that are no text or are there twice."""
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _walk(path, child, (*at, index), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            line = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                shown = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                raise ConfigError(
                    f"{path}: line {line}: expected a text as key, found {shown}; put it in quotes"
                )
            here = (*at, key.value)
            if here in lines:
                raise ConfigError(f"{path}: line {line}: key {key.value!r} is there twice")
            lines[here] = line
            _walk(path, child, here, lines)


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with a change: mappings key by key, everything else replaced."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both and isinstance(old, dict) else value
    return merged
