"""Options are recorded as what they are: a row per tick, the option that ran, names and mask."""

import json

import numpy as np
import pytest
from option_towns import at_random, options_in

from townlet_env.wrappers import OPTION_NAMES
from townlet_replay import RecordReplay, ReplayDataset, ReplayDatasetConfig


def record(out, *, learners=None, mask="obs"):
    """Record an episode; return the options that ran, by resident, and the rewards."""
    ran, rewards = {}, {}
    env = options_in("queue_conflict", learners=learners, mask=mask)
    choose = at_random(0)
    with RecordReplay(env, out) as recorded:
        recorded.reset(seed=1)
        while recorded.agents:
            masks = recorded.action_masks()
            # Whoever is committed is given nothing: what ran is recorded all the same.
            given = {name: choose(name, masks[name]) for name in recorded.choosing}
            _, reward, *_ = recorded.step(given)
            for name, option in recorded.last_actions.items():
                ran.setdefault(name, []).append(option)
                rewards.setdefault(name, []).append(reward[name])
    return ran, rewards


def samples(out):
    manifest = json.loads((out / "rollout_sample_manifest.json").read_text())
    for entry in manifest["samples"]:
        meta = json.loads((out / entry["meta"]).read_text())
        with np.load(out / entry["sample"], allow_pickle=False) as arrays:
            yield entry["agent_id"], meta, dict(arrays)


@pytest.mark.parametrize("mask", ["obs", "info"])
def test_a_capture_holds_the_options_that_ran(tmp_path, mask):
    ran, rewards = record(tmp_path, mask=mask)
    found = {}
    for agent, meta, arrays in samples(tmp_path):
        found[agent] = arrays["actions"].tolist()
        assert list(meta["action_lookup"].values()) == list(OPTION_NAMES)
        assert arrays["action_mask"].shape == (120, len(OPTION_NAMES))
        taken = np.take_along_axis(arrays["action_mask"], arrays["actions"][:, None], axis=1)
        assert (taken == 1).all()
        np.testing.assert_array_equal(arrays["rewards"], np.float32(rewards[agent]))
    assert found == ran
    assert sorted(found) == ["anna", "ben", "cleo"]


def test_scripted_residents_choose_no_options_and_have_no_rows(tmp_path):
    ran, _ = record(tmp_path, learners=["ben"])
    assert {agent for agent, _, _ in samples(tmp_path)} == set(ran) == {"ben"}


def test_a_capture_of_options_can_be_read_by_learners(tmp_path):
    record(tmp_path)
    dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(tmp_path, batch_size=3))
    assert {len(meta.action_lookup) for meta in dataset.metas} == {len(OPTION_NAMES)}
    assert sum(meta.timesteps for meta in dataset.metas) == 3 * 120
