"""From nothing to the first step: a new process, with the kernels compiled before or not."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.report import Report

FIRST_STEP = """
from townlet_env import townlet_v0
env = townlet_v0.parallel_env("town_day")
env.reset(seed=0)
env.step(dict.fromkeys(env.agents, 0))
"""
LIBRARIES = "import numpy, numba, gymnasium, pettingzoo, pydantic, yaml"


def seconds_of(code: str, cache: str) -> float:
    """Run a program in a new process with a kernel cache, and return how long it took."""
    environment = {**os.environ, "TOWNLET_CACHE_DIR": cache}
    before = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    return time.perf_counter() - before


def measure(report: Report) -> None:
    """Compile once into an empty cache; then start warm, and start Python alone beside it."""
    with tempfile.TemporaryDirectory() as cache:
        report.figure("cold first step", seconds_of(FIRST_STEP, cache), "s")
        warm = [seconds_of(FIRST_STEP, cache) for _ in range(report.effort.rounds)]
        bare = [seconds_of(LIBRARIES, cache) for _ in range(report.effort.rounds)]
    report.figure("warm first step", statistics.median(warm), "s")
    report.figure("import of the libraries alone", statistics.median(bare), "s")
