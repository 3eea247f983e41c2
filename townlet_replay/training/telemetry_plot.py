"""A training log as one page of curves."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from townlet_replay.safe_files import write_files
from townlet_replay.training.telemetry_reader import read_log
from townlet_replay.training.telemetry_schema import EpochRecordV1

_COLUMNS = 3
_FEW_EPOCHS = 40
"""Below this every epoch gets a dot, so that one epoch alone can be seen."""
_INK, _SECOND, _THIRD, _QUIET = "#1f4e79", "#c55a11", "#548235", "#8a8a8a"


class Curve(NamedTuple):
    """One line of a panel."""

    field: str
    label: str
    spread: str | None = None
    """Field whose values, added and subtracted, make a band."""


class Panel(NamedTuple):
    """One small chart."""

    title: str
    curves: tuple[Curve, ...]
    right: tuple[Curve, ...] = ()
    """Curves on an axis of their own, at the right."""


_PANELS = (
    Panel("Loss", (Curve("loss_policy", "policy"), Curve("loss_total", "total"))),
    Panel("Value loss", (Curve("loss_value", "value"),)),
    Panel("Entropy, nats ± deviation", (Curve("batch_entropy_mean", "mean", "batch_entropy_std"),)),
    Panel(
        "KL divergence",
        (Curve("kl_divergence", "mean"), Curve("kl_divergence_max", "highest minibatch")),
    ),
    Panel("Clip fraction", (Curve("clip_fraction", "share of rows"),)),
    Panel(
        "Gradient norm",
        (Curve("grad_norm", "mean"), Curve("grad_norm_max", "highest minibatch")),
    ),
    Panel("Advantage ± deviation", (Curve("adv_mean", "mean", "adv_std"),)),
    Panel("Reward-advantage correlation", (Curve("reward_advantage_corr", "Pearson"),)),
    Panel("Learning rate", (Curve("lr", "learning rate"),)),
    Panel(
        "Reward in the data",
        (Curve("baseline_reward_mean", "per row"),),
        (Curve("baseline_reward_sum_mean", "per sample"),),
    ),
    Panel(
        "Rivalry",
        (
            Curve("conflict_rivalry_max_mean_avg", "mean"),
            Curve("conflict_rivalry_max_max_avg", "highest"),
        ),
        (Curve("conflict_rivalry_avoid_count_mean_avg", "residents avoided"),),
    ),
    Panel(
        "Queue conflicts",
        (Curve("queue_conflict_events", "conflicts"),),
        (Curve("queue_conflict_intensity_sum", "sum of intensities"),),
    ),
)


def plot_log(path: str | Path, out_png: str | Path) -> None:
    """Draw a log, rotated files included, as a PNG of twelve panels over the epochs.

    What was never measured says so. Dotted lines mark where a new capture cycle begins.

    Raises:
        TelemetryError: there is no such log, or a line does not follow the schema.
        CaptureError: the picture cannot be written.
    """
    records = read_log(path)
    rows = -(-len(_PANELS) // _COLUMNS)
    figure = Figure(figsize=(14, 2.7 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    epochs = f"epochs {records[0].epoch} to {records[-1].epoch}"
    figure.suptitle(f"{Path(path).name}: {epochs}, {records[-1].steps} steps", fontsize=13)
    axes = figure.subplots(rows, _COLUMNS, sharex=True)
    for axis, panel in zip(axes.flat, _PANELS, strict=True):
        _draw(axis, panel, records)
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    target = Path(out_png)
    write_files(target.parent, {target.name: picture.getvalue()})


def _draw(axis: Axes, panel: Panel, records: list[EpochRecordV1]) -> None:
    axis.set_title(panel.title, fontsize=10, loc="left")
    axis.grid(alpha=0.25)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    for epoch in _cycle_starts(records):
        axis.axvline(epoch - 0.5, color=_QUIET, linewidth=0.6, linestyle=":")
    lines = _lines(axis, panel.curves, records, (_INK, _SECOND))
    if panel.right:
        twin = axis.twinx()
        on_the_right = _lines(twin, panel.right, records, (_THIRD,))
        twin.tick_params(axis="y", colors=_THIRD)
        twin.set_visible(bool(on_the_right))
        lines += on_the_right
    if not lines:
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", color=_QUIET)
        axis.set_yticks([])
    if lines and len(panel.curves + panel.right) > 1:
        # Above the frame, where no curve is.
        axis.legend(
            handles=lines,
            loc="lower right",
            bbox_to_anchor=(1.0, 0.98),
            ncols=len(lines),
            fontsize=7,
            frameon=False,
            handlelength=1.4,
            columnspacing=1.0,
        )


def _lines(
    axis: Axes, curves: tuple[Curve, ...], records: list[EpochRecordV1], colours: tuple[str, ...]
) -> list[Line2D]:
    """Draw the curves that have a value anywhere and return them."""
    axis.tick_params(labelsize=8)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    epochs = _values(records, "epoch")
    drawn = []
    for curve, colour in zip(curves, colours, strict=False):
        values = _values(records, curve.field)
        if np.isnan(values).all():
            continue
        line = axis.plot(epochs, values, color=colour, linewidth=1.3, label=curve.label)[0]
        line.set_marker("o" if len(records) < _FEW_EPOCHS else "")
        line.set_markersize(3)
        line.set_linestyle("--" if colour == _THIRD else "-")
        drawn.append(line)
        if curve.spread is not None:
            spread = _values(records, curve.spread)
            band = (values - spread, values + spread)
            axis.fill_between(epochs, *band, color=colour, alpha=0.15, linewidth=0)
    return drawn


def _values(records: list[EpochRecordV1], field: str) -> NDArray[np.float64]:
    """One field of every record; NaN where it is null or the version does not have it."""
    found = [record.model_dump(by_alias=False).get(field) for record in records]
    return np.array([np.nan if value is None else value for value in found], np.float64)


def _cycle_starts(records: list[EpochRecordV1]) -> list[float]:
    cycles, epochs = _values(records, "cycle_id"), _values(records, "epoch")
    return [float(epochs[row]) for row in np.flatnonzero(np.diff(cycles) > 0) + 1]
