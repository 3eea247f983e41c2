"""Training of a tiny network in one scenario."""

from town_captures import TINY

from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.training.config import TrainConfig

SCENARIO = "kitchen_breakfast"
LIVE = {"steps": 150, "num_worlds": 2, "rollout_ticks": 16}


def config_of(**settings):
    settings = {"scenario": SCENARIO, "network": TINY.model_dump()} | settings
    return TrainConfig.model_validate(settings)


def dataset_of(folder, **settings):
    return ReplayDataset(ReplayDatasetConfig.from_capture_dir(folder, **settings))
