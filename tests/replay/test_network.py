"""The network: what it reads, how it starts, and that it says no to what it was not built for."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pydantic import ValidationError
from toy_rollouts import ACTIONS, SMALL, SPEC, own_rollout, small_network
from toy_samples import script_sample

from townlet_replay.errors import TrainingError
from townlet_replay.policy.network import NetworkConfig, ObservationSpec, TownletNetwork


def dict_space():
    return spaces.Dict(
        {
            "map": spaces.Box(0, 1, SPEC.map_shape, np.uint8),
            "features": spaces.Box(-1, 1, (SPEC.features_dim,), np.float32),
            "action_mask": spaces.Box(0, 1, (ACTIONS,), np.int8),
        }
    )


@pytest.mark.parametrize("encoder", ["linear", "conv"])
def test_logits_and_values_of_a_batch(encoder):
    network = small_network(encoder=encoder)
    observations = own_rollout(small_network(), rows=7).observations
    logits, values = network(SPEC.tensors(observations, network.device))
    assert logits.shape == (7, ACTIONS)
    assert values.shape == (7,)
    assert logits.dtype == values.dtype == torch.float32


@pytest.mark.parametrize("encoder", ["linear", "conv"])
def test_every_weight_takes_part(encoder):
    network = small_network(encoder=encoder)
    observations = own_rollout(small_network(), rows=7).observations
    logits, values = network(SPEC.tensors(observations, network.device))
    (logits.square().sum() + values.sum()).backward()
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_map_and_features_both_matter():
    network = small_network()
    observations = own_rollout(network, rows=1).observations
    base = network(SPEC.tensors(observations, network.device))[1]
    for key, array in observations.items():
        changed = {**observations, key: (1 - array).astype(array.dtype)}
        assert not torch.equal(base, network(SPEC.tensors(changed, network.device))[1])


def test_weights_start_orthogonal_with_the_gains_of_ppo():
    network = TownletNetwork(SPEC, NetworkConfig(encoder="conv"), seed=5)
    gains = {"action_head": 0.01, "value_head": 1.0}
    for name, weight in network.named_parameters():
        if name.endswith("bias"):
            assert (weight == 0).all()
            continue
        flat = weight.detach().flatten(1)
        gram = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
        gain = gains.get(name.partition(".")[0], 2**0.5)
        torch.testing.assert_close(gram, gain**2 * torch.eye(len(gram)), atol=1e-5, rtol=1e-5)


def test_the_seed_alone_decides_the_weights_and_nothing_global_is_drawn():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = small_network(7)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert small_network(7).digest == first.digest
    assert small_network(8).digest != first.digest


def test_the_digest_notices_a_single_bit():
    network = small_network()
    before = network.digest
    with torch.no_grad():
        weight = network.trunk[0].weight
        weight[3, 3] = torch.nextafter(weight[3, 3], torch.tensor(10.0))
    assert network.digest != before


def test_the_spec_of_spaces_and_of_a_sample_agree():
    from_spaces = ObservationSpec.from_spaces(
        dict_space(), spaces.Discrete(ACTIONS), SPEC.action_lookup, SPEC.feature_names
    )
    assert from_spaces == SPEC
    assert ObservationSpec.from_sample(script_sample()) == SPEC
    assert SPEC.difference(from_spaces) is None


def test_an_environment_without_dict_observations_counts_as_features():
    spec = ObservationSpec.from_spaces(spaces.Box(0, 1, (3, 4)), spaces.Discrete(2))
    assert (spec.features_key, spec.features_dim, spec.map_shape) == ("observation", 12, None)
    assert spec.action_lookup == {0: "action_0", 1: "action_1"}
    network = TownletNetwork(spec, SMALL, seed=0)
    batch = spec.tensors({"observation": np.ones((5, 3, 4), np.float32)}, network.device)
    assert network(batch)[0].shape == (5, 2)


def test_what_cannot_be_trained_on_is_refused():
    with pytest.raises(TrainingError, match="expected a Discrete action space"):
        ObservationSpec.from_spaces(dict_space(), spaces.Box(-1, 1, (2,)))
    with pytest.raises(TrainingError, match=r"found \['features', 'smell'\]"):
        ObservationSpec.from_spaces(
            spaces.Dict({"features": spaces.Box(0, 1, (1,)), "smell": spaces.Box(0, 1, (1,))}),
            spaces.Discrete(2),
        )
    sample = script_sample()
    continuous = dataclasses.replace(
        sample,
        actions=np.zeros((sample.rows, 2), np.float32),
        action_mask=None,
        meta=sample.meta.model_copy(update={"action_lookup": {}, "action_dim": 2}),
    )
    with pytest.raises(TrainingError, match="agent 'anna': expected actions that are ids"):
        ObservationSpec.from_sample(continuous)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"map_shape": None}, r"map_shape: expected \(2, 5, 5\), found None"),
        ({"features_dim": 9}, "features_dim: expected 6, found 9"),
        ({"action_dim": 4}, "action_dim: expected 5, found 4"),
        (
            {"action_lookup": {**SPEC.action_lookup, 2: "sit"}},
            "action 2: expected 'south', found 'sit'",
        ),
        (
            {"feature_names": ("hunger", *SPEC.feature_names[1:])},
            "feature 0: expected 'feature_0', found 'hunger'",
        ),
    ],
)
def test_the_first_difference_of_two_specs_is_named(changes, difference):
    assert re.fullmatch(difference, SPEC.difference(SPEC.model_copy(update=changes)))


def test_unknown_settings_and_monstrous_widths_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        NetworkConfig(map_widht=3)
    with pytest.raises(ValidationError, match="less than or equal to 4096"):
        NetworkConfig(map_width=10**9)
