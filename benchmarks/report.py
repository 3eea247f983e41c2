"""What a group of measurements found, kept on disk from the first figure on."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from townlet_replay.bench.measure import Arm, Effort, Rate, alternate, ratio, speed

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "numba", "torch", "gymnasium", "pettingzoo", "stable-baselines3")
PACKAGES += ("sb3-contrib", "mpe2", "supersuit", "minari", "pyarrow", "h5py", "townlet")


def machine() -> dict[str, Any]:
    """Return what figures of speed depend on."""
    model = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    return {
        "system": platform.system(),
        "processor": model or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what takes part, as far as it is installed."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def read_results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Return all documents of results by name; what is no JSON is left out."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            print(f"{path}: expected JSON, found {error}; left out", file=sys.stderr)
    return found


class Report:
    """The results of one group: rows are added one by one, and written at once."""

    def __init__(self, group: str, path: Path, effort: Effort, console: Console) -> None:
        """Begin an empty report; nothing is written before the first result."""
        self.path = path
        self.effort = effort
        self.console = console
        self._began = time.perf_counter()
        self.document: dict[str, Any] = {
            "group": group,
            "taken": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "versions": versions(),
            "rounds": effort.rounds,
            "seconds_per_turn": effort.seconds,
            "busy": round(os.getloadavg()[0], 2),
            "arms": [],
            "comparisons": [],
            "curves": [],
            "figures": {},
            "points": [],
            "missing": [],
            "complete": False,
        }

    def take_turns(
        self, arms: Sequence[Arm], what: str, effort: Effort | None = None
    ) -> dict[str, list[Rate]]:
        """Measure arms in turn and keep their speeds."""

        def show(rounds: Iterable[int]) -> Iterable[int]:
            return track(rounds, what, console=self.console)

        rates = alternate(arms, effort or self.effort, show)
        self.document["arms"] += [speed(name, found) for name, found in rates.items()]
        self.write()
        return rates

    def compare(
        self, rates: Mapping[str, Sequence[Rate]], ours: str, peer: str, per: str = "agent steps"
    ) -> None:
        """Keep the ratio of two arms, if both could be measured."""
        if ours in rates and peer in rates:
            row = {"ours": ours, "peer": peer, "unit": per, **ratio(rates[ours], rates[peer])}
            self.document["comparisons"].append(row)
            self.write()

    def figure(self, name: str, value: float, unit: str) -> None:
        """Keep one figure."""
        self.document["figures"][name] = {"value": value, "unit": unit}
        self.write()

    def curve(self, name: str, axes: tuple[str, str], series: Mapping[str, Any]) -> None:
        """Keep lines of a plot: by name the x and y values."""
        row = {"name": name, "x": axes[0], "y": axes[1], "series": dict(series)}
        self.document["curves"].append(row)
        self.write()

    def point(self, name: str, size: int, predicted: float, measured: float) -> None:
        """Keep how long something of a size took, and how long it should have taken, in seconds."""
        row = {"name": name, "size": size, "predicted": predicted, "measured": measured}
        self.document["points"].append(row)
        self.write()

    def lacks(self, what: str, why: str) -> None:
        """Say what could not be measured."""
        self.document["missing"].append({"what": what, "why": why})
        self.write()

    def finish(self) -> None:
        """Mark the report as complete."""
        self.document["took_seconds"] = round(time.perf_counter() - self._began, 1)
        self.document["complete"] = True
        self.write()

    def write(self) -> None:
        """Write the file anew, all of it or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self.path)
