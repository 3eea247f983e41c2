"""A critic that sees the whole town: what it reads, who never reads it, and where it is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from live_lanes import lanes_of
from tiny_training import SCENARIO, config_of, dataset_of
from town_captures import TINY, policy_capture

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_replay.capture import town_spec
from townlet_replay.errors import TrainingError
from townlet_replay.policy.central import TOWN, CentralCritic
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.training.batches import to_batch
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.live import LiveCollector
from townlet_replay.training.sb3_runs import train_live

CENTRAL = TINY.model_copy(update={"critic": "central", "critic_widths": (16, 16)})
LIVE = {"steps": 400, "num_worlds": 2, "rollout_ticks": 32}


@pytest.fixture(scope="module")
def collected():
    spec = town_spec(compile_plan(load_scenario(SCENARIO)))
    network = TownletNetwork(spec, CENTRAL, seed=0)
    lanes = lanes_of(SCENARIO, 3, ticks=50, expect=[])
    collector = LiveCollector(lanes, PolicyRuntime(network, seed=2), 4)
    return network, lanes, collector.collect(80)


def test_every_row_has_the_features_of_all_learners_in_its_town(collected):
    _, lanes, rollout = collected
    learners, rows = len(lanes.learners), len(rollout.actions)
    assert learners > 1
    town, own = rollout.observations[TOWN], rollout.observations["features"]
    assert town.shape == (rows, learners, own.shape[1])
    for world in range(3):
        for k in range(learners):
            first = (world * learners + k) * 80
            lane = slice(first, first + 80)
            for j in range(learners):
                theirs = (world * learners + j) * 80
                assert np.array_equal(town[lane, j], own[theirs : theirs + 80])


def test_values_are_those_of_the_town_and_cuts_of_what_followed(collected):
    network, lanes, rollout = collected
    with torch.no_grad():
        values = network(to_batch(network, rollout).observations)[1].numpy()
    assert np.allclose(values, rollout.values, atol=1e-6)
    ends = np.flatnonzero(rollout.truncations)
    assert len(ends) == 2 * lanes.num_lanes  # by time, and by the end of the rollout
    assert np.isfinite(rollout.bootstrap_values).all()
    assert rollout.bootstrap_values[ends].all()
    # Someone else's misery moves my value; my logits do not know of it.
    observations = to_batch(network, rollout).observations
    touched = {**observations, TOWN: observations[TOWN].clone()}
    touched[TOWN][:, 1, :3] = 0.01
    with torch.no_grad():
        before, after = network(observations), network(touched)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1], atol=1e-4)


def test_the_order_of_people_and_empty_slots_change_nothing():
    critic = CentralCritic(5, (8, 8), torch.nn.Tanh)
    features, town = torch.rand(6, 5), torch.rand(6, 3, 5)
    expected = critic(features, town)
    assert torch.allclose(critic(features, town[:, [2, 0, 1]]), expected, atol=1e-6)
    emptied = torch.cat([town, torch.zeros(6, 2, 5)], dim=1)
    assert torch.allclose(critic(features, emptied), expected, atol=1e-6)
    assert torch.isfinite(critic(features, torch.zeros(6, 3, 5))).all()
    twice = critic.double()
    inputs = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: twice(x, x[:, None].repeat(1, 2, 1)), (inputs,))


def test_the_loss_of_the_values_leaves_the_policy_alone(collected):
    network, _, rollout = collected
    values = network(to_batch(network, rollout).observations)[1]
    network.zero_grad()
    values.sum().backward()
    reached = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert reached == {"critic", "value_head"}


def test_it_trains_live_and_acts_without_the_town():
    config = config_of(network=CENTRAL.model_dump(), live=LIVE, ppo={"minibatch_size": 64})
    harness = TrainingHarness(config)
    assert harness.computing.mode == "autograd"
    before = {name: w.clone() for name, w in harness.network.named_parameters()}
    records = harness.run_live().records
    assert np.isfinite([record.loss_total for record in records]).all()
    assert records[-1].loss_value < records[0].loss_value
    assert all(not torch.equal(before[name], w) for name, w in harness.network.named_parameters())
    spec = harness.network.spec
    seen = {
        "features": np.zeros((2, spec.features_dim), np.float32),
        "map": np.zeros((2, *spec.map_shape), np.uint8),
    }
    acts = PolicyRuntime(harness.network, seed=0).act_batch(seen)
    assert np.isnan(acts.values).all()  # no critic watched
    assert np.isfinite(acts.log_probs).all()


def test_captures_and_other_learners_refuse_it(tmp_path):
    config = config_of(network=CENTRAL.model_dump(), live=LIVE)
    harness = TrainingHarness(config)
    capture = policy_capture(SCENARIO, tmp_path, harness.network, ticks=40)
    assert np.isnan(next(iter(capture)).value_preds[:-1]).all()
    for run in (harness.run_ppo, harness.run_bc):
        with pytest.raises(TrainingError, match="'central': expected rows with what the whole"):
            run(dataset_of(tmp_path))
    with pytest.raises(TrainingError, match=r"expected network\.critic own, found 'central'"):
        train_live(config.model_copy(update={"learner": "sb3-maskable"}))
    strict = config.model_copy(
        update={"compute": config.compute.model_copy(update={"mode": "strict_sb3"})}
    )
    with pytest.raises(TrainingError, match="'strict_sb3': expected a network that Stable"):
        TrainingHarness(strict)
