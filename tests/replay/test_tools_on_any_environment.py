"""The tools on captures of other people's environments, and what they make as food for learners."""

from pathlib import Path

import numpy as np
import pytest
from mpe2 import simple_tag_v3
from town_captures import policy_capture, tiny_network

from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.recorder import RecordReplay
from townlet_replay.rollout import pack
from townlet_replay.tools.derived import write_capture, write_captures
from townlet_replay.tools.describing import capture_statistics
from townlet_replay.tools.differing import diff_captures
from townlet_replay.tools.filtering import filter_capture
from townlet_replay.tools.merging import merge_captures
from townlet_replay.tools.picture import plot_capture
from townlet_replay.tools.slicing import slice_capture
from townlet_replay.tools.splitting import split_capture
from townlet_replay.training.audit import audit

SCENARIO = "kitchen_breakfast"


def play_tag(path, seed, episodes=2):
    """Predators see 16 numbers, the prey 14."""
    with RecordReplay(simple_tag_v3.parallel_env(max_cycles=9), path) as env:
        for episode in range(episodes):
            env.reset(seed=seed + episode)
            while env.agents:
                env.step({agent: len(agent) % 5 for agent in env.agents})
    return load_capture(path)


@pytest.fixture(scope="module")
def tags(tmp_path_factory):
    root = tmp_path_factory.mktemp("tag")
    return play_tag(root / "one", 1), play_tag(root / "two", 50)


def test_predators_and_prey(tags, tmp_path):
    one, two = tags
    both = write_capture(merge_captures(tags), tmp_path / "both")
    assert len(both) == len(one) + len(two)
    assert {s.observations["observation"].shape for s in both} == {(9, 16), (9, 14)}
    prey = write_capture(slice_capture(both, agents=["agent_0"], last_tick=4), tmp_path / "prey")
    for sample in prey:
        assert sample.rows == 4
        assert sample.truncations[-1]
    originals = [s for capture in tags for s in capture if s.meta.agent_id == "agent_0"]
    for sample, original in zip(prey, originals, strict=True):
        ending = sample.final_observation["observation"]
        np.testing.assert_array_equal(ending, original.observations["observation"][4])
    scores = sorted(entry.episode_return for entry in both.manifest.samples)
    better = filter_capture(both, f"return > {scores[0]} and agent_id != 'agent_0'")
    assert 0 < len(better) < len(both)
    parts = write_captures(split_capture(both, {"a": 0.5, "b": 0.5}), tmp_path / "parts")
    assert sum(map(len, parts.values())) == len(both)
    again = merge_captures([parts["a"], parts["b"]])
    found = diff_captures(both, write_capture(again, tmp_path / "again"))
    assert not found.only_left
    assert not found.samples
    assert not diff_captures(one, two).same
    assert len(capture_statistics(both).agents) == 4
    plot_capture(both, tmp_path / "tag.png")


def test_the_prey_alone_does_not_know_the_predators(tags, tmp_path):
    one, two = tags
    prey = write_capture(slice_capture(one, agents=["agent_0"]), tmp_path / "prey")
    hunters = write_capture(slice_capture(two, agents=["adversary_0"]), tmp_path / "hunters")
    with pytest.raises(CaptureError, match="'adversary_0' do not belong to those of"):
        merge_captures([prey, hunters])
    assert len(merge_captures([prey, hunters, one])) == len(prey) + len(hunters) + len(one)


def test_a_town_that_was_cut_merged_and_filtered_is_a_data_set(tmp_path):
    network = tiny_network(SCENARIO, seed=3)
    captures = [
        policy_capture(SCENARIO, tmp_path / str(seed), network, ticks=90, seed=seed)
        for seed in (1, 2)
    ]
    cut = write_capture(
        slice_capture(captures[0], first_tick=11, last_tick=50), tmp_path / "cut", mode="packed"
    )
    both = write_capture(merge_captures([cut, captures[1]]), tmp_path / "both")
    long = write_capture(filter_capture(both, "rows >= 40"), tmp_path / "long")
    dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(tmp_path / "long", batch_size=99))
    assert sorted(sample.rows for sample in long) == [40, 40, 60, 60]
    (rollout,) = dataset
    assert rollout.rewards.shape[0] == sum(sample.rows for sample in long)
    assert np.isfinite(rollout.bootstrap_values).all()
    assert dataset.baselines()["baseline_sample_count"] == len(long)
    assert audit(list(long)).passed
    first, original = long.sample(0), captures[0].sample(0)
    assert first.value_preds.tobytes() == original.value_preds[10:51].tobytes()
    assert first.meta.source.first_row == 10
    assert pack([first]).bootstrap_values[-1] == original.value_preds[50]


@pytest.mark.parametrize("name", ["policy", "script"])
def test_captures_of_format_1_0_are_copied_into_the_present_one(tmp_path, name):
    old = load_capture(Path(__file__).parents[1] / "data" / "capture_1_0" / name)
    copy = write_capture(slice_capture(old), tmp_path / name)
    assert copy.sample(0).meta.schema_version != old.sample(0).meta.schema_version
    assert diff_captures(old, copy).same
    cut = write_capture(slice_capture(old, first_tick=2, last_tick=7), tmp_path / "cut")
    assert [sample.ticks.tolist() for sample in cut] == [[2, 3, 4, 5, 6, 7]] * len(old)
