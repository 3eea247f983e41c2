"""Captures that may not grow beyond a size, and files that may not: what gives way, and how."""

from itertools import pairwise

import numpy as np
import pytest
from capture_toys import Village, drive, life
from cli_runs import refusal, townlet
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_replay.errors import CaptureError, CaptureFullError
from townlet_replay.limits import Limits
from townlet_replay.manifest import load_capture
from townlet_replay.recorder import RecordReplay
from townlet_replay.rollout import pack
from townlet_replay.writer import CaptureWriter, WriterSettings


def writer(path, **limits):
    return CaptureWriter(path, WriterSettings(limits=Limits(**limits)))


def bytes_in(path):
    return sum(p.stat().st_size for p in path.iterdir() if not p.name.endswith(".lock"))


def episodes(path):
    return [entry.episode_id for entry in load_capture(path).manifest.samples]


def test_a_long_life_is_written_in_pieces_fit_for_a_learner(tmp_path):
    whole = life("anna", rows=7, dies=True)
    writer(tmp_path, rows_per_file=3).write_episode([whole, life("ben", rows=3)])
    capture = load_capture(tmp_path)
    assert [(s.meta.agent_id, s.rows) for s in capture] == [
        ("anna", 3),
        ("anna", 3),
        ("anna", 1),
        ("ben", 3),
    ]
    pieces = [capture.sample(i) for i in range(3)]
    assert np.array_equal(np.concatenate([p.rewards for p in pieces]), whole.rewards)
    assert np.concatenate([p.ticks for p in pieces]).tolist() == whole.ticks.tolist()
    for piece, following in pairwise(pieces):
        assert piece.truncations[-1]
        assert not piece.terminations.any()
        for key, seen in following.observations.items():
            assert np.array_equal(piece.final_observation[key], seen[0])
        assert piece.value_preds[-1] == following.value_preds[0]
    assert pieces[-1].terminations[-1]
    assert capture.metrics.totals.timesteps == 10
    assert pack(pieces).rewards.shape == (7,)


def test_a_full_capture_stops_and_is_sound(tmp_path):
    writer(tmp_path / "one").write_episode([life("anna", 0)])
    limit = int(bytes_in(tmp_path / "one") * 2.2)
    writing = writer(tmp_path / "c", bytes=limit)
    writing.write_episode([life("anna", 0)])
    writing.write_episode([life("anna", 1)])
    with pytest.raises(CaptureFullError, match=rf"full: .* limit is {limit} .*\(episodes: 2\)"):
        writing.write_episode([life("anna", 2)])
    assert episodes(tmp_path / "c") == [0, 1]
    assert load_capture(tmp_path / "c").damage() == ()
    assert bytes_in(tmp_path / "c") <= limit


def test_the_oldest_episodes_give_way(tmp_path):
    writer(tmp_path / "one").write_episode([life("anna", 0), life("ben", 0)])
    limit = int(bytes_in(tmp_path / "one") * 2.2)
    with writer(tmp_path / "c", bytes=limit, when_full="drop_oldest") as writing:
        for episode in range(5):
            writing.write_episode([life("anna", episode), life("ben", episode)])
            assert bytes_in(tmp_path / "c") <= limit
            assert episodes(tmp_path / "c")[-1] == episode
        capture = load_capture(tmp_path / "c")
        assert episodes(tmp_path / "c") == [3, 3, 4, 4]
        assert capture.damage() == ()
        assert capture.metrics.totals.samples == len(capture.metrics.samples) == 4
        assert len(list((tmp_path / "c").glob("*.npz"))) == 4
        with pytest.raises(CaptureFullError, match="full: "):
            writing.write_episode([life("anna", 5, rows=50_000)])
    assert episodes(tmp_path / "c") == [3, 3, 4, 4]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=1, max_size=4))
def test_batches_of_any_size_keep_to_the_limit(tmp_path_factory, batches):
    path = tmp_path_factory.mktemp("c")
    number, limit = 0, 14_000
    with writer(path, bytes=limit, when_full="drop_oldest") as writing:
        for batch in batches:
            lives = [life("anna", number + k, rows=rows) for k, rows in enumerate(batch)]
            number += len(batch)
            writing.write_episode(lives)
            assert bytes_in(path) <= limit
            found = episodes(path)
            assert found == list(range(number - len(found), number))
            assert load_capture(path).damage() == ()


@pytest.mark.parametrize("background", [False, True])
def test_a_recorder_that_is_full(tmp_path, background):
    env = RecordReplay(Village(), tmp_path, background=background, max_bytes=40_000)
    for _ in range(2):
        drive(env)
        env.flush()
    with pytest.raises(CaptureFullError, match="full: with the next episode"):
        play(env)
    env.close()
    assert episodes(tmp_path) == [0, 0, 0, 1, 1, 1]


def play(env):
    for _ in range(9):
        drive(env)
        env.flush()


def test_on_the_command_line(tmp_path):
    command = ("capture", "kitchen_breakfast", "--ticks", 20, "--episodes", 3, "--output")
    ran = townlet(*command, tmp_path / "a", "--max-rows-per-file", 8, "--json")
    assert [document["samples"] for document in ran.json] == [18]
    ran = townlet(*command, tmp_path / "b", "--max-bytes", 30_000)
    assert ran.code == 1
    assert "(max_bytes); what is in it (episodes: 1) is sound" in ran.err
    assert set(episodes(tmp_path / "b")) == {0}
    ran = townlet(*command, tmp_path / "c", "--max-bytes", 30_000, "--when-full", "drop_oldest")
    assert ran.code == 0
    assert set(episodes(tmp_path / "c")) == {2}
    assert "'drop'" in refusal(*command, tmp_path / "d", "--when-full", "drop")


def test_an_action_log_has_no_limits(tmp_path):
    with pytest.raises(CaptureError, match="an action log has no limits"):
        RecordReplay(Village(), tmp_path, mode="actions", max_bytes=10)
