"""Trains in a process of its own: ``python resume_worker.py RUNS.json``.

RUNS.json is a list of runs: settings, how many epochs until Ctrl-C (null: never), and where the
records go.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch

from townlet_replay.training.config import TrainConfig
from townlet_replay.training.run import train

TIMES = ("epoch_duration_sec", "collect_sec", "update_sec", "rows_per_sec")


def play(settings, stop_after):
    """Return the records of one run, without what the clock says."""
    records = []

    def watch(record):
        records.append(record.model_dump(mode="json", by_alias=True, exclude=TIMES))
        if len(records) == stop_after:
            os.kill(os.getpid(), signal.SIGINT)

    try:
        train(TrainConfig.model_validate(settings), watch)
    except KeyboardInterrupt:
        assert stop_after is not None
    else:
        assert stop_after is None
    return records


def main(runs):
    """Play all runs."""
    torch.set_num_threads(1)
    for settings, stop_after, out in json.loads(Path(runs).read_text()):
        Path(out).write_text(json.dumps(play(settings, stop_after)))


if __name__ == "__main__":
    main(sys.argv[1])
