"""One writer per capture: a second is refused with one sentence, and the first loses nothing."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from capture_toys import Village, drive, life

from townlet_env.views.vector import TownletVectorEnv
from townlet_replay import lock
from townlet_replay.batch_recorder import RecordBatch
from townlet_replay.errors import CaptureError, DiskError
from townlet_replay.manifest import load_capture
from townlet_replay.recorder import RecordReplay
from townlet_replay.writer import CaptureWriter, WriterSettings

LOCK = ".rollout_sample.lock"
REFUSED = r"another writer \(process \d+\) is recording into this capture; .* another directory"


def agents(path):
    return [sample.meta.agent_id for sample in load_capture(path)]


def test_a_second_writer_is_refused_and_the_first_loses_nothing(tmp_path):
    first, second = CaptureWriter(tmp_path), CaptureWriter(tmp_path)
    first.write_episode([life("anna", 0)])
    with pytest.raises(DiskError, match=REFUSED):
        second.write_episode([life("ben", 0)])
    first.write_episode([life("anna", 1)])
    assert agents(tmp_path) == ["anna", "anna"]
    first.close()
    assert not (tmp_path / LOCK).exists()
    with pytest.raises(DiskError, match="changed, but not by this writer"):
        second.write_episode([life("ben", 0)])  # it knew of no capture here
    assert agents(tmp_path) == ["anna", "anna"]


def test_overwriting_a_capture_that_is_being_written(tmp_path):
    with CaptureWriter(tmp_path) as writer:
        writer.write_episode([life("anna")])
        with pytest.raises(DiskError, match=REFUSED):
            CaptureWriter(tmp_path, WriterSettings(overwrite=True))
    with CaptureWriter(tmp_path, WriterSettings(overwrite=True)) as writer:
        writer.write_episode([life("ben")])
    assert agents(tmp_path) == ["ben"]


def test_two_that_would_overwrite_the_same(tmp_path):
    CaptureWriter(tmp_path).write_episode([life("anna")])
    one, other = (CaptureWriter(tmp_path, WriterSettings(overwrite=True)) for _ in range(2))
    one.write_episode([life("ben")])
    one.close()
    with pytest.raises(DiskError, match="changed, but not by this writer"):
        other.write_episode([life("cleo")])
    assert agents(tmp_path) == ["ben"]


def test_other_prefixes_have_locks_of_their_own(tmp_path):
    with (
        CaptureWriter(tmp_path, WriterSettings(prefix="one")) as one,
        CaptureWriter(tmp_path, WriterSettings(prefix="one_more")) as other,
    ):
        for writer, agent in ((one, "anna"), (other, "ben"), (one, "cleo")):
            writer.write_episode([life(agent)])
    assert agents(tmp_path / "one_manifest.json") == ["anna", "cleo"]
    assert agents(tmp_path / "one_more_manifest.json") == ["ben"]


def test_a_writer_that_is_gone_holds_nothing(tmp_path):
    writer = CaptureWriter(tmp_path)
    writer.write_episode([life("anna")])
    del writer
    assert not (tmp_path / LOCK).exists()
    CaptureWriter(tmp_path, WriterSettings(overwrite=True)).write_episode([life("ben")])


def test_a_closed_writer_takes_the_lock_again(tmp_path):
    writer = CaptureWriter(tmp_path)
    writer.write_episode([life("anna", 0)])
    writer.close()
    writer.write_episode([life("anna", 1)])
    assert (tmp_path / LOCK).read_text() == str(os.getpid())
    assert len(load_capture(tmp_path)) == 2


def test_recorders_are_refused_as_well(tmp_path):
    batch = RecordBatch(TownletVectorEnv("queue_conflict", 1), tmp_path)
    late = RecordReplay(Village(), tmp_path)
    with RecordReplay(Village(), tmp_path) as first:
        drive(first)
        with pytest.raises(DiskError, match=REFUSED):
            drive(late)
        batch.reset(seed=1)
        batch.step(np.zeros(batch.towns.num_envs, np.int64))
        with pytest.raises(DiskError, match=REFUSED):
            batch.seal()
        drive(first)
    assert len(load_capture(tmp_path)) == 6


CHILD = """
import sys
from capture_toys import life
from townlet_replay.writer import CaptureWriter

writer = CaptureWriter(sys.argv[1])
writer.write_episode([life("anna")])
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_no_lock(tmp_path):
    path = os.pathsep.join(sys.path)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    with child:
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(CaptureError, match=rf"process {child.pid}\)"):
            CaptureWriter(tmp_path, WriterSettings(overwrite=True))
        child.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK).exists()
    assert agents(tmp_path) == ["anna"]
    with CaptureWriter(tmp_path, WriterSettings(overwrite=True)) as writer:
        writer.write_episode([life("ben")])
    assert agents(tmp_path) == ["ben"]
    assert not (tmp_path / LOCK).exists()


def test_a_forked_child_does_not_let_go_of_its_parents_lock(tmp_path):
    writer = CaptureWriter(tmp_path)
    writer.write_episode([life("anna")])
    child = os.fork()
    if child == 0:
        writer.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / LOCK).exists()
    with pytest.raises(CaptureError, match=REFUSED):
        CaptureWriter(tmp_path, WriterSettings(overwrite=True))


@pytest.mark.parametrize("missing", ["the module", "in the file system"])
def test_without_locks_a_foreign_manifest_is_still_seen(tmp_path, monkeypatch, missing):
    if missing == "the module":
        monkeypatch.setattr(lock, "fcntl", None)
    else:
        monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    first, second = CaptureWriter(tmp_path), CaptureWriter(tmp_path)
    first.write_episode([life("anna", 0)])
    with pytest.raises(DiskError, match="changed, but not by this writer"):
        second.write_episode([life("ben", 0)])
    first.write_episode([life("anna", 1)])
    assert agents(tmp_path) == ["anna", "anna"]


def unsupported(*_args):
    raise OSError(95, "Operation not supported")


def test_a_link_in_the_place_of_the_lock(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / LOCK).symlink_to(precious)
    with pytest.raises(DiskError, match=r"cannot write the lock \.rollout_sample\.lock"):
        CaptureWriter(tmp_path).write_episode([life()])
    assert precious.read_text() == "mine"


def test_a_capture_that_was_deleted_meanwhile_is_not_begun_anew(tmp_path):
    writer = CaptureWriter(tmp_path)
    writer.write_episode([life("anna", 0)])
    writer.manifest_path.unlink()
    with pytest.raises(DiskError, match="changed, but not by this writer"):
        writer.write_episode([life("anna", 1)])
