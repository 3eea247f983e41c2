"""Learning from captures of the five scenarios: natively, with Stable-Baselines3, by cloning."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from town_captures import TINY, network_capture, policy_capture, script_capture, tiny_network

from townlet_env.config.load import list_scenarios, load_scenario
from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import TrainingError
from townlet_replay.evaluation import evaluate, network_actor, script_actor
from townlet_replay.manifest import load_capture
from townlet_replay.policy.checkpoint import load_checkpoint
from townlet_replay.rollout import pack
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.sb3 import CapturePPO
from townlet_replay.training.sb3_runs import train_on_capture
from townlet_replay.training.telemetry import read_log, validate_log

CLASSICS = [name for name in list_scenarios() if len(load_scenario(name).residents) <= 3]


def config_of(scenario, **settings):
    settings = {"scenario": scenario, "mode": "replay", "network": TINY.model_dump()} | settings
    return TrainConfig.model_validate(settings)


def dataset_of(folder, **settings):
    return ReplayDataset(ReplayDatasetConfig.from_capture_dir(folder, **settings))


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    """What a fresh network did in each scenario, over the end of an episode."""
    root = tmp_path_factory.mktemp("captures")
    for scenario in CLASSICS:
        ticks = load_scenario(scenario).ticks + 15
        policy_capture(scenario, root / scenario, tiny_network(scenario, seed=3), ticks=ticks)
    return root


def check_log(path, capture, epochs):
    """The log is valid, has a line per epoch, and states the capture's own figures."""
    report = validate_log(path)
    assert report.problems == ()
    assert (report.records, report.versions) == (epochs, ("2",))
    metrics = json.loads((capture / "rollout_sample_metrics.json").read_text())
    samples = list(metrics["samples"].values())
    rows = sum(sample["timesteps"] for sample in samples)
    total = sum(sample["reward_sum"] for sample in samples)
    for number, record in enumerate(read_log(path), start=1):
        assert record.epoch == number
        assert record.transitions == rows
        assert record.steps == number * rows
        assert record.data_mode == "replay"
        assert record.baseline_sample_count == len(samples)
        assert record.baseline_reward_sum == pytest.approx(total, abs=1e-6)
        assert record.baseline_reward_mean == pytest.approx(total / rows, abs=1e-9)
        assert record.baseline_reward_sum_mean == pytest.approx(total / len(samples), abs=1e-6)
        log_probs = sum(sample["log_prob_mean"] * sample["timesteps"] for sample in samples)
        assert record.baseline_log_prob_mean == pytest.approx(log_probs / rows, abs=1e-6)
        conflicts = sum(sample["queue_conflict_events"] for sample in samples)
        assert record.queue_conflict_events == conflicts
        peaks = [sample["rivalry_max_max"] for sample in samples]
        assert record.conflict_rivalry_max_max_avg == pytest.approx(sum(peaks) / len(peaks))


@pytest.mark.parametrize("scenario", CLASSICS)
def test_native_ppo_on_a_capture(scenario, captures, tmp_path):
    log = tmp_path / "ppo.jsonl"
    ppo = {"minibatch_size": 32, "epochs": 2}
    config = config_of(scenario, epochs=2, ppo=ppo, telemetry={"path": log})
    harness = TrainingHarness(config)
    before = harness.network.digest
    result = harness.run_ppo(dataset_of(captures / scenario))
    harness.close()
    assert result.objective.name == "ppo"
    assert not result.objective.biased
    assert result.objective.ess > 0.9
    assert harness.network.digest != before
    assert all(torch.isfinite(weights).all() for weights in harness.network.parameters())
    check_log(log, captures / scenario, epochs=2)
    offsets = [{"log_stream_offset": k} for k in range(2)]
    assert list(read_log(log)) == [
        record.model_copy(update=offset)
        for record, offset in zip(result.records, offsets, strict=True)
    ]
    first = result.records[0]
    assert 0 <= first.kl_divergence < 0.1
    assert first.grad_norm_max >= first.grad_norm > 0


