"""Training logs: exact numbers, one stream through rotation and restarts, every deviation named."""

import math
import re

import pytest
from epoch_logs import KEYS_1, KEYS_1_1, KEYS_2, epoch, lines_of, replace_in_line
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from townlet_replay.errors import TelemetryError
from townlet_replay.training.telemetry import (
    EpochRecord,
    TelemetryWriter,
    log_files,
    read_log,
    validate_log,
)
from townlet_replay.training.telemetry_schema import json_schema
from townlet_replay.training.telemetry_summary import summarise


@pytest.mark.parametrize(
    ("version", "keys"),
    [("1", KEYS_1), ("1.1", KEYS_1 + KEYS_1_1), ("2", KEYS_1 + KEYS_1_1 + KEYS_2)],
)
def test_a_line_has_exactly_the_keys_of_its_version(tmp_path, version, keys):
    path = tmp_path / "log"
    with TelemetryWriter(path, version=version) as writer:
        writer.write(epoch(1, conflict_rivalry_max_max_avg=0.5))
    (line,) = lines_of(path)
    assert list(line) == keys
    assert line["telemetry_version"] == float(version)
    assert line["conflict.rivalry_max_max_avg"] == 0.5
    assert sorted(json_schema(version)["required"]) == sorted(keys)
    report = validate_log(path)
    assert report.ok
    assert report.versions == (version,)


@settings(max_examples=50, deadline=None)
@given(value=st.floats(width=64))
@example(value=-0.0)
@example(value=math.nan)
@example(value=-math.inf)
def test_numbers_are_exact_and_json_stays_plain(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("exact") / "log"
    with TelemetryWriter(path) as writer:
        writer.write(epoch(1, adv_mean=value))
    (record,) = read_log(path)
    if math.isfinite(value):
        assert record.adv_mean == value
        assert math.copysign(1, record.adv_mean) == (1 if value == 0 else math.copysign(1, value))
    else:
        assert record.adv_mean is None
    assert not re.search(r"NaN|Infinity|-0\.0\b(?![0-9])[,}]", path.read_text())


def test_a_record_with_a_misspelt_or_impossible_figure_cannot_be_built():
    with pytest.raises(ValidationError, match="loss_totl"):
        epoch(1, loss_totl=0.0)
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        epoch(1, clip_fraction=1.5)
    with pytest.raises(ValidationError, match="data_mode"):
        EpochRecord(epoch=1, updates=1, transitions=1, steps=1, data_mode="dream")


def test_every_nth_epoch_and_the_last(tmp_path):
    path = tmp_path / "log"
    with TelemetryWriter(path, frequency=3) as writer:
        written = [writer.write(epoch(number)) for number in range(1, 8)]
        assert [line["epoch"] for line in lines_of(path)] == [3, 6]
    assert written == [False, False, True, False, False, True, False]
    assert [line["epoch"] for line in lines_of(path)] == [3, 6, 7]
    assert validate_log(path).ok


def test_every_line_is_on_disk_when_write_returns(tmp_path):
    path = tmp_path / "log"
    writer = TelemetryWriter(path)
    for number in (1, 2):
        writer.write(epoch(number))
        assert read_log(path)[-1].epoch == number
    writer.close()


def test_rotation_keeps_everything_in_order(tmp_path):
    path = tmp_path / "deep" / "ppo.jsonl"
    with TelemetryWriter(path, max_entries=3) as writer:
        for number in range(1, 9):
            writer.write(epoch(number))
    names = ["ppo.jsonl.2", "ppo.jsonl.1", "ppo.jsonl"]
    assert [file.name for file in log_files(path)] == names
    epochs = [[line["epoch"] for line in lines_of(file)] for file in log_files(path)]
    assert epochs == [[1, 2, 3], [4, 5, 6], [7, 8]]
    assert [record.epoch for record in read_log(path)] == list(range(1, 9))
    assert [record.log_stream_offset for record in read_log(path)] == list(range(8))


@pytest.mark.parametrize("version", ["1", "1.1", "2"])
def test_a_restart_counts_on(tmp_path, version):
    path = tmp_path / "log"
    for _ in range(4):
        with TelemetryWriter(path, max_entries=2, version=version) as writer:
            start = writer.resumed
            for number in (1, 2, 3):
                writer.write(epoch(start.epoch + number))
    assert [record.epoch for record in read_log(path)] == list(range(1, 13))
    assert [len(lines_of(file)) for file in log_files(path)] == [2] * 6
    assert writer.resumed == (9, 900, 0 if version == "1" else 2, 9)
    assert validate_log(path).ok


def test_a_restart_that_does_not_count_on_is_refused(log):
    with TelemetryWriter(log) as writer:
        with pytest.raises(TelemetryError, match="Epoch 1 at 100 steps does not follow epoch 3"):
            writer.write(epoch(1))
        writer.write(epoch(4))
        with pytest.raises(TelemetryError, match="does not follow epoch 4"):
            writer.write(epoch(5).model_copy(update={"steps": 3}))
    assert [line["epoch"] for line in lines_of(log)] == [1, 2, 3, 4]


@pytest.mark.parametrize("kept_bytes", [1, 7, 40, 400])
def test_a_torn_line_is_cut_off_and_said_so(log, kept_bytes, caplog):
    whole = log.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    log.write_bytes(whole + last[:kept_bytes])
    with pytest.raises(TelemetryError, match=r"ppo\.jsonl:4"):
        read_log(log)
    with TelemetryWriter(log) as writer:
        assert f"ppo.jsonl:4 was cut short by a crash; its {kept_bytes} bytes" in writer.repaired
        assert writer.repaired in caplog.text
        assert writer.resumed.epoch == 3
        assert log.read_bytes() == whole
        writer.write(epoch(4))
    assert validate_log(log).ok


def test_a_log_that_is_only_a_torn_line(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b'{"epoch":1,"upda')
    with TelemetryWriter(path) as writer:
        writer.write(epoch(1))
    assert validate_log(path).records == 1


def test_a_line_that_lacks_only_its_end_is_kept(log):
    whole = log.read_bytes()
    log.write_bytes(whole[:-1])
    with TelemetryWriter(log) as writer:
        assert "line end was added" in writer.repaired
    assert log.read_bytes() == whole


@pytest.mark.parametrize(
    "content",
    [b"my notes", b'{"a": 1}', b'{\n "scenario": 1', b"epoch,loss\n1,2\n", b'{"epoch": 1}\n'],
)
def test_a_file_that_is_something_else_is_not_touched(tmp_path, content):
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(TelemetryError, match="choose another file"):
        TelemetryWriter(path)
    assert path.read_bytes() == content


def test_a_crash_in_the_middle_of_a_rotation_loses_nothing(log):
    log.rename(log.with_name("ppo.jsonl.2"))  # .1 was moved up, FILE not yet moved to .1
    log.write_text(
        log.with_name("ppo.jsonl.2")
        .read_text()
        .replace('"epoch":', '"epoch":1')
        .replace('"steps":', '"steps":1')
        .replace('"log_stream_offset":0', '"log_stream_offset":3')
        .replace('"log_stream_offset":1', '"log_stream_offset":4')
        .replace('"log_stream_offset":2', '"log_stream_offset":5')
    )
    assert validate_log(log).ok
    with TelemetryWriter(log, max_entries=3) as writer:
        writer.write(epoch(20))
    assert [record.epoch for record in read_log(log)] == [1, 2, 3, 11, 12, 13, 20]
    assert len(log_files(log)) == 3


def test_a_log_goes_on_in_its_own_version_only(log):
    with pytest.raises(TelemetryError, match=r"log of version 2, not 1;"):
        TelemetryWriter(log, version="1")


@pytest.mark.parametrize("setting", [{"frequency": 0}, {"max_entries": 0}, {"version": "3"}])
def test_settings_out_of_range(tmp_path, setting):
    with pytest.raises(TelemetryError, match=r"1 or more, found 0|version '3' does not exist"):
        TelemetryWriter(tmp_path / "log", **setting)
    assert not (tmp_path / "log").exists()


def test_a_log_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TelemetryError, match="cannot be written"):
        TelemetryWriter(tmp_path / "file" / "log")


