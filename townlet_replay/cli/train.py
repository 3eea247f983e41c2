"""``townlet train``: on captures, on own rollouts, on both, by cloning, or live."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from townlet_replay.training.telemetry_schema import EpochRecord


class Mode(StrEnum):
    """What is trained on."""

    REPLAY = "replay"
    ROLLOUT = "rollout"
    MIXED = "mixed"
    BC = "bc"
    LIVE = "live"


class Compute(StrEnum):
    """How the native learner computes."""

    AUTO = "auto"
    FUSED = "fused"
    AUTOGRAD = "autograd"
    STRICT_SB3 = "strict_sb3"


class Precision(StrEnum):
    """Of the fused matrix products."""

    F32 = "f32"
    BF16 = "bf16"


class Schedule(StrEnum):
    """How a setting changes over the run."""

    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"


class Learner(StrEnum):
    """Who trains."""

    NATIVE = "native"
    SB3 = "sb3"
    SB3_MASKABLE = "sb3-maskable"


PPO = "PPO settings"
RUN = "Length of the run"
DATA = "Captures"
LOGS = "Logs and checkpoints"


def train(
    config: Annotated[str, typer.Argument(help="Scenario, or a training file (name or YAML).")],
    mode: Annotated[Mode | None, typer.Option(help="What is trained on; live by default.")] = None,
    learner: Annotated[Learner | None, typer.Option(help="Who trains; native by default.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="Torch device.")] = None,
    compute: Annotated[
        Compute | None, typer.Option(help="How the native learner computes; auto by default.")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="With --compute fused; f32 by default.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="1 by default; two change the bits unless fused.")
    ] = None,
    capture_dir: Annotated[
        Path | None, typer.Option(help="Capture to train on.", rich_help_panel=DATA)
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="auto, ppo, decoupled_ppo, vtrace_ppo, awr, bc or ppo_bc.", rich_help_panel=DATA
        ),
    ] = None,
    accept_bias: Annotated[
        bool, typer.Option(help="Train an unsound pair, marked.", rich_help_panel=DATA)
    ] = False,
    replay_shuffle: Annotated[
        bool | None, typer.Option(help="New order in every epoch.", rich_help_panel=DATA)
    ] = None,
    replay_seed: Annotated[
        int | None, typer.Option(help="Of that order.", rich_help_panel=DATA)
    ] = None,
    replay_batch_size: Annotated[
        int | None, typer.Option(help="Samples per update.", rich_help_panel=DATA)
    ] = None,
    replay_streaming: Annotated[
        bool | None, typer.Option(help="Read samples as needed.", rich_help_panel=DATA)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over a capture.", rich_help_panel=RUN)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Agent steps; with --mode live.", rich_help_panel=RUN)
    ] = None,
    num_worlds: Annotated[
        int | None, typer.Option(help="Towns side by side, live.", rich_help_panel=RUN)
    ] = None,
    cycles: Annotated[
        int | None, typer.Option(help="Capture-and-update cycles.", rich_help_panel=RUN)
    ] = None,
    rollout_ticks: Annotated[
        int | None, typer.Option(help="Ticks per cycle or live update.", rich_help_panel=RUN)
    ] = None,
    rollout_save_dir: Annotated[
        Path | None, typer.Option(help="Keeps the captures of cycles.", rich_help_panel=RUN)
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(rich_help_panel=PPO)] = None,
    learning_rate_schedule: Annotated[
        Schedule | None, typer.Option(help="Over the run, cloning too.", rich_help_panel=PPO)
    ] = None,
    learning_rate_end: Annotated[
        float | None, typer.Option(help="What it comes to; 0 by default.", rich_help_panel=PPO)
    ] = None,
    gamma: Annotated[float | None, typer.Option(rich_help_panel=PPO)] = None,
    gae_lambda: Annotated[float | None, typer.Option(rich_help_panel=PPO)] = None,
    clip_range: Annotated[float | None, typer.Option(rich_help_panel=PPO)] = None,
    clip_range_schedule: Annotated[
        Schedule | None, typer.Option(help="Over the run.", rich_help_panel=PPO)
    ] = None,
    clip_range_end: Annotated[
        float | None, typer.Option(help="What it comes to; 0 by default.", rich_help_panel=PPO)
    ] = None,
    clip_range_vf: Annotated[float | None, typer.Option(rich_help_panel=PPO)] = None,
    ent_coef: Annotated[float | None, typer.Option(rich_help_panel=PPO)] = None,
    ent_coef_schedule: Annotated[
        Schedule | None, typer.Option(help="Over the run.", rich_help_panel=PPO)
    ] = None,
    ent_coef_end: Annotated[
        float | None, typer.Option(help="What it comes to; 0 by default.", rich_help_panel=PPO)
    ] = None,
    vf_coef: Annotated[float | None, typer.Option(rich_help_panel=PPO)] = None,
    max_grad_norm: Annotated[float | None, typer.Option(rich_help_panel=PPO)] = None,
    ppo_epochs: Annotated[
        int | None, typer.Option(help="Passes per update.", rich_help_panel=PPO)
    ] = None,
    minibatch_size: Annotated[int | None, typer.Option(rich_help_panel=PPO)] = None,
    target_kl: Annotated[float | None, typer.Option(rich_help_panel=PPO)] = None,
    normalize_advantage: Annotated[bool | None, typer.Option(rich_help_panel=PPO)] = None,
    normalize_value: Annotated[bool | None, typer.Option(rich_help_panel=PPO)] = None,
    adam_eps: Annotated[float | None, typer.Option(rich_help_panel=PPO)] = None,
    ppo_log: Annotated[
        Path | None, typer.Option(help="Telemetry, a line per epoch.", rich_help_panel=LOGS)
    ] = None,
    ppo_log_frequency: Annotated[
        int | None, typer.Option(help="Write every so many.", rich_help_panel=LOGS)
    ] = None,
    ppo_log_max_entries: Annotated[
        int | None, typer.Option(help="Lines before rotation.", rich_help_panel=LOGS)
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard.", rich_help_panel=LOGS)
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Where weights go.", rich_help_panel=LOGS)
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Checkpoint to go on from.", rich_help_panel=LOGS)
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Digests of every minibatch.", rich_help_panel=LOGS)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Train a network; Ctrl-C keeps what was learnt in the checkpoint.

    Example: townlet train queue_conflict --mode replay --capture-dir captures --ppo-log ppo.jsonl
    """
    import json

    from townlet_replay.cli.console import bar
    from townlet_replay.training.config import load_train_config
    from townlet_replay.training.run import total_work, work_done
    from townlet_replay.training.run import train as run

    pace = {
        "learning_rate_schedule": learning_rate_schedule,
        "learning_rate_end": learning_rate_end,
    }
    changes: dict[str, Any] = {
        "mode": mode,
        "learner": learner,
        "seed": seed,
        "device": device,
        "epochs": epochs,
        "objective": objective,
        "accept_bias": accept_bias or None,
        "capture_dir": capture_dir,
        "checkpoint": checkpoint,
        "resume": resume,
        "tensorboard": tensorboard,
        "trace": trace,
        "compute": {"mode": compute, "precision": precision, "threads": threads},
        "ppo": {
            **pace,
            "learning_rate": learning_rate,
            "gamma": gamma,
            "gae_lambda": gae_lambda,
            "clip_range": clip_range,
            "clip_range_schedule": clip_range_schedule,
            "clip_range_end": clip_range_end,
            "clip_range_vf": clip_range_vf,
            "ent_coef": ent_coef,
            "ent_coef_schedule": ent_coef_schedule,
            "ent_coef_end": ent_coef_end,
            "vf_coef": vf_coef,
            "max_grad_norm": max_grad_norm,
            "epochs": ppo_epochs,
            "minibatch_size": minibatch_size,
            "target_kl": target_kl,
            "normalize_advantage": normalize_advantage,
            "normalize_value": normalize_value,
            "adam_eps": adam_eps,
        },
        # Cloning counts its passes itself; 0 is refused once, above.
        "bc": {"epochs": epochs or None, **pace},
        "awr": {"epochs": epochs or None, **pace},
        "replay": {
            "shuffle": replay_shuffle,
            "seed": replay_seed,
            "batch_size": replay_batch_size,
            "streaming": replay_streaming,
        },
        "rollout": {"ticks": rollout_ticks, "cycles": cycles, "save_dir": rollout_save_dir},
        "live": {"steps": steps, "num_worlds": num_worlds, "rollout_ticks": rollout_ticks},
        "telemetry": {
            "path": ppo_log,
            "frequency": ppo_log_frequency,
            "max_entries": ppo_log_max_entries,
        },
    }
    settings = load_train_config(config, _given(changes))
    with bar(settings.mode, total_work(settings)) as progress:
        report = run(
            settings, lambda record: progress.advance(work_done(settings, record), _loss(record))
        )
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=1))
    else:
        typer.echo(report.text())


def _loss(record: EpochRecord) -> str:
    return "" if record.loss_policy is None else f"policy loss {record.loss_policy:.4f}"


def _given(changes: dict[str, Any]) -> dict[str, Any]:
    """Keep the options that were given."""
    found: dict[str, Any] = {}
    for key, value in changes.items():
        kept = _given(value) if isinstance(value, dict) else value
        if kept is not None and kept != {}:
            found[key] = str(kept) if isinstance(kept, StrEnum) else kept
    return found
