"""MaskablePPO in a comparison: live, and on captures, with the network of the native learner.

Both learners get the same layers and the same first weights, so that what differs between their
arms is the learner and its random numbers, not the network.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from townlet_env.views.sb3 import TownletVecEnv
from townlet_replay.compare.course import Course, Watch, rows_of
from townlet_replay.compare.exam import Examiner
from townlet_replay.compare.native_arms import Start, cards_after, counts_after
from townlet_replay.compare.results import HealthPoint, Point, Run, Stage
from townlet_replay.errors import TrainingError
from townlet_replay.evaluation import sb3_actor
from townlet_replay.policy.network import NetworkConfig, ObservationSpec, TownletNetwork
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.sb3 import CaptureMaskablePPO
from townlet_replay.training.sb3_entropy import follow_entropy
from townlet_replay.training.sb3_runs import check_plain, ppo_settings

_HEADS = {"action_head": "action_net", "value_head": "value_net"}


class TrunkExtractor(BaseFeaturesExtractor):
    """The native network up to its heads; Stable-Baselines3 puts its own two linear ones on top."""

    def __init__(
        self, observation_space: spaces.Space[Any], spec: ObservationSpec, network: NetworkConfig
    ) -> None:
        trunk = TownletNetwork(spec, network, seed=0)
        super().__init__(observation_space, trunk.action_head.in_features)
        # Ours would be parameters that no gradient reaches.
        del trunk.action_head, trunk.value_head
        self.network = trunk

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(N, ...) per key -> (N, features_dim)."""
        return self.network.encode(observations)


def train_live(course: Course, seed: int, examiner: Examiner, watch: Watch) -> Run:
    """Train MaskablePPO in the town and examine along the way.

    Raises:
        TrainingError: An update would end with a minibatch of one row.
    """
    config = course.with_seed(seed)
    live = config.live
    env = TownletVecEnv(course.scenario, live.num_worlds, seed=seed)
    check_minibatches(config, env.num_envs * live.rollout_ticks)
    start = TrainingHarness(config).network
    with warnings.catch_warnings():
        # A shorter last minibatch is what the native learner has as well.
        warnings.filterwarnings("ignore", "You have specified a mini-batch size", UserWarning)
        model = MaskablePPO(
            "MultiInputPolicy", env, n_steps=live.rollout_ticks, **settings_of(config, start)
        )
    load_weights(model, start)
    scout = _Scout(course, start, examiner, watch, seed)
    model.learn(live.steps, callback=[*follow_entropy(config.ppo, live.steps), scout])
    return Run(
        seed=seed,
        points=tuple(scout.points),
        weights=native_copy(model, start).digest,
        health=tuple(scout.health.points),
    )


def train_on_capture(course: Course, seed: int, start: Start, examiner: Examiner) -> Run:
    """Train MaskablePPO on a recording, from the weights that the native learner starts with.

    Raises:
        TrainingError: There is nothing for PPO to learn from, or it is unsound on the recording.
    """
    if start.dataset is None:
        raise TrainingError(
            "objective bc: Stable-Baselines3 has no behaviour cloning, so nothing is left to its "
            "PPO; compare with objective auto"
        )
    config = course.with_seed(seed)
    model = CaptureMaskablePPO.from_dataset(
        start.dataset, accept_bias=config.accept_bias, **settings_of(config, start.network)
    )
    load_weights(model, start.network)
    counter = StepCounter(model)
    health = _Pulse("ppo on capture")
    rows = config.epochs * rows_of(start.dataset)
    model.learn(rows, callback=[*follow_entropy(config.ppo, rows), health])
    point = _examine(model, "ppo on capture", counts_after(start, counter.steps), examiner)
    copy = native_copy(model, start.network)
    with examiner.aside():
        cards = cards_after(course, start, copy, start.dataset)
    return Run(
        seed=seed,
        points=(*start.points, examiner.with_agreement(point, copy)),
        weights=copy.digest,
        health=tuple(health.points),
        triptych=None if start.clone is None else start.clone.triptych,
        cards=cards,
    )


def native_copy(model: MaskablePPO, like: TownletNetwork) -> TownletNetwork:
    """Return a native network with the weights of a model that was built on one."""
    policy = model.policy.state_dict()
    weights = {name: policy[_sb3_name(name)].clone() for name in like.state_dict()}
    copy = TownletNetwork(like.spec, like.config, seed=0)
    copy.load_state_dict(weights)
    return copy


class StepCounter:
    """Counts the gradient steps of a model."""

    def __init__(self, model: MaskablePPO) -> None:
        self.steps = 0
        optimizer: Any = model.policy.optimizer
        optimizer.register_step_post_hook(self._count)

    def _count(self, *_: object) -> None:
        self.steps += 1


