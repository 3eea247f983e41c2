"""Epochs of the native learner as TensorBoard scalars, under the tags of Stable-Baselines3."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from townlet_replay.errors import TrainingError
from townlet_replay.training.telemetry_schema import EpochRecord

# Tag -> field; what Stable-Baselines3 logs as well has its tag.
TAGS = {
    "train/policy_gradient_loss": "loss_policy",
    "train/value_loss": "loss_value",
    "train/entropy_loss": "loss_entropy",
    "train/loss": "loss_total",
    "train/approx_kl": "kl_divergence",
    "train/clip_fraction": "clip_fraction",
    "train/explained_variance": "explained_variance",
    "train/learning_rate": "lr",
    "time/fps": "rows_per_sec",
    "time/total_timesteps": "steps",
    "train/grad_norm": "grad_norm",
    "train/ess": "ess",
    "train/ratio_max": "ratio_max",
    "train/value_slope": "value_slope",
    "train/illegal_mass": "illegal_mass",
    "rollout/queue_conflicts": "queue_conflict_events",
    "rollout/rivalry_max": "conflict_rivalry_max_max_avg",
}


def check_tensorboard() -> None:
    """Refuse to begin without the package.

    Raises:
        TrainingError: it is not installed.
    """
    if find_spec("tensorboard") is None:
        raise TrainingError(
            "TensorBoard logs were asked for, but tensorboard is not installed; install "
            "'townlet[tensorboard]', or use --ppo-log"
        )


class TensorBoardLog:
    """Writes the figures of every epoch that were measured, at the steps trained on so far.

    Args:
        folder: Where the event file goes, or nowhere.

    Raises:
        TrainingError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._writer: object | None = None
        if folder is not None:
            check_tensorboard()

    def write(self, record: EpochRecord) -> None:
        """Take one epoch; the file is made with the first."""
        if self._folder is None:
            return
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is None:
            self._writer = SummaryWriter(str(self._folder))
        writer = self._writer
        assert isinstance(writer, SummaryWriter)
        for tag, name in TAGS.items():
            value = getattr(record, name)
            if value is not None:
                writer.add_scalar(tag, value, record.steps)
        for agent, figures in record.agents.items():
            if figures.reward_sum is not None:
                mean = figures.reward_sum / max(figures.rows, 1)
                writer.add_scalar(f"agents/{agent}/reward", mean, record.steps)
        writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()  # type: ignore[attr-defined]
