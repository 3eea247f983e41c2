"""Runs of Stable-Baselines3's learners: on captures, and live in the town."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch.utils.hooks import RemovableHandle

from townlet_env.config.load import load_scenario
from townlet_env.views.sb3 import TownletVecEnv
from townlet_replay.dataset import ReplayDataset
from townlet_replay.errors import CaptureError, CheckpointError, TrainingError
from townlet_replay.policy.network import NetworkConfig
from townlet_replay.safe_files import write_files
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.epoch_log import EpochLog
from townlet_replay.training.ppo import PPOConfig
from townlet_replay.training.records import Progress, Verdict, check_moved, town_figures
from townlet_replay.training.sb3 import CaptureMaskablePPO, CapturePPO, TownletExtractor
from townlet_replay.training.sb3_entropy import follow_entropy
from townlet_replay.training.sb3_trace import TraceCallback
from townlet_replay.training.schedules import Schedule
from townlet_replay.training.telemetry_schema import EpochRecord
from townlet_replay.training.tensorboard_log import check_tensorboard
from townlet_replay.training.trace import Trace

Watch = Callable[[EpochRecord], None]


def train_on_capture(
    config: TrainConfig, dataset: ReplayDataset, watch: Watch | None = None
) -> OnPolicyAlgorithm:
    """Train Stable-Baselines3's PPO or MaskablePPO on a capture; one update per batch.

    Raises:
        TrainingError: The learner is not one of Stable-Baselines3, or the capture supports no
            ratio: log-probs are unknown or certain, values are unknown, or there are masks the
            learner does not know.
    """
    learner = CaptureMaskablePPO if _is_masked(config) else CapturePPO
    _check_minibatches(config)
    model = learner.from_dataset(dataset, accept_bias=config.accept_bias, **_settings(config))
    rows = sum(entry.timesteps for entry in dataset.metas)
    scribe = _Scribe(config, watch, baselines=dataset.baselines(), dataset=dataset)
    _learn(model, config, config.epochs * rows, scribe)
    return model


def train_live(
    config: TrainConfig, watch: Watch | None = None, callbacks: Sequence[BaseCallback] = ()
) -> OnPolicyAlgorithm:
    """Train Stable-Baselines3's PPO or MaskablePPO in the town.

    Args:
        config: The settings.
        watch: Called with the record of every update.
        callbacks: Called by the learner as well.

    Raises:
        ConfigError: The scenario is unknown or wrong.
        TrainingError: The learner is not one of Stable-Baselines3, or a minibatch of a lone row
            would make its weights NaN.
    """
    from sb3_contrib import MaskablePPO

    live = config.live
    learner = MaskablePPO if _is_masked(config) else PPO
    env = TownletVecEnv(load_scenario(config.scenario), live.num_worlds, seed=config.seed)
    _check_minibatches(config, env.num_envs * live.rollout_ticks)
    with warnings.catch_warnings():
        # A shorter last minibatch is what the native learner has as well.
        warnings.filterwarnings("ignore", "You have specified a mini-batch size", UserWarning)
        model = learner("MultiInputPolicy", env, n_steps=live.rollout_ticks, **_settings(config))
    scribe = _Scribe(config, watch, baselines={}, dataset=None)
    _learn(model, config, live.steps, scribe, callbacks)
    return model


def _check_minibatches(config: TrainConfig, rows: int | None = None) -> None:
    """Refuse minibatches whose advantages have no deviation to be divided by.

    Args:
        config: The settings.
        rows: Of a live update; captures know how to cut theirs.
    """
    size = config.ppo.minibatch_size
    alone = rows is not None and (rows == 1 or (_is_masked(config) and rows % size == 1))
    if config.ppo.normalize_advantage and (size == 1 or alone):
        cut = f"minibatch_size {size}" if rows is None else f"{rows} rows by minibatch_size {size}"
        raise TrainingError(
            f"learner {config.learner!r}: expected minibatches of two rows or more, found a lone "
            f"row with {cut}; change it, or the rows of an update"
        )


def _is_masked(config: TrainConfig) -> bool:
    if config.learner == "native":
        raise TrainingError("expected learner sb3 or sb3-maskable, found 'native'")
    return config.learner == "sb3-maskable"


def ppo_settings(ppo: PPOConfig) -> dict[str, Any]:
    """Return PPO's settings in the words of Stable-Baselines3.

    Raises:
        TrainingError: It has no word for one of them.
    """
    if ppo.normalize_value:
        raise TrainingError(
            "Stable-Baselines3: expected ppo.normalize_value false, found true, which it cannot; "
            "leave it out and set vf_coef, or use the native learner"
        )
    return {
        "learning_rate": _over_the_run(ppo.learning_rates),
        "batch_size": ppo.minibatch_size,
        "n_epochs": ppo.epochs,
        "gamma": ppo.gamma,
        "gae_lambda": ppo.gae_lambda,
        "clip_range": _over_the_run(ppo.clip_ranges),
        "clip_range_vf": ppo.clip_range_vf,
        "normalize_advantage": ppo.normalize_advantage,
        "ent_coef": ppo.ent_coef,
        "vf_coef": ppo.vf_coef,
        "max_grad_norm": ppo.max_grad_norm,
        "target_kl": ppo.target_kl,
    }


def check_plain(network: NetworkConfig) -> None:
    """Refuse a recurrent core and a central critic: no model of Stable-Baselines3 has them here.

    Raises:
        TrainingError: There is one.
    """
    if network.recurrent is not None:
        raise TrainingError(
            f"Stable-Baselines3: expected a network that remembers nothing, found "
            f"network.recurrent {network.recurrent!r}; leave it out, or use the native learner"
        )
    if network.critic != "own":
        raise TrainingError(
            f"Stable-Baselines3: expected network.critic own, found {network.critic!r}; leave it "
            "out, or use the native learner"
        )


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings of a run, with the widths of our network."""
    network = config.network
    check_plain(network)
    return {
        **ppo_settings(config.ppo),
        "seed": config.seed,
        "device": config.device,
        "policy_kwargs": {
            "features_extractor_class": TownletExtractor,
            "features_extractor_kwargs": {
                "map_width": network.map_width,
                "features_width": network.features_width,
            },
            "net_arch": list(network.trunk_widths),
        },
    }


