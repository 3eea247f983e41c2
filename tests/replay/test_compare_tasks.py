"""Statistics over several scenarios: what is pooled, and how often intervals hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from townlet_replay.compare import statistics
from townlet_replay.compare.statistics import (
    bootstrap_interval,
    interquartile_mean,
    probability_of_improvement,
    profile_over_tasks,
    resampled,
)
from townlet_replay.errors import TrainingError

EXPERIMENTS = 400


def test_runs_are_drawn_within_their_own_scenario():
    scores = np.arange(9.0).reshape(3, 3)  # column k holds k, k + 3, k + 6
    drawn = resampled(scores, np.random.default_rng(0), 500).reshape(500, 3, 3)
    assert (drawn % 3 == np.arange(3)).all()
    assert len({tuple(column) for column in drawn[..., 0].tolist()}) == 27


def test_freedom_is_that_of_the_scenarios_that_decide(monkeypatch):
    asked = []
    quantile = statistics.t_quantile
    monkeypatch.setattr(
        statistics, "t_quantile", lambda p, df: (asked.append(df), quantile(p, df))[1]
    )
    column = np.array([0.0, 1.0, 2.0, 3.0])
    rng = np.random.default_rng(0)

    def mean(scores):
        return scores.mean(axis=-1)

    bootstrap_interval(column, rng)
    bootstrap_interval(np.stack([column] * 3, axis=1), rng, mean, resamples=20_000)
    bootstrap_interval(np.stack([column, 0 * column, 0 * column], axis=1), rng, mean)
    bootstrap_interval(np.zeros((4, 3)), rng, mean)
    assert asked == pytest.approx([3, 9, 3, 9], abs=0.02)


def shifted(rng, runs):
    return np.array([0.0, 0.5, 1.0]) + rng.normal(size=(runs, 3))


def skewed(rng, runs):
    return rng.gamma(4.0, size=(runs, 3))


def failing(rng, runs):
    """One run in five never learns."""
    fails = rng.random((runs, 3)) < 0.2
    return np.where(fails, 0.0, 1.0) + rng.normal(0, 0.1, (runs, 3))


def uneven(rng, runs):
    """One scenario is ten times as noisy as another."""
    return rng.normal(size=(runs, 3)) * np.geomspace(0.1, 1.0, 3)


def apart(rng, runs):
    """Scenarios are mastered, half learnt and not learnt at all."""
    return np.array([0.0, 2.0, 4.0]) + 0.3 * rng.normal(size=(runs, 3))


@pytest.mark.parametrize("runs", [3, 5])
@pytest.mark.parametrize("draw", [shifted, skewed, failing, uneven, apart])
def test_95_of_100_intervals_over_scenarios_hold_the_truth(draw, runs):
    rng = np.random.default_rng(0)
    truth = float(interquartile_mean(draw(rng, 200_000).reshape(-1)))
    held = 0
    for _ in range(EXPERIMENTS):
        found = bootstrap_interval(draw(rng, runs), rng, resamples=400)
        held += found.low <= truth <= found.high
    # Of 2,000 experiments it is 94 to 98 of 100; this many stray by one more.
    assert 0.92 <= held / EXPERIMENTS <= 0.99


def test_all_degrees_would_not_hold_it_where_one_scenario_is_noisy():
    """Why the degrees of freedom are not simply m (n - 1)."""
    rng = np.random.default_rng(0)
    t = statistics.t_quantile(0.975, 6)
    held = 0
    for _ in range(EXPERIMENTS):
        scores = rng.normal(size=(3, 3)) * (0.05, 0.05, 1.0)
        spread = resampled(scores, rng, 400).mean(axis=-1).std(ddof=1) * math.sqrt(1.5)
        held += abs(scores.mean()) <= t * spread
    assert held / EXPERIMENTS < 0.92


@pytest.mark.parametrize("runs", [3, 5])
@pytest.mark.parametrize("apart", [(0, 0, 0), (1, 1, 1), (2, 2, 2), (0, 1, 4)])
def test_improvement_over_scenarios_holds_the_truth(runs, apart):
    rng = np.random.default_rng(1)
    truth = float(np.mean([0.5 * (1 + math.erf(by / 2)) for by in apart]))
    held = 0
    for _ in range(EXPERIMENTS):
        first, second = rng.normal(size=(runs, 3)) + apart, rng.normal(size=(runs, 3))
        found = probability_of_improvement(first, second)
        held += found.low <= truth <= found.high
    assert held / EXPERIMENTS >= 0.94


def test_more_scenarios_make_improvement_surer():
    first, second = np.full((3, 3), 1.0), np.zeros((3, 3))
    one = probability_of_improvement(first[:, :1], second[:, :1])
    assert one.low < 0.5 < probability_of_improvement(first, second).low
    even = probability_of_improvement(second, second)
    # Runs of all scenarios tell how surely: as many degrees as in one would leave 0.19 to 0.81.
    assert (even.low, even.high) == pytest.approx((0.234, 0.766), abs=0.01)


@pytest.mark.parametrize("runs", [3, 5])
@pytest.mark.parametrize("shift", [(0, 0, 0), (-1, 0, 1), (-3, 0, 3)])
def test_bands_of_profiles_over_scenarios_hold_the_truth(runs, shift):
    rng = np.random.default_rng(2)
    limits = np.array([-1.5, -0.5, 0.0, 1.0])
    truth = np.array(
        [np.mean([0.5 * math.erfc((at - by) / math.sqrt(2)) for by in shift]) for at in limits]
    )
    held = np.zeros(4)
    for _ in range(EXPERIMENTS):
        found = profile_over_tasks(rng.normal(size=(runs, 3)) + shift, limits)
        held += (found.low <= truth) & (truth <= found.high)
    assert (held / EXPERIMENTS >= 0.92).all()


def test_a_profile_over_scenarios_counts_every_run_once():
    found = profile_over_tasks([[0.0, 1.0], [0.5, 2.0]], [-1.0, 0.0, 0.75, 2.0])
    assert found.shares.tolist() == [1.0, 0.75, 0.5, 0.0]
    assert np.isnan(profile_over_tasks([[1.0, 2.0]], [0.0]).low).all()
    with pytest.raises(TrainingError, match="expected at least one score per run"):
        profile_over_tasks([[]], [0.0])
