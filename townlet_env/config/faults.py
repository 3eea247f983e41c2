"""What is wrong with a file, in sentences: where, what was expected, what was found."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Discriminator, Tag, ValidationError
from pydantic_core import ErrorDetails

from townlet_env.config.safe_yaml import Path_
from townlet_env.errors import ConfigError, nearest

Where = Callable[[Path_], str]  # says for a message where a key stands
Model = TypeVar("Model", bound=BaseModel)


# What pydantic tells in words of Python.
SHAPES = {
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "tuple_type": "a list",
    "list_type": "a list",
    "int_parsing_size": "a whole number of fewer digits",
}


class Source(NamedTuple):
    """Where settings came from, for messages."""

    name: str
    lines: Mapping[Path_, int]

    def at(self, path: Path_) -> str:
        """Return ``file: line N: dotted.key``; the line of the nearest known parent if need be."""
        dotted = ".".join(map(str, path))
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return f"{self.name}: line {self.lines[path[:length]]}: {dotted}"
        return f"{self.name}: {dotted}" if path else self.name


class Fault(NamedTuple):
    """One thing that pydantic found wrong."""

    path: Path_  # keys of the file only
    detail: ErrorDetails
    expects: Any  # annotation at the path; for a key that is unknown or missing, of its parent
    union: Path_ | None  # where a choice without a tag was open, if one was
    branch: str  # which member of that union this fault belongs to


def validate(model: type[Model], data: Mapping[str, Any], source: Source) -> Model:
    """Check ``data`` against a model; every fault becomes one line of one ConfigError."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(sentences(model, error, source))) from error


def sentences(model: type[BaseModel], error: ValidationError, source: Source) -> list[str]:
    """Return one sentence per fault, without those that only repeat another."""
    faults = [_read(model, detail) for detail in error.errors()]
    faults = _without_other_branches(faults)
    meant = {(*fault.path[:-1], _meant(fault)) for fault in faults if _is_unknown_key(fault)}
    said = [
        f"{source.at(fault.path)}: {_say(fault)}"
        for fault in faults
        if not (fault.detail["type"] == "missing" and fault.path in meant)
    ]
    return list(dict.fromkeys(said))


def _read(model: type[BaseModel], detail: ErrorDetails) -> Fault:
    """Follow a fault's location through the annotations: what is no key of the file falls out."""
    path: list[str | int] = []
    current: Any = model
    union, branch = None, ""
    *parents, last = detail["loc"] or ("",)
    about_a_key = detail["type"] in ("extra_forbidden", "missing")
    for part in [*parents] if about_a_key or last == "[key]" else [*detail["loc"]]:
        current = _plain(current)
        if _tags(current):
            current = _tags(current).get(str(part))
        elif _members(current):
            union, branch = tuple(path), str(part)
            current = next((m for m in _members(current) if _label(m) == part), None)
        else:
            path.append(part)
            current = _child(current, part)
    current = _plain(current)
    if about_a_key:
        path.append(last)
    return Fault(tuple(path), detail, current, union, branch)


def _plain(annotation: Any) -> Any:
    """Take off ``Annotated`` (unless it marks a tagged union) and ``None``."""
    while True:
        if get_origin(annotation) is Annotated and not _tags(annotation):
            annotation = get_args(annotation)[0]
            continue
        if get_origin(annotation) in (Union, types.UnionType):
            members = [m for m in get_args(annotation) if m is not type(None)]
            if len(members) == 1:
                annotation = members[0]
                continue
        return annotation


def _tags(annotation: Any) -> dict[str, Any]:
    """Return the members of a tagged union by tag; empty for anything else."""
    if get_origin(annotation) is not Annotated:
        return {}
    inner, *marks = get_args(annotation)
    if not any(isinstance(mark, Discriminator) for mark in marks):
        return {}
    return {
        mark.tag: get_args(member)[0]
        for member in get_args(inner)
        for mark in get_args(member)[1:]
        if isinstance(mark, Tag)
    }


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union without tags; empty for anything else."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return []
    return [_plain(member) for member in get_args(annotation) if member is not type(None)]


