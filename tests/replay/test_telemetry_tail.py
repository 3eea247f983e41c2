"""A log read as it grows: nothing is missed and nothing comes twice, whatever happens to files."""

from __future__ import annotations

import pytest
from epoch_logs import epoch

from townlet_replay.training.telemetry import TelemetryWriter
from townlet_replay.training.telemetry_reader import read_log, rotated
from townlet_replay.training.telemetry_tail import LogTail


def epochs_of(tail):
    return [record.epoch for record in tail.records]


def test_records_come_once_each(tmp_path):
    path = tmp_path / "log"
    tail = LogTail(path)
    assert (tail.look(), tail.token) == (0, "0-")
    with TelemetryWriter(path) as writer:
        for number in range(1, 5):
            writer.write(epoch(number))
            assert tail.look() == 1
            assert tail.look() == 0
    assert tail.records == read_log(path)
    assert tail.problems == []


@pytest.mark.parametrize("every", [1, 2, 3, 7, 20])
def test_rotations_move_nothing_in_the_stream(tmp_path, every):
    """Looked at after each ``every`` epochs, with a rotation after each three."""
    path = tmp_path / "log"
    tail = LogTail(path)
    with TelemetryWriter(path, max_entries=3) as writer:
        for number in range(1, 21):
            writer.write(epoch(number))
            if number % every == 0:
                tail.look()
    tail.look()
    token = tail.token
    assert rotated(path, 5).is_file()
    assert epochs_of(tail) == list(range(1, 21))
    tail.look()
    assert tail.token == token


def test_a_torn_line_waits_for_its_end(tmp_path):
    path = tmp_path / "log"
    with TelemetryWriter(path) as writer:
        writer.write(epoch(1))
        writer.write(epoch(2))
    whole = path.read_bytes()
    tail = LogTail(path)
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        tail.look()
        assert len(tail.records) == whole[:size].count(b"\n")
    assert epochs_of(tail) == [1, 2]
    assert tail.problems == []


def test_a_crash_is_repaired_and_the_log_goes_on(tmp_path):
    path = tmp_path / "log"
    with TelemetryWriter(path) as writer:
        writer.write(epoch(1))
    with path.open("ab") as stream:
        stream.write(b'{"epoch":2,"upd')
    tail = LogTail(path)
    tail.look()
    token = tail.token
    with TelemetryWriter(path) as writer:
        writer.write(epoch(2))
    tail.look()
    assert (epochs_of(tail), tail.token) == ([1, 2], token)


def test_a_log_begun_anew_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "log"
    with TelemetryWriter(path) as writer:
        for number in (1, 2):
            writer.write(epoch(number))
    tail = LogTail(path)
    tail.look()
    tokens = {tail.token}
    path.unlink()
    with TelemetryWriter(path) as writer:  # longer than the old one when it is next looked at
        for number in range(1, 6):
            writer.write(epoch(number, loss_total=9.0))
    assert tail.look() == 5
    assert {record.loss_total for record in tail.records} == {9.0}
    tokens.add(tail.token)
    path.unlink()
    tail.look()
    assert tail.records == []
    tokens.add(tail.token)
    assert len(tokens) == 3


def test_the_token_is_that_of_another_reader_of_the_same_log(tmp_path):
    path = tmp_path / "log"
    with TelemetryWriter(path) as writer:
        writer.write(epoch(1))
    first = LogTail(path)
    first.look()
    with TelemetryWriter(path) as writer:
        writer.write(epoch(2))
    second = LogTail(path)
    second.look()
    assert first.token == second.token


def test_what_is_no_record_is_told_and_left_out(tmp_path):
    path = tmp_path / "log"
    with TelemetryWriter(path) as writer:
        writer.write(epoch(1))
    with path.open("ab") as stream:
        stream.write(b'{"<b>":1}\n')
    with pytest.raises(Exception, match="cannot be continued"), TelemetryWriter(path):
        pass
    tail = LogTail(path)
    tail.look()
    assert epochs_of(tail) == [1]
    assert [problem.line for problem in tail.problems] == [2]


def test_files_rotated_during_a_look_are_seen_as_one_stream(tmp_path, monkeypatch):
    """Between listing the files and opening them the log is rotated: the look begins again."""
    path = tmp_path / "log"
    writer = TelemetryWriter(path, max_entries=2)
    writer.write(epoch(1))
    writer.write(epoch(2))
    tail = LogTail(path)
    tail.look()
    writer.write(epoch(3))
    from townlet_replay.training import telemetry_tail

    listed, waiting = telemetry_tail.log_files, [4, 5, 6]

    def late(where):
        files = listed(where)
        if waiting:
            writer.write(epoch(waiting.pop(0)))
        return files

    monkeypatch.setattr(telemetry_tail, "log_files", late)
    while waiting:
        tail.look()
    tail.look()
    writer.close()
    assert epochs_of(tail) == [1, 2, 3, 4, 5, 6]
    assert tail.token.startswith("0-")
