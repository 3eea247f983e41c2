"""The hash of states: its twin in plain integers, what counts, and how far a bit reaches."""

from __future__ import annotations

import numpy as np
import pytest
import splitmix
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.hashing import BLOCK, LINK_WORDS, fold, mask_of, text_of, words_of
from townlet_env.sim.state import CAPACITIES, allocate, record, world_dtype

ALL = 2**64 - 1
STREAM = splitmix.SplitMix64(0)
KEY = [STREAM.next() for _ in range(BLOCK)]


def mixed(word):
    return splitmix.SplitMix64((word - splitmix.GOLDEN) & ALL).next()


def turned(word):
    word = word * 0x9E3779B185EBCA87 & ALL
    return (word << 31 | word >> 33) * 0xC2B2AE3D27D4EB4F & ALL


def twin(words, one=0, two=0):
    for start in range(0, len(words), BLOCK):
        part = [word ^ key for word, key in zip(words[start : start + BLOCK], KEY, strict=False)]
        products = sum((word & 0xFFFFFFFF) * (word >> 32) for word in part)
        one = turned((one + products) & ALL)
        two = (turned((two + sum(part)) & ALL) + one) & ALL
    one = mixed((one + two) & ALL)
    return one, mixed(two ^ one)


def folded(rows, links=None):
    words = np.array(rows, np.uint64)
    links = np.zeros((len(words), LINK_WORDS), np.uint64) if links is None else links
    fold(words, np.full(words.shape[1], ALL, np.uint64), links, np.arange(len(words)))
    return links


@given(st.lists(st.integers(0, ALL), min_size=1, max_size=40), st.integers(0, ALL))
def test_it_is_what_plain_integers_give(words, before):
    links = folded([words], np.array([[before, 5]], np.uint64))
    assert links.tolist() == [list(twin(words, before, 5))]


def test_blocks_follow_each_other():
    words = np.random.default_rng(0).integers(0, ALL, 2 * BLOCK + 3, np.uint64)
    assert folded([words]).tolist() == [list(twin(words.tolist()))]
    swapped = np.concatenate([words[BLOCK : 2 * BLOCK], words[:BLOCK], words[2 * BLOCK :]])
    assert (folded([swapped]) != folded([words])).all()


def test_every_bit_reaches_half_of_the_others():
    rng = np.random.default_rng(1)
    words = rng.integers(0, ALL, 64, np.uint64)
    rows = np.repeat(words[None], 64 * 64, axis=0)
    for row in range(len(rows)):
        rows[row, row // 64] ^= np.uint64(1) << np.uint64(row % 64)
    changed = folded(rows) ^ folded([words])
    flips = np.unpackbits(changed.view(np.uint8), axis=1)
    assert len(np.unique(changed, axis=0)) == len(rows)
    assert flips.sum(axis=1).min() > 30
    # By chance a share of 1/2 with a standard error of 1/128: six of them.
    np.testing.assert_allclose(flips.mean(axis=0), 0.5, atol=6 / 128)


@given(st.data())
@settings(max_examples=50)
def test_words_that_change_places_change_the_hash(data):
    words = data.draw(st.lists(st.integers(0, ALL), min_size=2, max_size=30, unique=True))
    one, other = data.draw(st.tuples(*[st.integers(0, len(words) - 1)] * 2))
    swapped = list(words)
    swapped[one], swapped[other] = words[other], words[one]
    assert (folded([swapped]) == folded([words])).all() == (one == other)


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_every_byte_of_every_field_counts_and_no_other(capacity):
    dtype = world_dtype(capacity)
    octets = mask_of(dtype).view(np.uint8)
    fields = sum(part.itemsize for part, *_ in dtype.fields.values())
    assert (octets == 0xFF).sum() == fields
    assert (octets == 0).sum() == dtype.itemsize - fields > 0


def test_padding_does_not_count_and_fields_do():
    dtype = record([("small", np.uint8), ("large", np.uint64), ("odd", np.uint8, (3,))])
    records = allocate(dtype, 3)
    words, mask = words_of(records), mask_of(dtype)
    octets = words.view(np.uint8)
    octets[0, mask.view(np.uint8) == 0] = 77
    records["odd"][2, 2] = 1
    links = np.zeros((3, LINK_WORDS), np.uint64)
    fold(words, mask, links, np.arange(3))
    assert links[0].tolist() == links[1].tolist()
    assert (links[1] != links[2]).all()


def test_a_digest_is_a_chain_of_one_state():
    batch = WorldBatch(compile_plan(load_scenario("queue_conflict")), 3, channels=0)
    batch.reset([4, 5, 4])
    links = np.zeros((3, LINK_WORDS), np.uint64)
    batch.fold_states(links)
    assert [text_of(link) for link in links] == [batch.digest(w) for w in range(3)]
    assert batch.digest(0) == batch.digest(2) != batch.digest(1)
    before = links.copy()
    batch.fold_states(links, np.array([1]))
    assert (links[[0, 2]] == before[[0, 2]]).all()
    assert (links[1] != before[1]).all()


def test_orders_of_the_last_step_can_be_read():
    batch = WorldBatch(compile_plan(load_scenario("queue_conflict")), 1, channels=0)
    batch.reset([4])
    masked = int(np.flatnonzero(batch.views.action_mask[0, 1] == 0)[0])
    batch.step([[1, masked, 0]])
    assert batch.orders[0, 1:].tolist() == [0, 0]
    with pytest.raises(ValueError, match="read-only"):
        batch.orders[0, 0] = 3
