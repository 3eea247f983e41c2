"""The journal of a large capture: cheap to add to, as safe as the manifest, and gone in the end."""

import pytest
from capture_toys import life

from townlet_replay import writer as writing
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.metrics import capture_totals
from townlet_replay.recovery import recover_capture
from townlet_replay.writer import CaptureWriter, WriterSettings

AGENTS = ("anna", "ben")
MANY = 21  # episodes; three of them are in the journal


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Journals begin after three episodes."""
    monkeypatch.setattr(writing, "SHORT", 3 * len(AGENTS))


def record(writer, episode):
    writer.write_episode([life(agent, episode) for agent in AGENTS])


def recorded(directory, episodes):
    """Write some episodes, and leave the writer open, as a killed one would."""
    writer = CaptureWriter(directory)
    for episode in range(episodes):
        record(writer, episode)
    return writer


def journal_of(directory):
    return directory / "rollout_sample_journal.ndjson"


def episodes_in(directory):
    capture = load_capture(directory)
    for index, entry in enumerate(capture.manifest.samples):
        assert capture.sample(index).meta.episode_id == entry.episode_id
    metrics = capture.metrics
    assert list(metrics.samples) == [entry.sample for entry in capture.manifest.samples]
    assert metrics.totals == capture_totals([*metrics.samples.values()])
    return [entry.episode_id for entry in capture.manifest.samples[:: len(AGENTS)]]


def test_every_episode_is_there_when_it_is_acknowledged(tmp_path):
    writer, digests = CaptureWriter(tmp_path), set()
    for episode in range(MANY):
        record(writer, episode)
        assert episodes_in(tmp_path) == list(range(episode + 1))
        digests.add(load_capture(tmp_path).digest)
    assert len(digests) == MANY
    assert journal_of(tmp_path).exists()
    writer.close()
    assert not journal_of(tmp_path).exists()
    assert episodes_in(tmp_path) == list(range(MANY))


def test_the_manifest_is_written_ever_more_seldom(tmp_path, monkeypatch):
    """Bytes written per episode are the same after 300 episodes as after 30."""
    written = []
    for name in ("write_files", "append"):
        put = getattr(writing, name)

        def counting(*arguments, put=put, **more):
            data = arguments[1]
            written.append(sum(map(len, data.values())) if isinstance(data, dict) else len(data))
            put(*arguments, **more)

        monkeypatch.setattr(writing, name, counting)
    writer, costs = CaptureWriter(tmp_path), []
    for episode in range(300):
        record(writer, episode)
        costs.append(sum(written))
        written.clear()
    early, late = sum(costs[15:45]) / 30, sum(costs[100:]) / 200
    assert late < 1.6 * early
    assert max(costs) > 10 * late  # it is written all the same


def test_a_line_that_was_cut_off_is_no_episode_and_no_harm(tmp_path):
    writer = recorded(tmp_path, MANY)
    path = journal_of(tmp_path)
    whole = path.read_bytes()
    assert len(whole.splitlines()) == 3
    for cut in (1, 70, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        assert episodes_in(tmp_path) == list(range(MANY - 1))
    path.write_bytes(whole + whole[:90])  # the disk refused what came next
    assert episodes_in(tmp_path) == list(range(MANY))
    record(writer, MANY)
    assert episodes_in(tmp_path) == list(range(MANY + 1))


def test_an_altered_line_is_refused(tmp_path):
    recorded(tmp_path, MANY)
    path = journal_of(tmp_path)
    data = path.read_bytes()
    for at in (0, 64, 200, len(data) // 2):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(CaptureError, match=r"journal.*line \d"):
            load_capture(tmp_path)
    lines = data.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(CaptureError, match="line 1: follows sample"):
        load_capture(tmp_path)


def test_killed_before_the_journal_goes(tmp_path, monkeypatch):
    """The manifest has everything, the journal says part of it once more."""
    writer = recorded(tmp_path, MANY)
    kept = journal_of(tmp_path).read_bytes()
    writer.close()
    journal_of(tmp_path).write_bytes(kept)
    assert episodes_in(tmp_path) == list(range(MANY))


def test_a_disk_that_refuses_the_last_manifest_loses_nothing(tmp_path, monkeypatch):
    writer = recorded(tmp_path, MANY)

    def full(*_, **__):
        raise CaptureError("no space")

    monkeypatch.setattr(writing, "write_files", full)
    with pytest.raises(CaptureError, match="no space"):
        writer.close()
    assert episodes_in(tmp_path) == list(range(MANY))
    monkeypatch.undo()
    CaptureWriter(tmp_path, WriterSettings(overwrite=True))  # the lock is free


def test_a_capture_that_is_replaced_takes_its_journal_along(tmp_path):
    recorded(tmp_path, MANY).close()
    old = recorded(tmp_path / "other", MANY)
    old._lock.release()  # as if it had been killed
    with CaptureWriter(tmp_path / "other", WriterSettings(overwrite=True)) as writer:
        record(writer, 0)
    assert episodes_in(tmp_path / "other") == [0]
    assert not journal_of(tmp_path / "other").exists()


def test_recovery_makes_one_manifest_of_it(tmp_path):
    writer = recorded(tmp_path, MANY)
    writer._lock.release()
    recovery = recover_capture(tmp_path)
    assert recovery.changed
    assert not recovery.lost
    assert not journal_of(tmp_path).exists()
    assert episodes_in(tmp_path) == list(range(MANY))


def test_recovery_from_a_damaged_journal(tmp_path):
    writer = recorded(tmp_path, MANY)
    writer._lock.release()
    path = journal_of(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"anna", b"annb", 1))
    recovery = recover_capture(tmp_path)
    assert not path.exists()
    assert episodes_in(tmp_path) == list(range(MANY))
    assert [damage.file for damage in recovery.lost] == ["rollout_sample_manifest.json"]
