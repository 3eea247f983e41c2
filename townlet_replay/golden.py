"""Goldens: what captures of the catalogue hold, against figures kept in the repository.

A golden is only a second opinion. That the stories are right, their ``expect`` claims prove; the
golden says that nothing moved.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from townlet_env.config.load import list_scenarios, load_scenario
from townlet_replay.capture import CaptureSettings, capture_scenario
from townlet_replay.errors import CaptureError
from townlet_replay.safe_files import first_problem, read_bytes, to_json, write_files

GOLDEN_VERSION = "1.0"
MAX_BYTES = 8 << 20
# Sums of float32 over a scenario; the same machine gives the same bits, another may round.
TOLERANCE = 1e-6


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SampleStats(_Section):
    """One resident's sample."""

    rows: int
    reward_sum: float
    reward_component_sums: dict[str, float]
    action_counts: dict[str, int]
    affordance_finishes: dict[str, int]
    queue_conflict_events: int
    rivalry_max_max: float
    clip_share: float


class ScenarioStats(_Section):
    """One scenario."""

    config_digest: str
    seed: int
    residents: dict[str, SampleStats]


class Golden(_Section):
    """The file."""

    schema_version: str = GOLDEN_VERSION
    scenarios: dict[str, ScenarioStats]


class Drift(NamedTuple):
    """One figure that moved."""

    scenario: str
    resident: str
    figure: str
    golden: str
    now: str


def measure(
    scenarios: Sequence[str] | None = None, watch: Callable[[str], None] | None = None
) -> Golden:
    """Capture scenarios and return their figures.

    Args:
        scenarios: Names; all shipped ones by default.
        watch: Called with every name when it is done.
    """
    found = {}
    for name in scenarios or list_scenarios():
        found[name] = _measure_one(name)
        if watch is not None:
            watch(name)
    return Golden(scenarios=found)


def _measure_one(name: str) -> ScenarioStats:
    config = load_scenario(name)
    with tempfile.TemporaryDirectory(prefix="townlet-golden-") as folder:
        capture = capture_scenario(config, Path(folder) / "capture", CaptureSettings())
        residents = {}
        for entry in capture.manifest.samples:
            metrics = capture.metrics.samples[entry.sample]
            residents[entry.agent_id] = SampleStats(
                rows=metrics.timesteps,
                reward_sum=metrics.reward_sum,
                reward_component_sums=metrics.reward_component_sums or {},
                action_counts=metrics.action_counts or {},
                affordance_finishes=metrics.affordance_finishes or {},
                queue_conflict_events=metrics.queue_conflict_events or 0,
                rivalry_max_max=metrics.rivalry_max_max or 0.0,
                clip_share=metrics.clip_share or 0.0,
            )
    return ScenarioStats(config_digest=config.digest(), seed=config.seed, residents=residents)


def read_golden(path: Path) -> Golden:
    """Read a golden file.

    Raises:
        CaptureError: It is missing, damaged, or of another version.
    """
    try:
        golden = Golden.model_validate_json(read_bytes(path, MAX_BYTES))
    except ValidationError as error:
        raise CaptureError(f"{path}: {first_problem(error)}") from error
    if golden.schema_version != GOLDEN_VERSION:
        raise CaptureError(
            f"{path}: expected goldens of version {GOLDEN_VERSION}, found "
            f"{golden.schema_version}; make new ones with `townlet golden refresh`"
        )
    return golden


def write_golden(path: Path, golden: Golden) -> None:
    """Write a golden file in one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_files(path.parent, {path.name: to_json(golden)})


def compare(golden: Golden, now: Golden) -> list[Drift]:
    """Return every figure that differs; scenarios and residents that come or go count too."""
    drifts: list[Drift] = []
    for name in sorted(golden.scenarios.keys() | now.scenarios.keys()):
        before, after = golden.scenarios.get(name), now.scenarios.get(name)
        if before is None or after is None:
            drifts.append(Drift(name, "", "scenario", _there(before), _there(after)))
            continue
        if before.config_digest != after.config_digest:
            drifts.append(
                Drift(name, "", "config_digest", before.config_digest, after.config_digest)
            )
        for resident in sorted(before.residents.keys() | after.residents.keys()):
            pair = before.residents.get(resident), after.residents.get(resident)
            drifts += _compare_residents(name, resident, *pair)
    return drifts


def _there(found: object) -> str:
    return "missing" if found is None else "there"


def _compare_residents(
    scenario: str, resident: str, before: SampleStats | None, after: SampleStats | None
) -> list[Drift]:
    if before is None or after is None:
        return [Drift(scenario, resident, "resident", _there(before), _there(after))]
    left, right = _flat(before), _flat(after)
    return [
        Drift(scenario, resident, figure, f"{left.get(figure, 0)}", f"{right.get(figure, 0)}")
        for figure in sorted(left.keys() | right.keys())
        if abs(left.get(figure, 0.0) - right.get(figure, 0.0)) > TOLERANCE
    ]


def _flat(stats: SampleStats) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in stats:
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": number for key, number in value.items()}
        else:
            flat[name] = value
    return flat
