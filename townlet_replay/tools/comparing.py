"""Where two documents differ, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

ABSENT = "absent"


class Difference(NamedTuple):
    """One field that two documents do not share."""

    field: str  # such as ``capture_metadata.seed`` or ``feature_names[3]``
    left: Any  # ``ABSENT`` where only the other has it
    right: Any

    def __str__(self) -> str:
        return f"{self.field}: {brief(self.left)} and {brief(self.right)}"


def differences(left: Any, right: Any, field: str = "") -> Iterator[Difference]:
    """Yield every field that differs, in the order of ``left``.

    Args:
        left: a mapping, a sequence or a plain value, nested as deep as you like.
        right: the other one.
        field: what both are called.
    """
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        names = {name: f"{field}.{name}" if field else str(name) for name in [*left, *right]}
        yield from _entries(left, right, names)
    elif _is_list(left) and _is_list(right):
        ours, theirs = dict(enumerate(left)), dict(enumerate(right))
        yield from _entries(ours, theirs, {i: f"{field}[{i}]" for i in [*ours, *theirs]})
    elif left != right:
        yield Difference(field, left, right)


def _entries(
    left: Mapping[Any, Any], right: Mapping[Any, Any], fields: Mapping[Any, str]
) -> Iterator[Difference]:
    for key, field in fields.items():
        if key in left and key in right:
            yield from differences(left[key], right[key], field)
        else:
            yield Difference(field, left.get(key, ABSENT), right.get(key, ABSENT))


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def brief(value: object) -> str:
    """Return a value for a message: of any length, cut to sixty characters."""
    text = ABSENT if value is ABSENT else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