def _over_the_run(schedule: Schedule) -> float | Schedule:
    # A plain number needs nothing of this package when the zip is opened.
    return schedule.start if schedule.kind == "constant" else schedule


def _learn(
    model: OnPolicyAlgorithm,
    config: TrainConfig,
    steps: int,
    scribe: _Scribe,
    callbacks: Sequence[BaseCallback] = (),
) -> None:
    model.set_logger(_logger(config))
    try:
        followers = [*follow_entropy(config.ppo, steps), *_tracer(config)]
        model.learn(steps, callback=[scribe, *followers, *callbacks])
    finally:
        # Also after Ctrl-C: what was learnt so far is kept, unless nothing was.
        if config.checkpoint is not None and scribe.updates:
            save_model(config.checkpoint, model)
        scribe.close()


def _tracer(config: TrainConfig) -> list[BaseCallback]:
    return [] if config.trace is None else [TraceCallback(Trace(config.trace))]


def _logger(config: TrainConfig) -> Logger:
    if config.tensorboard is None:
        return configure(None, [])
    check_tensorboard()
    return configure(str(config.tensorboard), ["tensorboard"])


def zip_path(path: Path) -> Path:
    """Return where :func:`save_model` writes: ``path``, with ``.zip`` appended if missing."""
    return path if path.suffix == ".zip" else path.with_name(f"{path.name}.zip")


def save_model(path: Path, model: OnPolicyAlgorithm) -> Path:
    """Write the zip of a model, whole or not at all.

    Raises:
        CheckpointError: The disk refuses.
    """
    target = zip_path(path)
    content = io.BytesIO()
    model.save(content)
    try:
        write_files(target.parent, {target.name: content.getvalue()})
    except CaptureError as error:
        raise CheckpointError(str(error)) from error
    return target


