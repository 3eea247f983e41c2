"""``python -m benchmarks.page --write``: the pages of speed and their plots, from the results.

Parts of docs/PERFORMANCE.md, docs/SCALE.md and docs/WATCHING.md between ``<!-- bench: NAME -->``
and ``<!-- end of bench -->`` are made from ``benchmarks/results``; everything else is written by
hand. A group without results says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.groups import GROUPS
from benchmarks.plots import draw, image_of
from benchmarks.report import read_results
from benchmarks.scale import HEAD, Site, duration, measured, plans, rows
from benchmarks.targets import TARGETS, Results, verdict
from townlet_replay.reference.markdown import table

ROOT = Path(__file__).parents[1]
PAGES = tuple(ROOT / "docs" / name for name in ("PERFORMANCE.md", "SCALE.md", "WATCHING.md"))
STEPS, MACHINES = 1e9, 100  # of docs/SCALE.md
IMAGES = ROOT / "docs" / "images"
PART = re.compile(r"<!-- bench: (\w+) -->\n(.*?)<!-- end of bench -->", re.DOTALL)
NOTHING = "Not measured yet.\n"


def figure(value: float) -> str:
    """Return a figure with three digits that matter."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}" if size >= 0.001 else f"{value:.1e}"


def with_unit(value: float, unit: str) -> str:
    """Return a figure as a ratio, or with its unit."""
    return f"{figure(value)}x" if unit == "x" else f"{figure(value)} {unit}"


def targets(results: Results) -> str:
    """Return the table of targets with what was measured."""
    rows = []
    for target in TARGETS:
        value, sign = target.measured(results), "<=" if target.low else ">="
        wanted = [
            f"{sign} {with_unit(edge, target.unit)}" for edge in (target.target, target.floor)
        ]
        measured = "-" if value is None else with_unit(value, target.unit)
        what = [target.number, target.what, target.against or "-"]
        rows.append([*what, *wanted, measured, verdict(target, value)])
    return table(["#", "what", "against", "target", "floor", "measured", "verdict"], rows)


def machine(results: Results) -> str:
    """Return on what, when and with which versions the groups were measured."""
    found = [results[name] for name in GROUPS if name in results]
    if not found:
        return NOTHING
    kinds = {
        "{processor}, {cores} cores, Python {python}".format_map(document["machine"])
        for document in found
    }
    days = sorted({document["taken"] for document in found})
    rounds = sorted({document["rounds"] for document in found})
    versions = {name: number for document in found for name, number in document["versions"].items()}
    lines = [f"- Machine: {kind}." for kind in sorted(kinds)]
    lines.append(f"- Taken: {' to '.join(dict.fromkeys((days[0], days[-1])))}.")
    lines.append(f"- Rounds: {', '.join(map(str, rounds))}; a figure is their median.")
    lines.append(f"- Versions: {', '.join(f'{k} {v}' for k, v in sorted(versions.items()))}.")
    busy = {name: results[name]["busy"] for name in GROUPS if name in results}
    if max(busy.values()) > 1:
        lines.append(
            "- Other programs ran meanwhile (waiting or running when a group began: "
            f"{', '.join(f'{name} {load:.1f}' for name, load in busy.items())}): times and speeds "
            "are worse than those of a quiet machine, and ratios less certain."
        )
    partial = [name for name in GROUPS if not results.get(name, {}).get("complete")]
    if partial:
        lines.append(f"- Not complete: {', '.join(partial)}.")
    return "\n".join(lines) + "\n"


def group_part(name: str) -> Callable[[Results], str]:
    """Return what writes the tables of a group."""

    def write(results: Results) -> str:
        document = results.get(name)
        if document is None:
            return NOTHING
        parts = [_comparisons(document), _arms(document), _figures(document)]
        parts += [_plots(document), _missing(document)]
        return "\n\n".join(part for part in parts if part) or NOTHING

    return write


def _comparisons(document: Mapping[str, Any]) -> str:
    rows = [
        [
            row["ours"],
            row["peer"],
            f"**{figure(row['ratio'])}x**",
            f"{figure(row['lowest'])} to {figure(row['highest'])}",
            f"{figure(row['processor_ratio'])}x",
        ]
        for row in document["comparisons"]
    ]
    head = ["ours", "peer", "ratio", "lowest to highest", "by processor time"]
    return table(head, rows) if rows else ""


def _arms(document: Mapping[str, Any]) -> str:
    rows = [
        [
            row["arm"],
            figure(row["per_second"]),
            f"{figure(row['lowest'])} to {figure(row['highest'])}",
            figure(row["per_processor_second"]),
        ]
        for row in document["arms"]
    ]
    head = ["measured in turn", "per second", "lowest to highest", "per second of processor"]
    return table(head, rows) if rows else ""


def _figures(document: Mapping[str, Any]) -> str:
    rows = [
        [name, with_unit(found["value"], found["unit"])]
        for name, found in document["figures"].items()
    ]
    return table(["figure", "measured"], rows) if rows else ""


