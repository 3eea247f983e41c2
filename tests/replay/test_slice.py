"""Slices: what is kept, what a learner finds at a cut, where the rows come from."""

import dataclasses

import numpy as np
import pytest
from capture_toys import Village, drive, life
from hypothesis import given, settings
from hypothesis import strategies as st
from town_captures import digests

from townlet_replay.errors import CaptureError
from townlet_replay.frames import Ending, Frame, SampleOrigin, frames_to_replay_sample
from townlet_replay.manifest import load_capture
from townlet_replay.metrics import sample_metrics
from townlet_replay.recorder import RecordReplay
from townlet_replay.rollout import pack
from townlet_replay.sample import same_sample, with_meta
from townlet_replay.sidecar import CaptureNames
from townlet_replay.tools.cutting import cut_rows
from townlet_replay.tools.derived import write_capture
from townlet_replay.tools.slicing import slice_capture
from townlet_replay.training.gae import gae
from townlet_replay.writer import CaptureWriter


@pytest.fixture
def village(tmp_path):
    """Two episodes of six steps; Ana dies in step 3, Cat acts from step 3 on."""
    path = tmp_path / "village"
    with RecordReplay(Village(), path, tags=("day",)) as env:
        drive(env, annotate=True)
        drive(env, annotate=True)
    return load_capture(path)


NAMES = CaptureNames({0: "wait", 1: "dig", 2: "rest"}, reward_components=("work", "clip"))


def framed(start, stop, *, length, dies):
    """Rows of one drawn life, built as a recorder builds them that began and stopped there."""
    rng = np.random.default_rng(length)
    masks = rng.integers(0, 2, (length + 1, 3), np.int8)
    actions = rng.integers(0, 3, length)
    places = rng.normal(size=(length + 1, 2)).astype(np.float32)
    frames = [
        Frame(
            observation={"place": places[t], "clock": np.array(t)},
            action=int(actions[t]),
            reward=float(t),
            terminated=dies and t == length - 1,
            truncated=False,
            tick=3 * t + 1,
            action_mask=masks[t],
            log_prob=-float(t),
            value=float(t),
            policy_log_prob=-1.0 - t,
            logits=np.full(3, t, np.float32),
            intent=1,
            reward_components=np.full(2, t, np.float32),
            policy_version=t,
        )
        for t in range(length)
    ]
    ending = Ending({"place": places[stop], "clock": np.array(stop)}, float(stop), masks[stop])
    sample = frames_to_replay_sample(frames[start:stop], ending, SampleOrigin("anna", 4, 3, NAMES))
    illegal = sample.extras.get("illegal_actions", np.zeros(sample.rows, np.bool_))
    return with_meta(sample, metrics=sample_metrics(sample, None, int(illegal.sum())))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.booleans(), st.data())
def test_a_cut_is_what_a_recorder_had_written_that_began_and_stopped_there(length, dies, data):
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    cut = cut_rows(framed(0, length, length=length, dies=dies), start, stop)
    assert same_sample(cut, framed(start, stop, length=length, dies=dies))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.booleans(), st.data())
def test_one_step_advantages_of_the_rows_kept_do_not_change(length, dies, data):
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    whole = framed(0, length, length=length, dies=dies)
    found = [one_step(pack([s], use_masks=False)) for s in (whole, cut_rows(whole, start, stop))]
    assert found[0][start:stop].tobytes() == found[1].tobytes()


def one_step(rollout):
    columns = (rollout.rewards, rollout.values, rollout.terminations, rollout.truncations)
    return gae(*columns, rollout.bootstrap_values, gamma=0.9, gae_lambda=0.0).advantages


def test_a_cut_has_the_value_of_what_followed_and_a_death_stays(village, tmp_path):
    cut = write_capture(
        slice_capture(village, episodes=[0], first_tick=2, last_tick=4), tmp_path / "cut"
    )
    ana, ben, _ = cut
    assert [sample.meta.agent_id for sample in cut] == ["ana", "ben", "cat"]
    assert [sample.ticks.tolist() for sample in cut] == [[2, 3], [2, 3, 4], [3, 4]]
    assert ana.terminations.tolist() == [False, True]
    assert not ana.truncations.any()
    assert ben.truncations.tolist() == [False, False, True]
    assert ben.final_observation["place"].tolist() == [1, 4]
    assert ben.extras["final_action_mask"].tolist() == [1, 0, 1, 0]
    rollout = pack(list(cut))
    assert rollout.values.tolist() == [1, 2, 1, 2, 3, 2, 3]
    assert rollout.bootstrap_values.tolist() == [0, 0, 0, 0, 4, 0, 4]
    assert ben.meta.metrics.reward_sum == 12 + 13 + 14
    assert cut.metrics.totals.timesteps == 7
    assert cut.manifest.metadata == village.manifest.metadata


def test_whole_lives_are_copied_as_they_are_but_for_where_they_come_from(village, tmp_path):
    chosen = slice_capture(village, agents=["cat", "ana"], tags=["day"])
    copies = list(write_capture(chosen, tmp_path / "copy"))
    originals = [sample for sample in village if sample.meta.agent_id != "ben"]
    assert [s.meta.agent_id for s in copies] == ["ana", "cat", "ana", "cat"]
    for copy, original in zip(copies, originals, strict=True):
        assert same_sample(with_meta(copy, source=None), original)
        assert copy.meta.capture_metadata.seed == 5 or copy.meta.episode_id == 1


