"""What a chart is made of; who draws it is another matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from townlet_replay.compare.results import ArmName

Kind = Literal["line", "dots", "band", "bars", "heat"]
Group = Literal[
    "scores",
    "curves",
    "profile",
    "kpis",
    "thresholds",
    "capture",
    "health",
    "agreement",
    "confusion",
    "overall",
    "scenarios",
]

# Okabe and Ito's colours, which the colour-blind can tell apart; markers and dashes differ as well.
COLOURS: dict[ArmName, str] = {
    "live_native": "#0072B2",
    "live_sb3": "#D55E00",
    "capture_native": "#009E73",
    "capture_sb3": "#CC79A7",
    "bc": "#E69F00",
    "bc_then_live": "#56B4E9",
    "script": "#000000",
    "random": "#7a7a7a",
}
MARKERS: dict[ArmName, str] = {
    "live_native": "circle",
    "live_sb3": "square",
    "capture_native": "triangle-up",
    "capture_sb3": "diamond",
    "bc": "triangle-down",
    "bc_then_live": "cross",
    "script": "x",
    "random": "x",
}
BY_CATEGORY: tuple[Group, ...] = ("scores", "kpis", "thresholds", "overall", "scenarios")
"""Groups whose charts have a line per arm."""
SHARED: tuple[Group, ...] = ("curves", "profile", "health")
"""Groups whose charts share one legend on a page."""


class Series(NamedTuple):
    """Something drawn in a chart; bands and error bars lie between ``low`` and ``high``."""

    kind: Kind
    name: str
    colour: str
    x: Sequence[float] | Sequence[str]
    y: Sequence[float] | Sequence[str]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    marker: str | None = None
    faint: bool = False  # one of several seeds: thin, not in the legend
    hollow: bool = False
    shade: float = 0.13  # opacity of a band
    heights: Sequence[Sequence[int]] = ()  # of a heat map, [y][x]


class Reference(NamedTuple):
    """A straight line that others are held against."""

    name: str
    at: float
    colour: str
    dash: Literal["dash", "dot"]
    upright: bool = False


class Chart(NamedTuple):
    """One panel."""

    group: Group
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    references: tuple[Reference, ...] = ()
    y_range: tuple[float, float] | None = None
    x_range: tuple[float, float] | None = None
    wide: bool = False
