"""The badge of equal bits: one bit of a weight or of a moment of Adam takes it away."""

from __future__ import annotations

import copy

import pytest
import torch

from townlet_replay.compare.replaying import digest, verdict


@pytest.fixture
def trained():
    torch_rng = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.rand(4, 3, generator=torch_rng)).sum().backward()
    optimizer.step()
    return layer.state_dict(), optimizer.state_dict()


def flipped(tensor):
    """Flip the lowest bit of the last number."""
    bits = tensor.detach().reshape(-1).view(torch.int32)
    bits[-1] ^= 1


def test_one_bit_of_a_weight_is_seen(trained):
    for name in trained[0]:
        weights, optimizer = copy.deepcopy(trained)
        assert digest(weights, optimizer) == digest(*trained)
        flipped(weights[name])
        assert digest(weights, optimizer) != digest(*trained)


@pytest.mark.parametrize("moment", ["exp_avg", "exp_avg_sq", "step"])
def test_one_bit_of_adams_state_is_seen(trained, moment):
    for number in trained[1]["state"]:
        weights, optimizer = copy.deepcopy(trained)
        flipped(optimizer["state"][number][moment])
        assert digest(weights, optimizer) != digest(*trained)


def test_updates_count_up_to_the_first_that_differs():
    found = verdict("native", ["a", "b", "c", "d"], ["a", "x", "c", "d"], [])
    assert (found.equal, found.updates, found.held) == (1, 4, False)
    assert not verdict("native", ["a", "b"], ["a"], []).held
