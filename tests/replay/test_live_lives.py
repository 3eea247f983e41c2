"""Live rollouts of towns that people leave and come to: no life's rows or returns reach another."""

from __future__ import annotations

import numpy as np
import pytest
from live_lanes import lanes_of
from town_captures import tiny_network

from townlet_env.views.lanes import Lanes
from townlet_replay.policy.fused_actor import FusedActor
from townlet_replay.policy.fused_net import FusedNetwork
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.training.gae import gae
from townlet_replay.training.live import LiveCollector

SCENARIO, TICKS = "kitchen_breakfast", 150
# Who does not eat faints after some twenty ticks; newcomers follow after two or three.
MORTAL = {
    "ticks": 70,
    "expect": [],
    "needs.decay": {"hunger": 0.04, "hygiene": 0.0, "energy": 0.0},
    "lives": {"faint_after": 2, "exits_per_day": 64, "exit_gap": 4, "grace_ticks": 3},
    "arrivals": {"enabled": True, "delay": [1, 3]},
}


class Diary(Lanes):
    """Lanes that write down who was in every slot, tick by tick, before and after the step."""

    def reset(self, seed):
        self.pages = []
        super().reset(seed)

    def step(self, actions):
        batch = self.batch
        before = batch.alive.reshape(-1), batch.worlds["newcomer"].reshape(len(batch.worlds), -1)
        people = before[1][:, : batch.num_residents].reshape(-1).copy()
        seen = self.observations()
        step = super().step(actions)
        self.pages.append((before[0].copy(), people, seen, np.array(actions), step))
        return step


@pytest.fixture(scope="module", params=["runtime", "fused"])
def kept(request):
    network = tiny_network(SCENARIO, seed=1)
    lanes = lanes_of(SCENARIO, 3, kind=Diary, **MORTAL)
    actor = (
        PolicyRuntime(network, seed=2)
        if request.param == "runtime"
        else FusedActor(FusedNetwork(network), 2)
    )
    collector = LiveCollector(lanes, actor, 4)
    return lanes.pages, collector.collect(TICKS), collector


def test_rows_are_those_of_people_in_town(kept):
    """Every row, told again from the diary, lane by lane."""
    pages, rollout, _ = kept
    row = 0
    idle = 0
    for lane in range(len(pages[0][0])):
        for alive, _, seen, actions, step in pages:
            if not alive[lane]:
                idle += 1
                continue
            for key in ("map", "features"):
                assert np.array_equal(rollout.observations[key][row], seen[key][lane])
            assert np.array_equal(rollout.action_mask[row], seen["action_mask"][lane])
            assert rollout.actions[row] == actions[lane]
            assert rollout.rewards[row] == step.rewards[lane]
            row += 1
    assert row == len(rollout.actions)
    assert idle > 20
    assert any(people.any() for _, people, *_ in pages)  # newcomers came


def test_every_segment_is_one_life(kept):
    pages, rollout, collector = kept
    lives, returns = [], []
    for lane in range(len(pages[0][0])):
        length, total = 0, 0.0
        for t, (alive, people, _, _, step) in enumerate(pages):
            if not alive[lane]:
                assert length == 0, "a life went on while nobody was there"
                continue
            if length:
                assert people[lane] == pages[t - 1][1][lane], "somebody else's life"
            length += 1
            total += float(step.rewards[lane])
            if step.done[lane]:
                returns.append(total)
            if step.done[lane] or t == TICKS - 1:
                lives.append((length, bool(step.terminated[lane])))
                length, total = 0, 0.0
    lengths = np.diff(np.append(rollout.segment_starts, len(rollout.actions)))
    assert lengths.tolist() == [length for length, _ in lives]
    ends = np.cumsum(lengths) - 1
    assert rollout.terminations[ends].tolist() == [died for _, died in lives]
    assert (rollout.terminations | rollout.truncations).sum() == len(ends)
    assert not (rollout.terminations & rollout.truncations).any()
    assert rollout.terminations.sum() > 6
    assert rollout.truncations.sum() > 3
    assert sorted(collector.episode_returns) == pytest.approx(sorted(returns), abs=1e-5)


def test_a_death_is_worth_nothing_after_it(kept):
    _, rollout, _ = kept
    assert not rollout.bootstrap_values[~rollout.truncations].any()
    assert (rollout.bootstrap_values[rollout.truncations] != 0).all()
    ends = (rollout.terminations, rollout.truncations, rollout.bootstrap_values)
    estimate = gae(rollout.rewards, rollout.values, *ends, 0.99, 0.95)
    last = np.flatnonzero(rollout.terminations)
    assert np.allclose(estimate.returns[last], rollout.rewards[last], atol=1e-6)


def test_rows_do_not_depend_on_how_often_buffers_were_used():
    network = tiny_network(SCENARIO, seed=1)
    long = LiveCollector(lanes_of(SCENARIO, 3, **MORTAL), FusedActor(FusedNetwork(network), 2), 4)
    short = LiveCollector(lanes_of(SCENARIO, 3, **MORTAL), FusedActor(FusedNetwork(network), 2), 4)
    whole = long.collect(120)
    parts = []
    for _ in range(4):  # an episode ends in the third
        rollout = short.collect(30)
        assert not rollout.bootstrap_values[~rollout.truncations].any()
        parts.append((rollout.rewards.sum(dtype=np.float64), rollout.actions.sum()))
    assert long.steps == short.steps == len(whole.actions)
    assert sum(part[0] for part in parts) == pytest.approx(whole.rewards.sum(dtype=np.float64))
    assert sum(part[1] for part in parts) == whole.actions.sum()
