"""Figures of comparisons against numbers that other programs gave for the same data.

Worked out once with statsmodels 0.14 (``proportion_confint``, ``CompareMeans``) and scipy 1.17
(``stats.t``, ``optimize.brentq`` on the equation of Newcombe's method 5).
"""

from __future__ import annotations

import numpy as np
import pytest

from townlet_replay.compare.equivalence import equivalence
from townlet_replay.compare.statistics import (
    performance_profile,
    probability_of_improvement,
    profile_over_tasks,
)


def test_the_band_of_a_profile_is_worth_one_score_per_run_at_least():
    """Wilson, 2 of 4 with Student's t of 3: runs apart vary more than four scores would."""
    found = performance_profile([[0.0] * 6, [0.0] * 6, [1.0] * 6, [1.0] * 6], [0.5])
    assert found.shares.tolist() == [0.5]
    np.testing.assert_allclose([found.low[0], found.high[0]], [0.0766580636, 0.9233419364])


def test_the_band_of_a_profile_over_tasks_is_that_of_wilson():
    found = profile_over_tasks(np.arange(12.0).reshape(4, 3), [2.5])
    np.testing.assert_allclose(found.shares, [9 / 12])
    np.testing.assert_allclose([found.low[0], found.high[0]], [0.4676946651, 0.9110583316])


def test_the_interval_of_improvement_has_the_roots_of_newcombes_equation():
    steps = 1 / 4000  # of its grid
    three = probability_of_improvement([3.0, 4.0, 5.0], [0.0, 1.0, 2.0])
    assert three.low == pytest.approx(0.3365765773, abs=steps)
    five = probability_of_improvement([1.0, 3.0, 5.0, 7.0, 9.0], [0.0, 0.5, 2.0, 4.0, 8.0])
    assert five.value == pytest.approx(0.72)
    assert (five.low, five.high) == pytest.approx((0.3145751738, 0.9300584617), abs=steps)


def test_two_one_sided_tests_of_arms_of_unlike_size():
    first, second = [9.0, 9.5, 10.0, 10.5, 11.0], [8.5, 9.5, 10.5, 11.5, 12.5, 13.0]
    found = equivalence(first, second, 3.0)
    assert found.verdict == "equivalent"
    assert found.p_value == pytest.approx(0.0167216734, rel=1e-8)
    assert (found.low, found.high) == pytest.approx((-2.4158557670, 0.5825224337), rel=1e-8)
    assert found.detectable == pytest.approx(2.5790600172, rel=1e-8)
