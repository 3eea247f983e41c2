"""A recorded town is the town: names, columns, provenance, and rows that can be played again."""

import numpy as np
import pytest

from townlet_env.config.load import load_scenario
from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.recorder import RecordReplay
from townlet_replay.sidecar import CaptureMetadata

TOWN = """
name: two_friends
description: two residents want one shower
ticks: 50
seed: 3
size: [7, 5]
objects: [{id: shower_1, kind: shower, cell: [3, 2]}]
residents: [{id: anna, cell: [2, 2]}, {id: ben, cell: [4, 2]}]
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("town") / "two_friends.yaml"
    path.write_text(TOWN)
    return load_scenario(path)


def record(config, path, episodes=2, **options):
    rng = np.random.default_rng(0)
    with RecordReplay(TownletParallelEnv(config, details=True), path, **options) as env:
        for episode in range(episodes):
            env.reset(seed=7) if episode == 0 else env.reset()
            while env.agents:
                masks = env.unwrapped.action_masks()
                env.step({a: int(rng.choice(np.flatnonzero(masks[a]))) for a in env.agents})
    return load_capture(path)


def test_the_names_of_the_town_are_in_every_file(config, tmp_path):
    capture = record(config, tmp_path)
    town = TownletParallelEnv(config)
    assert len(capture) == 4
    for sample in capture:
        meta = sample.meta
        assert meta.action_lookup == town.action_lookup
        assert meta.feature_names == town.feature_names
        assert meta.map_channels == town.map_channels
        assert meta.reward_components == town.reward_components
        assert list(sample.observations) == ["features", "map"]
        assert sample.observations["map"].dtype == np.uint8
        assert sample.rows == 50
        assert sample.ticks.tolist() == list(range(1, 51))
        assert sample.truncations[-1]
        total = sample.extras["reward_components"].sum(axis=1)
        assert np.allclose(total, sample.rewards, atol=1e-6)
    one = capture.sample(0).meta.capture_metadata
    assert (one.config_id, one.scenario_name) == ("two_friends", "two_friends")
    assert one.scenario_description == "two residents want one shower"
    assert (one.ticks, one.seed) == (50, 7)
    assert one.config_digest == config.digest()
    assert one.kernel_digest
    assert capture.manifest.metadata.seed == 3


def test_playing_the_actions_again_gives_the_recorded_rows(config, tmp_path):
    capture = record(config, tmp_path, episodes=1)
    samples = {s.meta.agent_id: s for s in capture}
    town = TownletParallelEnv(config)
    seen, _ = town.reset(seed=samples["anna"].meta.capture_metadata.seed)
    for t in range(50):
        for agent, sample in samples.items():
            assert np.array_equal(seen[agent]["map"], sample.observations["map"][t])
            assert np.array_equal(seen[agent]["features"], sample.observations["features"][t])
            assert np.array_equal(seen[agent]["action_mask"], sample.action_mask[t])
        seen, rewards, *_ = town.step({a: int(s.actions[t]) for a, s in samples.items()})
        assert {a: np.float32(r) for a, r in rewards.items()} == {
            a: s.rewards[t] for a, s in samples.items()
        }
    for agent, sample in samples.items():
        assert np.array_equal(seen[agent]["features"], sample.final_observation["features"])
        assert np.array_equal(seen[agent]["action_mask"], sample.extras["final_action_mask"])


def test_metrics_count_the_events_of_the_town(config, tmp_path):
    counted = {"queue_conflict": [], "affordance_finished": []}

    class Counting(TownletParallelEnv):
        def step(self, actions):
            returned = super().step(actions)
            for event in self.events():
                if event.event in counted:
                    counted[event.event].append(event.value)
            return returned

    rng = np.random.default_rng(1)
    with RecordReplay(Counting(config, details=True), tmp_path) as env:
        env.reset(seed=1)
        while env.agents:
            masks = env.unwrapped.action_masks()
            env.step({a: int(rng.choice(np.flatnonzero(masks[a]))) for a in env.agents})
    totals = load_capture(tmp_path).metrics.totals
    assert counted["queue_conflict"]
    assert totals.queue_conflict_events == len(counted["queue_conflict"])
    assert totals.queue_conflict_intensity_sum == pytest.approx(sum(counted["queue_conflict"]))
    assert sum(totals.affordance_finishes.values()) == len(counted["affordance_finished"])
    assert 0 < totals.rivalry_max_max <= 1
    assert totals.clip_share == 0
    assert totals.action_blocked_ratio == 0
    assert set(totals.action_counts) <= set(TownletParallelEnv(config).action_lookup.values())


def test_the_same_run_gives_the_same_files(config, tmp_path):
    record(config, tmp_path / "one")
    record(config, tmp_path / "two")
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "two"))
    assert one == two


def test_what_the_caller_states_wins(config, tmp_path):
    stated = CaptureMetadata(scenario_description="mine", policy_hash="abc")
    meta = record(config, tmp_path, 1, metadata=stated).sample(0).meta.capture_metadata
    assert (meta.scenario_description, meta.policy_hash) == ("mine", "abc")
    assert meta.scenario_name == "two_friends"


def test_an_action_that_the_town_would_take_for_waiting(config, tmp_path):
    with RecordReplay(TownletParallelEnv(config, details=True), tmp_path) as env:
        env.reset()
        masks = env.unwrapped.action_masks()
        illegal = int(np.flatnonzero(masks["anna"] == 0)[0])
        *_, infos = env.step({"anna": illegal, "ben": 0})
        assert infos["anna"]["illegal_action"] == 1
    samples = {s.meta.agent_id: s for s in load_capture(tmp_path)}
    assert samples["anna"].meta.metrics.action_blocked_ratio == 1
    assert samples["anna"].extras["illegal_actions"].tolist() == [True]
    data = ReplayDataset(ReplayDatasetConfig.from_capture_dir(tmp_path, agents=("anna",)))
    with pytest.raises(CaptureError, match="against their mask"):
        next(iter(data))


def test_a_capture_for_another_town_is_refused(config, tmp_path):
    record(config, tmp_path, 1)
    town = TownletParallelEnv(config)
    expected = {"action_lookup": town.action_lookup, "feature_names": town.feature_names}
    assert len(ReplayDataset(ReplayDatasetConfig.from_capture_dir(tmp_path, **expected))) == 2
    other = {**expected, "feature_names": (*town.feature_names[:-1], "mood")}
    with pytest.raises(CaptureError, match=r"expected \('mood',\)"):
        ReplayDataset(ReplayDatasetConfig.from_capture_dir(tmp_path, **other))
