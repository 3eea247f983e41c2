"""Statistics of comparisons: point estimates as defined, intervals that hold the truth as often as
they say, equality that has to be shown."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from townlet_replay.compare.equivalence import equivalence
from townlet_replay.compare.statistics import (
    bootstrap_interval,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)
from townlet_replay.compare.student import t_cdf, t_quantile
from townlet_replay.compare.thresholds import Arrival, arrival, survival
from townlet_replay.errors import TrainingError

EXPERIMENTS = 400


def reference_iqm(scores):
    ordered = sorted(scores)
    cut = int(0.25 * len(ordered))
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


def reference_improvement(first, second):
    """Mean over tasks of the share of pairs that the first one wins."""
    tasks = []
    for mine, theirs in zip(zip(*first, strict=True), zip(*second, strict=True), strict=True):
        wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(mine, theirs)]
        tasks.append(sum(wins) / len(wins))
    return sum(tasks) / len(tasks)


@pytest.mark.parametrize("count", range(1, 14))
def test_the_interquartile_mean_is_that_of_ten_lines(count):
    scores = np.random.default_rng(count).normal(size=(6, count))
    expected = [reference_iqm(row) for row in scores.tolist()]
    np.testing.assert_allclose(interquartile_mean(scores), expected, rtol=1e-14)


@pytest.mark.parametrize("shape", [(3, 1), (5, 4), (10, 2)])
def test_point_estimates_are_those_of_ten_lines(shape):
    rng = np.random.default_rng(7)
    first, second = rng.integers(0, 9, shape) / 4, rng.integers(0, 9, (shape[0] + 1, shape[1])) / 4
    found = bootstrap_interval(first, rng)
    assert found.value == pytest.approx(reference_iqm(first.reshape(-1).tolist()), rel=1e-14)
    improved = probability_of_improvement(first, second)
    assert improved.value == pytest.approx(reference_improvement(first, second), rel=1e-14)
    limits = np.linspace(0, 2, 9)
    profile = performance_profile(first, limits)
    flat = first.reshape(-1).tolist()
    expected = [sum(score > limit for score in flat) / len(flat) for limit in limits.tolist()]
    np.testing.assert_allclose(profile.shares, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("probability", "df", "value"),
    # Student's table, as printed in Abramowitz and Stegun (1964), table 26.10.
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.95, 4, 2.132),
        (0.975, 9, 2.262),
        (0.995, 30, 2.750),
        (0.975, 1e7, 1.960),
        (0.025, 9, -2.262),
    ],
)
def test_students_quantiles_are_those_of_the_table(probability, df, value):
    assert t_quantile(probability, df) == pytest.approx(value, abs=6e-4)
    assert t_cdf(t_quantile(probability, df), df) == pytest.approx(probability, abs=1e-9)


def test_student_of_one_and_two_degrees_is_known_in_closed_form():
    for t in (-3.0, -0.2, 0.0, 0.7, 5.0):
        assert t_cdf(t, 1.0) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-12)
        assert t_cdf(t, 2.0) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-12)
    assert (t_cdf(math.inf, 3.0), t_cdf(-math.inf, 3.0)) == (1.0, 0.0)
    for wrong in (lambda: t_cdf(0.0, 0.0), lambda: t_quantile(1.0, 3.0)):
        with pytest.raises(ValueError, match="expected"):
            wrong()


def normal(rng, runs, tasks):
    return rng.normal(size=(runs, tasks)) + np.arange(tasks) / 2


def skewed(rng, runs, tasks):
    return rng.gamma(4.0, size=(runs, tasks))


def failing(rng, runs, tasks):
    """One run in five never learns."""
    fails = rng.random((runs, tasks)) < 0.2
    return np.where(fails, 0.0, 1.0) + rng.normal(0, 0.1, (runs, tasks))


@pytest.mark.parametrize(
    ("draw", "runs", "tasks"),
    [
        (normal, 3, 1),
        (normal, 5, 1),
        (normal, 10, 1),
        (normal, 5, 4),
        (skewed, 3, 1),
        (skewed, 10, 1),
        (skewed, 10, 4),
        (failing, 3, 1),
    ],
)
def test_95_of_100_intervals_hold_the_truth(draw, runs, tasks):
    rng = np.random.default_rng(0)
    truth = float(interquartile_mean(draw(rng, 200_000, tasks).reshape(-1)))
    held = 0
    for _ in range(EXPERIMENTS):
        found = bootstrap_interval(draw(rng, runs, tasks), rng, resamples=400)
        held += found.low <= truth <= found.high
    assert held / EXPERIMENTS == pytest.approx(0.95, abs=0.03)


def test_percentiles_would_not_hold_it_with_three_runs():
    """Why the interval is another one than usual."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(EXPERIMENTS):
        scores = rng.normal(size=3)
        drawn = scores[rng.integers(0, 3, (400, 3))].mean(axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        held += low <= 0.0 <= high
    assert held / EXPERIMENTS < 0.8


@pytest.mark.parametrize(("runs", "apart"), [(3, 0.0), (3, 2.0), (5, 1.0), (10, 0.0), (10, 2.0)])
def test_improvement_intervals_hold_the_truth(runs, apart):
    rng = np.random.default_rng(1)
    truth = 0.5 * (1 + math.erf(apart / 2))  # of two normal scores so far apart
    held = 0
    for _ in range(EXPERIMENTS):
        found = probability_of_improvement(rng.normal(apart, 1, runs), rng.normal(0, 1, runs))
        held += found.low <= truth <= found.high
    assert held / EXPERIMENTS >= 0.92


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("runs", [3, 10])
def test_bands_of_profiles_hold_the_truth_though_episodes_of_a_run_are_alike(runs, shared):
    rng = np.random.default_rng(2)
    limits = np.array([-1.8, -1.0, 0.0])
    truth = np.array([0.5 * math.erfc(limit / math.sqrt(2)) for limit in limits])
    held = np.zeros(3)
    for _ in range(EXPERIMENTS):
        of_run, of_episode = rng.normal(size=(runs, 1)), rng.normal(size=(runs, 16))
        scores = math.sqrt(shared) * of_run + math.sqrt(1 - shared) * of_episode
        found = performance_profile(scores, limits)
        held += (found.low <= truth) & (truth <= found.high)
    # Where half of a run's episodes lie on either side, ten runs hold it a little less often.
    assert (held / EXPERIMENTS >= 0.88).all()


def test_three_clear_wins_are_no_certainty():
    found = probability_of_improvement([3.0, 4.0, 5.0], [0.0, 1.0, 2.0])
    assert found.value == found.high == 1.0
    assert found.low < 0.5
    more = probability_of_improvement(np.arange(10) + 20.0, np.arange(10.0))
    assert more.low > 0.7


def test_one_run_has_no_interval():
    rng = np.random.default_rng(0)
    assert bootstrap_interval([2.0], rng) == (2.0, None, None)
    assert probability_of_improvement([2.0], [1.0]) == (1.0, None, None)
    assert np.isnan(performance_profile([[1.0, 2.0]], [1.5]).low).all()
    assert equivalence([1.0], [1.0], 0.1).verdict == "open"


def test_the_same_generator_gives_the_same_interval():
    scores = np.random.default_rng(3).normal(size=(5, 1))
    one, other = (bootstrap_interval(scores, np.random.default_rng(4)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("scores", [[], [[]], [1.0, math.nan], [[[1.0]]]])
def test_what_is_no_table_of_scores_is_refused(scores):
    with pytest.raises(TrainingError, match="expected at least one score per run"):
        bootstrap_interval(scores, np.random.default_rng(0))
    with pytest.raises(TrainingError, match="expected at least one score per run"):
        performance_profile(scores, [0.0])


def test_the_same_weights_are_the_same_whatever_the_scores_say():
    digests = (["a", "b"], ["a", "b"])
    assert equivalence([1.0, 2.0], [1.0, 2.0], 0.1, digests).verdict == "bitwise"
    for others in (["a", "c"], ["b", "a"], ["a"]):
        found = equivalence([1.0, 9.0], [1.0, 9.0], 0.1, (["a", "b"], others))
        assert found.verdict != "bitwise"
    assert equivalence([1.0], [1.0], 0.1, ([None], [None])).verdict == "open"


def test_two_one_sided_tests_are_those_of_the_book():
    """Welch's t by hand: means 10 and 10.5, standard deviations 1 and 2, five runs each."""
    first = np.array([9.0, 9.5, 10.0, 10.5, 11.0])
    second = np.array([8.5, 9.5, 10.5, 11.5, 12.5])
    one, other = first.var(ddof=1) / 5, second.var(ddof=1) / 5
    error, df = math.sqrt(one + other), (one + other) ** 2 / (one**2 / 4 + other**2 / 4)
    found = equivalence(first, second, 2.0)
    assert found.difference == pytest.approx(-0.5)
    assert found.p_value == pytest.approx(1 - t_cdf((2.0 - 0.5) / error, df))
    assert found.low == pytest.approx(-0.5 - t_quantile(0.95, df) * error)
    # The interval lies within the margin exactly if the tests say so.
    for margin in (0.5, 1.0, 2.0, 2.5, 4.0):
        found = equivalence(first, second, margin)
        inside = -margin < found.low and found.high < margin
        assert (found.verdict == "equivalent") == inside


def test_arms_that_differ_by_the_margin_are_rarely_called_equivalent():
    rng = np.random.default_rng(5)
    called = sum(
        equivalence(rng.normal(1.0, 0.3, 5), rng.normal(0.0, 0.3, 5), 1.0).verdict == "equivalent"
        for _ in range(EXPERIMENTS)
    )
    assert called / EXPERIMENTS <= 0.08
    close = sum(
        equivalence(rng.normal(0, 0.3, 5), rng.normal(0, 0.3, 5), 1.0).verdict == "equivalent"
        for _ in range(EXPERIMENTS)
    )
    assert close / EXPERIMENTS > 0.9


def test_what_is_apart_is_called_different_and_what_is_unclear_open():
    assert equivalence([5.0, 5.1, 5.2], [1.0, 1.1, 1.2], 0.1).verdict == "different"
    unclear = equivalence([1.0, 3.0, 5.0], [1.5, 3.5, 6.0], 0.1)
    assert unclear.verdict == "open"
    assert unclear.detectable > 2.0
    assert equivalence([2.0, 2.0], [2.0, 2.0], 0.1).verdict == "equivalent"
    assert equivalence([2.0, 2.0], [3.0, 3.0], 0.1).verdict == "different"
    for wrong in ((0.0, [1.0]), (0.1, [])):
        with pytest.raises(TrainingError, match="expected"):
            equivalence([1.0], wrong[1], wrong[0])


def test_the_first_sighting_counts_and_the_rest_is_censored():
    assert arrival([0, 10, 20, 30], [0.0, 0.5, 1.2, 0.9], 1.0) == (20, True)
    assert arrival([0, 10, 20], [0.0, 0.5, 0.9], 1.0) == (20, False)
    assert arrival([0, 10], [1.0, 0.0], 1.0) == (0, True)


def test_survival_is_that_of_the_textbook():
    """Freireich et al. (1963), remission under 6-MP, in weeks; + stands for still in remission."""
    remissions = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
    weeks = remissions.split()
    found = survival([Arrival(int(w.rstrip("+")), not w.endswith("+")) for w in weeks])
    assert found.steps == (6, 7, 10, 13, 16, 22, 23)
    expected = [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    np.testing.assert_allclose(found.shares, expected, atol=5e-4)
    assert found.median == 23


def test_without_an_arrival_there_is_no_median():
    assert survival([Arrival(5, False), Arrival(9, False)]) == ((), ())
    assert survival([Arrival(5, False)]).median is None
    assert survival([Arrival(4, True), Arrival(9, False)]).median == 4
