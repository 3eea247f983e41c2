"""``python -m benchmarks.watching``: how smoothly the page of a long recording moves.

Ten thousand ticks of eight residents, with values and logits for every row, are made into a page
and shown in headless Chromium without a graphics processor: played at the highest speed, scrubbed
from end to end, and in turn with an empty page, which tells what the machine leaves of the frames.
Prints what was found as JSON and keeps it in
``benchmarks/results/watching.json``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright
from rich.console import Console

from benchmarks.report import RESULTS, Report
from townlet_env.config.load import load_scenario
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.wrappers import ScriptedScenario
from townlet_replay import RecordReplay
from townlet_replay.bench.measure import Effort
from townlet_replay.view.facts import facts_of
from townlet_replay.view.page import write_page

TOWN, SPEED = "town_day", 600  # ticks a second, the highest of the page
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
EMPTY = "empty page"
BUDGET = 1000 / 60  # milliseconds per frame

# Notes the time between frames while the page plays, or while the pointer sweeps the timeline.
WATCH = """async ([how, seconds, speed]) => {
  const page = window.townlet, line = document.getElementById("line") || document.body, gaps = [];
  if (page) {
    page.goto(0);
    page.speed(speed);
    await new Promise((done) => setTimeout(done, 500));
    page.state.slowest = 0;
    page.play(how === "play");
  }
  const { left, width } = line.getBoundingClientRect(), end = performance.now() + 1000 * seconds;
  let last = 0, x = 0;
  await new Promise((done) => {
    const frame = (now) => {
      if (last) gaps.push(now - last);
      last = now;
      if (how === "scrub") {
        x = (x + 7) % width;
        line.dispatchEvent(new PointerEvent("pointermove", { clientX: left + x, buttons: 1 }));
      }
      if (performance.now() < end) requestAnimationFrame(frame); else done();
    };
    requestAnimationFrame(frame);
  });
  if (page) page.play(false);
  return { gaps, slowest: page ? page.state.slowest : 0 };
}"""
PAINTS = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null"""


def record(out: Path, ticks: int) -> None:
    """Record what the scripts do; values and logits are drawn, as nobody has a network for them."""
    town = TownletParallelEnv(load_scenario(TOWN, {"ticks": ticks}), details=True)
    rng, actions = np.random.default_rng(0), len(town.action_lookup)
    with RecordReplay(ScriptedScenario(town), out, behaviour="script", mode="packed") as env:
        env.reset(seed=1)
        while env.agents:
            drawn = rng.normal(size=(len(env.agents), actions + 1)).astype(np.float32)
            env.annotate(
                values=dict(zip(env.agents, drawn[:, 0].tolist(), strict=True)),
                logits=dict(zip(env.agents, drawn[:, 1:], strict=True)),
            )
            env.step({})


def processor_seconds(link: CDPSession) -> float:
    """Return what all processes of the browser have worked."""
    found = link.send("SystemInfo.getProcessInfo")["processInfo"]
    return float(sum(process["cpuTime"] for process in found))


def memory(link: CDPSession) -> int:
    """Return the bytes that the process of the page has in memory."""
    found = link.send("SystemInfo.getProcessInfo")["processInfo"]
    largest = 0
    for process in found:
        if process["type"] == "renderer":
            words = Path(f"/proc/{process['id']}/status").read_text(encoding="utf-8").split()
            largest = max(largest, int(words[words.index("VmRSS:") + 1]) * 1024)
    return largest


def opened(page: Page, path: Path) -> tuple[float, float]:
    """Open the page; return milliseconds to the first paint, and to the town in full."""
    began = time.perf_counter()
    page.goto(f"file://{path}")
    while page.evaluate("() => !window.townlet || townlet.state.frames < 1"):
        page.wait_for_timeout(5)
    ready = (time.perf_counter() - began) * 1000
    while (first := page.evaluate(PAINTS)) is None:  # told a little after it happened
        page.wait_for_timeout(5)
    return float(first), ready


class Seen(NamedTuple):
    """One turn of one way to move."""

    gaps: list[float]  # milliseconds between frames
    slowest: float  # milliseconds of the longest script of a frame
    worked: float  # seconds of processor, all processes of the browser


def move(page: Page, link: CDPSession, how: str, seconds: float) -> Seen:
    """Move through a page for some seconds."""
    page.bring_to_front()
    before = processor_seconds(link)
    found = page.evaluate(WATCH, [how, seconds, SPEED])
    return Seen(found["gaps"], found["slowest"], processor_seconds(link) - before)


def keep(report: Report, how: str, turns: list[Seen]) -> None:
    """Keep what was seen of one way to move."""
    gaps = np.concatenate([seen.gaps for seen in turns])
    for share in (50, 95, 99):
        report.figure(f"{how}: frame, {share} of 100", float(np.percentile(gaps, share)), "ms")
    late = 100 * float((gaps > 1.5 * BUDGET).mean())
    report.figure(f"{how}: frames that came late", late, "of 100")
    if how != EMPTY:
        slowest = max(seen.slowest for seen in turns)
        report.figure(f"{how}: longest script of a frame", slowest, "ms")
    worked = 1000 * sum(seen.worked for seen in turns) / len(gaps)
    report.figure(f"{how}: processor, all processes", worked, "ms per frame")


def measure(chromium: Browser, path: Path, report: Report) -> None:
    """Show a page beside an empty one and keep what was seen."""
    link = chromium.new_browser_cdp_session()
    empty, page = (chromium.new_page(viewport={"width": 1280, "height": 900}) for _ in range(2))
    first, ready = opened(page, path)
    report.figure("first paint", first, "ms")
    report.figure("town drawn", ready, "ms")
    report.figure("memory of the page", memory(link) / 2**20, "MiB")
    turns: dict[str, list[Seen]] = {EMPTY: [], "play": [], "scrub": []}
    for _ in range(report.effort.rounds):
        for how, seen in turns.items():
            seen.append(move(empty if how == EMPTY else page, link, how, report.effort.seconds))
    for how, seen in turns.items():
        keep(report, how, seen)
    report.figure("memory of the page afterwards", memory(link) / 2**20, "MiB")


def main(
    ticks: Annotated[int, typer.Option(min=10)] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of a turn.")] = 4.0,
    out: Annotated[Path, typer.Option(help="Where the result is kept.")] = RESULTS
    / "watching.json",
) -> None:
    """Measure, keep and print."""
    report = Report("watching", out, Effort(rounds, seconds), Console(stderr=True))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        rows, path = Path(folder) / "rows", Path(folder) / "watch.html"
        record(rows, ticks)
        began = time.perf_counter()
        facts = facts_of(rows)
        write_page(facts, path)
        report.figure("ticks", facts["ticks"] - 1, "")
        report.figure("residents", len(facts["agents"]), "")
        report.figure("page made", time.perf_counter() - began, "s")
        report.figure("page", path.stat().st_size / 2**20, "MiB")
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        measure(chromium, path, report)
        chromium.close()
    report.finish()
    typer.echo(json.dumps(report.document["figures"], indent=1))


if __name__ == "__main__":
    typer.run(main)