def test_a_slice_of_a_slice_names_the_recording(village, tmp_path):
    one = write_capture(slice_capture(village, first_tick=2), tmp_path / "one")
    two = write_capture(
        slice_capture(one, agents=["ben"], first_tick=4, last_tick=5), tmp_path / "two"
    )
    for sample in two:
        source = sample.meta.source
        assert source.manifest_sha256 == village.digest
        assert source.first_row == 3
        index = [e.sample for e in village.manifest.samples].index(source.sample)
        original = village.sample(index)
        assert original.meta.episode_id == sample.meta.episode_id
        assert original.rewards[3:5].tobytes() == sample.rewards.tobytes()


def test_metrics_of_events_are_unknown_after_a_cut():
    events = [{"event": "queue_conflict", "affordance": None, "value": 1.0}]
    whole = life(rows=6)
    whole = with_meta(whole, metrics=sample_metrics(whole, events, 2))
    cut = cut_rows(whole, 0, 5).meta.metrics
    assert whole.meta.metrics.queue_conflict_events == 1
    assert cut.queue_conflict_events is None
    assert cut.affordance_finishes is None
    # Two actions were refused, and the mask does not say which.
    assert cut.action_blocked_ratio is None
    assert cut.reward_sum == pytest.approx(sum(whole.rewards[:5].tolist()))
    assert cut_rows(whole, 0, 6).meta.metrics == whole.meta.metrics


def test_inputs_are_never_changed(village, tmp_path):
    before = digests(village.directory)
    everything = slice_capture(village)
    with pytest.raises(CaptureError, match="inputs are never changed"):
        write_capture(everything, village.directory, prefix="other", overwrite=True)
    write_capture(everything, tmp_path / "copy")
    with pytest.raises(CaptureError, match="there is a capture already"):
        write_capture(everything, tmp_path / "copy")
    write_capture(everything, tmp_path / "copy", overwrite=True)
    assert digests(village.directory) == before


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"agents": ["bem"]}, "no sample has the agent 'bem'; did you mean 'ben'"),
        ({"tags": ["dya"]}, "no sample has the tag 'dya'; did you mean 'day'"),
        ({"episodes": [7]}, "no episode 7; there are 2 episodes between 0 and 1"),
        ({"first_tick": 5, "last_tick": 4}, "a last tick not before the first, 5; found 4"),
        ({"first_tick": 90}, "no row is left"),
    ],
)
def test_what_is_not_there_is_said(village, tmp_path, selection, message):
    with pytest.raises(CaptureError, match=message):
        write_capture(slice_capture(village, **selection), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_ticks_that_do_not_ascend_are_no_range(tmp_path):
    back = dataclasses.replace(life(rows=3), ticks=np.array([1, 3, 3], np.int32))
    CaptureWriter(tmp_path / "in").write_episode([back])
    everything = slice_capture(load_capture(tmp_path / "in"), first_tick=1, last_tick=3)
    with pytest.raises(CaptureError, match=r"tick 3 follows tick 3 \(row 2\)"):
        write_capture(everything, tmp_path / "out")


def test_an_interrupted_slice_leaves_a_sound_capture(tmp_path, monkeypatch):
    monkeypatch.setattr("townlet_replay.tools.derived._GROUP_BYTES", 1)
    writer = CaptureWriter(tmp_path / "in")
    for episode in range(4):
        writer.write_episode([life("anna", episode), life("ben", episode)])

    def stop(done):
        stop.done += done
        if stop.done == 6:
            raise KeyboardInterrupt

    stop.done = 0
    source = load_capture(tmp_path / "in")
    with pytest.raises(KeyboardInterrupt):
        write_capture(slice_capture(source), tmp_path / "out", watch=stop)
    left = load_capture(tmp_path / "out")
    assert [(s.meta.agent_id, s.meta.episode_id) for s in left] == [
        ("anna", 0),
        ("ben", 0),
        ("anna", 1),
        ("ben", 1),
    ]


def test_a_damaged_input_says_what_the_output_holds(village, tmp_path, monkeypatch):
    everything = slice_capture(village)
    last = village.directory / village.manifest.samples[-1].sample
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(CaptureError, match=f"{last.name}: altered since it was recorded") as one:
        write_capture(everything, tmp_path / "out")
    assert "is sound, but holds" not in str(one.value)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("townlet_replay.tools.derived._GROUP_BYTES", 1)
    with pytest.raises(CaptureError, match=r"altered.*is sound, but holds only the 3 samples"):
        write_capture(everything, tmp_path / "out")
    assert len(list(load_capture(tmp_path / "out"))) == 3


def test_an_unknown_agent_among_thousands_is_one_short_sentence(tmp_path):
    samples = [life(f"resident_{number:04d}", rows=1) for number in range(60)]
    CaptureWriter(tmp_path / "in").write_episode(samples)
    with pytest.raises(CaptureError, match="no sample has the agent 'x'; it has 60 others"):
        slice_capture(load_capture(tmp_path / "in"), agents=["x"])
