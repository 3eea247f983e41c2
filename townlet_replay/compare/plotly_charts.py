"""Charts as plotly's figures: plain data, no code."""

from __future__ import annotations

import html
from typing import Any

from townlet_replay.compare.panels import BY_CATEGORY, SHARED, Chart, Reference, Series

_FONT = {"family": "system-ui, sans-serif", "size": 12, "color": "#1d2733"}
_GRID = "#e3e7eb"
_ROW = 26  # pixels of a category
_HEIGHT, _WIDE_HEIGHT = 280, 350  # pixels without the legend
_BELOW, _LEGEND_ROW = 58, 20


def figure_of(chart: Chart) -> dict[str, Any]:
    """Return ``data`` and ``layout`` of a chart.

    Plotly reads a few tags in texts; names come from strangers, so every text is escaped first.
    """
    data = [_trace(chart, series) for series in chart.series]
    names = list(dict.fromkeys(str(y) for series in chart.series for y in series.y))
    by_category = chart.group in BY_CATEGORY
    bare = by_category or chart.group in (*SHARED, "confusion")
    legend = not bare and _named(chart) > 1
    # On a phone two names stand side by side.
    room = _LEGEND_ROW * -(-_named(chart) // 2) + 6 if legend else 0
    height = (_WIDE_HEIGHT if chart.wide else _HEIGHT) + room
    if by_category:
        height = 110 + _ROW * len(names)
    layout: dict[str, Any] = {
        "title": {"text": shown(chart.title), "font": {"size": 13}, "x": 0, "xref": "paper"},
        "font": _FONT,
        "height": height,
        "margin": {"l": 50, "r": 12, "t": 36, "b": _BELOW + room},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": legend,
        "legend": {
            "orientation": "h",
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
            "font": {"size": 11},
        },
        "hovermode": "closest",
        "barmode": "group",
        "bargap": 0.1,
        "xaxis": _axis(chart.x_label, chart.x_range),
        "yaxis": _axis(chart.y_label, chart.y_range),
        "shapes": [_line(reference) for reference in chart.references],
        "annotations": [_label(reference) for reference in chart.references],
    }
    if by_category or chart.group == "confusion":
        layout["yaxis"] |= {"type": "category", "autorange": "reversed", "automargin": True}
    if chart.group in ("confusion", "agreement") or _has_words(chart):
        layout["xaxis"] |= {"type": "category", "automargin": True}
    return {"data": data, "layout": layout}


def shown(text: str) -> str:
    """Return text in which plotly finds no tag."""
    return html.escape(text, quote=False)


def _named(chart: Chart) -> int:
    return len({series.name for series in chart.series if not series.faint})


def _has_words(chart: Chart) -> bool:
    return any(isinstance(x, str) for series in chart.series for x in series.x)


def _axis(label: str, ends: tuple[float, float] | None) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "title": {"text": shown(label), "font": {"size": 11}, "standoff": 6},
        "gridcolor": _GRID,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 3,
    }
    if ends is not None:
        axis["range"] = list(ends)
    return axis


def _line(reference: Reference) -> dict[str, Any]:
    at, across = reference.at, ("x", "y") if reference.upright else ("y", "x")
    along = {f"{across[0]}0": at, f"{across[0]}1": at, f"{across[1]}0": 0, f"{across[1]}1": 1}
    return {
        "type": "line",
        f"{across[1]}ref": "paper",
        **along,
        "line": {"color": reference.colour, "dash": reference.dash, "width": 1.2},
        "layer": "below",
    }


def _label(reference: Reference) -> dict[str, Any]:
    place: dict[str, Any] = {"x": 1, "xref": "paper", "xanchor": "right", "y": reference.at}
    if reference.upright:
        place = {"y": 1, "yref": "paper", "yanchor": "bottom", "x": reference.at}
    else:
        place["yanchor"] = "bottom"
    font = {"size": 10, "color": reference.colour}
    return {**place, "text": shown(reference.name), "showarrow": False, "font": font}


def _trace(chart: Chart, series: Series) -> dict[str, Any]:
    makers = {"band": _band, "bars": _bars, "heat": _heat, "dots": _dots, "line": _curve}
    trace = makers[series.kind](series)
    trace["legendgroup"] = series.name
    if series.faint or series.kind == "heat" or chart.group in BY_CATEGORY:
        return {**trace, "name": shown(series.name), "showlegend": False}
    return {**trace, "name": shown(series.name)}


def _texts(values: Any) -> list[Any]:
    return [shown(value) if isinstance(value, str) else value for value in values]


def _band(series: Series) -> dict[str, Any]:
    x, low, high = list(series.x), list(series.low or ()), list(series.high or ())
    return {
        "type": "scatter",
        "x": [*x, *x[::-1]],
        "y": [*high, *low[::-1]],
        "fill": "toself",
        "fillcolor": _pale(series.colour, series.shade),
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
    }


def _curve(series: Series) -> dict[str, Any]:
    width = 0.8 if series.faint else 2.2
    trace: dict[str, Any] = {
        "type": "scatter",
        "x": _texts(series.x),
        "y": list(series.y),
        "mode": "lines",
        "line": {"color": series.colour, "width": width},
        "opacity": 0.45 if series.faint else 1.0,
    }
    if series.faint:
        return {**trace, "hoverinfo": "skip"}
    if series.marker is not None:
        trace |= {"mode": "lines+markers", "marker": {"symbol": series.marker, "size": 6}}
    return trace


def _dots(series: Series) -> dict[str, Any]:
    symbol = (series.marker or "circle") + ("-open" if series.hollow else "")
    trace: dict[str, Any] = {
        "type": "scatter",
        "x": list(series.x),
        "y": _texts(series.y),
        "mode": "markers",
        "marker": {
            "symbol": symbol,
            "size": 9,
            "color": series.colour,
            "line": {"width": 1.5, "color": series.colour},
        },
    }
    if series.low is not None and series.high is not None:
        values = [float(x) for x in series.x]
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [high - x for x, high in zip(values, series.high, strict=True)],
            "arrayminus": [x - low for x, low in zip(values, series.low, strict=True)],
            "color": series.colour,
            "thickness": 1.5,
        }
    return trace


def _bars(series: Series) -> dict[str, Any]:
    return {
        "type": "bar",
        "x": _texts(series.x),
        "y": list(series.y),
        "marker": {"color": series.colour},
    }


def _heat(series: Series) -> dict[str, Any]:
    totals = [max(sum(row), 1) for row in series.heights]
    rows = zip(series.heights, totals, strict=True)
    shares = [[count / total for count in row] for row, total in rows]
    return {
        "type": "heatmap",
        "x": _texts(series.x),
        "y": _texts(series.y),
        "z": shares,
        "text": [list(row) for row in series.heights],
        "texttemplate": "%{text}",
        "hovertemplate": "script %{y}<br>clone %{x}<br>%{text} rows<extra></extra>",
        "colorscale": [[0, "#f7f9fb"], [1, series.colour]],
        "showscale": False,
    }


def _pale(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
