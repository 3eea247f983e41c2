"""Writing in a thread: nothing is lost, nothing is silent, little waits."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from toy_samples import script_sample

from townlet_replay import load_capture
from townlet_replay.background import BackgroundWriter, DirectWriter
from townlet_replay.errors import CaptureError, DiskError
from townlet_replay.metrics import sample_metrics
from townlet_replay.sample import with_meta
from townlet_replay.writer import CaptureWriter


def episode(number):
    sample = script_sample(seed=number)
    return with_meta(sample, episode_id=number, metrics=sample_metrics(sample, None, None))


class Slow:
    """A writer that waits until it may go on, and remembers what came at once."""

    def __init__(self, writer):
        self.writer = writer
        self.directory = writer.directory
        self.may = threading.Event()
        self.calls = []
        self.fails = 0

    def write_episode(self, samples):
        assert self.may.wait(10)
        if self.fails:
            self.fails -= 1
            raise DiskError("the disk is full")
        self.calls.append(len(samples))
        return self.writer.write_episode(samples)


def test_what_waits_is_written_together_and_in_order(tmp_path):
    slow = Slow(CaptureWriter(tmp_path))
    thread = BackgroundWriter(slow)
    for number in range(5):
        thread.put(lambda number=number: [episode(number)], 100)
    assert thread.acknowledged == 0
    slow.may.set()
    thread.flush()
    assert thread.acknowledged == 5
    assert sum(slow.calls) == 5
    assert len(slow.calls) <= 2  # the first may have begun alone
    assert [s.meta.episode_id for s in load_capture(tmp_path)] == [0, 1, 2, 3, 4]
    thread.flush()  # nothing to wait for


def test_putting_waits_while_too_much_does(tmp_path):
    slow = Slow(CaptureWriter(tmp_path))
    thread = BackgroundWriter(slow, most_bytes=250)
    for number in range(2):
        thread.put(lambda number=number: [episode(number)], 100)
    late = threading.Thread(target=lambda: thread.put(lambda: [episode(2)], 100))
    late.start()
    late.join(0.3)
    assert late.is_alive()
    slow.may.set()
    late.join(10)
    assert not late.is_alive()
    thread.flush()
    assert len(load_capture(tmp_path).manifest.samples) == 3


def test_what_the_disk_refuses_is_told_once_kept_and_tried_again(tmp_path):
    slow = Slow(CaptureWriter(tmp_path))
    slow.fails = 1
    thread = BackgroundWriter(slow)
    thread.put(lambda: [episode(0)], 100)
    slow.may.set()
    with pytest.raises(DiskError, match="the disk is full"):
        thread.flush()
    thread.flush()
    assert thread.acknowledged == 1
    assert len(load_capture(tmp_path).manifest.samples) == 1


def fails(error):
    def job():
        raise error

    return job


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CaptureError("no sample"), "^no sample$"),
        (ValueError("odd"), "an episode is lost: ValueError in the thread: odd"),
        (SystemExit("bye"), "an episode is lost: SystemExit in the thread: bye"),
    ],
)
def test_an_episode_that_cannot_become_samples_is_lost_alone_and_told(tmp_path, error, message):
    slow = Slow(CaptureWriter(tmp_path))
    thread = BackgroundWriter(slow)
    jobs = [lambda: [episode(0)], fails(error), lambda: [episode(2)], lambda: [episode(3)]]
    for job in jobs:
        thread.put(job, 100)
    slow.may.set()
    with pytest.raises(CaptureError, match=message):
        thread.flush()
    assert thread.acknowledged == 3
    thread.put(lambda: [episode(4)], 100)
    thread.flush()
    assert thread.acknowledged == 4
    assert [s.meta.episode_id for s in load_capture(tmp_path)] == [0, 2, 3, 4]


def test_every_lost_episode_is_told(tmp_path):
    slow = Slow(CaptureWriter(tmp_path))
    thread = BackgroundWriter(slow)
    failures = fails(CaptureError("one")), fails(ValueError("two"))
    for job in (lambda: [episode(0)], *failures, lambda: [episode(3)]):
        thread.put(job, 100)
    slow.may.set()
    with pytest.raises(
        CaptureError, match=r"2 problems in the recording: one; .*ValueError.*: two"
    ):
        thread.flush()
    assert [s.meta.episode_id for s in load_capture(tmp_path)] == [0, 3]


def test_a_life_that_is_lost_does_not_take_its_episode_along(tmp_path):
    thread = BackgroundWriter(CaptureWriter(tmp_path))
    thread.put(lambda: [CaptureError("no sample"), episode(0)], 100)
    with pytest.raises(CaptureError, match=r"^no sample$"):
        thread.flush()
    assert thread.acknowledged == 1
    thread.flush()
    assert [s.meta.episode_id for s in load_capture(tmp_path)] == [0]


@pytest.mark.parametrize("hand_over", [BackgroundWriter, DirectWriter])
def test_what_is_lost_is_told_once_the_others_are_on_disk(tmp_path, hand_over):
    slow = Slow(CaptureWriter(tmp_path))
    slow.may.set()
    slow.fails = 1
    writer, told = hand_over(slow), []

    def put():
        writer.put(lambda: [episode(0), CaptureError("no sample")], 100)

    for step in (put, *[writer.flush] * 3):
        try:
            step()
        except CaptureError as error:
            told.append(str(error))
    assert "; ".join(told).count("the disk is full") == 1
    assert "; ".join(told).count("no sample") == 1
    assert [s.meta.episode_id for s in load_capture(tmp_path)] == [0]


def test_a_full_disk_and_a_lost_episode_at_once(tmp_path):
    slow = Slow(CaptureWriter(tmp_path))
    slow.fails = 2  # all together, and the first alone
    thread = BackgroundWriter(slow)
    for job in (lambda: [episode(0)], lambda: [episode(1)], fails(CaptureError("no sample"))):
        thread.put(job, 100)
    slow.may.set()
    told = []
    while thread.acknowledged < 2 or len(told) < 3:
        try:
            thread.flush()
        except CaptureError as error:
            told.append(str(error))
    thread.flush()
    assert sorted(told) == ["no sample", "the disk is full", "the disk is full"]
    assert [s.meta.episode_id for s in load_capture(tmp_path)] == [0, 1]


def test_a_program_that_does_not_close_waits_for_the_thread(tmp_path):
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from test_background import episode
from townlet_replay.background import BackgroundWriter
from townlet_replay.writer import CaptureWriter

thread = BackgroundWriter(CaptureWriter({str(tmp_path / "out")!r}))
for number in range(3):
    thread.put(lambda number=number: [episode(number)], 100)
"""
    import os
    from pathlib import Path

    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), str(here.parents[1])])
    env = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    assert len(load_capture(tmp_path / "out").manifest.samples) == 3
