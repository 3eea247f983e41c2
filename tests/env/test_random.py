"""Random draws: the published generator, independent of order, and even enough for a town."""

from __future__ import annotations

import numpy as np
import splitmix
from hypothesis import given
from hypothesis import strategies as st

from townlet_env.sim.random import draw, mix, uniform

WORDS = st.integers(0, 2**64 - 1)
SMALL = st.integers(0, 2**31 - 1)


def test_twin_is_the_published_generator():
    """First outputs of SplitMix64 from two seeds, as printed with other implementations."""
    zero, other = splitmix.SplitMix64(0), splitmix.SplitMix64(1234567)
    assert [zero.next() for _ in range(3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]
    assert [other.next() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_a_counter_is_a_place_in_the_stream():
    stream = splitmix.SplitMix64(99)
    assert [splitmix.split(99, index) for index in range(5)] == [stream.next() for _ in range(5)]


@given(WORDS)
def test_mixer(word):
    golden = np.uint64(splitmix.GOLDEN)
    assert int(mix(np.uint64(word) + golden)) == splitmix.SplitMix64(word).next()


@given(WORDS, st.integers(0, 2), SMALL, SMALL)
def test_draw(seed, stream, tick, use):
    assert int(draw(np.uint64(seed), stream, tick, use)) == splitmix.draw(seed, stream, tick, use)


@given(WORDS, st.integers(0, 2), SMALL, SMALL)
def test_uniform_is_a_draw_in_the_unit_interval(seed, stream, tick, use):
    value = uniform(np.uint64(seed), stream, tick, use)
    assert value == (splitmix.draw(seed, stream, tick, use) >> 11) / 2**53
    assert 0.0 <= value < 1.0


def test_draws_are_even_and_unrelated():
    """Bounds are six standard errors wide: of the mean, of 16 bins, of neighbours' correlation."""
    count = 20_000
    seed = np.uint64(7)
    by_tick = np.array([uniform(seed, 0, tick, 65) for tick in range(count)])
    by_use = np.array([uniform(seed, 0, 3, use) for use in range(count)])
    by_seed = np.array([uniform(np.uint64(s), 0, 3, 65) for s in range(count)])
    for values in (by_tick, by_use, by_seed):
        assert abs(values.mean() - 0.5) < 6 * np.sqrt(1 / 12 / count)
        bins = np.bincount((values * 16).astype(int), minlength=16)
        assert np.abs(bins - count / 16).max() < 6 * np.sqrt(count / 16)
        assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 6 / np.sqrt(count)
    other_stream = np.array([uniform(seed, 1, tick, 65) for tick in range(count)])
    assert abs(np.corrcoef(by_tick, other_stream)[0, 1]) < 6 / np.sqrt(count)
