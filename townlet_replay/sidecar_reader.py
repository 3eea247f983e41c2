"""Many sidecars read as :func:`~townlet_replay.sidecar.read_document` reads one, at half the cost.

Most of a sidecar are names that all samples of a capture have in common: they are read once. The
rest is parsed once instead of twice where a glance shows that the strict parse would accept it.
"""

from __future__ import annotations

from collections.abc import Sized

from pydantic import BaseModel, ValidationError

from townlet_replay.errors import CaptureError
from townlet_replay.safe_files import MAX_JSON_DIGITS, check_json
from townlet_replay.sidecar import READABLE_VERSIONS, SampleMeta, read_document, unsealed

# The lines of a sidecar that say the same in most of a capture.
_NAMES = {"feature_names", "map_channels", "reward_components", "action_lookup"}
_FIRST_NAMES, _AFTER_NAMES = b'\n"feature_names": ', b'\n"action_dim": '
_MOST_KNOWN, _MOST_BYTES = 64, 2**16  # of their different versions, and of one

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_BEFORE_NUMBERS = (b":", b",", b"[", b"-")
_LONG_NUMBERS = tuple(mark + b"0" * MAX_JSON_DIGITS for mark in _BEFORE_NUMBERS)


class SidecarReader:
    """Reads the sidecars of a capture; the names that many of them hold are kept once, and shared.

    What is read and what is refused is the same as with
    :func:`~townlet_replay.sidecar.read_document`.
    """

    def __init__(self) -> None:
        """Begin without any names."""
        self._known: dict[bytes, dict[str, object]] = {}  # lines of a sidecar -> what they say

    def read(self, data: bytes, where: str) -> SampleMeta:
        """Return a sidecar.

        Args:
            data: the content of the file.
            where: the file, for the message.

        Raises:
            CaptureError: as :func:`~townlet_replay.sidecar.read_document`.
        """
        lines = _lines_of_names(data)
        known = None if lines is None else self._known.get(data[lines])
        if lines is not None and known is not None:
            meta = _read_without(data, lines, known)
            if meta is not None:
                return meta
        meta = read_document(SampleMeta, data, where)
        if lines is not None and len(self._known) < _MOST_KNOWN:
            said = _said_alone(data[lines], meta)
            if said is not None:
                self._known[data[lines]] = said
        return meta


def _lines_of_names(data: bytes) -> slice | None:
    """Return where the names are, in a sidecar laid out as it is written.

    No text of JSON goes over the end of a line. So whole lines, with no bracket before them but the
    first, are members of the document itself.
    """
    start, end = data.find(_FIRST_NAMES) + 1, data.find(_AFTER_NAMES) + 1
    if not 0 < start < end <= start + _MOST_BYTES or not data.startswith(b"{\n"):
        return None
    before = data[1:start]
    plain = not any(bracket in before for bracket in (b"{", b"}", b"[", b"]"))
    return slice(start, end) if plain else None


def _said_alone(lines: bytes, meta: SampleMeta) -> dict[str, object] | None:
    """Return what lines of a sound sidecar say, if they are whole members that can be shared."""
    if not lines.endswith(b",\n"):
        return None
    try:
        alone = check_json(b"{" + lines[:-2] + b"}", "")
    except CaptureError:
        return None
    if not isinstance(alone, dict) or not alone.keys() <= _NAMES:
        return None
    return {name: getattr(meta, name) for name in alone}


def _read_without(data: bytes, lines: slice, known: dict[str, object]) -> SampleMeta | None:
    """Return a sidecar of which some lines have been read before.

    Returns:
        ``None`` if it is not sound, or if this cannot be seen at a glance.
    """
    try:
        document = unsealed(data, "")
        rest = document[: lines.start] + document[lines.stop :]
        meta = SampleMeta.model_validate_json(rest)
    except (CaptureError, ValidationError):
        return None
    if meta.model_fields_set & known.keys() or meta.schema_version not in READABLE_VERSIONS:
        return None
    return meta.model_copy(update=known) if _is_strict(rest, _keys_in(meta)) else None


def _is_strict(text: bytes, keys: int) -> bool:
    """Say whether JSON that a model accepted is surely what ``check_json`` would accept.

    Args:
        text: JSON.
        keys: all that arrived in the model, and in the mappings in it.

    Without spaces a quote and a colon end every key. So all keys of the text are counted below, and
    perhaps more: none came twice if the numbers agree. Infinities, nesting and text that is not
    UTF-8 the model has refused.
    """
    tight = text.translate(_DIGITS_TO_ZERO, b" \n\r\t")
    long = any(number in tight for number in _LONG_NUMBERS)
    return tight.count(b'":') == keys and not long


def _keys_in(meta: SampleMeta) -> int:
    metrics, origin = meta.metrics, meta.capture_metadata
    parts: list[BaseModel | None] = [meta, meta.behaviour, origin, metrics, meta.source]
    tables: list[Sized | None] = [meta.action_lookup, meta.digests, origin.versions]
    if metrics is not None:
        tables += [metrics.reward_component_sums, metrics.affordance_finishes]
        tables.append(metrics.action_counts)
    keys = sum(len(part.model_fields_set) for part in parts if part is not None)
    return keys + sum(len(table) for table in tables if table is not None)
