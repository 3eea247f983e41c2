"""Reading YAML from strangers: no tags, no aliases, no duplicate keys, at most 1 MiB."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

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
    """SafeLoader without aliases: a few bytes of them can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(
                None, None, "expected no aliases (*name); write the value out", mark
            )
        return super().compose_node(parent, index)


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
            raise ConfigError(f"{path}: expected a mapping of keys to values at the top")
        lines: dict[Path_, int] = {}
        _walk(path, node, (), lines)
        data = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML here: {_where(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8 text: {error.reason}") from error
    return Document(data, lines)


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error)


def _walk(path: Path, node: yaml.Node, at: Path_, lines: dict[Path_, int]) -> None:
    """Note the line of every key; refuse duplicates and deep nesting."""
    line = node.start_mark.line + 1
    lines.setdefault(at, line)
    if len(at) > MAX_DEPTH:
        raise ConfigError(f"{path}: line {line}: expected at most {MAX_DEPTH} levels")
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _walk(path, child, (*at, index), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            here = (*at, str(key.value))
            if here in lines:
                number = key.start_mark.line + 1
                raise ConfigError(f"{path}: line {number}: key {key.value!r} is there twice")
            lines[here] = key.start_mark.line + 1
            _walk(path, child, here, lines)
