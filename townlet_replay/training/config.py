"""What a training run is told: one model for YAML files, the command line and Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, Field

from townlet_env.config.load import Source, configs_dir, merge, validate
from townlet_env.config.safe_yaml import read_yaml
from townlet_replay.policy.fused_net import Precision
from townlet_replay.policy.network import NetworkConfig
from townlet_replay.training.awr import AWRConfig
from townlet_replay.training.bc import BCConfig
from townlet_replay.training.demonstration import DemonstrationConfig
from townlet_replay.training.objectives import ObjectiveName
from townlet_replay.training.off_policy import OffPolicyConfig
from townlet_replay.training.ppo import PPOConfig
from townlet_replay.training.settings import AtLeastOne, Settings
from townlet_replay.training.telemetry_schema import NEWEST, TelemetryVersion

Mode = Literal["replay", "rollout", "mixed", "bc", "live"]
Learner = Literal["native", "sb3", "sb3-maskable"]


def _is_there(device: str) -> str:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch raises the latter without CUDA
        reason = str(error).splitlines()[0]
        raise ValueError(f"expected a device of this machine such as 'cpu': {reason}") from error
    return device


class ReplaySettings(Settings):
    """How a capture is read."""

    batch_size: AtLeastOne = Field(8, description="samples per update")
    shuffle: bool = Field(True, description="another order of samples in every epoch")
    seed: int = Field(0, ge=0, description="of that order")
    streaming: bool = Field(False, description="read samples when their batch comes")


class RolloutSettings(Settings):
    """How the current policy is captured, cycle by cycle."""

    ticks: AtLeastOne = Field(240, description="ticks per cycle; episodes follow each other")
    cycles: AtLeastOne = Field(4, description="captures, each followed by updates on it")
    save_dir: Path | None = Field(None, description="keeps the captures; else they are temporary")


class LiveSettings(Settings):
    """How a learner steps the town itself."""

    steps: AtLeastOne = Field(20_000, description="agent steps in all")
    num_worlds: AtLeastOne = Field(8, description="towns stepped together")
    rollout_ticks: AtLeastOne = Field(64, description="ticks per update")


class ComputeSettings(Settings):
    """How the native learner computes; Stable-Baselines3's take the threads alone."""

    mode: Literal["auto", "fused", "autograd", "strict_sb3"] = Field(
        "auto",
        description="gradients by hand or by torch, or bit for bit those of Stable-Baselines3; "
        "auto: fused when live, else strict_sb3",
    )
    precision: Precision = Field(
        "f32", description="of fused matrix products; bf16 is faster and rounds to 8 bits"
    )
    threads: AtLeastOne = Field(1, description="of torch, or sharing the fused work")
    keep_memory: bool = Field(
        True, description="with autograd: big blocks that are freed stay with the process (glibc)"
    )


class TelemetrySettings(Settings):
    """Where a line per epoch goes."""

    path: Path | None = None
    frequency: AtLeastOne = Field(1, description="write every so many epochs")
    max_entries: AtLeastOne | None = Field(None, description="lines per file before rotation")
    version: TelemetryVersion = NEWEST


class TrainConfig(Settings):
    """One training run."""

    scenario: str = Field("queue_conflict", description="shipped name or path of a YAML file")
    mode: Mode = "live"
    learner: Learner = "native"
    seed: int = Field(0, ge=0, description="of weights, sampling, minibatches and episodes")
    epochs: AtLeastOne = Field(10, description="passes over a capture")
    objective: Literal["auto", ObjectiveName] = Field(
        "auto", description="auto takes what is sound on the capture"
    )
    accept_bias: bool = Field(False, description="train an unsound pair, and mark every output")
    capture_dir: Path | None = Field(None, description="capture to train on")
    checkpoint: Path | None = Field(None, description="where the weights go")
    resume: Path | None = Field(None, description="checkpoint to go on from")
    tensorboard: Path | None = Field(None, description="folder of TensorBoard logs")
    trace: Path | None = Field(None, description="digests of every minibatch, for `townlet parity`")
    device: Annotated[str, AfterValidator(_is_there)] = "cpu"
    network: NetworkConfig = NetworkConfig()
    ppo: PPOConfig = PPOConfig()
    off_policy: OffPolicyConfig = OffPolicyConfig()
    bc: BCConfig = BCConfig()
    awr: AWRConfig = AWRConfig()
    demonstration: DemonstrationConfig = DemonstrationConfig()
    replay: ReplaySettings = ReplaySettings()
    rollout: RolloutSettings = RolloutSettings()
    live: LiveSettings = LiveSettings()
    compute: ComputeSettings = ComputeSettings()
    telemetry: TelemetrySettings = TelemetrySettings()


def load_train_config(name_or_path: str | Path, changes: dict[str, Any]) -> TrainConfig:
    """Return the settings of a run.

    Args:
        name_or_path: A training file (shipped name or ``.yaml`` path with training keys), or a
            scenario, which is then trained on with default settings.
        changes: Settings that win over the file; mappings are merged key by key.

    Raises:
        ConfigError: No such file, an unknown key, or a wrong value.
    """
    text = str(name_or_path)
    shipped = configs_dir() / "training" / f"{text}.yaml"
    path = shipped if shipped.is_file() else Path(text)
    data: dict[str, Any] = {"scenario": text}
    lines: dict[tuple[str | int, ...], int] = {}
    if path.is_file():
        document = read_yaml(path)
        # A scenario has residents; a training file names one.
        if "residents" not in document.data:
            data, lines = document.data, document.lines
    return validate(TrainConfig, merge(data, changes), Source(text, lines))
