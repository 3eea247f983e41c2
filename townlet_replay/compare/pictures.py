"""Charts as pictures, for the report in Markdown: one PNG per group of panels."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from townlet_replay.compare.panels import BY_CATEGORY, Chart, Series

_COLUMNS = 3
_WIDTH, _HEIGHT = 5.0, 3.6  # inches of a panel
_LEGEND, _NAMES, _NUMBERS = 0.5, 1.3, 0.65  # inches: below, left of names, left of numbers
_DPI = 100
_SYMBOLS = {
    "circle": "o",
    "square": "s",
    "triangle-up": "^",
    "triangle-down": "v",
    "triangle-right": ">",
    "diamond": "D",
    "cross": "P",
    "x": "x",
}
_DASHES = {"dash": "--", "dot": ":"}


def picture_of(charts: Sequence[Chart]) -> bytes:
    """Draw the panels of a group, as PNG; the same charts give the same bytes.

    Args:
        charts: At least one.
    """
    columns = 2 if len(charts) == 4 else min(_COLUMNS, len(charts))
    columns = 1 if any(chart.wide for chart in charts) else columns
    rows = -(-len(charts) // columns)
    width = _WIDTH * columns if columns > 1 else 2 * _WIDTH
    height = _HEIGHT * rows + _LEGEND
    figure = Figure(figsize=(width, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    # Margins by hand: layout engines draw everything twice.
    left = _NAMES if charts[0].group in (*BY_CATEGORY, "confusion") else _NUMBERS
    slanted = charts[0].group in ("capture", "confusion")
    below = 1.0 if slanted else 0.55
    figure.subplots_adjust(
        left=left / width,
        right=1 - 0.15 / width,
        top=1 - 0.35 / height,
        bottom=(_LEGEND + below) / height,
        wspace=(left + 0.25) / (_WIDTH - left - 0.25),
        hspace=(below + 0.45) / (_HEIGHT - below - 0.45),
    )
    panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, chart in zip(panels, charts, strict=False):
        _draw(axis, chart)
    for axis in panels[len(charts) :]:
        axis.set_visible(False)
    _legend(figure, panels[: len(charts)], charts)
    file = io.BytesIO()
    # Without the version of the library in it, the same results give the same bytes.
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _draw(axis: Axes, chart: Chart) -> None:
    axis.set_title(plain(chart.title), loc="left", fontsize=10)
    axis.set_xlabel(plain(chart.x_label), fontsize=9)
    axis.set_ylabel(plain(chart.y_label), fontsize=9)
    axis.tick_params(labelsize=8)
    for number, series in enumerate(chart.series):
        _draw_series(axis, chart, series, number)
    for line in chart.references:
        draw = axis.axvline if line.upright else axis.axhline
        draw(line.at, color=line.colour, linestyle=_DASHES[line.dash], linewidth=1, zorder=1)
    if chart.y_range is not None:
        axis.set_ylim(chart.y_range)
    if chart.x_range is not None:
        axis.set_xlim(chart.x_range)
    if chart.group in BY_CATEGORY:
        axis.invert_yaxis()
        axis.margins(y=0.12)
    if chart.group != "confusion":
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)


def _draw_series(axis: Axes, chart: Chart, series: Series, number: int) -> None:
    if series.kind == "band":
        low, high = np.array(series.low), np.array(series.high)
        axis.fill_between(
            _numbers(series), low, high, color=series.colour, alpha=series.shade, linewidth=0
        )
    elif series.kind == "line":
        _line(axis, series)
    elif series.kind == "dots":
        _dots(axis, series)
    elif series.kind == "bars":
        _bars(axis, chart, series, number)
    else:
        _heat(axis, series)


def _numbers(series: Series) -> list[float]:
    return [float(x) for x in series.x]


def _line(axis: Axes, series: Series) -> None:
    x = [plain(value) if isinstance(value, str) else value for value in series.x]
    axis.plot(
        x,
        [float(y) for y in series.y],
        color=series.colour,
        linewidth=0.7 if series.faint else 2.0,
        alpha=0.45 if series.faint else 1.0,
        marker=None if series.marker is None else _SYMBOLS[series.marker],
        markersize=4.5,
        label=None if series.faint else plain(series.name),
    )


def _dots(axis: Axes, series: Series) -> None:
    x = _numbers(series)
    reach = None
    if series.low is not None and series.high is not None:
        reach = [np.subtract(x, series.low), np.subtract(series.high, x)]
    axis.errorbar(
        x,
        [plain(str(y)) for y in series.y],
        xerr=reach,
        color=series.colour,
        marker=_SYMBOLS[series.marker or "circle"],
        markerfacecolor="none" if series.hollow else series.colour,
        markersize=7,
        linestyle="none",
        capsize=3,
    )


def _bars(axis: Axes, chart: Chart, series: Series, number: int) -> None:
    if isinstance(series.x[0], str):
        width = 0.8 / len(chart.series)
        places = np.arange(len(series.x)) + (number - (len(chart.series) - 1) / 2) * width
        axis.bar(places, _heights(series), width, color=series.colour, label=plain(series.name))
        names = [plain(str(name)) for name in series.x]
        axis.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
        return
    x = _numbers(series)
    width = (x[1] - x[0]) * 0.92 if len(x) > 1 else 0.8
    axis.bar(x, _heights(series), width, color=series.colour)


def _heights(series: Series) -> list[float]:
    return [float(y) for y in series.y]


def _heat(axis: Axes, series: Series) -> None:
    counts = np.array(series.heights, np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [plain(str(name)) for name in series.x]
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink = "white" if shares[row, column] > 0.5 else "black"
        text = f"{counts[row, column]:.0f}"
        axis.text(column, row, text, ha="center", va="center", color=ink, fontsize=7)


def _legend(figure: Figure, panels: Sequence[Axes], charts: Sequence[Chart]) -> None:
    if charts[0].group in BY_CATEGORY:
        return
    found: dict[str, Artist] = {}
    for axis in panels:
        handles, labels = axis.get_legend_handles_labels()
        found |= {label: h for label, h in zip(labels, handles, strict=True) if label not in found}
    if len(found) > 1:
        figure.legend(
            list(found.values()),
            list(found),
            loc="lower center",
            ncols=min(len(found), 6),
            frameon=False,
            fontsize=9,
        )


def plain(text: str) -> str:
    """Keep dollars in names from being read as formulas, and control characters out."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    return flat.replace("$", r"\$")
