"""Packing keeps every row in its place and closes every segment by an end or a value."""

from dataclasses import replace

import numpy as np
import pytest
from capture_toys import LOOKUP, life
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_replay.errors import CaptureError
from townlet_replay.rollout import concatenate, pack
from townlet_replay.sample import with_meta
from townlet_replay.sidecar import CaptureNames


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=5))
def test_ragged_lives_are_rows_one_after_the_other(lives):
    samples = [life(rows=n, dies=dies, seed=i) for i, (n, dies) in enumerate(lives)]
    rollout = pack(samples)
    row = 0
    for start, sample in zip(rollout.segment_starts, samples, strict=True):
        assert start == row
        for t in range(sample.rows):
            last = t == sample.rows - 1
            died = bool(sample.terminations[-1])
            assert (
                rollout.observations["features"][row] == sample.observations["features"][t]
            ).all()
            assert (rollout.action_mask[row] == sample.action_mask[t]).all()
            assert rollout.actions[row] == sample.actions[t]
            assert rollout.rewards[row] == sample.rewards[t]
            assert rollout.old_log_probs[row] == sample.old_log_probs[t]
            assert rollout.values[row] == sample.value_preds[t]
            assert rollout.terminations[row] == (last and died)
            assert rollout.truncations[row] == (last and not died)
            bootstrap = sample.value_preds[-1] if last and not died else 0
            assert rollout.bootstrap_values[row] == bootstrap
            row += 1
    assert rollout.rewards.shape == (row,)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=4))
def test_concatenating_is_packing_together(lengths):
    samples = [life(rows=n, seed=i) for i, n in enumerate(lengths)]
    joined = concatenate([pack(samples[:1]), pack(samples[1:])])
    whole = pack(samples)
    for name in whole._fields:
        if name != "observations":
            assert np.array_equal(getattr(joined, name), getattr(whole, name)), name
    assert np.array_equal(joined.observations["features"], whole.observations["features"])


def test_dead_and_out_of_time_at_once_is_dead():
    sample = life(dies=True)
    both = replace(sample, truncations=sample.terminations.copy())
    rollout = pack([both])
    assert rollout.terminations[-1]
    assert not rollout.truncations.any()
    assert not rollout.bootstrap_values.any()


def test_death_without_a_critic_is_worth_nothing_rather_than_unknown():
    sample = life(dies=True, value=np.nan)
    assert np.isnan(sample.value_preds).all()
    rollout = pack([sample, life(value=np.nan)])
    assert (rollout.bootstrap_values[:9] == 0).all()
    assert rollout.bootstrap_values[9] == 0.75


def test_dtypes():
    rollout = pack([life(), life(seed=1)])
    others = ("observations", "segment_agents")
    found = {name: part.dtype for name, part in rollout._asdict().items() if name not in others}
    assert rollout.segment_agents == ("anna", "anna")
    assert found == {
        "action_mask": np.int8,
        "actions": np.int64,
        "rewards": np.float32,
        "terminations": np.bool_,
        "truncations": np.bool_,
        "old_log_probs": np.float32,
        "values": np.float32,
        "bootstrap_values": np.float32,
        "segment_starts": np.int64,
    }


def test_samples_that_do_not_belong_together():
    one = life()
    named = CaptureNames({0: "wait", 1: "x", 2: "chat"}, one.meta.feature_names)
    with pytest.raises(CaptureError, match="action_lookup differs"):
        pack([one, life(names=named)])
    features = CaptureNames(LOOKUP, ("a", "b", "c", "d"))
    with pytest.raises(CaptureError, match="feature_names differs"):
        pack([one, life(names=features)])
    with pytest.raises(CaptureError, match="having action masks differs"):
        pack([one, replace(life(agent="ben"), action_mask=None)])
    wide = replace(
        with_meta(one, feature_names=None),
        observations={"features": np.zeros((5, 9), np.float32)},
        final_observation={"features": np.zeros(9, np.float32)},
    )
    with pytest.raises(CaptureError, match="observation shapes differs"):
        pack([with_meta(one, feature_names=None), wide])
    with pytest.raises(CaptureError, match="at least one sample"):
        pack([])
    with pytest.raises(CaptureError, match="nothing to concatenate"):
        concatenate([])
    with pytest.raises(CaptureError, match="have action masks and others have none"):
        concatenate([pack([one]), pack([one], use_masks=False)])


def test_actions_against_the_mask_need_a_learner_without_masks():
    sample = life()
    mask = sample.action_mask.copy()
    mask[3, sample.actions[3]] = 0
    illegal = np.arange(5) == 3
    broken = replace(sample, action_mask=mask, extras={"illegal_actions": illegal})
    with pytest.raises(
        CaptureError, match=r"1 of 5 actions were against their mask.*use_masks=False"
    ):
        pack([broken])
    assert pack([broken], use_masks=False).action_mask is None
