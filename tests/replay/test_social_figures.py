"""What an epoch's record tells of chats, meals, help and lateness: counted again from the town."""

from __future__ import annotations

from collections import Counter

import pytest
from capture_toys import life
from town_captures import TINY, script_capture

from townlet_env.config.load import load_scenario
from townlet_env.sim.random import episode_seed
from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.metrics import sample_metrics
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.records import town_figures


def harness_of(scenario, **settings):
    return TrainingHarness(
        TrainConfig.model_validate(
            {"scenario": scenario, "network": TINY.model_dump(), "seed": 3, **settings}
        )
    )


def test_chats_of_a_rollout_are_those_of_the_town():
    ticks = 120
    harness = harness_of("social_cafe", mode="rollout")
    buffer = harness.capture_rollout(ticks)
    (record,) = harness.run_rollout_ppo(cycles=1, ticks=ticks).records
    # The same episode once more, told by the infos.
    env = TownletParallelEnv(load_scenario("social_cafe"), details=True)
    env.reset(seed=episode_seed(3, 1) >> 1)
    seen = []
    actions = {sample.meta.agent_id: sample.actions.tolist() for sample in buffer.samples}
    for tick in range(ticks):
        *_, infos = env.step({agent: actions[agent][tick] for agent in env.agents})
        seen += [event for info in infos.values() for event in info["events"]]
    chats = [event["value"] for event in seen if event["event"] == "chat"]
    well = [quality for quality in chats if quality > 0]
    assert len(well) > 5
    assert len(chats) > len(well)
    assert (record.chat_success_events, record.chat_failure_events) == (
        len(well),
        len(chats) - len(well),
    )
    assert record.chat_quality_mean == pytest.approx(sum(well) / len(well))
    counts = Counter(event["event"] for event in seen)
    assert record.shared_meal_events == counts["shared_meal"]
    assert record.late_help_events == counts["helped"]
    assert record.shift_takeover_events == counts["shift_taken"]


def test_every_kind_has_its_key():
    def event(kind, value=0.0):
        return {"event": kind, "value": value}

    heard = [event("shared_meal"), event("helped"), event("helped"), event("shift_taken")]
    told = sample_metrics(life(), [*heard, event("chat"), event("chat", 0.25)], 0)
    silent = sample_metrics(life(), None, None)
    keys = {
        "shared_meal_events": 1,
        "late_help_events": 2,
        "shift_takeover_events": 1,
        "chat_success_events": 1,
        "chat_failure_events": 1,
        "chat_quality_mean": 0.25,
    }
    for samples in ([told], [silent, told]):
        figures = town_figures(samples)
        assert {key: figures[key] for key in keys} == keys
    assert not keys.keys() & town_figures([silent]).keys()


def test_lateness_of_a_capture_reaches_the_epochs(tmp_path):
    capture = script_capture("employment_punctuality", tmp_path / "capture", episodes=1)
    totals = capture.metrics.totals
    assert totals.late_shifts > 0
    harness = harness_of("employment_punctuality", mode="bc", bc={"epochs": 1})
    dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(tmp_path / "capture"))
    (record,) = harness.run_bc(dataset).records
    assert record.late_shift_events == totals.late_shifts
    assert record.lateness_mean == pytest.approx(totals.lateness_mean)
    assert record.chat_success_events == totals.social_events["chat_success"]


def test_chats_of_a_capture_reach_the_epochs(tmp_path):
    capture = script_capture("social_cafe", tmp_path / "capture", episodes=1)
    told = capture.metrics.totals
    assert told.social_events["chat_success"] > 5
    harness = harness_of("social_cafe", mode="bc", bc={"epochs": 1})
    dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(tmp_path / "capture"))
    (record,) = harness.run_bc(dataset).records
    assert record.chat_success_events == told.social_events["chat_success"]
    mean = told.chat_quality_sum / told.social_events["chat_success"]
    assert record.chat_quality_mean == pytest.approx(mean)