class _Scribe(BaseCallback):
    """Writes one telemetry record per update, from what Stable-Baselines3 logged about it.

    Its KL and clip fraction are those of the last epoch of an update; gradient norms it does not
    tell.

    Attributes:
        updates: Updates booked so far.
    """

    def __init__(
        self,
        config: TrainConfig,
        watch: Watch | None,
        *,
        baselines: Mapping[str, Any],
        dataset: ReplayDataset | None,
    ) -> None:
        super().__init__()
        self.updates = 0
        self._log = EpochLog(config.telemetry)
        self._resumed = self._log.resumed
        self._watch = watch
        self._config = config
        self._baselines = baselines
        self._figures = town_figures([] if dataset is None else dataset.metrics)
        self._live = dataset is None
        self._rows = 0
        self._gradient_steps = 0
        self._began = 0.0
        self._hook: RemovableHandle | None = None

    def _on_training_start(self) -> None:
        optimizer: Any = self.model.policy.optimizer
        self._hook = optimizer.register_step_post_hook(self._count_step)
        self._began = time.perf_counter()

    def _count_step(self, *_: object) -> None:
        self._gradient_steps += 1

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        model: Any = self.model
        self._rows = model.rollout_buffer.rewards.size

    @property
    def _ent_coef(self) -> float:
        model: Any = self.model
        return float(model.ent_coef)

    def _on_rollout_start(self) -> None:
        self._write()

    def _on_training_end(self) -> None:
        self._write()

    def _write(self) -> None:
        """Book the update that just ended; before the first there is none."""
        said = dict(self.logger.name_to_value)
        if "train/loss" not in said or self._rows == 0:
            return
        now = time.perf_counter()
        progress = Progress(
            epoch=self._resumed.epoch + self.updates + 1,
            steps=self._resumed.steps + self.num_timesteps,
            cycle=self._resumed.cycle_id,
            data_mode="rollout" if self._live else "replay",
            rollout_ticks=self._config.live.rollout_ticks if self._live else 0,
            seconds=now - self._began,
            learning_rate=said["train/learning_rate"],
            clip_range=said["train/clip_range"],
            verdict=Verdict("ppo", biased=False if self._live else None),
        )
        self._began = now
        policy, value = said["train/policy_gradient_loss"], said["train/value_loss"]
        entropy, ppo = said["train/entropy_loss"], self._config.ppo
        record = EpochRecord(
            **progress.fields(),
            **self._baselines,
            **self._figures,
            updates=self._gradient_steps,
            transitions=self._rows,
            loss_policy=policy,
            loss_value=value,
            loss_entropy=entropy,
            # Stable-Baselines3 logs the loss of its last minibatch; this is the mean of all.
            loss_total=policy + self._ent_coef * entropy + ppo.vf_coef * value,
            clip_fraction=said["train/clip_fraction"],
            kl_divergence=said["train/approx_kl"],
            explained_variance=said.get("train/explained_variance"),
            rows_per_sec=progress.per_second(self._rows),
        )
        if self.updates == 0:
            check_moved(record, ppo.target_kl)
        self.updates += 1
        self._gradient_steps = 0
        self._log.write(record)
        if self._watch is not None:
            self._watch(record)

    def close(self) -> None:
        """Finish the log and leave the optimizer alone."""
        if self._hook is not None:
            self._hook.remove()
        self._log.close()


def load_model(path: Path) -> OnPolicyAlgorithm:
    """Open a zip that ``PPO`` or ``MaskablePPO`` saved. It is unpickled: open only your own.

    Raises:
        CheckpointError: The file is no such zip.
    """
    from sb3_contrib import MaskablePPO
    from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
    from stable_baselines3.common.save_util import load_from_zip_file

    try:
        data, _, _ = load_from_zip_file(path, device="cpu")
    except ValueError as error:
        raise CheckpointError(f"{path}: no model of Stable-Baselines3: {error}") from error
    policy = (data or {}).get("policy_class")
    masked = isinstance(policy, type) and issubclass(policy, MaskableActorCriticPolicy)
    learner: type[OnPolicyAlgorithm] = MaskablePPO if masked else PPO
    return learner.load(path, device="cpu")
