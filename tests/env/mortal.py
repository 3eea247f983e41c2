"""A town where people soon leave and others come."""

from __future__ import annotations

from typing import Any

# Who does not eat faints after some twenty ticks; newcomers follow after two or three.
MORTAL: dict[str, Any] = {
    "ticks": 90,
    "expect": [],
    "needs.decay": {"hunger": 0.04, "hygiene": 0.0, "energy": 0.0},
    "lives": {"faint_after": 2, "exits_per_day": 64, "exit_gap": 4, "grace_ticks": 3},
    "arrivals": {"enabled": True, "delay": [1, 3]},
}
