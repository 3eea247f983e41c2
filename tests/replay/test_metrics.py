"""Metrics say what the rows say."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from capture_toys import LOOKUP, life
from pydantic import BaseModel

from townlet_replay.errors import CaptureError
from townlet_replay.metrics import capture_totals, row_mean, sample_metrics
from townlet_replay.rows import read_event
from townlet_replay.safe_files import to_json
from townlet_replay.sample import with_meta

FEATURES = np.array(
    [[0, 0.25, 0.125, 0], [0, 0.75, 0.25, 0], [0, 0.5, 0.0, 0], [0, 0.5, 0.0, 0]], np.float32
)
EVENTS = [
    {"event": "queue_conflict", "affordance": None, "value": 1.5},
    {"event": "queue_conflict", "affordance": None, "value": 2.0},
    {"event": "affordance_finished", "affordance": "use_shower", "value": 0.0},
    {"event": "affordance_finished", "affordance": "eat_meal", "value": 0.0},
    {"event": "affordance_finished", "affordance": "use_shower", "value": 0.0},
    {"event": "shift_late", "affordance": None, "value": 12.0},
    {"event": "chat", "affordance": None, "value": 0.3},
]


class Strange(BaseModel):
    number: float
    table: dict[str, list[float]]


def town_life():
    sample = with_meta(life(rows=4), reward_components=("needs", "clip"))
    return replace(
        sample,
        observations={"features": FEATURES},
        actions=np.array([1, 2, 1, 1]),
        rewards=np.array([0.5, -0.25, 1, 2], np.float32),
        old_log_probs=np.array([-1, np.nan, -2, np.nan], np.float32),
        extras={"reward_components": np.array([[1, 0], [2, 0], [3, -0.5], [4, 0]], np.float32)},
    )


@pytest.mark.parametrize(
    ("components", "event", "message"),
    [
        ([np.nan, 0], EVENTS[0], r"reward_component_sums\.needs: .*finite.*, found nan"),
        ([np.inf, 0], EVENTS[0], r"reward_component_sums\.needs: .*finite.*, found inf"),
        ([1, 0], {"event": "shift_late", "value": np.nan}, "lateness_mean: .*finite"),
        ([1, 0], {"event": "queue_conflict", "value": -np.inf}, r"no metrics: -inf \+ inf in fsum"),
    ],
)
def test_a_metric_that_is_no_number_is_one_kind_of_error(components, event, message):
    sample = town_life()
    columns = np.array([components] * 4, np.float32)
    events = [{"event": "queue_conflict", "value": np.inf}] if "fsum" in message else []
    with pytest.raises(CaptureError, match=f"sample of agent 'anna', episode 0: .*{message}"):
        sample_metrics(
            replace(sample, extras={"reward_components": columns}), [*events, event], None
        )


def test_every_metric_of_a_town():
    metrics = sample_metrics(town_life(), EVENTS, 1)
    assert metrics.timesteps == 4
    assert metrics.reward_sum == 3.25
    assert metrics.reward_mean == 0.8125
    assert metrics.reward_component_sums == {"needs": 10, "clip": -0.5}
    assert metrics.clip_share == 0.25
    assert metrics.log_prob_mean == -1.5
    assert metrics.value_pred_last == 0.75
    assert (metrics.rivalry_max_mean, metrics.rivalry_max_max) == (0.5, 0.75)
    assert (metrics.rivalry_avoid_count_mean, metrics.rivalry_avoid_count_max) == (0.75, 2)
    assert (metrics.lateness_mean, metrics.late_shifts) == (12, 1)
    assert metrics.queue_conflict_events == 2
    assert metrics.queue_conflict_intensity_sum == 3.5
    assert metrics.affordance_finishes == {"eat_meal": 1, "use_shower": 2}
    assert metrics.action_counts == {"move:north": 3, "chat": 1}
    assert metrics.action_blocked_ratio == 0.25
    assert metrics.action_entropy == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


def test_what_an_environment_does_not_tell_is_null():
    sample = with_meta(life(), feature_names=None)
    metrics = json.loads(to_json(sample_metrics(sample, None, None)))
    nulls = {name for name, value in metrics.items() if value is None}
    assert nulls == {
        "reward_component_sums",
        "rivalry_max_mean",
        "rivalry_max_max",
        "rivalry_avoid_count_mean",
        "rivalry_avoid_count_max",
        "lateness_mean",
        "late_shifts",
        "queue_conflict_events",
        "queue_conflict_intensity_sum",
        "affordance_finishes",
        "action_blocked_ratio",
        "clip_share",
        "social_events",
        "chat_quality_sum",
    }


def test_a_quiet_town_counts_zero():
    metrics = sample_metrics(town_life(), [], 0)
    assert metrics.queue_conflict_events == 0
    assert metrics.lateness_mean == 0
    assert metrics.affordance_finishes == {}
    assert metrics.action_blocked_ratio == 0


def test_totals_weigh_rows_and_events():
    one = sample_metrics(town_life(), EVENTS, 1)
    two = sample_metrics(life(rows=12), [{"event": "shift_late", "value": 4.0}] * 3, 0)
    totals = capture_totals([one, two])
    assert totals.samples == 2
    assert totals.timesteps == 16
    assert totals.reward_sum == pytest.approx(one.reward_sum + two.reward_sum)
    assert totals.reward_mean == pytest.approx(totals.reward_sum / 16)
    assert totals.reward_sum_mean == pytest.approx(totals.reward_sum / 2)
    assert totals.log_prob_mean == pytest.approx((4 * -1.5 + 12 * -0.5) / 16)
    assert totals.lateness_mean == pytest.approx((12 + 3 * 4) / 4)
    assert totals.late_shifts == 4
    assert totals.queue_conflict_events == 2
    assert totals.rivalry_max_max == max(one.rivalry_max_max, two.rivalry_max_max)
    assert totals.action_blocked_ratio == pytest.approx(1 / 16)
    assert totals.reward_component_sums == {"needs": 10, "clip": -0.5}
    for name in LOOKUP.values():
        parts = (one.action_counts.get(name, 0), two.action_counts.get(name, 0))
        assert totals.action_counts.get(name, 0) == sum(parts)
    assert row_mean([(None, 3)]) is None


def test_json_has_neither_nan_nor_negative_zero():
    quiet = replace(life(), rewards=-np.zeros(5, np.float32))
    text = to_json(sample_metrics(quiet, None, None)).decode()
    assert '"reward_sum": 0.0' in text
    assert "-0.0" not in text
    strange = json.loads(to_json(Strange(number=math.nan, table={"x": [-0.0, math.inf]})))
    assert strange == {"number": None, "table": {"x": [0.0, None]}}
    assert math.copysign(1, strange["table"]["x"][0]) == 1


def test_events_of_any_shape():
    from townlet_env.sim.events import Event

    town = Event("shift_late", 3, "erin", None, "till_1", None, 7.0)
    assert read_event(town) == {"event": "shift_late", "affordance": None, "value": 7.0}
    assert read_event({"event": "queue_conflict", "intensity": 1.5})["value"] == 1.5
    assert read_event({"event": "shift_late", "minutes": 4})["value"] == 4
    assert read_event("something happened") is None
    assert read_event({"kind": "x"}) is None
