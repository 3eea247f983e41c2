"""What the tests of the command line play."""

from __future__ import annotations

from pathlib import Path

SCENARIO = "kitchen_breakfast"


GOLDEN = Path(__file__).parents[1] / "docs" / "samples" / "rollout_scenario_stats.json"
