"""A sample is exactly what was recorded, after the disk too, and refuses rows that cannot be."""

import io
from dataclasses import replace

import numpy as np
import pytest
from capture_toys import LOOKUP, life, replay_samples
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_replay.errors import CaptureError
from townlet_replay.frames import Ending, Frame, SampleOrigin, frames_to_replay_sample
from townlet_replay.safe_files import to_json
from townlet_replay.sample import (
    arrays_of,
    check_observation_key,
    decode_sample,
    encode_sample,
    same_sample,
    with_meta,
)
from townlet_replay.sidecar import CaptureNames, SampleMeta, read_document

ORIGIN = SampleOrigin("anna", 0, 3, CaptureNames(LOOKUP))


def frame(**changes):
    plain = Frame({"x": np.zeros(2, np.float32)}, 1, 0.5, False, False, 1)
    return plain._replace(**changes)


ENDING = Ending({"x": np.ones(2, np.float32)})


@settings(max_examples=150, deadline=None)
@given(sample=replay_samples(), compress=st.booleans())
def test_the_file_holds_every_bit(sample, compress):
    data = encode_sample(sample, compress=compress)
    meta = read_document(SampleMeta, to_json(sample.meta), "sidecar")
    again = decode_sample(data, meta, "file")
    assert same_sample(again, sample)
    assert encode_sample(again, compress=compress) == data


@settings(max_examples=30, deadline=None)
@given(sample=replay_samples(), compress=st.booleans())
def test_numpy_alone_reads_it(sample, compress):
    expected = arrays_of(sample)
    with np.load(io.BytesIO(encode_sample(sample, compress=compress))) as archive:
        assert archive.files == list(expected)
        for name, array in expected.items():
            assert archive[name].dtype == array.dtype
            assert archive[name].tobytes() == array.tobytes()


def test_same_sample_sees_one_bit():
    one = life()
    rewards = one.rewards.copy()
    rewards[2] = np.nextafter(rewards[2], np.float32(9))
    assert not same_sample(one, replace(one, rewards=rewards))
    assert not same_sample(one, with_meta(one, tags=("other",)))
    # NaN is the same as itself, and 0.0 is not -0.0
    nan = replace(one, old_log_probs=np.full(one.rows, np.nan, np.float32))
    assert same_sample(nan, nan)
    zero = replace(one, rewards=np.zeros(5, np.float32))
    assert not same_sample(zero, replace(one, rewards=-np.zeros(5, np.float32)))


def test_frames_become_rows_and_an_unfinished_life_is_truncated():
    frames = [frame(tick=t, reward=t / 3, log_prob=-t / 7, value=float(t)) for t in range(4)]
    sample = frames_to_replay_sample(frames, ENDING._replace(value=9.5), ORIGIN)
    assert sample.rows == 4
    assert sample.ticks.tolist() == [0, 1, 2, 3]
    assert sample.rewards.tolist() == [np.float32(t / 3) for t in range(4)]
    assert sample.old_log_probs.tolist() == [np.float32(-t / 7) for t in range(4)]
    assert sample.value_preds.tolist() == [0, 1, 2, 3, 9.5]
    assert sample.terminations.tolist() == [False] * 4
    assert sample.truncations.tolist() == [False, False, False, True]
    assert sample.dones.tolist() == [False, False, False, True]
    assert sample.final_observation["x"].tolist() == [1, 1]
    assert sample.action_mask is None
    assert sample.meta.action_lookup == LOOKUP


def test_nothing_is_worth_anything_after_death():
    sample = frames_to_replay_sample(
        [frame(value=2.0), frame(value=3.0, terminated=True)], ENDING._replace(value=9.5), ORIGIN
    )
    assert sample.value_preds.tolist() == [2, 3, 0]
    assert not sample.truncations.any()
    unknown = frames_to_replay_sample([frame(terminated=True)], ENDING, ORIGIN)
    assert np.isnan(unknown.value_preds).all()


def test_optional_columns():
    logits = np.array([0, 1, -np.inf], np.float32)
    frames = [
        frame(logits=logits, intent=2, policy_version=7, policy_log_prob=-1.5),
        frame(),
    ]
    extras = frames_to_replay_sample(frames, ENDING, ORIGIN).extras
    assert extras["behaviour_logits"][0].tolist() == logits.tolist()
    assert np.isnan(extras["behaviour_logits"][1]).all()
    assert extras["intent_actions"].tolist() == [2, 1]
    assert extras["policy_version"].tolist() == [7, -1]
    assert extras["policy_log_probs"][0] == -1.5


