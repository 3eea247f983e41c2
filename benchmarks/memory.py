"""``python -m benchmarks.memory``: bytes of a world, and what a batch takes more of as it lives on.

The highest use of memory never falls, so that this is measured in a process of its own: what came
before would hide what is added.
"""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from townlet_env.views.vector import TownletVectorEnv
from townlet_replay.bench.plays import legal

TOWN, WORLDS = "town_day", 64
EPISODE = 200  # ticks, so that many episodes end and begin
WARM_UP = 2 * EPISODE  # steps, after which everything has been asked for once


def highest() -> int:
    """Return the most bytes that this process has had in memory."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where getrusage() begins with what the parent had
        words = status.read_text(encoding="utf-8").split()
        return int(words[words.index("VmHWM:") + 1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def weigh(ticks: int) -> dict[str, Any]:
    """Weigh a world, let ``WORLDS`` of them live ``ticks`` in all, and see what they add.

    Args:
        ticks: Of all worlds together; legal actions of chance, episodes opened when they end.
    """
    towns = TownletVectorEnv(TOWN, WORLDS, autoreset_mode="SAME_STEP", max_ticks=EPISODE)
    towns.reset(seed=0)
    batch, rng = towns.lanes.batch, np.random.default_rng(0)
    arrays = [batch.worlds, batch.outcomes, batch.grids, *batch.views]

    def live(steps: int) -> None:
        for _ in range(steps):
            towns.step(legal(towns.action_masks(), rng))

    live(WARM_UP)
    before, steps = highest(), -(-ticks // WORLDS)
    live(steps)
    return {
        "world": sum(array.nbytes for array in arrays) / WORLDS,
        "ticks": steps * WORLDS,
        "grown": highest() - before,
    }


def main(
    ticks: Annotated[int, typer.Argument(min=1, help="Ticks of all worlds.")] = 1_000_000,
) -> None:
    """Print what was found as JSON."""
    typer.echo(json.dumps(weigh(ticks)))


if __name__ == "__main__":
    typer.run(main)
