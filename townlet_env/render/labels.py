"""Short names that fit on a map."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBERED = re.compile(r"^(.).*?(\d+)$")


def short_labels(names: Sequence[str], limit: int = 3) -> tuple[str, ...]:
    """Return a short label for each name, all different as long as ``limit`` characters allow.

    ``anna`` becomes ``A``; next to ``abe`` they are ``An`` and ``Ab``. What ends in a number keeps
    it: ``newcomer_3`` becomes ``N3``.
    """
    return tuple(_label(name, names, limit) for name in names)


def _label(name: str, names: Sequence[str], limit: int) -> str:
    numbered = _NUMBERED.match(name)
    if numbered:
        return f"{numbered[1].upper()}{numbered[2]}"[:limit]
    others = [other for other in names if other != name and not _NUMBERED.match(other)]
    for length in range(1, limit):
        if not any(other[:length].lower() == name[:length].lower() for other in others):
            return name[:length].capitalize()
    return name[:limit].capitalize()


def kind_codes(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return two small letters for each kind of object, all different: ``fr`` for fridge."""
    codes: list[str] = []
    for kind in kinds:
        letters = kind.replace("_", "")
        pairs = [letters[0] + other for other in (*letters[1:], *"0123456789", "x")]
        codes.append(next(pair for pair in pairs if pair not in codes or pair == pairs[-1]))
    return tuple(codes)