def test_an_action_against_its_mask_is_kept_and_marked():
    mask = np.array([1, 0, 1], np.int8)
    frames = [frame(action_mask=mask, action=1), frame(action_mask=mask, action=2)]
    sample = frames_to_replay_sample(frames, ENDING._replace(action_mask=mask), ORIGIN)
    assert sample.extras["illegal_actions"].tolist() == [True, False]
    with pytest.raises(CaptureError, match=r"row 0: action 'move:north' against the mask"):
        replace(sample, extras={})


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames"),
        ([frame(), frame(observation={"y": np.zeros(2, np.float32)})], "row 1 observes"),
        ([frame(), frame(observation={"x": np.zeros(3, np.float32)})], "changes its shape"),
        ([frame(), frame(observation={"x": np.zeros(2)})], "changes its shape or dtype"),
        ([frame(action=3)], r"row 0: actions is 3, expected 0 to 2"),
        ([frame(action=-1)], r"row 0: actions is -1"),
        ([frame(reward=float("nan"))], "row 0: the reward is nan"),
        ([frame(reward=float("inf"))], "row 0: the reward is inf"),
        ([frame(log_prob=0.5)], r"row 0: log-prob 0.5 is above 0"),
        ([frame(log_prob=float("-inf"))], "infinities"),
        ([frame(value=float("inf"))], "infinities"),
        ([frame(terminated=True), frame()], "the last row, and no other"),
        ([frame(truncated=True), frame()], "the last row, and no other"),
        ([frame(tick=2**40)], "anna"),
        ([frame(action_mask=np.ones(2, np.int8))], "action_mask is"),
        ([frame(action_mask=np.full(3, 2, np.int8))], "other values than 0 and 1"),
        ([frame(action_mask=np.ones(3, np.int8)), frame()], "given for 1 of 2 rows"),
        ([frame(reward_components=np.ones(2, np.float32))], "reward_components is"),
    ],
)
def test_rows_that_cannot_be(frames, message):
    with pytest.raises(CaptureError, match=message) as caught:
        frames_to_replay_sample(frames, ENDING, ORIGIN)
    assert "anna" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.zeros(5)}, r"rewards is float64\[5\], expected float32\[5\]"),
        ({"value_preds": np.zeros(5, np.float32)}, r"value_preds is float32\[5\]"),
        ({"ticks": np.zeros(5, np.int64)}, "ticks is int64"),
        ({"final_observation": {}}, "the final observation"),
        ({"final_observation": {"features": np.zeros(3, np.float32)}}, "final_features is"),
        ({"extras": {"thoughts": np.zeros(5)}}, "unknown extra 'thoughts'"),
        ({"actions": np.zeros(5, np.int32)}, "actions is int32"),
        ({"extras": {"intent_actions": np.full(5, 9)}}, "intent_actions is 9"),
        ({"extras": {"final_action_mask": np.full(3, 9, np.int8)}}, "final_action_mask holds"),
    ],
)
def test_arrays_that_do_not_fit(change, message):
    with pytest.raises(CaptureError, match=message):
        replace(life(), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_names": ("a", "b")}, "2 columns are named"),
        ({"action_lookup": {0: "wait", 1: "chat", 3: "x"}}, "must name the ids 0 to 2"),
        ({"timesteps": 4}, r"expected float32\[4\]"),
        ({"value_pred_steps": 7}, "value_pred_steps is 7"),
        ({"action_lookup": {}}, "an action_mask needs actions that are ids"),
    ],
)
def test_a_sidecar_that_does_not_fit(change, message):
    with pytest.raises(CaptureError, match=message):
        with_meta(life(), **change)


def test_a_value_after_death_must_be_zero():
    sample = life(dies=True)
    values = sample.value_preds.copy()
    values[-1] = 0.5
    with pytest.raises(CaptureError, match=r"after a termination is 0.5, expected 0"):
        replace(sample, value_preds=values)


@pytest.mark.parametrize(
    "key", ["actions", "final_x", "segment_start", "a/b", "", "../x", "1x", "é", "x" * 65]
)
def test_names_that_would_be_mistaken(key):
    with pytest.raises(CaptureError, match="cannot name an observation"):
        check_observation_key(key)
