"""Two cores: what the second adds, and what is left when somebody else keeps it busy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

from benchmarks.peers import CORE, Running
from benchmarks.report import Report
from townlet_env.config.load import load_scenario
from townlet_replay.bench.measure import Arm, Play, Rate
from townlet_replay.bench.plays import core

ONE = "batch core, 256 worlds, 1 thread"
TWO = "batch core, 256 worlds, 2 threads"
PROCESSES = "two processes of 128 worlds each, 1 thread"
BUSY = ", beside a busy neighbour"


def together(processes: Sequence[Running]) -> Play:
    """Let processes play at the same time; their speeds add up."""

    def play(seconds: float) -> Rate:
        for process in processes:
            process.begin(seconds)
        rates = [process.end(seconds) for process in processes]
        # Of the processor's clock the mean: how fast a second of any core is used.
        processor = sum(rate.processor for rate in rates) / len(rates)
        return Rate(sum(rate.wall for rate in rates), processor)

    return play


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Keep one core busy with a process that does nothing else."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def beside_a_neighbour(play: Play) -> Play:
    """Play while a neighbour is busy."""

    def beside(seconds: float) -> Rate:
        with busy_neighbour():
            return play(seconds)

    return beside


def measure(report: Report) -> None:
    """Eight residents of ``town_day``; actions drawn off the clock."""
    town = load_scenario("town_day")
    one, two = core(town, 256, threads=1), core(town, 256, threads=2)
    with ExitStack() as stack:
        processes = [stack.enter_context(closing(Running(CORE))) for _ in range(2)]
        arms = [
            Arm(ONE, one),
            Arm(TWO, two),
            Arm(ONE + BUSY, beside_a_neighbour(one)),
            Arm(TWO + BUSY, beside_a_neighbour(two)),
            Arm(PROCESSES, together(processes)),
        ]
        rates = report.take_turns(arms, "two cores")
    for ours in (TWO, TWO + BUSY, ONE + BUSY, PROCESSES):
        report.compare(rates, ours, ONE)