def _label(member: Any) -> str:
    return member.__name__ if _is_model(member) else ""


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _child(annotation: Any, part: str | int) -> Any:
    """Return the annotation of a key or an item."""
    if _is_model(annotation):
        for name, field in annotation.model_fields.items():
            if part in (name, field.alias):
                # pydantic keeps what was in Annotated[...] apart; a discriminator is needed here.
                marks = [mark for mark in field.metadata if isinstance(mark, Discriminator)]
                return Annotated[field.annotation, marks[0]] if marks else field.annotation
        return None
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return arguments[1]
    if get_origin(annotation) is tuple and isinstance(part, int) and Ellipsis not in arguments:
        return arguments[part] if part < len(arguments) else None
    return arguments[0] if get_origin(annotation) in (list, tuple) else None


def _without_other_branches(faults: list[Fault]) -> list[Fault]:
    """Keep, of the members of every union, the one the file came closest to."""
    kept = []
    for fault in faults:
        rivals = [other for other in faults if other.union == fault.union]
        if fault.union is None or fault.branch == _closest_branch(rivals):
            kept.append(fault)
    return kept


def _closest_branch(faults: list[Fault]) -> str:
    """Return the member with the fewest faults; a misspelt key counts less than a missing one."""
    costs: dict[str, float] = {}
    for fault in faults:
        cost = 1.0
        if fault.path == fault.union and not _has_shape(fault):
            cost = 100.0  # a mapping for a number, or the reverse
        elif _is_unknown_key(fault) and _meant(fault):
            cost = 0.5
        costs[fault.branch] = costs.get(fault.branch, 0.0) + cost
    return min(costs, key=lambda branch: costs[branch])


def _has_shape(fault: Fault) -> bool:
    """Tell whether what was found is a mapping, a list or a single value as the member is."""
    found = fault.detail["input"]
    if _is_model(fault.expects):
        return isinstance(found, dict)
    # pydantic names the members that are no models by their type: `tuple[...]`, `constrained-int`.
    return isinstance(found, list) == fault.branch.startswith(("tuple", "list")) and not isinstance(
        found, dict
    )


def _is_unknown_key(fault: Fault) -> bool:
    return fault.detail["type"] == "extra_forbidden"


def _known(fault: Fault) -> list[str]:
    """Return the words that could stand where the fault is: keys, tags or literal values."""
    expects = fault.expects
    if _is_model(expects):
        return [field.alias or name for name, field in expects.model_fields.items()]
    if _tags(expects):
        return list(_tags(expects))
    return [str(word) for word in get_args(expects)] if get_origin(expects) is Literal else []


def _meant(fault: Fault) -> str:
    """Return the known key that an unknown one was probably meant to be, or ``""``."""
    close = get_close_matches(str(fault.path[-1]), _known(fault), n=1, cutoff=0.6)
    return close[0] if close else ""


def _say(fault: Fault) -> str:
    kind, found, context = fault.detail["type"], fault.detail["input"], fault.detail.get("ctx", {})
    if kind == "extra_forbidden":
        key = str(fault.path[-1])
        return f"unknown key {key!r}{nearest(key, _known(fault))}"
    if kind == "missing":
        what = "this key" if isinstance(fault.path[-1], str) else "one more item"
        return f"expected {what}, found nothing; add it"
    if kind.startswith("unknown_") and isinstance(found, dict) and found:
        key = str(next(iter(found)))
        return f"unknown key {key!r}{nearest(key, _known(fault))}"
    if kind == "literal_error" and isinstance(found, str):
        return f"unknown value {found!r}{nearest(found, _known(fault))}"
    if kind in ("too_long", "too_short"):
        bound = "at most" if kind == "too_long" else "at least"
        length = context["max_length" if kind == "too_long" else "min_length"]
        return f"expected {bound} {length} items, found {context['actual_length']}"
    if kind == "string_pattern_mismatch":
        return f"expected text like {context['pattern']}{_shown(found)}"
    if kind in SHAPES:
        return f"expected {SHAPES[kind]}{_shown(found)}"
    message = fault.detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if kind == "value_error":
        return message
    expected = message if message.startswith("expected") else f"expected {message}"
    return expected + _shown(found)


def _shown(found: Any) -> str:
    """Return what stands in the file, if it is short enough to repeat."""
    if isinstance(found, str | int | float | bool | type(None)) and len(repr(found)) <= 80:
        return f", found {found!r}"
    if isinstance(found, list):
        return ", found a list"
    return ", found a mapping" if isinstance(found, dict) else ""
