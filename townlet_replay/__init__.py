"""Record, replay and learn from rollouts of any PettingZoo environment.

The public names are resolved when they are first used: importing this package loads neither torch
nor pydantic, and recording does not need torch at all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from townlet_replay.batch_recorder import RecordBatch
    from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
    from townlet_replay.deriving import materialise, reobserve
    from townlet_replay.frames import frames_to_replay_sample
    from townlet_replay.manifest import load_capture
    from townlet_replay.policy.runtime import PolicyRuntime
    from townlet_replay.recorder import RecordReplay
    from townlet_replay.recovery import recover_capture
    from townlet_replay.sample import ReplaySample
    from townlet_replay.sizes import capture_sizes, plan_capture
    from townlet_replay.tools.derived import write_capture, write_captures
    from townlet_replay.tools.describing import capture_statistics
    from townlet_replay.tools.differing import diff_captures
    from townlet_replay.tools.filtering import filter_capture
    from townlet_replay.tools.merging import merge_captures
    from townlet_replay.tools.slicing import slice_capture
    from townlet_replay.tools.splitting import split_capture
    from townlet_replay.training.harness import TrainingHarness
    from townlet_replay.training.rollout_buffer import RolloutBuffer
    from townlet_replay.verifying import verify

__all__ = [
    "PolicyRuntime",
    "RecordBatch",
    "RecordReplay",
    "ReplayDataset",
    "ReplayDatasetConfig",
    "ReplaySample",
    "RolloutBuffer",
    "TrainingHarness",
    "capture_sizes",
    "capture_statistics",
    "diff_captures",
    "filter_capture",
    "frames_to_replay_sample",
    "load_capture",
    "materialise",
    "merge_captures",
    "plan_capture",
    "recover_capture",
    "reobserve",
    "slice_capture",
    "split_capture",
    "verify",
    "write_capture",
    "write_captures",
]

_HOMES = {
    "PolicyRuntime": "townlet_replay.policy.runtime",
    "RecordBatch": "townlet_replay.batch_recorder",
    "RecordReplay": "townlet_replay.recorder",
    "ReplayDataset": "townlet_replay.dataset",
    "ReplayDatasetConfig": "townlet_replay.dataset",
    "ReplaySample": "townlet_replay.sample",
    "RolloutBuffer": "townlet_replay.training.rollout_buffer",
    "TrainingHarness": "townlet_replay.training.harness",
    "capture_sizes": "townlet_replay.sizes",
    "capture_statistics": "townlet_replay.tools.describing",
    "diff_captures": "townlet_replay.tools.differing",
    "filter_capture": "townlet_replay.tools.filtering",
    "frames_to_replay_sample": "townlet_replay.frames",
    "load_capture": "townlet_replay.manifest",
    "materialise": "townlet_replay.deriving",
    "merge_captures": "townlet_replay.tools.merging",
    "plan_capture": "townlet_replay.sizes",
    "recover_capture": "townlet_replay.recovery",
    "reobserve": "townlet_replay.deriving",
    "slice_capture": "townlet_replay.tools.slicing",
    "split_capture": "townlet_replay.tools.splitting",
    "verify": "townlet_replay.verifying",
    "write_capture": "townlet_replay.tools.derived",
    "write_captures": "townlet_replay.tools.derived",
}

# Out of the type checker's sight: with it every misspelt name would be one it believes in.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import the module of a public name, the first time the name is used."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = vars(import_module(_HOMES[name]))[name]
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        """List the public names, resolved or not."""
        return sorted({*globals(), *__all__})