class _Pulse(BaseCallback):
    """Keeps what the updates of a model were like.

    Stable-Baselines3 notes them after an update and shows them with the next rollout; they are
    read in between. Its KL is that of the last pass of an update only.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.points: list[HealthPoint] = []
        self._stage: Stage = stage
        self._updates = 0

    def _on_training_start(self) -> None:
        self._counter = StepCounter(_model(self))

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._note()

    def _on_training_end(self) -> None:
        self._note()

    def _note(self) -> None:
        noted = self.logger.name_to_value
        if "train/n_updates" not in noted:
            return  # no update yet
        entropy = _noted(noted, "entropy_loss")
        self.points.append(
            HealthPoint(
                stage=self._stage,
                gradient_steps=self._counter.steps,
                kl=_noted(noted, "approx_kl"),
                clip_fraction=_noted(noted, "clip_fraction"),
                entropy=None if entropy is None else -entropy,
                explained_variance=_noted(noted, "explained_variance"),
                value_loss=_noted(noted, "value_loss"),
                grad_norm=None,
            )
        )


def _noted(values: Mapping[str, Any], name: str) -> float | None:
    value = float(values.get(f"train/{name}", math.nan))
    return value if math.isfinite(value) else None


class _Scout(BaseCallback):
    """Examines a live model after the updates that the course names."""

    def __init__(
        self,
        course: Course,
        like: TownletNetwork,
        examiner: Examiner,
        watch: Watch,
        seed: int,
    ) -> None:
        super().__init__()
        self.points: list[Point] = []
        self.health = _Pulse("live")
        self._course, self._examiner = course, examiner
        self._like, self._seen, self._seed = like, watch, seed
        self._updates = -1

    def _on_training_start(self) -> None:
        self._counter = StepCounter(_model(self))
        self.health.init_callback(self.model)
        self.health.on_training_start({}, {})

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.health.on_rollout_start()
        self._after_update()

    def _on_training_end(self) -> None:
        self.health.on_training_end()
        self._after_update()

    def _after_update(self) -> None:
        """Examine; the first call comes before any update."""
        self._updates += 1
        if self._updates == 0:
            self._examine("untrained")
        elif self._updates in self._course.examined_updates:
            self._examine("live")

    def _examine(self, stage: Stage) -> None:
        model = _model(self)
        counts = (self.num_timesteps, 0, self._counter.steps)
        point = _examine(model, stage, counts, self._examiner)
        copy = native_copy(model, self._like)
        self.points.append(self._examiner.with_agreement(point, copy))
        self._seen(f"live_sb3, seed {self._seed}")


def _model(callback: BaseCallback) -> MaskablePPO:
    model = callback.model
    if not isinstance(model, MaskablePPO):
        raise TrainingError(f"expected MaskablePPO, found {type(model).__name__}")
    return model


def _examine(
    model: MaskablePPO, stage: Stage, counts: tuple[int, int, int], examiner: Examiner
) -> Point:
    seed = examiner.acting_seed
    return examiner.examine(
        lambda greedy: sb3_actor(model, seed=seed, greedy=greedy), stage, counts
    )


def settings_of(config: TrainConfig, network: TownletNetwork) -> dict[str, Any]:
    """Return the settings of a run in the words of Stable-Baselines3."""
    check_plain(network.config)
    return {
        **ppo_settings(config.ppo),
        "seed": config.seed,
        "device": config.device,
        "policy_kwargs": {
            "features_extractor_class": TrunkExtractor,
            "features_extractor_kwargs": {"spec": network.spec, "network": network.config},
            "net_arch": [],
            "optimizer_kwargs": {"eps": config.ppo.adam_eps},
        },
    }


def load_weights(model: MaskablePPO, network: TownletNetwork) -> None:
    """Give a model the weights of a native network, and no logger that prints."""
    found: dict[str, Tensor] = model.policy.state_dict()
    for name, tensor in network.state_dict().items():
        own = _sb3_name(name)
        found[own] = tensor
        for twin in ("pi_features_extractor", "vf_features_extractor"):
            # The extractor is shared, but listed under three names.
            if own.startswith("features_extractor."):
                found[own.replace("features_extractor", twin, 1)] = tensor
    with torch.no_grad():
        model.policy.load_state_dict(found)
    model.set_logger(Logger(folder=None, output_formats=[]))


def _sb3_name(name: str) -> str:
    part, _, rest = name.partition(".")
    return f"{_HEADS[part]}.{rest}" if part in _HEADS else f"features_extractor.network.{name}"


def check_minibatches(config: TrainConfig, rows: int) -> None:
    """Refuse updates of ``rows`` rows that would leave a minibatch of one.

    Raises:
        TrainingError: They would.
    """
    size = config.ppo.minibatch_size
    if config.ppo.normalize_advantage and rows % size == 1:
        raise TrainingError(
            f"{rows} rows by minibatch_size {size} leave a minibatch of one row, which makes the "
            "weights of MaskablePPO NaN; change it, or the rows of an update"
        )
