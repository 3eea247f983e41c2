"""Every hostile capture is refused with one error, in little memory, and nothing in it runs."""

import contextlib
import signal
import tracemalloc

import pytest
from hostile_captures import CORPUS

from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.recovery import recover_capture

MOST_BYTES = 64 * 2**20
HANG = 120  # seconds; a guard against waiting for ever, no measurement


def test_the_corpus_is_large():
    assert len(CORPUS) >= 60


@contextlib.contextmanager
def guarded():
    """Count the memory taken inside, and do not wait for ever."""
    peak = []
    signal.alarm(HANG)
    tracemalloc.start()
    try:
        yield peak
    finally:
        peak.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        signal.alarm(0)


def read_all(path):
    capture = load_capture(path)
    return [sample.rows for sample in capture], capture.metrics.totals


def read_for_learning(path):
    """Read in threads and into one table, as a learner does."""
    data = ReplayDataset(ReplayDatasetConfig.from_capture_dir(path, batch_size=99))
    return list(data), data.baselines()


@pytest.mark.parametrize("kind", CORPUS)
def test_a_hostile_capture(capture, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CORPUS[kind](capture)
    with guarded() as peak, pytest.raises(CaptureError) as caught:
        read_all(capture)
    assert peak[0] < MOST_BYTES
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "it-ran").exists()
    with guarded() as peak, pytest.raises(CaptureError) as caught:
        read_for_learning(capture)
    assert peak[0] < MOST_BYTES
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "it-ran").exists()
    # Whoever tries to recover it gets a sound capture of the rest, or the same kind of error.
    with guarded() as peak, contextlib.suppress(CaptureError):
        recover_capture(capture)
        read_all(capture)
    assert peak[0] < MOST_BYTES
    assert not (tmp_path / "it-ran").exists()
