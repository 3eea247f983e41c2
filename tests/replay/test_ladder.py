"""The parity ladder in the town, P0 to P6; P5, planted mistakes, is ``test_parity``.

The towns are two shipped scenarios in which people die and others come, and time cuts episodes.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from itertools import product

import ladder_runs
import numpy as np
import pytest
import torch
from ladder_runs import PPO_SETTINGS, SEED, TICKS, UPDATES, sharpen, stored_rollouts
from sb3_twin import differing_weights, twin_of
from town_captures import TINY

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.views.lanes import Lanes
from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.capture import record_policy, town_spec
from townlet_replay.manifest import load_capture
from townlet_replay.npz import encode_npz
from townlet_replay.npz_reader import decode_npz
from townlet_replay.policy.masked import evaluate
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.rollout import pack
from townlet_replay.training.gae import gae
from townlet_replay.training.live import LiveCollector
from townlet_replay.training.ppo import make_optimizer, ppo_update, prepare_update
from townlet_replay.training.sb3 import fill_rollout_buffer

SCENARIOS = ("queue_conflict", "shared_flat")
POLICIES = ("fresh", "sharp")
LEARNERS = ("native", "sb3", "sb3-maskable")
RUNS = tuple(product(SCENARIOS, POLICIES, LEARNERS))
COLUMNS = (
    "actions", "rewards", "terminations", "truncations", "old_log_probs", "values",
    "bootstrap_values", "action_mask",
)  # fmt: skip


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    folder = tmp_path_factory.mktemp("towns")
    return {name: ladder_runs.mortal_scenario(name, folder) for name in SCENARIOS}


@pytest.fixture(scope="module")
def runs(towns, tmp_path_factory):
    """Every run live, and replayed in one other process: (folder, live digests, replayed)."""
    found = {}
    for scenario, policy, learner in RUNS:
        folder = tmp_path_factory.mktemp(f"{scenario}-{policy}") / learner
        folder.mkdir()
        seen = ladder_runs.live(learner, towns[scenario], folder, policy == "sharp")
        found[scenario, policy, learner] = folder, seen
    command = [sys.executable, ladder_runs.__file__, *(folder for folder, _ in found.values())]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {
        run: (folder, seen, json.loads((folder / "replayed.json").read_text()))
        for run, (folder, seen) in found.items()
    }


@pytest.mark.parametrize("run", RUNS, ids="-".join)
def test_p2_capture_equals_live_after_every_update(run, runs):
    _, live, replayed = runs[run]
    assert len(set(live)) == len(live) >= UPDATES
    assert replayed == live


@pytest.mark.parametrize("run", RUNS, ids="-".join)
def test_the_rows_have_deaths_cuts_masks_and_ragged_lives(run, runs):
    folder, *_ = runs[run]
    rollouts = stored_rollouts(folder, run[2])
    assert len(rollouts) == UPDATES
    deaths = sum(int(rollout.terminations.sum()) for rollout in rollouts)
    cuts = sum(int(rollout.truncations.sum()) for rollout in rollouts)
    assert deaths >= 6
    assert cuts >= 6
    lengths = {int(n) for r in rollouts for n in np.diff([*r.segment_starts, len(r.actions)])}
    assert len(lengths) > 5
    masks = [rollout.action_mask for rollout in rollouts]
    if run[2] == "sb3":
        assert masks == [None] * UPDATES
    else:
        assert all((mask == 0).mean() > 0.2 for mask in masks)
        entropies = [-float(r.old_log_probs.mean()) for r in rollouts]
        assert (max(entropies) < 0.7) == (run[1] == "sharp")
    if run[2] == "native":
        people = {
            sample.meta.agent_id
            for cycle in (folder / "cycles").iterdir()
            for sample in load_capture(cycle)
        }
        assert any(name.startswith("newcomer") for name in people)


def test_p0_every_column_survives_the_disk(runs):
    folder, *_ = runs[RUNS[0]]
    for rollout in stored_rollouts(folder, "native"):
        arrays = {name: getattr(rollout, name) for name in COLUMNS} | rollout.observations
        again = decode_npz(encode_npz(arrays, compress=True), "memory")
        assert again.keys() == arrays.keys()
        for name, array in arrays.items():
            assert (again[name].dtype, again[name].tobytes()) == (array.dtype, array.tobytes())


def reference_gae(rollout, gamma, decay):
    """Ten lines in float64."""
    ends = rollout.terminations | rollout.truncations
    advantages, following = np.zeros(len(ends)), 0.0
    for row in range(len(ends) - 1, -1, -1):
        after = 0.0 if ends[row] else float(rollout.values[row + 1])
        if rollout.truncations[row] and not rollout.terminations[row]:
            after = float(rollout.bootstrap_values[row])
        following = 0.0 if ends[row] else following
        delta = float(rollout.rewards[row]) + gamma * after - float(rollout.values[row])
        advantages[row] = following = delta + gamma * decay * following
    return advantages


def test_p1_advantages_are_those_of_the_definition_and_of_stable_baselines3(runs):
    for run in (RUNS[1], RUNS[2], RUNS[5], RUNS[8]):
        for rollout in stored_rollouts(runs[run][0], run[2]):
            ends = (rollout.terminations, rollout.truncations, rollout.bootstrap_values)
            found = gae(rollout.rewards, rollout.values, *ends, 0.97, 0.9).advantages
            exact = reference_gae(rollout, 0.97, 0.9)
            assert found == pytest.approx(exact, rel=1e-5, abs=1e-5 * abs(exact).max())
            network = fresh_network(spec_of(run[0]), sharp=False)
            model = twin_of(network, rollout, PPO_SETTINGS)
            fill_rollout_buffer(model.rollout_buffer, rollout, gamma=0.97)
            model.rollout_buffer.compute_returns_and_advantage(torch.zeros(1), np.ones(1, bool))
            assert model.rollout_buffer.advantages.ravel().tobytes() == found.tobytes()


def spec_of(scenario):
    return town_spec(compile_plan(load_scenario(scenario)))


def fresh_network(spec, *, sharp, seed=SEED):
    network = TownletNetwork(spec, TINY, seed)
    sharpen(network.action_head, sharp)
    return network


def without_masks(network, rollout):
    """The rows as a policy without masks would have recorded them, had it acted the same."""
    with torch.no_grad():
        logits, _ = network(network.spec.tensors(rollout.observations, network.device))
        judged = evaluate(logits, None, torch.tensor(rollout.actions)).log_probs
    return rollout._replace(action_mask=None, old_log_probs=judged.numpy())


def mortal_lanes(path, kind=Lanes):
    config = load_scenario(path)
    return kind(config, compile_plan(config), 1)


def collector_of(path, network, kind=Lanes):
    return LiveCollector(mortal_lanes(path, kind), PolicyRuntime(network, seed=3), seed=11)


@pytest.mark.parametrize("masked", [True, False], ids=["maskable", "plain"])
@pytest.mark.parametrize(("scenario", "policy"), list(zip(SCENARIOS, POLICIES, strict=True)))
def test_p4_native_equals_stable_baselines3_for_forty_updates(scenario, policy, masked, towns):
    network = fresh_network(spec_of(towns[scenario]), sharp=policy == "sharp")
    optimizer, model = make_optimizer(network, PPO_SETTINGS), None
    collector = collector_of(towns[scenario], network)
    deaths = cuts = 0
    for update in range(40):
        rollout = collector.collect(TICKS)
        deaths, cuts = deaths + rollout.terminations.sum(), cuts + rollout.truncations.sum()
        if not masked:
            rollout = without_masks(network, rollout)
        model = model or twin_of(copy.deepcopy(network), rollout, PPO_SETTINGS)
        fill_rollout_buffer(model.rollout_buffer, rollout, gamma=PPO_SETTINGS.gamma)
        ppo_update(network, optimizer, rollout, PPO_SETTINGS, np.random.default_rng(update))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(np.random, "permutation", np.random.default_rng(update).permutation)
            model.train()
        assert differing_weights(network, model) == [], f"update {update + 1}"
    assert deaths > 20
    assert cuts > 20
    ours = [state["exp_avg_sq"] for state in optimizer.state.values()]
    theirs = [state["exp_avg_sq"] for state in model.policy.optimizer.state.values()]
    assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("scenario", "policy"), list(product(SCENARIOS, POLICIES)))
def test_p3_and_p6_the_first_minibatch(scenario, policy, towns):
    """Its gradient has the bits of MaskablePPO's; on own data no ratio has left 1."""
    config = PPO_SETTINGS.model_copy(update={"epochs": 1, "minibatch_size": 10_000})
    network = fresh_network(spec_of(towns[scenario]), sharp=policy == "sharp")
    rollout = collector_of(towns[scenario], network).collect(TICKS)
    model = twin_of(copy.deepcopy(network), rollout, config)
    fill_rollout_buffer(model.rollout_buffer, rollout, gamma=config.gamma)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(rollout.actions)))
    stepper = prepare_update(network, make_optimizer(network, config), rollout, config)[0]
    figures = stepper.judge(order)
    assert figures.ratio_mean == pytest.approx(1.0, abs=2e-7)
    assert figures.ratio_max == pytest.approx(1.0, abs=4e-6)
    assert figures.kl == pytest.approx(0.0, abs=2e-7)
    assert figures.clipped == 0.0
    stepper.step(figures)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "permutation", np.random.default_rng(0).permutation)
        model.train()
    theirs = dict(model.policy.named_parameters())
    names = {name: key for name in dict(network.named_parameters()) for key in theirs_of(name)}
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter.grad, theirs[names[name]].grad), name


