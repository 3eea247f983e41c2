"""A network that remembers: along one life, from its first observation on, and no further."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from live_lanes import lanes_of
from town_captures import TINY, policy_capture, script_capture

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_replay import ReplayDataset, ReplayDatasetConfig
from townlet_replay.capture import town_spec
from townlet_replay.errors import TrainingError
from townlet_replay.policy.network import NetworkConfig, ObservationSpec, TownletNetwork
from townlet_replay.policy.recurrent import STATE, LifeCore, Thread
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.rollout import Rollout
from townlet_replay.training.batches import minibatches, row_chunks, to_batch
from townlet_replay.training.bc import BCConfig, run_bc
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.live import LiveCollector
from townlet_replay.training.sb3_runs import train_live

SCENARIO = "kitchen_breakfast"
REMEMBERS = TINY.model_copy(update={"recurrent": "lstm", "recurrent_width": 8})
# Who does not eat faints after some twenty ticks; newcomers follow after two or three.
MORTAL = {
    "ticks": 70,
    "expect": [],
    "needs.decay": {"hunger": 0.04, "hygiene": 0.0, "energy": 0.0},
    "lives": {"faint_after": 2, "exits_per_day": 64, "exit_gap": 4, "grace_ticks": 3},
    "arrivals": {"enabled": True, "delay": [1, 3]},
}


def recurrent_network(seed=0):
    spec = town_spec(compile_plan(load_scenario(SCENARIO)))
    network = TownletNetwork(spec, REMEMBERS, seed)
    with torch.no_grad():  # choices that depend on what is remembered
        network.action_head.weight.mul_(100.0)
    return network


def step_by_step(network, observations, state):
    """The LSTM written out, one row at a time; (T, A) logits, (T,) values, and the last state."""
    weights = dict(network.core.lstm.named_parameters())
    width = network.core.width
    hidden, cell = state[:width], state[width:]
    with torch.no_grad():
        encoded = network.encode(network.tensors(observations))
        logits, values = [], []
        for row in encoded:
            gates = weights["weight_ih_l0"] @ row + weights["bias_ih_l0"]
            gates = gates + weights["weight_hh_l0"] @ hidden + weights["bias_hh_l0"]
            take, forget, new, give = gates.split(width)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(take) * torch.tanh(new)
            hidden = torch.sigmoid(give) * torch.tanh(cell)
            logits.append(network.action_head(hidden))
            values.append(network.value_head(hidden)[0])
    return torch.stack(logits), torch.stack(values).numpy(), torch.cat([hidden, cell])


def lives_of(rollout):
    ends = np.append(rollout.segment_starts[1:], len(rollout.actions))
    return [slice(a, b) for a, b in zip(rollout.segment_starts, ends, strict=True)]


def of_life(rollout, rows):
    return {key: rollout.observations[key][rows] for key in ("map", "features")}


@pytest.fixture(scope="module")
def two_rollouts():
    """Of towns that people leave and come to; lives go on from the first into the second."""
    network = recurrent_network()
    lanes = lanes_of(SCENARIO, 3, **MORTAL)
    collector = LiveCollector(lanes, PolicyRuntime(network, seed=2), 4)

    def kept(rollout):
        seen = {key: part.copy() for key, part in rollout.observations.items()}
        columns = {
            key: part.copy() for key, part in rollout._asdict().items() if hasattr(part, "copy")
        }
        return rollout._replace(**columns | {"observations": seen})

    return network, kept(collector.collect(100)), kept(collector.collect(55))


def test_acting_and_training_equal_the_lstm_written_out(two_rollouts):
    network, *rollouts = two_rollouts
    going_on = 0
    for rollout in rollouts:
        with torch.no_grad():
            logits, values = network(to_batch(network, rollout).observations)
        for rows in lives_of(rollout):
            state = torch.from_numpy(rollout.observations[STATE][rows.start])
            going_on += bool(state.any())
            expected, worth, _ = step_by_step(network, of_life(rollout, rows), state)
            assert torch.allclose(logits[rows], expected, atol=1e-4)
            assert np.allclose(values[rows], worth, atol=1e-6)
            assert np.allclose(rollout.values[rows], worth, atol=1e-6)
    assert going_on >= 4
    assert len({rows.stop - rows.start for rows in lives_of(rollouts[0])}) > 5  # ragged


def test_lives_that_go_on_begin_with_the_state_they_had(two_rollouts):
    network, first, second = two_rollouts
    lasting = [rows for rows in lives_of(first) if first.truncations[rows.stop - 1]]
    states = []
    for rows in lasting:
        state = torch.from_numpy(first.observations[STATE][rows.start])
        states.append(step_by_step(network, of_life(first, rows), state)[2].numpy())
    starts = second.observations[STATE][second.segment_starts]
    for state in starts[starts.any(axis=1)]:
        assert np.abs(np.array(states) - state).max(axis=1).min() < 1e-6


def test_a_new_life_begins_with_nothing(two_rollouts):
    _, *rollouts = two_rollouts
    column = town_spec(compile_plan(load_scenario(SCENARIO))).feature_names.index("context_reset")
    newborn = 0
    for rollout in rollouts:
        begins = rollout.observations["features"][:, column] == 1.0
        newborn += int(begins.sum())
        assert set(np.flatnonzero(begins)) <= set(rollout.segment_starts)
        assert not rollout.observations[STATE][1:][begins[1:]].any()
    assert newborn > 10
    network = recurrent_network()
    runtime, seen = PolicyRuntime(network, seed=0), of_life(rollouts[0], slice(0, 1))
    assert seen["features"][0, column] == 1.0
    fresh = runtime.act_batch(seen).logits
    runtime.memory = np.full_like(runtime.memory, 0.7)  # what somebody else is remembered by
    assert np.array_equal(runtime.act_batch(seen).logits, fresh)
    seen["features"] = np.where(np.arange(seen["features"].shape[1]) == column, 0, seen["features"])
    runtime.memory = np.full_like(runtime.memory, 0.7)
    assert not np.allclose(runtime.act_batch(seen).logits, fresh, atol=1e-3)


def test_cuts_are_worth_what_is_seen_after_the_last_action_and_deaths_nothing(two_rollouts):
    _, first, _ = two_rollouts
    assert not first.bootstrap_values[first.terminations].any()
    assert first.terminations.sum() > 3
    # Cut by the end of the rollout: the next rollout begins with the very observation.
    network, first, second = two_rollouts
    ends = {rows.stop - 1: rows for rows in lives_of(first)}
    agreeing = 0
    for start in second.segment_starts:
        state = torch.from_numpy(second.observations[STATE][start])
        worth = step_by_step(network, of_life(second, slice(start, start + 1)), state)[1][0]
        cut = [first.bootstrap_values[end] for end in ends if first.truncations[end]]
        agreeing += bool(state.any()) and np.abs(np.array(cut) - worth).min() < 1e-6
    assert agreeing >= 4


def test_another_life_changes_nothing(two_rollouts):
    network, rollout, _ = two_rollouts
    lives = lives_of(rollout)
    other = lives[3]
    features = rollout.observations["features"].copy()
    features[other] = np.random.default_rng(0).uniform(-1, 1, features[other].shape)
    touched = rollout._replace(observations={**rollout.observations, "features": features})
    with torch.no_grad():
        before, after = (network(to_batch(network, r).observations)[0] for r in (rollout, touched))
    same = np.ones(len(features), np.bool_)
    same[other] = False
    assert torch.equal(before[same], after[same])
    assert not torch.allclose(before[other], after[other], atol=1e-2)


def test_gradients_reach_back_along_a_life():
    core = LifeCore(3, 2).double()
    thread = Thread(torch.tensor([0, 4, 5]), torch.rand(3, 4, dtype=torch.float64))
    encoded = torch.rand(8, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: core(x, thread), (encoded,))
    out, _ = core(encoded, thread)
    reached = torch.autograd.grad(out[7].sum(), encoded)[0].abs().sum(dim=1) > 0
    assert reached.tolist() == [False] * 5 + [True] * 3


@pytest.mark.parametrize("size", [1, 5, 9, 100])
def test_minibatches_and_chunks_keep_segments_whole(size):
    segments = torch.tensor([0] * 4 + [1] * 3 + [2] + [3] * 6)
    orders = list(minibatches(14, size, np.random.default_rng(0), segments))
    assert sorted(torch.cat(orders).tolist()) == list(range(14))
    for order in orders:
        numbers, counts = segments[order].unique(return_counts=True)
        assert counts.tolist() == [int((segments == n).sum()) for n in numbers]
        assert len(order) <= size or len(numbers) == 1
        assert (order.diff()[segments[order].diff() == 0] == 1).all()
    assert [c.stop for c in row_chunks(14, segments)] == [14]


def test_runtime_remembers_by_name_and_values_what_follows(two_rollouts):
    network, rollout, _ = two_rollouts
    rows = max(lives_of(rollout), key=lambda rows: rows.stop - rows.start)
    seen = of_life(rollout, rows)
    _, worth, _ = step_by_step(network, seen, torch.zeros(network.state_width))
    runtime = PolicyRuntime(network, seed=0)
    for t in range(rows.stop - rows.start):
        observation = {key: part[t] for key, part in seen.items()}
        others = {"zoe": {key: part[-1 - t] for key, part in seen.items()}} if t % 3 else {}
        assert runtime.values_of({"ana": observation})["ana"] == pytest.approx(worth[t], abs=1e-6)
        acts = runtime.act({"ana": observation, **others})
        assert acts.values["ana"] == pytest.approx(worth[t], abs=1e-6)


def test_a_capture_is_valued_as_it_was_lived(tmp_path):
    network = recurrent_network()
    capture = policy_capture(SCENARIO, tmp_path, network, ticks=90)
    runtime = PolicyRuntime(network, seed=9)
    for sample in capture:
        unknown = np.full_like(sample.value_preds, np.nan)
        valued = runtime.annotate(dataclasses.replace(sample, value_preds=unknown))
        assert np.allclose(valued.value_preds, sample.value_preds, atol=1e-6)
        assert np.allclose(valued.extras["policy_log_probs"], sample.old_log_probs, atol=1e-4)


def cue_rollout(lives=60, ticks=6):
    """Labels are what was seen on the first tick of the life; nothing shows it later."""
    rng = np.random.default_rng(1)
    cues = rng.integers(0, 2, lives)
    features = np.zeros((lives, ticks, 3), np.float32)
    features[:, 0, 0], features[:, 0, 1] = 1.0, cues * 2.0 - 1.0
    features[:, :, 2] = rng.uniform(-1, 1, (lives, ticks))
    rows = lives * ticks
    ends = np.zeros((lives, ticks), np.bool_)
    ends[:, -1] = True
    zeros = np.zeros(rows, np.float32)
    return Rollout(
        observations={"features": features.reshape(rows, 3)},
        action_mask=None,
        actions=np.repeat(cues, ticks),
        rewards=zeros,
        terminations=ends.reshape(-1),
        truncations=np.zeros(rows, np.bool_),
        old_log_probs=zeros,
        values=zeros,
        bootstrap_values=zeros,
        segment_starts=np.arange(0, rows, ticks),
    )


@pytest.mark.parametrize("kind", ["lstm", None])
def test_what_was_seen_once_is_remembered(kind):
    spec = ObservationSpec(
        map_shape=None,
        features_dim=3,
        action_dim=2,
        feature_names=("context_reset", "cue", "noise"),
        action_lookup={0: "left", 1: "right"},
    )
    config = NetworkConfig(features_width=8, trunk_widths=(8,), recurrent=kind, recurrent_width=8)
    network = TownletNetwork(spec, config, seed=0)
    settings = BCConfig(epochs=30, learning_rate=0.02, minibatch_size=60, patience=None)
    result = run_bc(network, cue_rollout(), settings, np.random.default_rng(0))
    agreement = result.epochs[-1].agreement_held_out
    assert agreement == 1.0 if kind else agreement < 0.9


def config_of(**more):
    settings = {
        "scenario": SCENARIO,
        "network": REMEMBERS.model_dump(),
        "ppo": {"minibatch_size": 64, "epochs": 2},
        "bc": {"epochs": 2},
        "awr": {"epochs": 1, "value_epochs": 1},
        "rollout": {"ticks": 40, "cycles": 1},
    }
    return TrainConfig.model_validate(settings | more)


@pytest.mark.parametrize("objective", ["ppo", "decoupled_ppo", "vtrace_ppo", "awr", "bc"])
def test_replay_trains_on_whole_lives(objective, tmp_path):
    harness = TrainingHarness(config_of(mode="replay", objective=objective, epochs=2))
    assert harness.computing.mode == "autograd"
    policy_capture(SCENARIO, tmp_path, harness.network, ticks=90)
    dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(tmp_path, batch_size=2))
    before = {name: w.clone() for name, w in harness.network.core.named_parameters()}
    records = harness.run_ppo(dataset).records
    assert all(not torch.equal(before[n], w) for n, w in harness.network.core.named_parameters())
    if objective == "ppo":  # the first minibatch is judged by the weights that acted
        assert records[0].kl_divergence < 0.02


@pytest.mark.parametrize("objective", ["auto", "ppo_bc"])
def test_mixed_clones_and_plays(objective, tmp_path):
    script_capture(SCENARIO, tmp_path, episodes=1, epsilon=0.3)
    dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(tmp_path, batch_size=2))
    harness = TrainingHarness(config_of(mode="mixed", objective=objective))
    assert np.isfinite(harness.run_mixed(dataset).records[-1].loss_total)


def test_what_cannot_remember_is_refused():
    with pytest.raises(TrainingError, match="Stable-Baselines3: expected a network that remembers"):
        train_live(config_of(learner="sb3-maskable"))
    with pytest.raises(TrainingError, match="'strict_sb3': expected a network that Stable"):
        TrainingHarness(config_of(compute={"mode": "strict_sb3"}))
    spec = ObservationSpec(
        map_shape=None, features_dim=2, action_dim=2, action_lookup={0: "a", 1: "b"}
    )
    with pytest.raises(TrainingError, match="expected the feature 'context_reset'"):
        TownletNetwork(spec, REMEMBERS, seed=0)
    runtime = PolicyRuntime(recurrent_network(), seed=0)
    features = np.zeros((2, runtime.network.spec.features_dim), np.float32)
    seen = {"features": features, "map": np.zeros((2, *runtime.network.spec.map_shape), np.uint8)}
    with pytest.raises(TrainingError, match="expected the key 'core_state'"):
        runtime.values_batch(seen)
    runtime.act_batch(seen)
    with pytest.raises(TrainingError, match="expected 2 as before, found 1"):
        runtime.act_batch({key: part[:1] for key, part in seen.items()})
