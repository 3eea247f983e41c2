"""Live rollouts: lane by lane, closed where they are cut, and equal to what a recorder writes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from live_lanes import lanes_of
from town_captures import policy_capture, tiny_network

from townlet_env.config.load import load_scenario
from townlet_env.views.lanes import Lanes
from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.rollout import pack
from townlet_replay.training.gae import gae
from townlet_replay.training.live import LiveCollector
from townlet_replay.training.ppo import PPOConfig, make_optimizer, ppo_update


def collector_of(network, lanes, seed=3):
    return LiveCollector(lanes, PolicyRuntime(network, seed=seed), seed)


def closed(rollout):
    return rollout.terminations | rollout.truncations


class Mortal(Lanes):
    """In world 1 the second resident leaves town in the third tick of every episode."""

    def step(self, actions):
        tick = int(self.batch.worlds["tick"][1]) + 1
        step = super().step(actions)
        gone = self.num_lanes // 2 + 1
        if tick == 3:
            self.batch.worlds["alive"][1, 1] = 0
            terminated, done = step.terminated.copy(), step.done.copy()
            terminated[gone] = done[gone] = True
            return step._replace(terminated=terminated, done=done)
        return step


def test_who_left_town_has_no_rows_until_the_world_opens_again():
    """Two worlds of alice and bob, episodes of 5 ticks, 12 ticks: by hand."""
    lanes = lanes_of("kitchen_breakfast", 2, kind=Mortal, ticks=5, expect=[])
    collector = collector_of(tiny_network("kitchen_breakfast"), lanes)
    rollout = collector.collect(12)
    lengths = np.diff(np.append(rollout.segment_starts, len(rollout.actions))).tolist()
    # alice 0, bob 0, alice 1: 5 + 5 + 2; bob 1 leaves after 3, and lives on in later episodes.
    assert lengths == [5, 5, 2] * 3 + [3, 3, 2]
    ends = np.flatnonzero(closed(rollout))
    assert np.array_equal(ends + 1, np.cumsum(lengths))
    assert rollout.terminations[ends].tolist() == [False] * 9 + [True, True, False]
    assert rollout.truncations[ends].tolist() == [True] * 9 + [False, False, True]
    assert (rollout.bootstrap_values[rollout.truncations] != 0).all()
    assert not rollout.bootstrap_values[~rollout.truncations].any()
    assert len(rollout.actions) == 36 + 8 == collector.steps
    # One return per life that ended, none for the empty lane when its world ends.
    assert len(collector.episode_returns) == 8
    per_life = np.add.reduceat(rollout.rewards.astype(np.float64), rollout.segment_starts)
    ended = [k for k, length in enumerate(lengths) if k % 3 != 2]
    assert sorted(collector.episode_returns) == pytest.approx(sorted(per_life[ended]), abs=1e-9)
    # The next rollout goes on where the lives were cut.
    after = collector.collect(4)
    starts = np.diff(np.append(after.segment_starts, len(after.actions))).tolist()
    assert starts == [3, 1] * 3 + [1, 1]


def test_cuts_are_closed_by_the_value_of_what_followed():
    network = tiny_network("kitchen_breakfast", seed=2)
    lanes = lanes_of("kitchen_breakfast", 2, ticks=7, expect=[])
    rollout = collector_of(network, lanes).collect(10)
    ends = np.flatnonzero(closed(rollout))
    assert ends.tolist() == [6, 9, 16, 19, 26, 29, 36, 39]
    twins = [TownletParallelEnv(load_scenario("kitchen_breakfast", {"ticks": 7, "expect": []}))]
    twins.append(twins[0].clone())
    for w, env in enumerate(twins):
        env.reset(seed=3 + w)
        for t in range(10):
            rows = [lane * 10 + t for lane in (2 * w, 2 * w + 1)]
            actions = dict(zip(env.possible_agents, rollout.actions[rows].tolist(), strict=True))
            seen, *_ = env.step(actions)
            if t in (6, 9):
                for agent, row in zip(env.possible_agents, rows, strict=True):
                    final = {key: part[None] for key, part in seen[agent].items()}
                    with torch.no_grad():
                        value = network(network.spec.tensors(final, network.device))[1][0]
                    assert rollout.bootstrap_values[row] == pytest.approx(float(value), abs=2e-6)
            if not env.agents:
                env.reset()


def test_rows_are_lane_major_and_pair_what_was_seen_with_what_was_done():
    """Every lane, played again in a town of its own."""
    scenario, worlds, ticks = "queue_conflict", 3, 130
    rollout = collector_of(tiny_network(scenario), lanes_of(scenario, worlds), 20).collect(ticks)
    assert len(rollout.actions) == worlds * 3 * ticks
    assert (rollout.action_mask == 0).mean() > 0.3
    by_lane = {
        name: array.reshape(worlds, 3, ticks, *array.shape[1:])
        for name, array in [
            *rollout.observations.items(),
            ("actions", rollout.actions),
            ("rewards", rollout.rewards),
            ("mask", rollout.action_mask),
        ]
    }
    for w in range(worlds):
        env = TownletParallelEnv(load_scenario(scenario))
        seen, _ = env.reset(seed=20 + w)
        for t in range(ticks):
            for k, agent in enumerate(env.possible_agents):
                assert np.array_equal(by_lane["map"][w, k, t], seen[agent]["map"])
                assert np.array_equal(by_lane["features"][w, k, t], seen[agent]["features"])
                assert np.array_equal(by_lane["mask"][w, k, t], seen[agent]["action_mask"])
            chosen = by_lane["actions"][w, :, t].tolist()
            seen, rewards, *_ = env.step(dict(zip(env.possible_agents, chosen, strict=True)))
            assert by_lane["rewards"][w, :, t].tolist() == list(rewards.values())
            if not env.agents:
                seen, _ = env.reset()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """150 ticks of one policy: collected live, and recorded and read back from the disk."""
    scenario, ticks, seed = "queue_conflict", 150, 6
    live = collector_of(tiny_network(scenario), lanes_of(scenario), seed).collect(ticks)
    folder = tmp_path_factory.mktemp("capture")
    capture = policy_capture(scenario, folder, tiny_network(scenario), ticks=ticks, seed=seed)
    # A capture lists episode by episode; lanes hold one resident after the other.
    samples = sorted(capture, key=lambda s: (s.meta.agent_id, s.meta.episode_id))
    return live, pack(samples)


def test_live_and_recorded_rows_agree_to_the_bit(pair):
    live, recorded = pair
    assert len(live.actions) == 450
    assert live.truncations.sum() == 6
    for name, mine, theirs in zip(live._fields, live, recorded, strict=True):
        if name == "observations":
            assert sorted(mine) == sorted(theirs)
            for key in mine:
                assert mine[key].tobytes() == theirs[key].tobytes(), key
        elif name == "segment_agents":
            assert mine == theirs
            assert sorted(set(mine)) == ["anna", "ben", "cleo"]
        else:
            assert mine.dtype == theirs.dtype
            assert mine.tobytes() == theirs.tobytes(), name


def weights_and_moments(network, optimizer):
    moments = [state["exp_avg_sq"].numpy().tobytes() for state in optimizer.state.values()]
    return network.digest, moments


def test_an_update_on_the_capture_ends_with_the_bits_of_the_live_one(pair):
    found = []
    config = PPOConfig(minibatch_size=64, learning_rate=1e-3)
    for rollout in pair:
        network = tiny_network("queue_conflict")
        optimizer = make_optimizer(network, config)
        before = network.digest
        ppo_update(network, optimizer, rollout, config, np.random.default_rng(5))
        assert network.digest != before
        found.append(weights_and_moments(network, optimizer))
    assert found[0] == found[1]
    # A cut that counts as a death is not the same thing.
    live = pair[0]
    network = tiny_network("queue_conflict")
    optimizer = make_optimizer(network, config)
    wrong = live._replace(
        terminations=live.truncations,
        truncations=live.terminations,
        bootstrap_values=0 * live.rewards,
    )
    ppo_update(network, optimizer, wrong, config, np.random.default_rng(5))
    assert network.digest != found[0][0]


def test_returns_of_a_cut_lane_hold_the_value_after_it(pair):
    live = pair[0]
    ends = (live.terminations, live.truncations, live.bootstrap_values)
    estimate = gae(live.rewards, live.values, *ends, 0.9, 1.0)
    last = np.flatnonzero(closed(live))
    expected = live.rewards[last] + np.float32(0.9) * live.bootstrap_values[last]
    assert np.allclose(estimate.returns[last], expected, atol=1e-6)


def test_only_learners_have_lanes():
    lanes = lanes_of("queue_conflict", 2, ["cleo"])
    rollout = collector_of(tiny_network("queue_conflict"), lanes).collect(125)
    assert len(rollout.actions) == 250
    env = TownletParallelEnv(load_scenario("queue_conflict"))
    seen, _ = env.reset(seed=3)
    assert np.array_equal(rollout.observations["features"][0], seen["cleo"]["features"])
    assert rollout.segment_starts.tolist() == [0, 120, 125, 245]