DEVIATIONS = {
    "missing": ({"grad_norm": ...}, "grad_norm", "a value or null"),
    "unknown": ({"loss_totale": 1.0}, "loss_totale", "did you mean 'loss_total'"),
    "text": ({"lr": "fast"}, "lr", "a valid number"),
    "true for a number": ({"updates": True}, "updates", "a valid integer"),
    "half an epoch": ({"updates": 1.5}, "updates", "a valid integer"),
    "negative": ({"transitions": -1}, "transitions", "greater than or equal to 0"),
    "NaN": ({"adv_mean": math.nan}, "adv_mean", "a finite number or null"),
    "infinite": ({"adv_mean": -math.inf}, "adv_mean", "a finite number or null"),
    "minus zero": ({"adv_mean": -0.0}, "adv_mean", "0.0"),
    "mode": ({"data_mode": "live"}, "data_mode", "'replay', 'rollout' or 'mixed'"),
    "version": ({"telemetry_version": 7}, "telemetry_version", "1 or 1.1 or 2"),
    "version as text": ({"telemetry_version": "1.1"}, "telemetry_version", "1 or 1.1 or 2"),
    "keys of 1.1 in 1": ({"telemetry_version": 1}, "data_mode", "no key of this name"),
    "epoch again": ({"epoch": 1}, "epoch", "more than 1"),
    "steps back": ({"steps": 1}, "steps", "100 or more"),
    "a line lost": ({"log_stream_offset": 2}, "log_stream_offset", "lines are missing"),
    "field name for the key": (
        {"conflict_rivalry_max_max_avg": 1.0},
        "conflict_rivalry_max_max_avg",
        "no key of this name",
    ),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_every_deviation_is_named_with_its_line_and_key(log, name):
    changes, key, expected = DEVIATIONS[name]
    replace_in_line(log, 2, **changes)
    report = validate_log(log)
    assert not report.ok
    found = [problem for problem in report.problems if problem.line == 2 and problem.key == key]
    assert len(found) == 1
    assert expected in found[0].expected
    assert found[0].file == "ppo.jsonl"
    with pytest.raises(TelemetryError, match=r"ppo\.jsonl:2: .*expected"):
        read_log(log)


@pytest.mark.parametrize("line", ["not json", "[]", "", '{"epoch": 1, "epoch": 1}', "[" * 10**5])
def test_lines_that_are_no_object(log, line):
    log.write_text(log.read_text() + line + "\n")
    (problem,) = validate_log(log).problems
    assert (problem.line, problem.key) == (4, "line")
    assert problem.expected.startswith("a JSON object")
    assert len(str(problem)) < 300


def test_missing_and_empty_logs(tmp_path):
    for read in (validate_log, read_log, summarise):
        with pytest.raises(TelemetryError, match="no telemetry log at"):
            read(tmp_path / "none")
    (tmp_path / "empty").write_text("")
    assert not validate_log(tmp_path / "empty").ok
    with pytest.raises(TelemetryError, match="has no record yet"):
        read_log(tmp_path / "empty")
