"""A policy plays a foreign environment, is recorded, and learns from the file it left."""

from __future__ import annotations

import numpy as np
import pytest
from mpe2 import simple_spread_v3

from townlet_replay.manifest import load_capture
from townlet_replay.policy.network import NetworkConfig, ObservationSpec, TownletNetwork
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.recorder import RecordReplay
from townlet_replay.rollout import pack
from townlet_replay.training.objectives import choose_objective, gather_evidence
from townlet_replay.training.ppo import PPOConfig, make_optimizer, ppo_update


def test_what_was_recorded_is_sound_and_starts_at_ratio_one(tmp_path):
    env = simple_spread_v3.parallel_env(max_cycles=12)
    agent = env.possible_agents[0]
    spec = ObservationSpec.from_spaces(env.observation_space(agent), env.action_space(agent))
    network = TownletNetwork(spec, NetworkConfig(), seed=0)
    runtime = PolicyRuntime(network, seed=0)
    recorder = RecordReplay(env, tmp_path / "capture", policy=runtime)
    for seed in range(3):
        observations, _ = recorder.reset(seed=seed)
        while recorder.agents:
            acts = runtime.act(observations)
            recorder.annotate(log_probs=acts.log_probs, values=acts.values, logits=acts.logits)
            observations, *_ = recorder.step(acts.actions)
    recorder.close()

    capture = load_capture(tmp_path / "capture")
    samples = [capture.sample(index) for index in range(len(capture))]
    assert [ObservationSpec.from_sample(sample).difference(spec) for sample in samples] == [
        None
    ] * 9
    rollout = pack(samples)
    assert len(rollout.actions) == 9 * 12
    assert rollout.truncations.sum() == 9
    assert (rollout.bootstrap_values[rollout.truncations] != 0).all()

    kinds = [sample.meta.behaviour.kind for sample in samples]
    evidence = gather_evidence(rollout, kinds, network)
    assert choose_objective(evidence).name == "ppo"
    assert evidence.ess == pytest.approx(1.0, abs=1e-6)
    config = PPOConfig(epochs=1, minibatch_size=1000)
    optimizer = make_optimizer(network, config)
    stats = ppo_update(network, optimizer, rollout, config, np.random.default_rng(0))
    assert stats.ratio_mean == pytest.approx(1.0, abs=2e-7)
    assert abs(stats.kl_divergence) <= 2e-7
    assert stats.clip_fraction == 0.0
