"""A log watched: limits, alarms, rotations while somebody writes."""

from __future__ import annotations

import pytest
from cli_runs import townlet
from epoch_logs import epoch

from townlet_replay.errors import TelemetryError
from townlet_replay.training.telemetry import TelemetryWriter
from townlet_replay.training.telemetry_watch import (
    DEFAULT_LIMITS,
    LogFollower,
    alarms_of,
    follow,
    parse_limit,
)


def test_what_is_beyond_a_limit_raises_an_alarm_with_its_remedy():
    record = epoch(7, kl_divergence=0.2, ess=0.1, grad_norm_max=None)
    alarms = alarms_of(record, DEFAULT_LIMITS)
    assert [alarm.limit.key for alarm in alarms] == ["kl_divergence", "ess"]
    assert str(alarms[0]) == (
        "epoch 7: kl_divergence: expected <= 0.1, found 0.2; lower the learning rate, or set "
        "target_kl"
    )
    assert alarms_of(epoch(8, kl_divergence=0.1, ess=0.3), DEFAULT_LIMITS) == []
    (own,) = alarms_of(record, [parse_limit("conflict.rivalry_max_max_avg<=0.5"), parse_limit(
        " loss_total >= 3 ")])  # fmt: skip
    assert (own.limit.key, own.found) == ("loss_total", 1 / 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kl_divergence", "expected KEY<=NUMBER or KEY>=NUMBER"),
        ("kl_divergence<=much", "expected KEY<=NUMBER"),
        ("kl_divergense<=1", "did you mean 'kl_divergence'"),
    ],
)
def test_limits_that_are_none(text, message):
    with pytest.raises(TelemetryError, match=message):
        parse_limit(text)


def test_a_follower_misses_nothing_and_repeats_nothing(tmp_path):
    path = tmp_path / "ppo.jsonl"
    follower, seen = LogFollower(path), []
    assert follower.new_records() == []
    with TelemetryWriter(path, max_entries=3) as writer:
        for number in range(1, 12):
            writer.write(epoch(number))
            if number in (2, 5, 10, 11):  # in between several rotations
                seen += [record.epoch for record in follower.new_records()]
    assert seen == list(range(1, 12))
    assert follower.new_records() == []
    with path.open("ab") as stream:
        stream.write(b'{"epoch": 12')
    assert follower.new_records() == []  # its end may still come
    with path.open("ab") as stream:
        stream.write(b"}\n")
    with pytest.raises(TelemetryError, match=r"telemetry_version: expected 1 or 1\.1 or 2"):
        follower.new_records()


def test_following_ends_after_a_while_without_news(tmp_path):
    path, waits = tmp_path / "log", []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            with TelemetryWriter(path) as writer:
                writer.write(epoch(1))

    found = list(follow(path, 0.5, 2.0, sleep))
    assert [record.epoch for record in found] == [1]
    assert waits == [0.5] * (2 + 1 + 4)  # two before the epoch, one after it, four in vain


def test_the_command_answers_with_its_exit_code(tmp_path):
    path = tmp_path / "ppo.jsonl"
    with TelemetryWriter(path) as writer:
        writer.write(epoch(1, kl_divergence=0.01))
        writer.write(epoch(2, kl_divergence=0.3))
        writer.write(epoch(3, kl_divergence=0.4))
    sound = townlet("telemetry", "watch", path, "--no-follow", "--no-defaults")
    assert (sound.code, len(sound.out.splitlines())) == (0, 3)
    assert sound.out.splitlines()[1] == "epoch 2, 200 steps, loss 0.5, k3 0.3"
    alarmed = townlet("telemetry", "watch", path, "--no-follow")
    assert alarmed.code == 1
    assert alarmed.out.count("alarm") == 2
    stopped = townlet("telemetry", "watch", path, "--no-follow", "--stop")
    assert (stopped.code, stopped.out.count("epoch 3")) == (1, 0)
    idle = townlet("telemetry", "watch", path, "--idle", "0.02", "--interval", "0.01",
                   "--no-defaults", "--limit", "kl_divergence<=0.35")  # fmt: skip
    assert (idle.code, idle.out.count("alarm")) == (1, 1)
    missing = townlet("telemetry", "watch", tmp_path / "none", "--no-follow")
    assert missing.code == 1
    assert "There is no telemetry log at" in missing.err
