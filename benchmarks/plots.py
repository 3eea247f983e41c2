"""Plots of the scaling curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

COLOURS = ("#2e7dd1", "#d1762e", "#3f9b57", "#8a4fbf")


def draw(results: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw every curve of every group into ``folder`` and return the files."""
    drawn = []
    for document in results.values():
        for curve in document.get("curves", ()):
            path = folder / image_of(curve)
            plot(curve).savefig(path)
            drawn.append(path)
    return drawn


def image_of(curve: Mapping[str, Any]) -> str:
    """Return the name of a curve's file."""
    return f"speed_{curve['name']}.png"


def plot(curve: Mapping[str, Any]) -> Figure:
    """Return a curve as a figure: sizes by powers of two, speed from zero."""
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for (name, (x, y)), colour in zip(curve["series"].items(), COLOURS, strict=False):
        axes.plot(x, y, "o-", color=colour, label=name, linewidth=1.6, markersize=4)
    axes.set_xscale("log", base=2)
    plain = FuncFormatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_major_formatter(plain)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.set_xlabel(curve["x"])
    axes.set_ylabel(curve["y"])
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure


def _short(value: float, _: Any) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value else "0"
