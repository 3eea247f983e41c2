"""Masked log-probs, entropies and draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_rollouts import ACTIONS

from townlet_replay.policy.masked import draw_actions, entropy, evaluate, masked_log_probs

# Masks
LOGITS = st.lists(st.floats(-30, 30, width=32), min_size=ACTIONS, max_size=ACTIONS).map(
    lambda row: torch.tensor([row], dtype=torch.float32)
)


MASKS = (
    st.lists(st.booleans(), min_size=ACTIONS, max_size=ACTIONS)
    .filter(any)
    .map(lambda row: torch.tensor([row], dtype=torch.int8))
)


@settings(max_examples=150, deadline=None)
@given(LOGITS, MASKS)
def test_masked_actions_have_no_probability_no_entropy_and_no_gradient(logits, mask):
    logits = logits.clone().requires_grad_()
    log_probs = masked_log_probs(logits, mask)
    legal = mask.bool()[0]
    probabilities = log_probs.exp()[0]
    assert (probabilities[~legal] == 0).all()
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-5)
    spread = entropy(log_probs, mask)
    assert -1e-5 <= spread.item() <= math.log(int(legal.sum())) + 1e-5
    chosen = torch.tensor([int(torch.argmax(mask[0]))])
    judged = evaluate(logits, mask, chosen)
    (judged.log_probs + judged.entropies).sum().backward()
    # Normalising twice leaves the rounding of a sum that is 0.
    assert logits.grad[0][~legal].abs().sum() <= 1e-5
    assert torch.isfinite(logits.grad).all()


@settings(max_examples=150, deadline=None)
@given(LOGITS, MASKS)
def test_masked_numbers_equal_sb3_contrib_to_the_bit(logits, mask):
    from sb3_contrib.common.maskable.distributions import MaskableCategorical

    theirs = MaskableCategorical(logits=logits, masks=mask.bool())
    for action in range(ACTIONS):
        chosen = torch.tensor([action])
        judged = evaluate(logits, mask, chosen)
        assert torch.equal(judged.log_probs, theirs.log_prob(chosen))
        assert torch.equal(judged.entropies, theirs.entropy())


@settings(max_examples=50, deadline=None)
@given(LOGITS)
def test_without_a_mask_the_numbers_are_those_of_torch(logits):
    theirs = torch.distributions.Categorical(logits=logits)
    chosen = torch.tensor([2])
    judged = evaluate(logits, None, chosen)
    assert torch.equal(judged.log_probs, theirs.log_prob(chosen))
    assert torch.equal(judged.entropies, theirs.entropy())


def test_a_mask_that_allows_nothing_stays_finite_and_uniform():
    logits = torch.randn(3, ACTIONS, generator=torch.Generator().manual_seed(0))
    log_probs = masked_log_probs(logits, torch.zeros(3, ACTIONS))
    torch.testing.assert_close(log_probs.softmax(dim=1), torch.full((3, ACTIONS), 1 / ACTIONS))
    judged = evaluate(logits, torch.zeros(3, ACTIONS), torch.zeros(3))
    assert torch.isfinite(judged.log_probs).all()
    assert (judged.entropies == 0).all()


def test_drawn_actions_follow_the_probabilities_and_never_the_mask_s_zeros():
    logits = torch.tensor([[1.0, 0.0, -1.0, 2.0, 5.0]]).repeat(20_000, 1)
    mask = torch.tensor([[1, 1, 0, 1, 0]]).repeat(20_000, 1)
    log_probs = masked_log_probs(logits, mask).numpy()
    actions = draw_actions(log_probs, np.random.default_rng(3))
    shares = np.bincount(actions, minlength=ACTIONS) / len(actions)
    assert shares[2] == shares[4] == 0
    np.testing.assert_allclose(shares, np.exp(log_probs[0]), atol=0.012)


class _LastNumber:
    """A stream that always gives the largest number below 1, or 0."""

    def __init__(self, number):
        self.number = number

    def random(self, shape):
        return np.full(shape, self.number)


@pytest.mark.parametrize(("number", "expected"), [(1.0 - 2.0**-53, 3), (0.0, 1)])
def test_the_extremes_of_a_draw_are_legal_actions(number, expected):
    mask = torch.tensor([[0, 1, 1, 1, 0]])
    rng = np.random.default_rng(0)
    for _ in range(50):
        logits = torch.tensor(rng.normal(0, 3, (1, ACTIONS)), dtype=torch.float32)
        log_probs = masked_log_probs(logits, mask).numpy()
        assert draw_actions(log_probs, _LastNumber(number)).tolist() == [expected]
