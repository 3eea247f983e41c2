"""Checkpoints: nothing is lost, nothing foreign is taken, nothing is ever half there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_rollouts import SMALL, SPEC, own_rollout, small_network

from townlet_replay.errors import CheckpointError
from townlet_replay.policy.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from townlet_replay.training.ppo import PPOConfig, make_optimizer, ppo_update

CONFIG = PPOConfig(minibatch_size=64, epochs=2)


def trained(updates=2):
    network = small_network()
    optimizer = make_optimizer(network, CONFIG)
    rng = np.random.default_rng(11)
    for update in range(updates):
        ppo_update(network, optimizer, own_rollout(network, seed=update), CONFIG, rng)
    return network, optimizer, rng


def edit(path, **changes):
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, **changes}))


def test_a_run_goes_on_as_if_it_had_never_stopped(tmp_path):
    network, optimizer, rng = trained()
    state = TrainingState(optimizer, rng, {"updates": 2, "steps": 406})
    path = save_checkpoint(tmp_path / "policy", network, state, training={"objective": "ppo"})
    checkpoint = load_checkpoint(path, observation=SPEC, config=SMALL)
    assert checkpoint.network.digest == network.digest == checkpoint.header.weights_digest
    assert checkpoint.header.counters == {"updates": 2, "steps": 406}
    assert checkpoint.header.training == {"objective": "ppo"}

    resumed = checkpoint.network
    again = make_optimizer(resumed, PPOConfig(learning_rate=1.0))  # the saved rate comes back
    checkpoint.restore_optimizer(again)
    stream = checkpoint.generator()
    for update in range(2, 5):
        ppo_update(network, optimizer, own_rollout(network, seed=update), CONFIG, rng)
        ppo_update(resumed, again, own_rollout(resumed, seed=update), CONFIG, stream)
    assert resumed.digest == network.digest
    assert stream.random() == rng.random()


def test_weights_alone_are_enough_to_act(tmp_path):
    path = save_checkpoint(tmp_path / "policy.json", small_network())
    checkpoint = load_checkpoint(tmp_path / "policy")
    assert path == tmp_path / "policy.json"
    assert checkpoint.network.digest == small_network().digest
    with pytest.raises(CheckpointError, match="found none saved"):
        checkpoint.restore_optimizer(make_optimizer(checkpoint.network, CONFIG))
    with pytest.raises(CheckpointError, match="expected a random state"):
        checkpoint.generator()


def test_loading_draws_nothing_from_the_global_stream(tmp_path):
    save_checkpoint(tmp_path / "policy", small_network())
    before = torch.get_rng_state()
    network = load_checkpoint(tmp_path / "policy").network
    assert torch.equal(before, torch.get_rng_state())
    assert all(
        weight.requires_grad and weight.device.type == "cpu" for weight in network.parameters()
    )


def test_saving_again_replaces_and_leaves_two_files(tmp_path):
    save_checkpoint(tmp_path / "policy", small_network(0))
    save_checkpoint(tmp_path / "policy-best", small_network(9))
    save_checkpoint(tmp_path / "policy", small_network(1))
    assert load_checkpoint(tmp_path / "policy").network.digest == small_network(1).digest
    assert load_checkpoint(tmp_path / "policy-best").network.digest == small_network(9).digest
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_save_that_fails_leaves_the_previous_checkpoint(tmp_path, monkeypatch, suffix):
    save_checkpoint(tmp_path / "policy", small_network(0))
    real = Path.replace

    def full_disk(self, target):
        if str(target).endswith(suffix):
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(tmp_path / "policy", small_network(1))
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "policy").network.digest == small_network(0).digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action_lookup": {**SPEC.action_lookup, 3: "dance"}}, "action 3: expected 'dance'"),
        ({"feature_names": SPEC.feature_names[::-1]}, "feature 0: expected 'feature_5'"),
        ({"features_dim": 7}, "features_dim: expected 7, found 6"),
        ({"map_shape": None}, "map_shape: expected None"),
    ],
)
def test_a_checkpoint_of_another_town_is_refused(tmp_path, changes, message):
    path = save_checkpoint(tmp_path / "policy", small_network())
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path, observation=SPEC.model_copy(update=changes))


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    path = save_checkpoint(tmp_path / "policy", small_network())
    wider = SMALL.model_copy(update={"trunk_widths": (64,)})
    with pytest.raises(CheckpointError, match=r"trunk_widths: expected \(64,\), found \(32,\)"):
        load_checkpoint(path, config=wider)


def test_damaged_weights_are_refused(tmp_path):
    path = save_checkpoint(tmp_path / "policy", small_network())
    weights = next(tmp_path.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="altered or damaged"):
        load_checkpoint(path)
    weights.unlink()
    with pytest.raises(CheckpointError, match="the file is missing"):
        load_checkpoint(path)


def test_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path):
    path = save_checkpoint(tmp_path / "policy", small_network())
    honest = json.loads(path.read_text())
    huge = {**honest["network"], "map_width": 4096, "trunk_widths": [4096] * 8}
    lies = [
        ({"network": huge}, "weight '.*': expected"),
        ({"network": {**huge, "map_width": 5000}}, "network.map_width"),
        ({"network": {**honest["network"], "activation": "relu"}}, None),
        ({"schema_version": 2}, "expected schema_version 1, found 2"),
        ({"weights_digest": "0" * 64}, "do not have the digest"),
        ({"tensors_file": "../policy.safetensors"}, "not a plain relative path"),
        ({"tensors_file": "/etc/passwd"}, "not a plain relative path"),
        ({"pickle": "x"}, "pickle: Extra inputs"),
    ]
    for changes, message in lies:
        edit(path, **{**honest, **changes})
        if message is None:
            load_checkpoint(path)  # legal: another activation has the same weights
        else:
            with pytest.raises(CheckpointError, match=message):
                load_checkpoint(path)
        path.write_text(json.dumps(honest))


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="the file is missing"):
        load_checkpoint(tmp_path / "nothing")
    for text in ("", "[]", '{"schema_version": 1}', '{"a": 1, "a": 2}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "bad")


def test_what_could_not_be_loaded_again_is_not_saved(tmp_path):
    network = small_network()
    sgd = torch.optim.SGD(network.parameters(), lr=1.0)
    with pytest.raises(CheckpointError, match=r"expected torch.optim.Adam .* found SGD"):
        save_checkpoint(tmp_path / "policy", network, TrainingState(sgd))
    legacy = np.random.Generator(np.random.MT19937(0))
    with pytest.raises(CheckpointError, match="found MT19937"):
        save_checkpoint(tmp_path / "policy", network, TrainingState(rng=legacy))
    with pytest.raises(CheckpointError, match="not a plain relative path"):
        save_checkpoint(tmp_path / "my policy", network)
    assert os.listdir(tmp_path) == []


def test_an_optimizer_of_other_parameters_is_refused(tmp_path):
    network, optimizer, rng = trained(1)
    path = save_checkpoint(tmp_path / "policy", network, TrainingState(optimizer, rng))
    deeper = small_network(trunk_widths=(32, 32))
    with pytest.raises(CheckpointError, match="found state of"):
        load_checkpoint(path).restore_optimizer(make_optimizer(deeper, CONFIG))
    wider = small_network(trunk_widths=(48,))
    with pytest.raises(CheckpointError, match="optimizer state of parameter"):
        load_checkpoint(path).restore_optimizer(make_optimizer(wider, CONFIG))
