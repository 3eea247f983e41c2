"""The two pictures of a report: learning curves, and final scores beside script and chance."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from townlet_replay.compare.results import REFERENCES, Arm, ArmName, Comparison, Point
from townlet_replay.compare.scores import final_spread, score, spread_of

# Okabe and Ito's colours, which the colour-blind can tell apart; markers differ as well.
_COLOURS: dict[ArmName, str] = {
    "live_native": "#0072B2",
    "live_sb3": "#D55E00",
    "capture_native": "#009E73",
    "capture_sb3": "#CC79A7",
    "bc": "#E69F00",
    "bc_then_live": "#56B4E9",
    "script": "#000000",
    "random": "#7a7a7a",
}
_MARKERS: dict[ArmName, str] = {
    "live_native": "o",
    "live_sb3": "s",
    "capture_native": "^",
    "capture_sb3": "D",
    "bc": "v",
    "bc_then_live": "P",
}
_DASHES: dict[ArmName, str] = {"script": "--", "random": ":"}
_MODES = ((False, "sampled"), (True, "greedy"))
_BAR = 0.36
_SHIFT = 0.02
"""Of the longest live run: what lies between marks that would cover each other."""


def curves_png(comparison: Comparison) -> bytes:
    """Draw scores against live agent steps, one panel for sampled and one for greedy play.

    Thin lines are training seeds, thick ones their mean. Arms trained on captures have no live
    curve: their results stand where the recording of their clone ends, with lowest and highest
    seed.
    """
    figure = Figure(figsize=(12, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    farthest = max((p.live_steps for arm in comparison.arms for p in arm.finals), default=0)
    for axis, (greedy, title) in zip(panels, _MODES, strict=True):
        axis.set_title(f"{title} play", loc="left", fontsize=11)
        axis.set_xlabel("agent steps made live by the arm's own policy")
        shift = 0.0
        for arm in comparison.arms:
            if arm.name.endswith("live") or arm.name.startswith("live"):
                _curve(axis, arm, greedy=greedy)
            elif arm.name not in REFERENCES:
                _finish(axis, arm, shift, greedy=greedy)
                shift += _SHIFT * farthest
        _reference_lines(axis, comparison)
        _style(axis)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:g}k"))
    panels[0].set_ylabel("mean return per resident and episode")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    seeds = _seeds_in_words(comparison)
    figure.suptitle(_plain(f"{comparison.scenario}: learning, {seeds}"), fontsize=13)
    return _png(figure)


def scores_png(comparison: Comparison) -> bytes:
    """Draw the final scores of the trained arms, sampled and greedy, one dot per training seed.

    Bars stand on the score of chance, if it was measured: their height is what was learnt.
    """
    figure = Figure(figsize=(9, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    arms = [arm for arm in comparison.arms if arm.name not in REFERENCES and arm.runs]
    chance = comparison.arm("random")
    spread = None if chance is None else final_spread(chance, greedy=False)
    ground = 0.0 if spread is None else spread.mean
    for place, arm in enumerate(arms):
        for greedy, _ in _MODES:
            _bar(axis, arm, (place, ground), greedy=greedy)
    _reference_lines(axis, comparison)
    axis.set_xticks(range(len(arms)), [arm.name for arm in arms])
    axis.set_ylabel("mean return per resident and episode")
    _style(axis)
    # What the hatching means, in grey, since every arm has its own colour.
    for greedy, title in _MODES:
        axis.bar(
            [0.0],
            [0.0],
            bottom=ground,
            color="#dddddd",
            edgecolor="#555555",
            linewidth=0.0,
            hatch=_hatch(greedy),
            label=title,
        )
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    seeds = _seeds_in_words(comparison)
    title = f"{comparison.scenario}: final scores, {seeds}; bars: mean, dots: seeds"
    figure.suptitle(_plain(title), fontsize=13)
    return _png(figure)


def _curve(axis: Axes, arm: Arm, *, greedy: bool) -> None:
    colour = _COLOURS[arm.name]
    for run in arm.runs:
        steps, scores = _line(run.points, greedy=greedy)
        axis.plot(steps, scores, color=colour, linewidth=0.8, alpha=0.45)
    lines = [_line(run.points, greedy=greedy) for run in arm.runs]
    if lines:
        mean = np.mean([scores for _, scores in lines], axis=0)
        marker = _MARKERS[arm.name]
        axis.plot(
            lines[0][0],
            mean,
            label=arm.name,
            color=colour,
            linewidth=2.4,
            marker=marker,
            markersize=5,
        )


def _line(points: Sequence[Point], *, greedy: bool) -> tuple[list[int], list[float]]:
    known = [(point.live_steps, score(point, greedy=greedy)) for point in points]
    return [x for x, y in known if y is not None], [y for _, y in known if y is not None]


def _finish(axis: Axes, arm: Arm, shift: float, *, greedy: bool) -> None:
    """Mark a result at its live steps; ``shift`` keeps two arms of the same steps apart."""
    spread = final_spread(arm, greedy=greedy)
    if spread is None:
        return
    steps = float(np.mean([point.live_steps for point in arm.finals]))
    axis.errorbar(
        [steps + shift],
        [spread.mean],
        yerr=[[spread.mean - spread.lowest], [spread.highest - spread.mean]],
        color=_COLOURS[arm.name],
        marker=_MARKERS[arm.name],
        markersize=9,
        markeredgecolor="white",
        capsize=5,
        linestyle="none",
        label=arm.name,
        zorder=5,
    )


def _bar(axis: Axes, arm: Arm, foot: tuple[int, float], *, greedy: bool) -> None:
    spread = spread_of([score(point, greedy=greedy) for point in arm.finals])
    if spread is None:
        return
    place, ground = foot
    middle = place + (_BAR / 2 if greedy else -_BAR / 2)
    axis.bar(
        [middle],
        [spread.mean - ground],
        _BAR * 0.94,
        bottom=ground,
        color=_COLOURS[arm.name],
        edgecolor="white",
        hatch=_hatch(greedy),
        alpha=0.85,
    )
    spots = middle + np.linspace(-0.06, 0.06, len(spread.of_seeds))
    axis.scatter(spots, spread.of_seeds, color="black", s=16, zorder=4)


def _hatch(greedy: bool) -> str:
    return "///" if greedy else ""


def _reference_lines(axis: Axes, comparison: Comparison) -> None:
    for name in REFERENCES:
        arm = comparison.arm(name)
        spread = None if arm is None else final_spread(arm, greedy=False)
        if spread is not None:
            axis.axhline(
                spread.mean,
                label=f"{name} ({spread.mean:.2f})",
                color=_COLOURS[name],
                linestyle=_DASHES[name],
                linewidth=1.6,
            )


def _style(axis: Axes) -> None:
    axis.set_axisbelow(True)
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(y=0.08)


def _seeds_in_words(comparison: Comparison) -> str:
    count = len(comparison.training_seeds)
    return f"{count} training seed{'s' if count > 1 else ''}"


def _plain(text: str) -> str:
    """Keep dollars in names from being read as formulas."""
    return text.replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    # Without the version of the library in it, the same results give the same bytes.
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()
