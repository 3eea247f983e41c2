"""A sound capture, a copy of it to be spoilt, and a training log of three epochs."""

import shutil

import pytest
from capture_toys import life
from epoch_logs import epoch

from townlet_replay.training.telemetry import TelemetryWriter
from townlet_replay.writer import CaptureWriter


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound")
    CaptureWriter(path).write_episode([life("anna"), life("ben", dies=True)])
    return path


@pytest.fixture
def capture(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "capture")


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "ppo.jsonl"
    with TelemetryWriter(path) as writer:
        for number in (1, 2, 3):
            writer.write(epoch(number))
    return path
