"""Action logs as writers leave them: with a journal, killed, damaged; and made sound again."""

import os

import pytest
from cli_runs import refusal, townlet
from soak_logs import contents, record

from townlet_replay import action_writer, recover_capture
from townlet_replay.action_log import load_log
from townlet_replay.errors import CaptureError, DiskError
from townlet_replay.lock import WriterLock
from townlet_replay.log_recovery import recover_log

PREFIX = "rollout_sample"
EPISODES = 8


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A log of eight files whose list was last written with six of them, not closed."""
    monkeypatch.setattr(action_writer.LogWriter, "_list_is_due", lambda self, files: files <= 6)
    monkeypatch.setattr(action_writer.LogWriter, "close", lambda self: self._lock.release())
    record(tmp_path, "plain", lambda count: None)
    return tmp_path


def file_of(log, number):
    return log / f"{PREFIX}_episodes_{number:03d}.npz"


def journal_of(log):
    return log / f"{PREFIX}_actions.ndjson"


def test_a_journal_goes_on_where_the_list_ends(log, tmp_path):
    assert journal_of(log).read_bytes().count(b"\n") == 2
    assert load_log(log).count("episodes") == EPISODES
    journal = journal_of(log).read_bytes()
    journal_of(log).write_bytes(journal[:-30])  # cut off: the last line was not acknowledged
    assert load_log(log).count("episodes") == EPISODES - 1
    journal_of(log).write_bytes(journal.replace(b'"after":6', b'"after":7'))
    with pytest.raises(CaptureError, match="ndjson: line 1: altered since it was written"):
        load_log(log)


def test_the_list_is_written_ever_more_seldom(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        action_writer, "write_document", lambda d: written.append(len(d.files)) or b"{}"
    )
    monkeypatch.setattr(action_writer, "SHORT", 4)
    monkeypatch.setattr("soak_logs.EPISODES", 40)
    record(tmp_path, "plain", lambda count: None)
    assert written == [1, 2, 3, 4, 6, 8, 11, 14, 18, 23, 29, 37, 40]
    assert not journal_of(tmp_path).exists()


def test_what_is_whole_and_unnamed_is_found(log):
    whole = contents(load_log(log))
    journal_of(log).unlink()
    assert load_log(log).count("episodes") == 6
    done = recover_log(log, PREFIX)
    assert done.found == (file_of(log, 6).name, file_of(log, 7).name)
    assert (done.lost, done.changed) == ((), True)
    assert contents(load_log(log)) == whole
    assert not recover_log(log, PREFIX).changed


def test_what_is_not_whole_is_told_and_left_out(log):
    whole = contents(load_log(log))
    for number in (2, 7):
        file_of(log, number).write_bytes(file_of(log, number).read_bytes()[:-9])
    (log / f".{file_of(log, 8).name}.tmp").write_bytes(b"begun")
    ran = townlet("captures", "validate", log, "--json")
    assert ran.code == 3
    assert [damage["file"] for damage in ran.json["damaged"]] == [
        file_of(log, 2).name,
        file_of(log, 7).name,
    ]
    assert ran.json["leftovers"] == [f".{file_of(log, 8).name}.tmp"]
    ran = townlet("captures", "recover", log, "--json")
    assert ran.code == 3
    assert {damage["file"] for damage in ran.json["lost"]} == {
        file_of(log, number).name for number in (2, 7, 8)
    }
    found = contents(load_log(log))
    assert found.keys() == {0, 1, 3, 4, 5, 6}
    assert all(whole[number] == found[number] for number in found)
    assert load_log(log).leftovers() == [file_of(log, 2).name, file_of(log, 7).name]
    again = townlet("captures", "recover", log, "--json")
    assert {damage["file"] for damage in again.json["lost"]} == {
        file_of(log, number).name for number in (2, 7)
    }


def test_a_damaged_journal_costs_nothing_that_is_there(log):
    whole = contents(load_log(log))
    journal = journal_of(log).read_bytes()
    journal_of(log).write_bytes(journal.replace(b"episodes_006", b"episodes_005"))
    done = recover_log(log, PREFIX)
    assert [damage.file for damage in done.lost] == [journal_of(log).name]
    assert contents(load_log(log)) == whole


def test_a_list_that_waits_for_its_name_gets_it(log):
    whole = contents(recover_log(log, PREFIX).log)
    listed = log / f"{PREFIX}_actions.json"
    for path in (listed, file_of(log, 3), log / f"{PREFIX}_scenario.json.gz"):
        path.rename(log / f".{path.name}.tmp")
    (log / f"{PREFIX}_episode_000.npz").write_bytes(b"of the log that was there before")
    assert "nothing to recover" not in townlet("captures", "recover", log).err
    assert contents(load_log(log)) == whole
    assert load_log(log).leftovers() == []


def test_what_nobody_could_live_again_is_refused(log):
    with pytest.raises(CaptureError, match="an action log, not a capture; recover_log"):
        recover_capture(log)
    scenario = log / f"{PREFIX}_scenario.json.gz"
    kept = scenario.read_bytes()
    scenario.write_bytes(kept[:-1])
    assert "altered: its SHA-256" in refusal("captures", "recover", log)
    scenario.write_bytes(kept)
    lock = WriterLock(log / f"{PREFIX}_actions.json", PREFIX)
    lock.acquire()
    with pytest.raises(DiskError, match=f"process {os.getpid()}"):
        recover_log(log, PREFIX)
    lock.release()
    for number in range(EPISODES):
        file_of(log, number).write_bytes(b"")
    with pytest.raises(CaptureError, match="no file of episodes is whole; the first"):
        recover_log(log, PREFIX)


def test_an_old_list_is_left_as_it_is(tmp_path):
    from replay.test_old_formats import DATA

    for file in (DATA / "capture_1_1" / "actions").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert "format 1.1, which names only what is" in refusal("captures", "recover", tmp_path)


def test_a_second_writer_is_refused_and_a_new_one_replaces(log):
    with pytest.raises(CaptureError, match="there is a capture already"):
        record(log, "plain", lambda count: None)
    lock = WriterLock(log / f"{PREFIX}_actions.json", PREFIX)
    lock.acquire()
    with pytest.raises(DiskError, match="another writer"):
        record(log, "overwrite", lambda count: None)
    lock.release()
    record(log, "overwrite", lambda count: None, seed=50)
    assert min(episode[0] for episode in contents(load_log(log)).values()) == 50
    assert len(list(log.glob("*.npz"))) == EPISODES
