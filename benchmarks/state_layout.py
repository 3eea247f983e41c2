"""The bake-off of the state layout, on the real rules: ``python -m benchmarks.state_layout``.

    record   one structured record per world; kernels are written for one world (what the code does)
    groups   NamedTuples of arrays (W, N, ...); every kernel of the tick page owns the world loop

The second is made from the sources of the first by ``benchmarks/layout_transform.py``. Both live
the same ticks and must agree to the last bit before anything is measured. Measurements alternate;
figures are medians, to be compared within one run only.

Most rules are small functions that hand the state on to each other, which is where the groups lose.
``needs only`` therefore times one kernel that calls nothing, the best case for them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.layout_transform import GROUPS, rewrite
from townlet_env import jit
from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.jit import kernel
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.kernels.needs import decay_needs
from townlet_env.sim.plan import Plan
from townlet_env.sim.state import Capacity, Views, allocate, outcome_dtype, world_dtype
from townlet_env.sim.tick import open_worlds, step_worlds

LAYOUTS = ("record", "groups")
ROUNDS = 5
STARTS = 3
AGENT_STEPS = 40_000  # per measured round
SIZES = (1, 16, 256)
RESULTS = Path(__file__).parent / "results" / "state_layout.json"

Orders = npt.NDArray[np.int32]


def three() -> Plan:
    """Three residents and a shower."""
    return compile_plan(load_scenario("queue_conflict", {"ticks": 100_000}))


def eight() -> Plan:
    """Eight residents, one object of every kind, and work for two."""
    kinds = ("fridge", "stove", "bed", "till", "counter", "desk", "bench")
    cells = ((1, 1), (3, 1), (1, 5), (3, 5), (6, 1), (9, 5), (6, 5))
    things = [
        {"id": kind, "kind": kind, "cell": list(cell), "stock": 20}
        for kind, cell in zip(kinds, cells, strict=True)
    ]
    job = {"object": "desk", "start": 410, "end": 600}
    people: list[dict[str, object]] = [
        {"id": name, "job": "clerk" if name in ("anna", "ben") else None}
        for name in ("anna", "ben", "cleo")
    ]
    people += [{"id": f"r{i}", "cell": [1 + i % 4, 4 - i // 4]} for i in range(5)]
    changes = {
        "ticks": 100_000,
        "expect": [],
        "objects": [{"id": "shower", "kind": "shower"}, *things],
        "jobs": {"clerk": job},
        "residents": people,
    }
    return compile_plan(load_scenario("queue_conflict", changes))


SCENARIOS: dict[str, Callable[[], Plan]] = {"3 residents": three, "8 residents": eight}


class RecordTown:
    """Worlds as records, stepped as ``WorldBatch`` does."""

    def __init__(self, plan: Plan, worlds: int) -> None:
        self.plan = plan
        self.worlds = allocate(world_dtype(plan.capacity), worlds)
        self.outcomes = allocate(outcome_dtype(plan.capacity), worlds)
        self.views, self.grids = _views(plan, worlds), np.repeat(plan.grid[None], worlds, axis=0)
        self.worlds[:] = plan.template[0]
        self.worlds["seed"] = np.arange(worlds)
        every = np.arange(worlds)
        open_worlds(
            self.worlds, plan.rules, self.grids, plan.distance, self.views, every, True
        )  # fmt: skip

    def step(self, orders: Orders) -> None:
        """Live one tick."""
        plan = self.plan
        step_worlds(
            self.worlds, self.outcomes, plan.rules, orders, self.grids, plan.distance, self.views
        )  # fmt: skip

    def fields(self) -> dict[str, npt.NDArray[Any]]:
        """Return all of the state and of the last outcome, cut to the sizes of the scenario."""
        n, m = _sizes(self.plan)
        found = {}
        for table, dtype in ((self.worlds, world_dtype), (self.outcomes, outcome_dtype)):
            exact = dtype(Capacity(n, m))
            for name in exact.names or ():
                cut = tuple(slice(0, side) for side in exact[name].shape)
                found[name] = table[name][(slice(None), *cut)]
        return found


class FlatTown:
    """Worlds as arrays with a leading world axis."""

    def __init__(self, module: ModuleType, plan: Plan, worlds: int) -> None:
        self.plan, self.module = plan, module
        exact = Capacity(*_sizes(plan))
        self.groups = []
        for group, fields in GROUPS.items():
            dtype = outcome_dtype(exact) if group == "outcome" else world_dtype(exact)
            arrays = [np.zeros((worlds, *dtype[f].shape), dtype[f].base) for f in fields]
            if group != "outcome":
                for field, array in zip(fields, arrays, strict=True):
                    cut = tuple(slice(0, side) for side in array.shape[1:])
                    array[:] = plan.template[field][(slice(None), *cut)]
            self.groups.append(module.__dict__[group.title()](*arrays))
        self.groups[0].seed[:] = np.arange(worlds)
        self.views, self.grids = _views(plan, worlds), np.repeat(plan.grid[None], worlds, axis=0)
        module.open_worlds(*self.groups, plan.rules, self.grids, plan.distance, self.views)

    def step(self, orders: Orders) -> None:
        """Live one tick."""
        plan = self.plan
        self.module.step_worlds(
            *self.groups, plan.rules, orders, self.grids, plan.distance, self.views
        )

    def fields(self) -> dict[str, npt.NDArray[Any]]:
        """Return all of the state and of the last outcome."""
        return {name: array for group in self.groups for name, array in group._asdict().items()}


Town = RecordTown | FlatTown


def _sizes(plan: Plan) -> tuple[int, int]:
    return len(plan.names.residents), len(plan.names.objects)


def _views(plan: Plan, worlds: int) -> Views:
    n = len(plan.names.residents)
    return Views(
        map=np.zeros((worlds, n, 4, 11, 11), np.uint8),
        features=np.zeros((worlds, n, len(plan.names.features)), np.float32),
        action_mask=np.zeros((worlds, n, len(plan.names.actions)), np.int8),
    )


def load_flat(folder: Path) -> ModuleType:
    """Write the transformed kernels to a file, once, and import it."""
    path = folder / "flat_town.py"
    if not path.exists():
        path.write_text(rewrite())
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"expected to import {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # Numba looks a NamedTuple up in its module
    spec.loader.exec_module(module)
    return module


def open_town(layout: str, folder: Path, plan: Plan, worlds: int) -> Town:
    """Return worlds of a plan in one of the layouts."""
    if layout == "record":
        return RecordTown(plan, worlds)
    return FlatTown(sys.modules.get("flat_town") or load_flat(folder), plan, worlds)


@kernel
def decay_records(worlds: Any, rules: Any, times: int) -> None:
    """Let the needs of all worlds fall; the twin of the transformed ``decay_needs``."""
    for _ in range(times):
        for w in range(worlds.shape[0]):
            decay_needs(worlds[w], rules[0])


def masked_random(town: Town, rng: np.random.Generator) -> Orders:
    """Draw a legal action for everybody."""
    masks = town.views.action_mask
    orders: Orders = (rng.random(masks.shape) * masks).argmax(axis=-1).astype(np.int32)
    return orders


def check_equal(folder: Path, plan: Plan, ticks: int) -> None:
    """Raise unless all layouts live the same ticks to the last bit."""
    rng = np.random.default_rng(1)
    towns = [open_town(layout, folder, plan, 5) for layout in LAYOUTS]
    batch = WorldBatch(plan, 5)
    batch.reset(range(5))
    for tick in range(ticks):
        orders = masked_random(towns[0], rng)
        batch.step(orders)
        for town in towns:
            town.step(orders.copy())
        first = towns[0].fields()
        for w in range(5):
            if batch.worlds[w].tobytes() != towns[0].worlds[w].tobytes():  # type: ignore[union-attr]
                raise AssertionError(f"tick {tick}: the benchmark does not step as WorldBatch does")
        for layout, town in zip(LAYOUTS[1:], towns[1:], strict=True):
            _compare(f"tick {tick}, {layout}", first, town.fields(), towns[0].views, town.views)


def _compare(
    where: str, first: dict[str, Any], other: dict[str, Any], seen: Views, views: Views
) -> None:
    events = first["n_events"]
    for name, values in first.items():
        kept = (
            np.ones(values.shape[:2], np.bool_) if values.ndim > 1 else np.full(len(values), True)
        )
        if name in ("events", "event_value"):  # rows beyond the count are left-overs
            kept &= np.arange(values.shape[1])[None, :] < events[:, None]
        if values[kept].tobytes() != other[name][kept].tobytes():
            raise AssertionError(f"{where}: {name} differs from the record layout")
    theirs = views._asdict()
    for name, mine in seen._asdict().items():
        if mine.tobytes() != theirs[name].tobytes():
            raise AssertionError(f"{where}: views.{name} differs from the record layout")


def measure_steps(folder: Path, plan: Plan, worlds: int) -> dict[str, float]:
    """Return ns per agent step for every layout; the same recorded actions, in turn."""
    n = len(plan.names.residents)
    ticks = max(AGENT_STEPS // (worlds * n), 8)
    rng = np.random.default_rng(2)
    scout = open_town("record", folder, plan, worlds)
    script = []
    for _ in range(ticks):
        script.append(masked_random(scout, rng))
        scout.step(script[-1].copy())
    spent: dict[str, list[float]] = {layout: [] for layout in LAYOUTS}
    for round_ in range(ROUNDS + 1):
        for layout in LAYOUTS:
            town = open_town(layout, folder, plan, worlds)
            orders = [told.copy() for told in script]
            before = time.perf_counter()
            for told in orders:
                town.step(told)
            took = time.perf_counter() - before
            if round_:  # the first warms up
                spent[layout].append(took / (ticks * worlds * n) * 1e9)
    return {layout: statistics.median(values) for layout, values in spent.items()}


def measure_needs(folder: Path) -> dict[str, float]:
    """Return ns per agent step of the kernel that calls no other, 256 worlds of 8 residents."""
    plan, worlds, times = eight(), 256, 200
    record, flat = RecordTown(plan, worlds), open_town("groups", folder, plan, worlds)
    if not isinstance(flat, FlatTown):
        raise TypeError("expected the groups")
    town, residents = flat.groups[:2]
    spent: dict[str, list[float]] = {layout: [] for layout in LAYOUTS}
    for round_ in range(ROUNDS + 1):
        before = time.perf_counter()
        decay_records(record.worlds, plan.rules, times)
        between = time.perf_counter()
        flat.module.decay_often(town, residents, plan.rules, times)
        after = time.perf_counter()
        if round_:
            scale = 1e9 / (times * worlds * 8)
            spent["record"].append((between - before) * scale)
            spent["groups"].append((after - between) * scale)
    return {layout: statistics.median(values) for layout, values in spent.items()}


def measure_starts(folder: Path) -> dict[str, dict[str, float]]:
    """Return seconds of processor time from nothing to the first step, compiled anew or cached."""
    found: dict[str, dict[str, list[float]]] = {
        layout: {"cold": [], "warm": []} for layout in LAYOUTS
    }
    for _ in range(STARTS):
        for layout in LAYOUTS:
            with tempfile.TemporaryDirectory() as cache:
                for start in ("cold", "warm"):
                    found[layout][start].append(_start(layout, folder, Path(cache)))
    return {
        layout: {start: statistics.median(values) for start, values in starts.items()}
        for layout, starts in found.items()
    }


def _start(layout: str, folder: Path, cache: Path) -> float:
    environment = {**os.environ, "TOWNLET_CACHE_DIR": str(cache)}
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.state_layout", layout, str(folder)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(run.stdout)


def first_step(layout: str, folder: Path) -> None:
    """Step once and print the processor time of this process so far (a child of ``_start``)."""
    town = open_town(layout, folder, three(), 2)
    town.step(np.zeros((2, 3), np.int32))
    print(time.process_time())


def main() -> None:
    """Check, measure, print ratios and keep the figures."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        jit.CACHE_DIR = folder / "cache"  # the transformed kernels are not worth keeping
        for plan in (build() for build in SCENARIOS.values()):
            check_equal(folder, plan, 300)
        print("both layouts agree to the last bit over 300 ticks of each scenario")
        steps = {
            f"{name}, {worlds} worlds": measure_steps(folder, build(), worlds)
            for name, build in SCENARIOS.items()
            for worlds in SIZES
        }
        steps["needs only, 8 residents, 256 worlds"] = measure_needs(folder)
        starts = measure_starts(folder)
    for title, figures in steps.items():
        _print_row(f"ns per agent step, {title}", figures)
    for start in ("cold", "warm"):
        _print_row(f"processor s, {start} start", {name: starts[name][start] for name in LAYOUTS})
    document = {
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("numpy", "numba", "townlet")},
        "rounds": ROUNDS,
        "starts": STARTS,
        "ns_per_agent_step": steps,
        "processor_seconds_to_first_step": starts,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


def _print_row(title: str, figures: dict[str, float]) -> None:
    ratios = "  ".join(
        f"{name} {value:8.2f} ({value / figures['record']:.2f}x)" for name, value in figures.items()
    )
    print(f"{title:56}{ratios}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        first_step(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
