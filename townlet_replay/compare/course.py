"""What the runs of a comparison share: settings, seeds, recordings and where they are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from townlet_env.config.load import load_scenario
from townlet_env.config.schema import TownConfig
from townlet_env.sim.random import episode_seed
from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.capture import CaptureSettings, capture_scenario, record_policy, town_spec
from townlet_replay.compare.results import CompareSettings
from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import TrainingError
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.rollout import Rollout, pack
from townlet_replay.training.config import TrainConfig

Watch = Callable[[str], None]
"""Called with a few words whenever a policy was examined."""


class Course(NamedTuple):
    """One scenario, one set of settings, one folder."""

    config: TrainConfig
    scenario: TownConfig
    settings: CompareSettings
    directory: Path

    @classmethod
    def plan(cls, config: TrainConfig, settings: CompareSettings, directory: Path) -> Course:
        """Check that a comparison can be made.

        Raises:
            ConfigError: The scenario is unknown or wrong.
            TrainingError: Evaluation would play episodes that training or captures play.
        """
        course = cls(config, load_scenario(config.scenario), settings, directory)
        shared = set(course.evaluation_seeds) & course._played_seeds()
        if shared:
            raise TrainingError(
                f"evaluation seeds: expected episodes that nothing is trained on, found "
                f"{min(shared)} among those of training or capture; choose another first_eval_seed"
            )
        return course

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """One per run of an arm."""
        return tuple(range(self.config.seed, self.config.seed + self.settings.seeds))

    @property
    def evaluation_seeds(self) -> tuple[int, ...]:
        """One per evaluation episode."""
        first = self.settings.first_eval_seed
        return tuple(range(first, first + self.settings.eval_seeds))

    def clone_seed(self, seed: int) -> int:
        """Return the seed of the first episode that the clone of a training seed plays."""
        return self.settings.capture_seed + self.settings.capture_episodes + seed

    def with_seed(self, seed: int) -> TrainConfig:
        """Return the settings of one run, without the files a single run would leave."""
        unwritten = {"checkpoint": None, "resume": None, "tensorboard": None, "trace": None}
        telemetry = self.config.telemetry.model_copy(update={"path": None})
        return self.config.model_copy(update={"seed": seed, "telemetry": telemetry, **unwritten})

    @property
    def updates(self) -> int:
        """Live updates of a run: as many as it takes to make the steps asked for."""
        live = self.config.live
        rows = live.num_worlds * live.rollout_ticks * len(self.scenario.residents)
        return -(-live.steps // rows)

    @property
    def examined_updates(self) -> frozenset[int]:
        """Numbers, from 1, of the live updates after which a policy is examined; the last is."""
        points, updates = self.settings.points, self.updates
        return frozenset(-(-updates * k // points) for k in range(1, points + 1))

    @property
    def source_in_words(self) -> str:
        """Where the capture comes from."""
        where = self.config.capture_dir
        return (
            str(where)
            if where is not None
            else ("the scenario's scripts, recorded for this comparison")
        )

    def record_scripts(self) -> None:
        """Record the scripts of the scenario, unless a capture was given.

        Raises:
            ConfigError: Somebody in the scenario has no script.
            CaptureError: The capture cannot be written.
        """
        if self.config.capture_dir is not None:
            return
        settings = CaptureSettings(
            episodes=self.settings.capture_episodes,
            epsilon=self.settings.capture_epsilon,
            seed=self.settings.capture_seed,
            overwrite=True,
        )
        capture_scenario(self.scenario, self._scripts, settings)

    def capture(self) -> ReplayDataset:
        """Open the capture that was given, or the recording of the scripts.

        Raises:
            CaptureError: It is damaged or of another catalogue.
            TrainingError: It shows an evaluation episode.
        """
        dataset = self.dataset(self.config.capture_dir or self._scripts)
        shown = {meta.capture_metadata.seed for meta in dataset.metas}
        shared = [seed for seed in self.evaluation_seeds if seed in shown]
        if shared:
            raise TrainingError(
                f"{dataset.config.manifest}: expected no episode of the evaluation seeds, found "
                f"{shared[0]}; choose another first_eval_seed"
            )
        return dataset

    @property
    def _scripts(self) -> Path:
        return self.directory / "captures" / "scripts"

    def clone_folder(self, seed: int) -> Path:
        """Return where the clone of a training seed is recorded."""
        return self.directory / "captures" / f"clone_seed_{seed}"

    def record_network(self, network: TownletNetwork, seed: int) -> ReplayDataset:
        """Let a network play everybody, sampled, and record log-probs and values.

        Raises:
            CaptureError: The capture cannot be written.
        """
        folder = self.clone_folder(seed)
        env = TownletParallelEnv(self.scenario, details=True)
        first = self.clone_seed(seed)
        record_policy(
            env,
            PolicyRuntime(network, seed=first),
            folder,
            ticks=self.config.rollout.ticks,
            seed=first,
            settings=CaptureSettings(overwrite=True),
        )
        return self.dataset(folder)

    def dataset(self, folder: Path) -> ReplayDataset:
        """Open a capture as this scenario's learners read it.

        Raises:
            CaptureError: It is damaged, or of another catalogue than the scenario.
        """
        replay = self.config.replay
        spec = town_spec(TownletParallelEnv(self.scenario).plan)
        settings = ReplayDatasetConfig.from_capture_dir(
            folder,
            batch_size=replay.batch_size,
            shuffle=replay.shuffle,
            seed=replay.seed,
            action_lookup=spec.action_lookup,
            feature_names=spec.feature_names,
        )
        return ReplayDataset(settings)

    def _played_seeds(self) -> set[int]:
        """Return the seeds of the episodes that live training and captures can play."""
        ticks = self.scenario.ticks
        live, rollout = self.config.live, self.config.rollout
        lives = -(-self.updates * live.rollout_ticks // ticks) + 1
        worlds = range(self.config.seed, self.training_seeds[-1] + live.num_worlds)
        found = {episode_seed(base, k) for base in worlds for k in range(lives)}
        episodes = range(self.settings.capture_episodes)
        found |= {episode_seed(self.settings.capture_seed, k) for k in episodes}
        cloned = range(-(-rollout.ticks // ticks))
        bases = [self.clone_seed(seed) for seed in self.training_seeds]
        return found | {episode_seed(base, k) for base in bases for k in cloned}


def lesson_of(dataset: ReplayDataset) -> Rollout:
    """Return the rows of a capture with what was meant in place of what noise made of it."""
    samples = [dataset.sample(position) for position in range(dataset.count)]
    meant = [sample.extras.get("intent_actions", sample.actions) for sample in samples]
    return pack(samples)._replace(actions=np.concatenate(meant).astype(np.int64))


def rows_of(dataset: ReplayDataset) -> int:
    """Return the agent steps of a capture."""
    return sum(meta.timesteps for meta in dataset.metas)


def kinds_of(dataset: ReplayDataset) -> str:
    """Return who acted in a capture, in words."""
    words = {
        "policy": "a recorded policy",
        "script": "deterministic scripts",
        "script_eps": "scripts with a share of random actions",
        "mixed": "several behaviours",
        "unknown": "somebody unknown",
    }
    return ", ".join(words[kind] for kind in sorted({m.behaviour.kind for m in dataset.metas}))
