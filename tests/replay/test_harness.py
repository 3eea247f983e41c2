"""The native trainer's own rules: counters, logs, settings, refusals, and what it keeps."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from tiny_training import LIVE, SCENARIO, config_of, dataset_of
from town_captures import (
    digests,
    policy_capture,
    script_capture,
    tiny_checkpoint,
    tiny_network,
)

from townlet_env.errors import ConfigError
from townlet_replay.errors import CheckpointError, TelemetryError, TrainingError
from townlet_replay.policy.checkpoint import load_checkpoint
from townlet_replay.sidecar import SampleMetrics
from townlet_replay.training.books import Standing
from townlet_replay.training.config import TrainConfig, load_train_config
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.judging import judge
from townlet_replay.training.records import town_figures
from townlet_replay.training.run import train
from townlet_replay.training.telemetry import read_log, validate_log
from townlet_replay.training.tensorboard_log import TAGS


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("capture")
    policy_capture(SCENARIO, folder, tiny_network(SCENARIO, seed=3), ticks=90)
    return folder


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    folder = tmp_path_factory.mktemp("script")
    script_capture(SCENARIO, folder, episodes=2, epsilon=0.3)
    return folder


def test_live_training_stops_at_the_first_rollout_that_reaches_its_steps():
    seen = []
    harness = TrainingHarness(config_of(live=LIVE, seed=2), seen.append)
    before = harness.network.digest
    result = harness.run_live()
    standing = harness.standing
    assert (standing.live_steps, standing.steps, standing.epoch) == (192, 192, 3)  # 64 a rollout
    assert list(result.records) == seen
    assert [record.transitions for record in seen] == [64] * 3
    assert [record.steps for record in seen] == [64, 128, 192]
    assert {record.data_mode for record in seen} == {"rollout"}
    assert {record.rollout_ticks for record in seen} == {16}
    assert {record.baseline_sample_count for record in seen} == {None}
    assert harness.network.digest != before
    harness.run_live(1)
    assert harness.standing.live_steps == 256


def test_the_same_settings_train_the_same_network():
    def trained(seed):
        harness = TrainingHarness(config_of(live=LIVE, seed=seed))
        harness.run_live()
        return harness.network.digest

    state = np.random.get_state()[1].copy()  # noqa: NPY002 (must not be touched)
    torch_state = torch.random.get_rng_state()
    assert trained(1) == trained(1)
    assert trained(1) != trained(2)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_state, torch.random.get_rng_state())


def test_a_rollout_is_a_function_of_seed_cycle_and_weights(tmp_path):
    harness = TrainingHarness(config_of(rollout={"ticks": 70}))
    one, two = harness.capture_rollout(), harness.capture_rollout(save_dir=tmp_path / "kept")
    assert one.directory is None
    assert two.directory == tmp_path / "kept"
    assert len(digests(two.directory)) == 2 + 2 * 4
    assert (one.ticks, one.rows, len(one.samples), len(one.metrics)) == (70, 140, 4, 4)
    assert one.rollout().actions.tolist() == two.rollout().actions.tolist()
    assert [m.timesteps for m in one.metrics] == [s.rows for s in one.samples] == [60, 60, 10, 10]
    harness.standing.cycle += 1
    assert harness.capture_rollout().rollout().actions.tolist() != one.rollout().actions.tolist()
    other = TrainingHarness(config_of(rollout={"ticks": 70}, seed=1))
    assert other.capture_rollout(30).rollout().actions.tolist() != one.rollout().actions.tolist()
    assert harness.capture_rollout(30).ticks == 30


def test_a_log_is_counted_on_by_the_next_run(tmp_path, capture):
    log = {"path": tmp_path / "runs" / "ppo.jsonl", "frequency": 2, "max_entries": 2}
    for run in range(2):
        harness = TrainingHarness(config_of(telemetry=log, epochs=3))
        assert (harness.standing.epoch, harness.standing.steps) == (3 * run, 3 * run * 180)
        harness.run_ppo(dataset_of(capture))
        harness.close()
    records = list(read_log(log["path"]))
    assert [record.epoch for record in records] == [2, 3, 4, 6]  # every 2nd, and the last of a run
    assert [record.log_stream_offset for record in records] == [0, 1, 2, 3]
    assert [record.steps for record in records] == [360, 540, 720, 1080]
    assert (tmp_path / "runs" / "ppo.jsonl.1").is_file()
    assert validate_log(log["path"]).problems == ()


def test_version_1_of_the_log(tmp_path, capture):
    log = {"path": tmp_path / "ppo.jsonl", "version": "1"}
    harness = TrainingHarness(config_of(telemetry=log, epochs=2))
    harness.run_ppo(dataset_of(capture))
    harness.close()
    assert validate_log(log["path"]).versions == ("1",)
    with pytest.raises(TelemetryError, match=r"is a log of version 1, not 2"):
        TrainingHarness(config_of(telemetry={"path": log["path"]}))


def test_a_log_that_cannot_be_continued_stops_the_run_before_it_begins(tmp_path):
    log = tmp_path / "notes.jsonl"
    log.write_text("my notes\n")
    with pytest.raises(TelemetryError, match="choose another file"):
        TrainingHarness(config_of(telemetry={"path": log}))
    assert log.read_text() == "my notes\n"


def test_the_log_appears_with_its_first_line(tmp_path, capture):
    log = tmp_path / "runs" / "ppo.jsonl"
    harness = TrainingHarness(config_of(telemetry={"path": log}, epochs=1))
    assert not log.parent.exists()
    harness.run_ppo(dataset_of(capture))
    harness.close()
    assert len(list(read_log(log))) == 1
    idle = TrainingHarness(config_of(telemetry={"path": tmp_path / "idle" / "ppo.jsonl"}))
    idle.close()
    assert not (tmp_path / "idle").exists()


def test_cloning_follows_the_intents_and_leaves_ppo_a_fresh_optimizer(script):
    harness = TrainingHarness(config_of(bc={"epochs": 3, "held_out": 0.0}))
    harness.run_rollout_ppo(cycles=1, ticks=20)
    assert harness.optimizer.state
    result = harness.run_bc(dataset_of(script))
    assert not harness.optimizer.state
    assert [record.epoch for record in result.records] == [1, 2, 3, 4]
    assert [record.loss_policy for record in result.records[1:]] == [
        epoch.nll for epoch in result.cloning.epochs
    ]
    assert {record.lr for record in result.records[1:]} == {harness.config.bc.learning_rate}
    assert result.records[1].baseline_sample_count == 4
    samples = [dataset_of(script).sample(k) for k in range(4)]
    strayed = sum(int((s.extras["intent_actions"] != s.actions).sum()) for s in samples)
    assert strayed > 20
    # Labels are the intents: it is with them that the last pass agrees.
    agreeing = 0
    for sample in samples:
        seen = harness.spec.tensors(sample.observations, harness.network.device)
        with torch.no_grad():
            logits = harness.network(seen)[0]
        logits[torch.from_numpy(sample.action_mask == 0)] = -torch.inf
        agreeing += int((logits.argmax(dim=1).numpy() == sample.extras["intent_actions"]).sum())
    rows = sum(sample.rows for sample in samples)
    assert result.cloning.epochs[-1].agreement == agreeing / rows


def test_streamed_and_loaded_captures_train_alike(capture):
    found = []
    for streaming in (False, True):
        harness = TrainingHarness(config_of(epochs=2))
        data = dataset_of(capture, batch_size=2, shuffle=True, seed=1, streaming=streaming)
        harness.run_ppo(data)
        found.append(harness.network.digest)
    assert found[0] == found[1]


def test_values_that_no_critic_gave_are_the_learner_s_own(script):
    """The recorded log-probs stay; V comes from the network that is trained."""
    config = config_of(objective="ppo", accept_bias=True, epochs=1, ppo={"target_kl": None})
    harness = TrainingHarness(config)
    data = dataset_of(script, batch_size=99)
    expected = [harness.runtime.annotate(data.sample(k)).value_preds for k in range(data.count)]
    taken = []
    update = harness._lessons.update
    harness._lessons.update = lambda rollout, *rest: taken.append(rollout) or update(rollout, *rest)
    harness.run_ppo(data)
    (rollout,) = taken
    assert not np.isnan(rollout.values).any()
    assert rollout.values.tolist() == np.concatenate([v[:-1] for v in expected]).tolist()
    assert rollout.bootstrap_values[rollout.truncations].tolist() == [v[-1] for v in expected]
    recorded = np.concatenate([data.sample(k).old_log_probs for k in range(data.count)])
    assert rollout.old_log_probs.tolist() == recorded.tolist()


def test_judging_without_a_learner_wants_values(capture, script):
    assert judge(dataset_of(capture), "auto").name == "ppo"
    assert judge(dataset_of(capture), "auto").ess is None
    with pytest.raises(TrainingError, match="values of 240 rows are unknown"):
        judge(dataset_of(script), "ppo")
    assert judge(dataset_of(script, streaming=True), "auto").name == "bc"


def test_a_checkpoint_says_how_it_came_about(tmp_path, capture):
    path = tmp_path / "weights.json"
    config = config_of(mode="replay", epochs=1, checkpoint=path, capture_dir=capture, seed=4)
    report = train(config)
    assert report.checkpoint == path
    training = load_checkpoint(path).header.training
    assert training["mode"] == "replay"
    assert training["seed"] == 4
    assert training["objective"] == "ppo"
    assert training["biased"] is False
    assert training["capture"] == str(capture)
    assert "objective ppo" in report.text()
    with pytest.raises(TrainingError, match="a path for the checkpoint"):
        TrainingHarness(config_of()).save()


def test_resuming_takes_the_step_size_of_the_new_run(tmp_path):
    harness = TrainingHarness(config_of())
    harness.run_rollout_ppo(cycles=1, ticks=20)
    path = harness.save(tmp_path / "half.json")
    ppo = {"learning_rate": 1e-5, "adam_eps": 1e-7}
    resumed = TrainingHarness(config_of(resume=path, ppo=ppo))
    (group,) = resumed.optimizer.param_groups
    assert (group["lr"], group["eps"]) == (1e-5, 1e-7)
    assert resumed.optimizer.state
    assert resumed.standing == Standing(epoch=1, steps=40, cycle=1, live_steps=40)


def test_resuming_another_network_is_refused(tmp_path):
    path = tiny_checkpoint(tmp_path / "tiny.json")
    with pytest.raises(CheckpointError, match="is of another network: map_width: expected 64"):
        TrainingHarness(TrainConfig(scenario=SCENARIO, resume=path))


def test_a_capture_of_another_observation_is_refused(tmp_path, capture):
    sample = dataset_of(capture).sample(0)
    assert sample.observations["map"].shape[1:] == (4, 11, 11)
    harness = TrainingHarness(config_of())
    harness.spec = harness.spec.model_copy(update={"map_shape": (4, 9, 9)})
    with pytest.raises(
        TrainingError, match=r"does not fit scenario 'kitchen_breakfast': map_shape"
    ):
        harness.run_ppo(dataset_of(capture))


def test_conflict_figures_are_means_and_sums_over_the_samples_that_know():
    known = SampleMetrics(
        timesteps=5,
        reward_sum=1.0,
        reward_mean=0.2,
        rivalry_max_mean=0.2,
        rivalry_max_max=0.5,
        queue_conflict_events=3,
        queue_conflict_intensity_sum=2.5,
    )
    unknown = SampleMetrics(timesteps=5, reward_sum=1.0, reward_mean=0.2)
    peaceful = known.model_copy(
        update={
            "rivalry_max_mean": 0.0,
            "rivalry_max_max": 0.0,
            "queue_conflict_events": 0,
            "queue_conflict_intensity_sum": 0.0,
        }
    )
    figures = town_figures([known, unknown, peaceful])
    assert figures["conflict_rivalry_max_mean_avg"] == 0.1
    assert figures["conflict_rivalry_max_max_avg"] == 0.25
    assert figures["conflict_rivalry_avoid_count_max_avg"] is None
    assert figures["queue_conflict_events"] == 3
    assert figures["queue_conflict_intensity_sum"] == 2.5
    assert set(town_figures([unknown]).values()) == {None}
    assert town_figures([peaceful])["queue_conflict_events"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, r"^kitchen_breakfast: epochs: epochs must be at least 1, got 0$"),
        ({"ppo": {"epochs": -2}}, r"ppo\.epochs: epochs must be at least 1, got -2"),
        ({"rollout": {"cycles": 0}}, r"rollout\.cycles: cycles must be at least 1"),
        ({"bc": {"held_out": 1.0}}, r"bc\.held_out"),
        ({"objectiv": "bc"}, "did you mean 'objective'"),
        ({"objective": "cql"}, r"objective: .*'cql'"),
        ({"device": "tpu"}, r"device: expected a device of this machine"),
        ({"network": {"trunk_widths": [0]}}, r"network\.trunk_widths"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ConfigError, match=message) as refused:
        load_train_config(SCENARIO, changes)
    assert "\n" not in str(refused.value)


def test_a_training_file_and_what_wins_over_it(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("scenario: rivalry_decay\nseed: 3\nppo: {gamma: 0.9, epochs: 2}\n")
    config = load_train_config(path, {"seed": 5, "ppo": {"epochs": 7}})
    assert (config.scenario, config.seed) == ("rivalry_decay", 5)
    assert (config.ppo.gamma, config.ppo.epochs) == (0.9, 7)
    path.write_text("scenario: rivalry_decay\nsedd: 3\n")
    with pytest.raises(ConfigError, match=r"run\.yaml: line 2: sedd: .*did you mean 'seed'"):
        load_train_config(path, {})
    assert load_train_config("queue_conflict", {}).scenario == "queue_conflict"


def test_what_a_learner_of_stable_baselines3_cannot_do_is_refused(tmp_path, capture, monkeypatch):
    import stable_baselines3.common.logger  # noqa: F401 (would remember the lack of it)

    monkeypatch.setitem(sys.modules, "tensorboard", None)
    base = {"learner": "sb3-maskable", "capture_dir": capture, "checkpoint": tmp_path / "w.zip"}
    for settings, message in [
        ({"mode": "bc"}, "expected mode replay or live, found 'bc'"),
        ({"mode": "replay", "objective": "bc"}, "expected objective ppo"),
        ({"mode": "replay", "resume": tmp_path / "x"}, "expected a new run"),
        ({"mode": "replay", "ppo": {"minibatch_size": 1}}, "two rows or more"),
        ({"mode": "live", "live": LIVE, "ppo": {"minibatch_size": 21}}, "64 rows by minibatch"),
        ({"mode": "replay", "tensorboard": tmp_path / "tb"}, "tensorboard is not installed"),
    ]:
        with pytest.raises(TrainingError, match=message):
            train(config_of(**base, **settings))
    with pytest.raises(TrainingError, match=r"install 'townlet\[tensorboard\]'"):
        train(config_of(tensorboard=tmp_path / "tb"))
    assert list(tmp_path.iterdir()) == []


def test_a_log_of_version_2_tells_of_health(tmp_path, capture):
    log = tmp_path / "ppo.jsonl"
    config = config_of(
        mode="rollout", telemetry={"path": log}, rollout={"ticks": 30, "cycles": 2}, seed=1
    )
    harness = TrainingHarness(config)
    harness.run_rollout_ppo()
    harness.close()
    for record in read_log(log):
        assert record.objective == "ppo"
        assert record.audit is record.biased is None
        assert (record.staleness_mean, record.staleness_max) == (0, 0)
        assert sorted(record.agents) == ["alice", "bob"]
        assert sum(found.rows for found in record.agents.values()) == record.transitions == 60
        assert 0 < record.legal_share < 1
        assert 0 < record.ess <= 1 <= record.ratio_max
        assert record.collect_sec > 0 < record.update_sec
        assert record.rows_per_sec > 0
    replay = config_of(mode="replay", telemetry={"path": tmp_path / "two"}, epochs=1)
    harness = TrainingHarness(replay)
    harness.standing.cycle = 3
    harness.run_ppo(dataset_of(capture))
    harness.close()
    (record,) = read_log(tmp_path / "two")
    assert (record.audit, record.biased) == ("passed", False)
    assert (record.staleness_mean, record.staleness_max) == (3, 3)


def test_tensorboard_has_the_figures_of_the_log(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log, board = tmp_path / "ppo.jsonl", tmp_path / "board"
    config = config_of(live=LIVE, tensorboard=board, telemetry={"path": log})
    train(config)
    events = EventAccumulator(str(board))
    events.Reload()
    records = read_log(log)
    for tag, name in TAGS.items():
        expected = [getattr(record, name) for record in records]
        if None in expected:
            assert tag not in events.Tags()["scalars"]
            continue
        found = events.Scalars(tag)
        assert [event.step for event in found] == [record.steps for record in records]
        assert [event.value for event in found] == pytest.approx(expected, rel=1e-6)
    assert "agents/bob/reward" in events.Tags()["scalars"]
    # Stable-Baselines3 has the same tags for what it measures.
    sb3 = tmp_path / "sb3"
    train(config_of(live=LIVE, tensorboard=sb3, learner="sb3-maskable"))
    theirs = EventAccumulator(str(next(sb3.iterdir()).parent))
    theirs.Reload()
    shared = {tag for tag in theirs.Tags()["scalars"] if tag.startswith("train/")}
    assert {"train/approx_kl", "train/value_loss", "train/loss"} <= shared
    assert shared - {"train/n_updates", "train/clip_range"} <= set(TAGS)