@pytest.mark.parametrize("masked", [True, False], ids=["maskable", "plain"])
@pytest.mark.parametrize("scenario", CLASSICS)
def test_stable_baselines3_on_a_capture(scenario, masked, captures, tmp_path):
    log = tmp_path / "ppo.jsonl"
    settings = {
        "learner": "sb3-maskable" if masked else "sb3",
        "epochs": 2,
        "ppo": {"minibatch_size": 32, "epochs": 2, "target_kl": None},
        "telemetry": {"path": log},
    }
    config = config_of(scenario, **settings)
    if not masked:
        with pytest.raises(TrainingError, match="--learner sb3-maskable"):
            train_on_capture(config, dataset_of(captures / scenario))
        assert not log.exists()
    dataset = dataset_of(captures / scenario, use_masks=masked, batch_size=8)
    start = {name: part.clone() for name, part in fresh_model(config, dataset).items()}
    model = train_on_capture(config, dataset)
    trained = model.policy.state_dict()
    assert any(not torch.equal(trained[name], start[name]) for name in start)
    assert all(torch.isfinite(tensor).all() for tensor in trained.values())
    check_log(log, captures / scenario, epochs=2)
    rows = sum(sample.rows for sample in dataset.capture)
    size = next(size for size in range(32, 1, -1) if rows % size != 1 or not masked)
    for record in read_log(log):
        assert record.updates == 2 * -(-rows // size)
        parts = record.loss_policy + 0.01 * record.loss_entropy + 0.5 * record.loss_value
        assert record.loss_total == pytest.approx(parts, abs=1e-9)


def fresh_model(config, dataset):
    """The weights that training began with: an update with a vanishing step size."""
    ppo = config.ppo.model_copy(update={"learning_rate": 1e-30})
    telemetry = config.telemetry.model_copy(update={"path": None})
    still = config.model_copy(update={"ppo": ppo, "telemetry": telemetry, "epochs": 1})
    return train_on_capture(still, dataset).policy.state_dict()


def test_masks_may_be_ignored_on_purpose(captures):
    dataset = dataset_of(captures / "queue_conflict")
    model = CapturePPO.from_dataset(dataset, ignore_masks=True, batch_size=5, n_epochs=1)
    model.learn(10)
    assert model.num_timesteps >= 10


def naive_returns(rollout, gamma, lam):
    """Advantages and returns in float64, straight from the definition."""
    closed = rollout.terminations | rollout.truncations
    advantages = np.zeros(len(closed))
    for row in range(len(closed) - 1, -1, -1):
        after = rollout.bootstrap_values[row] if closed[row] else rollout.values[row + 1]
        delta = float(rollout.rewards[row]) + gamma * float(after) - float(rollout.values[row])
        advantages[row] = delta + (0.0 if closed[row] else gamma * lam * advantages[row + 1])
    return advantages, advantages + rollout.values


def test_figures_of_an_epoch_recompute_from_rows_and_weights(captures, tmp_path):
    """One minibatch of everything, one pass: each figure by its definition."""
    log = tmp_path / "ppo.jsonl"
    ppo = {"minibatch_size": 10_000, "epochs": 1, "gamma": 0.9, "gae_lambda": 0.8}
    config = config_of("queue_conflict", epochs=1, ppo=ppo, seed=5, telemetry={"path": log})
    folder = captures / "queue_conflict"
    harness = TrainingHarness(config)
    rollout = pack(list(load_capture(folder)))
    seen = harness.spec.tensors(rollout.observations, harness.network.device)
    with torch.no_grad():
        logits, values = (part.double().numpy() for part in harness.network(seen))
    harness.run_ppo(dataset_of(folder, batch_size=99))
    harness.close()
    (record,) = read_log(log)
    logits[rollout.action_mask == 0] = -np.inf
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    rows = np.arange(len(rollout.actions))
    ratio = probs[rows, rollout.actions] / np.exp(rollout.old_log_probs.astype(np.float64))
    advantages, returns = naive_returns(rollout, 0.9, 0.8)
    entropy = -(probs * np.log(np.where(probs > 0, probs, 1))).sum(axis=1).mean()
    normal = (advantages - advantages.mean()) / (advantages.std(ddof=1) + 1e-8)
    policy = -np.minimum(normal * ratio, normal * ratio.clip(0.8, 1.2)).mean()
    value = ((returns - values) ** 2).mean()
    assert record.adv_mean == pytest.approx(advantages.mean(), abs=1e-6)
    assert record.adv_std == pytest.approx(advantages.std(), abs=1e-6)
    assert record.loss_policy == pytest.approx(policy, abs=2e-6)
    assert record.loss_value == pytest.approx(value, abs=2e-6)
    assert record.loss_entropy == pytest.approx(-entropy, abs=2e-6)
    assert record.loss_total == pytest.approx(policy - 0.01 * entropy + 0.5 * value, abs=3e-6)
    assert record.batch_entropy_mean == pytest.approx(entropy, abs=2e-6)
    assert record.kl_divergence == pytest.approx((ratio - 1 - np.log(ratio)).mean(), abs=1e-6)
    assert record.clip_fraction == pytest.approx((abs(ratio - 1) > 0.2).mean(), abs=1e-6)
    corr = np.corrcoef(rollout.rewards, advantages)[0, 1]
    assert record.reward_advantage_corr == pytest.approx(corr, abs=1e-5)
    assert (record.updates, record.lr) == (1, config.ppo.learning_rate)


@pytest.mark.parametrize("scenario", CLASSICS)
def test_a_script_is_cloned_by_auto_and_refused_for_ratios(scenario, tmp_path):
    script_capture(scenario, tmp_path / "capture")
    dataset = dataset_of(tmp_path / "capture")
    harness = TrainingHarness(config_of(scenario, bc={"epochs": 2}))
    result = harness.run_ppo(dataset)
    assert result.objective.name == "bc"
    assert result.cloning is not None
    assert len(result.records) == 2
    insisting = TrainingHarness(config_of(scenario, objective="ppo"))
    before = insisting.network.digest
    with pytest.raises(TrainingError, match=r"not sound: .*a deterministic script acted"):
        insisting.run_ppo(dataset)
    assert insisting.network.digest == before
    with pytest.raises(TrainingError, match="deterministic script acted"):
        train_on_capture(config_of(scenario, learner="sb3-maskable"), dataset)


def test_a_noisy_script_supports_ppo_if_there_is_noise_enough(tmp_path):
    script_capture("queue_conflict", tmp_path / "noisy", epsilon=0.7)
    script_capture("queue_conflict", tmp_path / "quiet", epsilon=0.05)
    config = config_of("queue_conflict", objective="ppo", epochs=1, ppo={"target_kl": None})
    harness = TrainingHarness(config)
    before = harness.network.digest
    result = harness.run_ppo(dataset_of(tmp_path / "noisy"))
    assert result.objective.name == "ppo"
    assert 0.3 < result.objective.ess < 0.9
    assert harness.network.digest != before
    with pytest.raises(TrainingError, match="effective sample size is 0"):
        TrainingHarness(config).run_ppo(dataset_of(tmp_path / "quiet"))
    biased = config.model_copy(update={"accept_bias": True})
    accepted = TrainingHarness(biased).run_ppo(dataset_of(tmp_path / "quiet"))
    assert accepted.objective.biased
    # Left to itself, the harness clones a script first, whatever its noise.
    auto = TrainingHarness(config_of("queue_conflict", bc={"epochs": 1}, epochs=2))
    result = auto.run_ppo(dataset_of(tmp_path / "noisy"))
    assert result.cloning is not None
    assert [record.objective for record in result.records] == ["bc", "ppo", "ppo"]


def test_a_run_that_would_not_move_is_refused(tmp_path):
    """The KL stop ends the first update before its first step: learner and actor are far apart."""
    script_capture("queue_conflict", tmp_path / "noisy", epsilon=0.7)
    log = tmp_path / "ppo.jsonl"
    config = config_of("queue_conflict", objective="ppo", telemetry={"path": log})
    harness = TrainingHarness(config)
    before = harness.network.digest
    with pytest.raises(TrainingError, match=r"no gradient step .* k3 .* target_kl 0\.02"):
        harness.run_ppo(dataset_of(tmp_path / "noisy"))
    assert harness.network.digest == before
    assert not log.exists()


def test_mixed_training_has_one_network_throughout(captures, tmp_path):
    log = tmp_path / "mixed.jsonl"
    rollout = {"ticks": 40, "cycles": 3}
    config = config_of("queue_conflict", mode="mixed", rollout=rollout, telemetry={"path": log})
    digests = []
    harness = TrainingHarness(config, lambda record: digests.append(harness.network.digest))
    network, start = harness.network, harness.network.digest
    parameters = [id(weights) for weights in network.parameters()]
    result = harness.run_mixed(dataset_of(captures / "queue_conflict"))
    harness.close()
    assert harness.network is network is harness.runtime.network
    assert [id(weights) for weights in network.parameters()] == parameters
    assert [record.data_mode for record in result.records] == ["mixed"] * 6
    assert [record.rollout_ticks for record in result.records] == [0, 40] * 3
    assert [record.cycle_id for record in result.records] == [0, 1, 1, 2, 2, 3]
    assert len({start, *digests}) == 7  # every part moves the weights
    assert validate_log(log).problems == ()
    rows = 3 * 135
    assert [record.steps for record in result.records] == [
        rows,
        rows + 120,
        2 * rows + 120,
        2 * rows + 240,
        3 * rows + 240,
        3 * rows + 360,
    ]
    assert harness.standing.live_steps == 360


def test_mixed_training_clones_a_script_before_its_cycles(tmp_path):
    script_capture("kitchen_breakfast", tmp_path / "capture")
    rollout = {"ticks": 30, "cycles": 2}
    config = config_of("kitchen_breakfast", mode="mixed", rollout=rollout, bc={"epochs": 3})
    digests = []
    harness = TrainingHarness(config, lambda record: digests.append(harness.network.digest))
    result = harness.run_mixed(dataset_of(tmp_path / "capture"))
    assert [record.data_mode for record in result.records] == ["replay"] * 3 + ["mixed"] * 2
    assert len({*digests[2:]}) == 3
    assert result.cloning is not None


def test_every_cycle_is_captured_with_the_policy_of_that_moment(tmp_path):
    rollout = {"ticks": 130, "cycles": 3, "save_dir": tmp_path / "cycles"}
    log = tmp_path / "ppo.jsonl"
    config = config_of("queue_conflict", mode="rollout", rollout=rollout, telemetry={"path": log})
    digests = []
    harness = TrainingHarness(config, lambda record: digests.append(harness.network.digest))
    digests.append(harness.network.digest)
    result = harness.run_rollout_ppo()
    harness.close()
    assert len(set(digests)) == 4
    for cycle in range(3):
        capture = load_capture(tmp_path / "cycles" / f"cycle_{cycle + 1:03d}")
        samples = list(capture)
        assert {s.meta.capture_metadata.policy_hash for s in samples} == {digests[cycle]}
        assert {s.meta.behaviour.digest for s in samples} == {f"sha256:{digests[cycle]}"}
        assert all((s.extras["policy_version"] == cycle).all() for s in samples)
        assert [s.rows for s in samples] == [120] * 3 + [10] * 3
        record = result.records[cycle]
        assert (record.cycle_id, record.rollout_ticks, record.transitions) == (cycle + 1, 130, 390)
        assert record.data_mode == "rollout"
        assert record.baseline_sample_count is None
        conflicts = sum(m.queue_conflict_events for m in capture.metrics.samples.values())
        assert record.queue_conflict_events == conflicts
    first, second = (load_capture(tmp_path / "cycles" / f"cycle_00{k}") for k in (1, 2))
    assert first.sample(0).actions.tolist() != second.sample(0).actions.tolist()
    assert validate_log(log).problems == ()


def run_twice(config, path, run):
    """Train uninterrupted, and stopped half way, saved and resumed: (whole, resumed)."""
    whole = TrainingHarness(config)
    run(whole, 4)
    part = TrainingHarness(config)
    run(part, 1)
    saved = part.save(path)
    resumed = TrainingHarness(config.model_copy(update={"resume": saved, "seed": config.seed}))
    assert resumed.network.digest == part.network.digest
    run(resumed, 3)
    return whole, resumed


def state_of(harness):
    """Weights, Adam's moments by parameter, and counters."""
    moments = harness.optimizer.state_dict()["state"]
    flat = {
        (number, name): tensor.numpy().tobytes()
        for number, entries in moments.items()
        for name, tensor in entries.items()
    }
    return harness.network.digest, flat, harness.standing


def test_a_resumed_replay_ends_with_the_bits_of_an_uninterrupted_one(captures, tmp_path):
    config = config_of("queue_conflict", ppo={"minibatch_size": 64, "epochs": 2})

    def run(harness, epochs):
        data = dataset_of(captures / "queue_conflict", batch_size=2, shuffle=True, seed=4)
        harness.run_ppo(data, epochs)

    whole, resumed = run_twice(config, tmp_path / "half.json", run)
    assert state_of(whole) == state_of(resumed)
    assert (whole.standing.epoch, whole.standing.steps) == (4, 4 * 405)


def test_resumed_cycles_end_with_the_bits_of_uninterrupted_ones(tmp_path):
    config = config_of("kitchen_breakfast", mode="rollout", rollout={"ticks": 70})
    runs = run_twice(config, tmp_path / "half.json", lambda h, cycles: h.run_rollout_ppo(cycles))
    assert state_of(runs[0]) == state_of(runs[1])
    assert runs[0].standing.cycle == 4


def test_a_trained_checkpoint_plays_as_the_network_it_was_saved_from(captures, tmp_path):
    harness = TrainingHarness(config_of("queue_conflict", epochs=2, capture_dir=captures))
    harness.run_ppo(dataset_of(captures / "queue_conflict"))
    path = harness.save(tmp_path / "weights" / "ppo")
    loaded = load_checkpoint(path, observation=harness.spec)
    assert loaded.network.digest == harness.network.digest
    assert loaded.header.training["scenario"] == "queue_conflict"
    assert loaded.header.training["objective"] == "ppo"
    assert loaded.header.counters == {"epoch": 2, "steps": 810, "cycle": 0, "live_steps": 0}
    config = load_scenario("employment_punctuality")
    returns = [
        evaluate(config, network_actor(network, seed=1, greedy=False), range(2)).returns
        for network in (harness.network, loaded.network)
    ]
    assert np.array_equal(*returns)
    again = network_capture("queue_conflict", tmp_path / "again", path)
    assert again.manifest.metadata.policy_hash == loaded.network.digest


def test_cloning_a_script_changes_what_the_network_does_in_the_town(tmp_path):
    """Measured: agreement 0.80 -> 0.97 and more; return -3.42 (random) -> -1.9 (script -1.89)."""
    script_capture("queue_conflict", tmp_path / "capture", episodes=4, epsilon=0.1)
    dataset = dataset_of(tmp_path / "capture")
    bc = {"epochs": 25, "minibatch_size": 48, "learning_rate": 3e-3, "patience": None}
    harness = TrainingHarness(config_of("queue_conflict", mode="bc", bc=bc))
    result = harness.run_bc(dataset)
    first, last = result.cloning.epochs[0], result.cloning.epochs[-1]
    assert last.agreement > 0.95 > first.agreement
    assert last.agreement_held_out > 0.9
    town = load_scenario("queue_conflict")
    seeds = range(1_000_000, 1_000_008)
    random = evaluate(town, script_actor(town, "random"), seeds).mean
    script = evaluate(town, script_actor(town), seeds).mean
    half_way = (random + script) / 2
    for greedy in (True, False):
        cloned = evaluate(town, network_actor(harness.network, seed=0, greedy=greedy), seeds)
        assert cloned.mean > half_way
        assert cloned.kpis["affordances"] > 0.5
        assert cloned.kpis["illegal_share"] == 0
    assert evaluate(town, script_actor(town, "random"), seeds).kpis["affordances"] < 0.1
