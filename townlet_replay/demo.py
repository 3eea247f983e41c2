"""The main job in one go: capture the classic scenarios, train on captures and live, compare."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.verdicts import check_story
from townlet_replay.capture import CaptureSettings, capture_scenario
from townlet_replay.compare.report import write_report
from townlet_replay.compare.results import CompareSettings, Comparison
from townlet_replay.compare.run import compare, examinations
from townlet_replay.errors import CaptureError
from townlet_replay.training.config import TrainConfig, load_train_config

# Left in the folder, so that a second demo knows what it may replace.
MARK = ".townlet-demo"
CAPTURES, COMPARISON = "captures", "comparison"
Watch = Callable[[str], None]


class Story(NamedTuple):
    """One captured scenario."""

    scenario: str
    claims_held: int
    claims: int
    samples: int
    rows: int
    reward_sum: float
    clip_share: float


class Plan(NamedTuple):
    """What a demo will do."""

    scenarios: tuple[str, ...]
    training: TrainConfig
    settings: CompareSettings
    jobs: int = 2  # processes

    @property
    def comparison_steps(self) -> int:
        """How often the comparison reports progress."""
        return examinations(self.training, self.settings)


def plan_demo(*, quick: bool = False) -> Plan:
    """Return what the demo does; ``quick`` keeps every step and shortens the training."""
    training = load_train_config("demo", {"live": {"steps": 2_560}} if quick else {})
    # More noise in the recording costs the clone more than it teaches it about going astray.
    settings = CompareSettings(
        seeds=1 if quick else 3, points=2 if quick else 8, capture_epsilon=0.05
    )
    return Plan(tuple(list_scenarios()), training, settings)


def prepare(out: Path) -> None:
    """Open the folder of a demo; what an earlier one made is replaced, anything else stays.

    Raises:
        CaptureError: The folder holds something else.
    """
    if out.exists() and not (out / MARK).is_file() and any(out.iterdir()):
        raise CaptureError(
            f"{out}: expected a new folder, or that of an earlier demo, found other files; "
            "give another --output"
        )
    for made in (CAPTURES, COMPARISON):
        if (out / made).is_dir():
            shutil.rmtree(out / made)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).write_text("townlet demo\n")


def capture_stories(plan: Plan, out: Path, watch: Watch) -> list[Story]:
    """Capture every scenario by its scripts and hold it against its claims."""
    found = []
    for name in plan.scenarios:
        config = load_scenario(name)
        capture = capture_scenario(config, out / CAPTURES / name, CaptureSettings())
        claims = check_story(config)
        totals = capture.metrics.totals
        found.append(
            Story(
                scenario=name,
                claims_held=sum(claim.held for claim in claims),
                claims=len(claims),
                samples=totals.samples,
                rows=totals.timesteps,
                reward_sum=totals.reward_sum,
                clip_share=totals.clip_share or 0.0,
            )
        )
        watch(name)
    return found


def compare_learners(plan: Plan, out: Path, watch: Watch) -> tuple[Comparison, Path]:
    """Train and evaluate all arms, and return the results and the path of the report."""
    found = compare(plan.training, plan.settings, out / COMPARISON, watch, jobs=plan.jobs)
    return found, write_report(found, out / COMPARISON)
