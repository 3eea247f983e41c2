"""Captures of every released format version, kept as files, still open and still say the same.

``tests/data/capture_1_0`` was written by the version that introduced format 1.0 to the changelog,
``capture_1_1`` by the one that introduced 1.1, ``capture_1_2`` likewise; they are never written
anew. The claims below can be read off the story: olga idles for 20 ticks in a town where nothing
is earned; alice and bob, or fay and gus, are played by a fresh network for 8.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from townlet_replay import load_capture
from townlet_replay.action_log import load_log
from townlet_replay.deriving import Target, materialise, reobserve
from townlet_replay.errors import CaptureError
from townlet_replay.rerun_sources import open_source
from townlet_replay.verifying import verify

DATA = Path(__file__).parents[1] / "data"


def test_a_scripted_capture_of_format_1_0():
    (sample,) = load_capture(DATA / "capture_1_0" / "script")
    assert sample.meta.schema_version == "1.0"
    assert (sample.meta.agent_id, sample.rows) == ("olga", 20)
    assert sample.meta.behaviour.kind == "script"
    assert set(sample.actions.tolist()) == {0}
    assert sample.meta.action_lookup[0] == "wait"
    assert not sample.rewards.any()
    assert sample.truncations.tolist() == [False] * 19 + [True]
    assert sample.ticks.tolist() == list(range(1, 21))
    assert sample.observations["map"].shape == (20, 4, 11, 11)
    assert not sample.old_log_probs.any()
    assert np.isnan(sample.value_preds).all()


def test_a_policys_capture_of_format_1_0():
    samples = list(load_capture(DATA / "capture_1_0" / "policy"))
    assert [sample.meta.agent_id for sample in samples] == ["alice", "bob"]
    for sample in samples:
        assert sample.rows == 8
        legal = sample.action_mask[np.arange(8), sample.actions]
        assert legal.tolist() == [1] * 8
        # A fresh network is close to even odds over what is legal.
        even = -np.log(sample.action_mask.sum(axis=1))
        np.testing.assert_allclose(sample.old_log_probs, even, atol=0.1)
        assert np.isfinite(sample.value_preds).all()
        assert sample.extras["behaviour_logits"].shape == (8, len(sample.meta.action_lookup))
        assert sample.meta.metrics.timesteps == 8


def test_a_scripted_capture_of_format_1_1():
    (sample,) = load_capture(DATA / "capture_1_1" / "full")
    (before,) = load_capture(DATA / "capture_1_0" / "script")
    assert (sample.meta.schema_version, sample.meta.mode) == ("1.1", "full")
    assert (sample.meta.agent_id, sample.rows) == ("olga", 20)
    assert sample.observations["map"].shape == before.observations["map"].shape
    assert sample.actions.tolist() == before.actions.tolist()


def test_a_packed_capture_of_format_1_1():
    samples = list(load_capture(DATA / "capture_1_1" / "packed"))
    assert [sample.meta.agent_id for sample in samples] == ["fay", "gus"]
    for sample in samples:
        assert (sample.meta.schema_version, sample.meta.mode) == ("1.1", "packed")
        assert sample.rows == 8
        assert sample.observations["map"].max() == 1
        legal = sample.action_mask[np.arange(8), sample.actions]
        assert legal.tolist() == [1] * 8
        even = -np.log(sample.action_mask.sum(axis=1))
        np.testing.assert_allclose(sample.old_log_probs, even, atol=0.1)
        assert sample.ticks.tolist() == list(range(1, 9))
        assert sample.extras["behaviour_logits"].shape == (8, len(sample.meta.action_lookup))


def test_an_action_log_of_format_1_1():
    opened = load_log(DATA / "capture_1_1" / "actions")
    episodes = list(opened.episodes())
    assert [episode.episode_id for episode in episodes] == [0, 1]
    assert [opened.count(what) for what in ("episodes", "ticks", "samples")] == [2, 40, 2]
    seeds = [episode.seed for episode in episodes]
    assert seeds[0] == opened.log.metadata.seed != seeds[1]
    for episode in episodes:
        (life,) = episode.lives
        assert (episode.ticks, life.agent_id) == (20, "olga")
        assert life.ticks.tolist() == list(range(20))
        assert not life.actions.any()
        assert not life.log_probs.any()
        assert episode.checks.shape == (21, 4)
        assert episode.chain[:4] == bytes(episode.checks[-1])


def test_an_action_log_of_format_1_1_is_lived_again_as_it_was_recorded(tmp_path):
    """Its states were hashed field by field, by a town of which only the hash has changed."""
    source = open_source(DATA / "capture_1_1" / "actions", other_kernel=True)
    found = verify(source)
    assert found.mismatch is None
    assert (found.episodes, found.ticks, found.rows) == (2, 40, 40)
    capture = materialise(source, Target(tmp_path))
    (before,) = load_capture(DATA / "capture_1_1" / "full")
    assert capture.sample(0).observations["map"].shape == before.observations["map"].shape
    with pytest.raises(CaptureError, match=r"format 1\.1; materialise it, and reobserve that"):
        reobserve(source, Target(tmp_path / "wide"), variant="full")


def test_a_newer_version_is_refused_by_its_name(tmp_path):
    source = DATA / "capture_1_0" / "script"
    for file in source.iterdir():
        text = file.read_bytes().replace(b'"schema_version": "1.0"', b'"schema_version": "7.3"')
        (tmp_path / file.name).write_bytes(text)
    with pytest.raises(
        CaptureError, match=r"schema_version is '7\.3', this Townlet reads '1\.0' and '1\.1'"
    ):
        load_capture(tmp_path)


def test_a_bundled_capture_of_format_1_2():
    capture = load_capture(DATA / "capture_1_2" / "full")
    (sample,) = capture
    (before,) = load_capture(DATA / "capture_1_1" / "full")
    assert capture.manifest.samples[0].sample.startswith("rollout_sample_bundle_000.zip/")
    assert (sample.meta.schema_version, sample.meta.mode) == ("1.2", "full")
    assert (sample.meta.agent_id, sample.rows) == ("olga", 20)
    assert sample.actions.tolist() == before.actions.tolist() == [0] * 20
    assert sample.meta.metrics.terminations == 0
    assert not sample.rewards.any()


def test_a_packed_capture_of_format_1_2():
    samples = list(load_capture(DATA / "capture_1_2" / "packed"))
    assert [sample.meta.agent_id for sample in samples] == ["fay", "gus"]
    for sample in samples:
        assert (sample.meta.schema_version, sample.meta.mode) == ("1.2", "packed")
        legal = sample.action_mask[np.arange(8), sample.actions]
        assert legal.tolist() == [1] * 8
        even = -np.log(sample.action_mask.sum(axis=1))
        np.testing.assert_allclose(sample.old_log_probs, even, atol=0.1)
        assert sample.ticks.tolist() == list(range(1, 9))
        assert set(np.unique(sample.observations["map"])) == {0, 1}


def test_an_action_log_of_format_1_2_is_lived_again_as_it_was_recorded(tmp_path):
    source = open_source(DATA / "capture_1_2" / "actions", other_kernel=True)
    found = verify(source)
    assert found.mismatch is None
    assert (found.episodes, found.ticks, found.rows) == (2, 40, 40)
    materialised = materialise(source, Target(tmp_path)).sample(0)
    (recorded,) = load_capture(DATA / "capture_1_2" / "full")
    assert materialised.actions.tolist() == recorded.actions.tolist()
    assert materialised.ticks.tolist() == list(range(1, 21))
