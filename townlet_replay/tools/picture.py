"""The statistics of a capture as one picture: returns, lengths, and what was done."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from townlet_replay.errors import CaptureError
from townlet_replay.manifest import Capture
from townlet_replay.safe_files import write_files

MAX_AGENTS = 12  # drawn apart; more are drawn as one
MAX_ACTIONS = 15

_INK, _SECOND, _QUIET = "#1f4e79", "#c55a11", "#8a8a8a"
_LABEL = 24
_BINS = 40
_LARGEST = 1e100


def plot_capture(capture: Capture, out_png: str | Path) -> None:
    """Draw returns and lengths of the samples of every agent, and the share of every action.

    Args:
        capture: its manifest and its metrics file are read.
        out_png: file to write, whole or not at all.

    Raises:
        CaptureError: the metrics file is missing or damaged, a return is beyond all measure, or
            the picture cannot be written.
    """
    returns: dict[str, list[float]] = {}
    lengths: dict[str, list[float]] = {}
    for entry in capture.manifest.samples:
        returns.setdefault(entry.agent_id, []).append(entry.episode_return)
        lengths.setdefault(entry.agent_id, []).append(entry.rows)
        if abs(entry.episode_return) > _LARGEST:
            raise CaptureError(
                f"{capture.path}: the return {entry.episode_return:g} of {entry.sample} is too "
                "large to be drawn"
            )
    counts = capture.metrics.totals.action_counts or {}
    figure = Figure(figsize=(14, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    _samples(left, returns, "Returns", "sum of the raw rewards of a sample")
    _samples(middle, lengths, "Lengths", "rows of a sample")
    _actions(right, counts)
    origin = capture.manifest.metadata.scenario_name or capture.directory.name
    figure.suptitle(f"{_label(origin)}: {len(capture)} samples", fontsize=13)
    picture = io.BytesIO()
    # Without the version of the library in it, the same capture gives the same bytes.
    figure.savefig(picture, format="png", metadata={"Software": None})
    target = Path(out_png)
    write_files(target.parent, {target.name: picture.getvalue()})


def _samples(axis: Axes, groups: Mapping[str, list[float]], title: str, unit: str) -> None:
    """Draw a dot per sample, the middle half and the median of every agent; many as histogram."""
    _style(axis, title)
    axis.set_xlabel(unit)
    if len(groups) > MAX_AGENTS:
        axis.hist([value for values in groups.values() for value in values], _BINS, color=_INK)
        axis.set_ylabel(f"samples of {len(groups)} agents")
        return
    axis.use_sticky_edges = False  # a bar at the edge would cut its dots in half
    for place, values in enumerate(groups.values()):
        low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
        axis.barh([place], [high - low], 0.6, left=low, color=_INK, alpha=0.2)
        axis.vlines([median], place - 0.3, place + 0.3, color=_SECOND, linewidth=1.8)
        axis.plot(values, [place] * len(values), "o", color=_INK, alpha=0.5, markersize=4)
    axis.set_yticks(range(len(groups)), [_label(agent) for agent in groups])
    axis.invert_yaxis()


def _actions(axis: Axes, counts: Mapping[str, int]) -> None:
    """Draw the share of rows of the most frequent actions, and of all others together."""
    _style(axis, "Actions")
    if not counts:
        axis.text(0.5, 0.5, "no ids", transform=axis.transAxes, ha="center", color=_QUIET)
        axis.set_yticks([])
        return
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked[:MAX_ACTIONS]
    rest = sum(count for _, count in ranked[MAX_ACTIONS:])
    if rest:
        shown.append((f"{len(ranked) - MAX_ACTIONS} others", rest))
    places = list(range(len(shown)))
    axis.barh(places, [count / total for _, count in shown], color=_INK, alpha=0.85)
    axis.set_yticks(places, [_label(name) for name, _ in shown])
    axis.invert_yaxis()
    axis.set_xlabel("share of rows")


def _style(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=10, loc="left")
    axis.set_axisbelow(True)
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _label(text: str) -> str:
    """Keep names from files short, in one line, and from being read as formulas."""
    plain = "".join(character if character.isprintable() else "?" for character in text)
    short = plain if len(plain) <= _LABEL else f"{plain[: _LABEL - 3]}..."
    return short.replace("$", r"\$")