def theirs_of(name):
    part, _, rest = name.partition(".")
    heads = {"action_head": "action_net", "value_head": "value_net"}
    return [f"{heads[part]}.{rest}" if part in heads else f"features_extractor.network.{name}"]


def segments(rollout, *columns):
    """Every life as bytes, column by column."""
    ends = np.append(rollout.segment_starts[1:], len(rollout.actions))
    return [
        tuple(column[start:end].tobytes() for column in columns)
        for start, end in zip(rollout.segment_starts, ends, strict=True)
    ]


def told(rollout):
    """What the town told of every life."""
    flags = (rollout.terminations, rollout.truncations, rollout.action_mask)
    seen = [rollout.observations[key] for key in ("features", "map")]
    return segments(rollout, *seen, rollout.actions, rollout.rewards, *flags)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ragged_lives_of_a_capture_are_those_of_the_lanes(scenario, towns, tmp_path):
    """Recorded one by one and packed, or collected slot by slot: the same lives, none empty.

    The policy is greedy, since a slot without anybody uses up a draw, and a recorder knows of none.
    """
    network, ticks = fresh_network(spec_of(towns[scenario]), sharp=True), 100
    lanes = mortal_lanes(towns[scenario])
    actor = PolicyRuntime(network, seed=5, greedy=True)
    live = LiveCollector(lanes, actor, seed=5).collect(ticks)
    env = TownletParallelEnv(load_scenario(towns[scenario]), details=True)
    actor = PolicyRuntime(network, seed=5, greedy=True)
    record_policy(env, actor, tmp_path / "capture", ticks=ticks, seed=5)
    recorded = pack(tuple(load_capture(tmp_path / "capture")))
    assert live.terminations.sum() >= 3
    assert live.truncations.sum() >= 3
    assert len(live.actions) < ticks * lanes.num_lanes
    assert len(set(told(live))) == len(live.segment_starts)
    assert sorted(told(recorded)) == sorted(told(live))
    # With one critic for both, advantages do not depend on how lives lie side by side.
    advantages = []
    for rollout in (live, recorded):
        values = rollout.observations["features"][:, :8].sum(axis=1)
        finals = np.where(rollout.truncations, values, np.float32(0.0))
        ends = (rollout.terminations, rollout.truncations, finals)
        found = gae(rollout.rewards, values, *ends, 0.97, 0.9)
        advantages.append(sorted(segments(rollout, found.advantages)))
    assert advantages[0] == advantages[1]


class Haunted(Lanes):
    """Lanes whose dead see noise."""

    def observations(self, *, copy=True):
        found = super().observations(copy=True)
        dead = ~self.in_town
        noise = np.random.default_rng(int(dead.sum()))
        found["features"][dead] = noise.normal(size=found["features"][dead].shape)
        found["map"][dead] = noise.integers(0, 2, found["map"][dead].shape)
        return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_rows_of_the_dead_change_nothing(scenario, towns):
    trained = []
    for kind in (Lanes, Haunted):
        network = fresh_network(spec_of(towns[scenario]), sharp=False)
        optimizer, rng = make_optimizer(network, PPO_SETTINGS), np.random.default_rng(0)
        collector = collector_of(towns[scenario], network, kind)
        for _ in range(3):
            ppo_update(network, optimizer, collector.collect(TICKS), PPO_SETTINGS, rng)
        trained.append(ladder_runs.native_digest(network, optimizer))
    assert trained[0] == trained[1]
