"""One process at a time compares into a folder, and none is left behind that still writes there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from townlet_replay.compare.results import CompareSettings
from townlet_replay.compare.run import compare
from townlet_replay.errors import DiskError
from townlet_replay.training.config import load_train_config

TINY = {
    "network": {"map_width": 8, "features_width": 8, "trunk_widths": [8]},
    "ppo": {"epochs": 1, "minibatch_size": 64},
    "live": {"steps": 320, "num_worlds": 2, "rollout_ticks": 40},
}
ONLY = CompareSettings(arms=("random",), seeds=1, eval_seeds=1, points=1)
COMMAND = [sys.executable, "-c", "from townlet_replay.cli.main import run; run()", "compare"]


def training(**changes):
    return load_train_config("employment_punctuality", {**TINY, **changes})


@pytest.mark.parametrize("restart", [False, True])
def test_a_second_comparison_of_the_same_folder_is_refused(tmp_path, restart):
    refused = []

    def meanwhile(_):
        with pytest.raises(DiskError) as caught:
            compare(training(), ONLY, tmp_path, restart=restart)
        refused.append(str(caught.value))

    found = compare(training(), ONLY, tmp_path, meanwhile)
    assert found.complete
    assert len(refused) == 1
    assert f"another writer (process {os.getpid()}) is comparing into this folder" in refused[0]
    assert (tmp_path / "runs" / "random.json").exists()
    assert compare(training(), ONLY, tmp_path).complete


def test_a_comparison_that_is_broken_off_lets_go_of_the_folder(tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            compare(training(), ONLY, tmp_path, stop)
    assert not list(tmp_path.glob(".*.lock"))


def _descendants(pid):
    """Processes below one, however deep."""
    found = []
    for path in Path("/proc").glob(f"{pid}/task/*/children"):
        for child in path.read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def _alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_processes_end_with_the_one_that_started_them(tmp_path):
    config, out = tmp_path / "tiny.yaml", tmp_path / "out"
    long = {**TINY, "live": {**TINY["live"], "steps": 3_200_000}}
    config.write_text(yaml.safe_dump({"scenario": "employment_punctuality", **long}))
    arms = ["--arms", "random,live_native", "--eval-seeds", "1", "--points", "1", "--jobs", "2"]
    with subprocess.Popen(
        [*COMMAND, str(config), *arms, "--output", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as ran:
        while not (out / "runs" / "random.json").exists():
            assert ran.poll() is None
            time.sleep(0.05)
        left = _descendants(ran.pid)
        ran.kill()
    assert len(left) >= 2
    until = time.monotonic() + 20
    while any(map(_alive, left)) and time.monotonic() < until:
        time.sleep(0.05)
    orphans = [pid for pid in left if _alive(pid)]
    for pid in orphans:
        os.kill(pid, signal.SIGKILL)
    assert orphans == []
