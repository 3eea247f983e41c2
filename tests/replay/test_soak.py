"""The short form of tests/soak.py: kills and flipped bits, and not one loss."""

import os

from soak import Kills, flip_bits
from soak_logs import LogKills, flip_log_bits

NEVER = ("lost", "torn", "untold", "temporary files after recovery")


def test_no_acknowledged_episode_is_lost_when_recorders_are_killed(tmp_path):
    counts = Kills(tmp_path).run(50)
    assert {name: counts[name] for name in NEVER} == dict.fromkeys(NEVER, 0)
    assert counts["kills"] == 50
    assert counts["acknowledged"] > 0
    assert counts["told lost"] > 0  # what was being written is told


def test_no_flipped_bit_gives_other_data(tmp_path):
    counts = flip_bits(tmp_path, 300)
    assert counts["silently different"] == counts["other samples unreadable"] == 0
    assert counts["refused"] > 250


def test_no_acknowledged_episode_of_an_action_log_is_lost(tmp_path):
    counts = LogKills(tmp_path).run(24)
    assert {name: counts[name] for name in NEVER} == dict.fromkeys(NEVER, 0)
    assert counts["kills"] == 24
    assert counts["acknowledged"] > 0
    assert counts["told lost"] + counts["found"] > 0


def test_no_flipped_bit_gives_another_action_log(tmp_path):
    counts = flip_log_bits(tmp_path, 150)
    assert counts["silently different"] == counts["other samples unreadable"] == 0
    assert counts["refused"] > 140


def test_the_soak_sees_a_loss(tmp_path, monkeypatch):
    """A writer that writes in place, as many do, loses what it acknowledged."""

    def in_place(directory, files, instead_of=()):
        directory.mkdir(exist_ok=True)
        for name, data in files.items():
            with (directory / name).open("wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                os.fsync(file.fileno())
                file.write(data[len(data) // 2 :])

    kills, of_logs = Kills(tmp_path / "one", by_time=0), LogKills(tmp_path / "other", by_time=0)
    monkeypatch.setattr("townlet_replay.writer.write_files", in_place)
    monkeypatch.setattr("townlet_replay.action_writer.write_files", in_place)
    monkeypatch.setattr("soak.MOST_CALLS", 30)
    for counts in (kills.run(24), of_logs.run(24)):
        assert counts["torn"] + counts["lost"] > 0
