"""``split``: a capture in parts, to train on one and to judge on another."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from townlet_replay.entries import ManifestEntry
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture
from townlet_replay.tools.derived import Derived, Pick
from townlet_replay.writer import agent_slug

Unit = Literal["episode", "agent", "sample"]
"""What is never torn apart: residents of one episode are no independent data."""

TRAIN_AND_VALIDATION: Mapping[str, float] = {"train": 0.8, "validation": 0.2}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ROUNDING = 1e-9


def split_capture(
    capture: Capture,
    parts: Mapping[str, float] = TRAIN_AND_VALIDATION,
    *,
    by: Unit = "episode",
    seed: int = 0,
) -> dict[str, Derived]:
    """Draw the parts of a capture; every sample is in exactly one.

    Args:
        capture: left as it is.
        parts: name -> share of the units; shares sum to 1. Every part gets at least one unit.
        by: episodes, agents or samples stay whole.
        seed: of the draw; the same seed gives the same parts.

    Raises:
        CaptureError: a name that cannot be that of a folder, shares that do not sum to 1, or fewer
            units than parts.

    Example:
        >>> parts = split_capture(load_capture("captures/day"), by="episode", seed=3)
        >>> write_captures(parts, "captures/parts")
    """
    _check_parts(parts)
    units = _units(capture, by)
    counts = _counts(list(parts.values()), len(units))
    if counts is None:
        raise CaptureError(
            f"{capture.path}: {len(units)} {by}s cannot be split into {len(parts)} parts; record "
            "more, or split by a smaller unit"
        )
    order = np.random.default_rng(seed).permutation(len(units)).tolist()
    shuffled = [units[place] for place in order]
    found, start = {}, 0
    for name, count in zip(parts, counts, strict=True):
        indices = sorted(i for unit in shuffled[start : start + count] for i in unit)
        found[name] = _derived(capture, indices)
        start += count
    return found


def split_each(capture: Capture, by: Unit) -> dict[str, Derived]:
    """Give every unit a capture of its own.

    Args:
        capture: left as it is.
        by: the unit; the names of the captures are those of agents or samples, or
            ``episode_<number>``.
    """
    entries = capture.manifest.samples
    return {
        _name(entries[indices[0]], by): _derived(capture, indices)
        for indices in _units(capture, by)
    }


def _check_parts(parts: Mapping[str, float]) -> None:
    for name, share in parts.items():
        if not _NAME.fullmatch(name):
            raise CaptureError(
                f"the part {name!r} cannot name a folder: expected a letter or digit, then up to "
                "63 letters, digits, '_' or '-'"
            )
        if not 0 < share <= 1:
            raise CaptureError(f"part {name}: expected a share above 0 and up to 1, found {share}")
    if abs(math.fsum(parts.values()) - 1) > _ROUNDING:
        shares = " + ".join(f"{share:g}" for share in parts.values())
        raise CaptureError(f"expected shares that sum to 1, found {shares or 'none'}")


def _units(capture: Capture, by: Unit) -> list[list[int]]:
    """Return the samples of every unit, in the order in which units appear."""
    units: dict[object, list[int]] = {}
    for index, entry in enumerate(capture.manifest.samples):
        key = {"episode": entry.episode_id, "agent": entry.agent_id, "sample": index}[by]
        units.setdefault(key, []).append(index)
    return list(units.values())


def _name(entry: ManifestEntry, by: Unit) -> str:
    if by == "episode":
        return f"episode_{entry.episode_id:03d}"
    return agent_slug(entry.agent_id) if by == "agent" else PurePosixPath(entry.sample).stem


def _counts(shares: list[float], total: int) -> list[int] | None:
    """Return whole numbers near ``shares`` of ``total``, none of them 0; ``None`` if too few.

    What rounding down leaves over goes to the largest remainders, the first of equals.
    """
    if total < len(shares):
        return None
    exact = [round(share * total, 9) for share in shares]
    counts = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    for i, count in enumerate(counts):
        if count == 0:
            counts[counts.index(max(counts))] -= 1
            counts[i] = 1
    return counts


def _derived(capture: Capture, indices: list[int]) -> Derived:
    picks = tuple(Pick(capture, index) for index in indices)
    return Derived(capture.manifest.metadata, picks)
