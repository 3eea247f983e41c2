"""Where the time of the core goes, kernel by kernel: ``python -m benchmarks.kernel_shares``.

The calls on the page ``townlet_env/sim/tick.py`` are taken one by one. Each becomes a compiled loop
over all worlds, and a tick is lived by running these loops in the order of the page: worlds do not
know of each other, so that this gives the same bits as ``WorldBatch.step``, which is checked. The
clock is read between the loops, and the time of a loop that calls nothing is taken off. Figures are
processor time on one core, and to be compared within one run.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import platform
import textwrap
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.policies.crew import Crew, with_policy
from townlet_env.sim import tick as page
from townlet_env.sim.batch import WorldBatch

SCENARIOS = ("town_day", "shared_flat")
PLAYS = ("random", "needs_driven")
WORLDS = 64
WARM_UP, TICKS = 40, 240
QUICK = 10  # percent of the ticks that are quicker than the figure: what others do is no news
RESULTS = Path(__file__).parent / "results" / "kernel_shares.json"

Stage = Callable[..., None]
Orders = npt.NDArray[np.int32]

LOOP = """
def stage(worlds, outcomes, rules_table, orders_table, grids, ways, views):
    rules = rules_table[0]
    for w in range(worlds.shape[0]):
        world, outcome, grid, orders = worlds[w], outcomes[w], grids[w], orders_table[w]
        mask = views.action_mask[w]
        {call}
"""


class Town(NamedTuple):
    """Worlds that live by stages, and the same worlds that live as always."""

    staged: WorldBatch
    tables: tuple[npt.NDArray[Any], ...]  # its records, as the loops take them; made once
    whole: WorldBatch
    decide: Callable[[WorldBatch], Orders]


def stages() -> dict[str, Stage]:
    """Return a loop over all worlds for each call of ``tick`` and ``observe``, by kernel."""
    found = {}
    for function in (page.tick, page.observe):
        source = inspect.getsource(inspect.unwrap(function))
        definition = ast.parse(textwrap.dedent(source)).body[0]
        assert isinstance(definition, ast.FunctionDef)
        for line in definition.body[1:]:  # behind the docstring
            assert isinstance(line, ast.Expr)
            assert isinstance(line.value, ast.Call)
            found[ast.unparse(line.value.func)] = _compiled(ast.unparse(line))
    return found | {"nothing": _compiled("pass")}


def _compiled(call: str) -> Stage:
    space = dict(vars(page))
    exec(LOOP.format(call=call), space)
    loop: Stage = numba.njit(error_model="numpy", nogil=True)(space["stage"])
    return loop


def open_town(scenario: str, play: str) -> Town:
    """Return the worlds of a scenario where everybody plays the same way."""
    config = with_policy(load_scenario(scenario), play)
    plan = compile_plan(config)
    batches = WorldBatch(plan, WORLDS), WorldBatch(plan, WORLDS)
    for batch in batches:
        batch.reset(range(WORLDS))
    crew = Crew(config, plan)
    for w in range(WORLDS):
        crew.reset(w)
    staged, whole = batches
    records = staged.worlds, staged.outcomes, plan.rules
    tables = tuple(table.view(np.ndarray) for table in records)
    return Town(staged, tables, whole, crew.decide)


def live(town: Town, loops: dict[str, Stage], spent: dict[str, list[int]]) -> None:
    """Live one tick both ways, add the times in ns, and check that both give the same."""
    orders = town.decide(town.staged)
    before = time.process_time_ns()
    town.whole.step(orders)
    spent["whole"].append(time.process_time_ns() - before)
    batch = town.staged
    for name, loop in loops.items():
        before = time.process_time_ns()
        loop(*town.tables, orders, batch.grids, batch.plan.ways, batch.views)
        spent[name].append(time.process_time_ns() - before)


def measure(scenario: str, play: str, loops: dict[str, Stage]) -> dict[str, Any]:
    """Return ns per agent step of every kernel, and its share of the sum."""
    town = open_town(scenario, play)
    agents = WORLDS * town.whole.num_residents
    spent: dict[str, list[int]] = {name: [] for name in ("whole", *loops)}
    for _ in range(WARM_UP + TICKS):
        live(town, loops, spent)
    if town.staged.worlds.tobytes() != town.whole.worlds.tobytes():
        raise AssertionError(f"{scenario}: the stages do not live as WorldBatch does")
    quick = {name: np.percentile(times[WARM_UP:], QUICK) for name, times in spent.items()}
    typical = {name: float(ns) / agents for name, ns in quick.items()}
    whole, calling = typical.pop("whole"), typical.pop("nothing")
    typical = {name: ns - calling for name, ns in typical.items()}
    total = sum(typical.values())
    kernels = [
        {"kernel": name, "ns": round(ns, 2), "share": round(ns / total, 4)}
        for name, ns in typical.items()
    ]
    return {
        "scenario": scenario,
        "play": play,
        "residents": town.whole.num_residents,
        "worlds": WORLDS,
        "ns_per_agent_step": round(whole, 1),
        "ns_in_kernels": round(total, 1),
        "kernels": kernels,
    }


def report(console: Console, found: dict[str, Any]) -> None:
    """Print one table."""
    title = f"{found['scenario']}, {found['residents']} residents, {found['play']}"
    table = Table("kernel", "ns per agent step", "share", title=title)
    for row in found["kernels"]:
        table.add_row(row["kernel"], f"{row['ns']:.1f}", f"{row['share']:.1%}")
    table.add_row("sum", f"{found['ns_in_kernels']:.1f}", "")
    table.add_row("WorldBatch.step", f"{found['ns_per_agent_step']:.1f}", "")
    console.print(table)


def main() -> None:
    """Measure, print and keep."""
    console = Console()
    console.print("compiling a loop for each kernel")
    loops, tables = stages(), []
    for scenario in SCENARIOS:
        for play in PLAYS:
            tables.append(measure(scenario, play, loops))
            report(console, tables[-1])
    document = {
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("numpy", "numba", "townlet")},
        "tables": tables,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"kept in {RESULTS.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