def _plots(document: Mapping[str, Any]) -> str:
    return "\n\n".join(
        f"![{curve['y']}, by {curve['x']}](images/{image_of(curve)})"
        for curve in document["curves"]
    )


def _missing(document: Mapping[str, Any]) -> str:
    rows = [[row["what"], row["why"]] for row in document["missing"]]
    return table(["not run", "why"], rows) if rows else ""


def kernels(results: Results) -> str:
    """Return the share of every kernel in a tick, one column per way of playing."""
    tables = results.get("kernel_shares", {}).get("tables", [])
    if not tables:
        return NOTHING
    names = list(dict.fromkeys(row["kernel"] for one in tables for row in one["kernels"]))
    head = ["kernel", *(f"{one['scenario']}, {one['play']}, {one['residents']}" for one in tables)]
    shares = [{row["kernel"]: row["share"] for row in one["kernels"]} for one in tables]
    rows = [[n, *(f"{100 * by[n]:.1f} %" if n in by else "-" for by in shares)] for n in names]
    rows.append(["ns per agent step", *(figure(one["ns_in_kernels"]) for one in tables)])
    return table(head, rows)


def modes(results: Results) -> str:
    """Return how the learner's modes end."""
    document = results.get("learner_modes")
    if document is None:
        return NOTHING
    head = ["mode", "mean of the last quarter", "seeds between", "standard errors from strict_sb3"]
    rows = [
        [
            row["mode"],
            f"{row['last quarter']:.4f}",
            f"{row['lowest seed']:.4f} and {row['highest seed']:.4f}",
            f"{row['standard errors from strict_sb3']:.2f}",
        ]
        for row in document["modes"]
    ]
    return table(head, rows)


def cost(machines: int) -> Callable[[Results], str]:
    """Return what writes the costs of ``STEPS`` on a number of machines."""

    def write(results: Results) -> str:
        figures, site = measured(results), Site(machines)
        return NOTHING if figures is None else table(HEAD, rows(plans(figures, site, STEPS), site))

    return write


def inputs(results: Results) -> str:
    """Return the figures that the costs are computed from."""
    figures, site = measured(results), Site()
    if figures is None:
        return NOTHING
    found = [
        ["environment, two cores", f"{figure(figures.environment)} agent steps per second"],
        ["learner, native fused float32", f"{figure(figures.learner)} agent steps per second"],
        ["disk, written and flushed", f"{figure(figures.disk / 1e6)} MB per second"],
    ]
    for mode, weight in figures.weights.items():
        found.append([f"capture ({mode})", f"{figure(weight)} bytes per agent step"])
    found.append(["network into the learner", f"{site.network / 1e6:g} MB per second (assumed)"])
    found.append(["price", f"{site.price:g} money units per core and hour (assumed)"])
    return table(["figure", "value"], found)


def points(results: Results) -> str:
    """Return what was predicted and what was measured."""
    found = [
        [
            row["name"],
            f"{row['size']:,}",
            duration(row["predicted"]),
            duration(row["measured"]),
            f"{row['measured'] / row['predicted']:.2f}",
        ]
        for row in results.get("scale", {}).get("points", ())
    ]
    head = ["what", "agent steps", "predicted", "measured", "measured / predicted"]
    return table(head, found) if found else NOTHING


def watching(results: Results) -> str:
    """Return how smoothly the page of a recording moved, and what else the machine did."""
    document = results.get("watching")
    if document is None:
        return NOTHING
    machine = "{processor}, {cores} cores".format_map(document["machine"])
    busy = f"{document['busy']:.1f} programs of others ran or waited when it began"
    return f"{machine}; {busy}.\n\n{_figures(document)}"


PARTS: dict[str, Callable[[Results], str]] = {
    "targets": targets,
    "machine": machine,
    "kernels": kernels,
    "modes": modes,
    "inputs": inputs,
    "here": cost(1),
    "many": cost(MACHINES),
    "points": points,
    "watching": watching,
    **{name: group_part(name) for name in GROUPS},
}


def render(text: str, results: Results) -> str:
    """Return the page with its generated parts made anew.

    Raises:
        ValueError: A part has a name that nothing writes.
    """

    def part(found: re.Match[str]) -> str:
        if found[1] not in PARTS:
            raise ValueError(f"expected a part of {', '.join(PARTS)}; found {found[1]!r}")
        body = PARTS[found[1]](results).strip("\n")
        return f"<!-- bench: {found[1]} -->\n{body}\n<!-- end of bench -->"

    return PART.sub(part, text)


def main(write: Annotated[bool, typer.Option(help="Else only compare.")] = False) -> None:
    """Make the pages, or say which differs from the results."""
    results, differs = read_results(), []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        made = render(text, results)
        if write:
            page.write_text(made, encoding="utf-8")
        elif made != text:
            differs.append(page.relative_to(ROOT).as_posix())
    if write:
        drawn = draw(results, IMAGES)
        typer.echo("\n".join(str(path.relative_to(ROOT)) for path in (*PAGES, *drawn)))
    elif differs:
        typer.echo(f"{', '.join(differs)}: not what the results say; run with --write", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
