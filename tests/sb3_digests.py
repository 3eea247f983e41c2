"""What a model of Stable-Baselines3 is to the last bit, update by update."""

import hashlib

import torch
from stable_baselines3.common.callbacks import BaseCallback


def digest(model):
    """SHA-256 of weights and Adam moments."""
    sha = hashlib.sha256()
    for name, tensor in model.policy.state_dict().items():
        sha.update(name.encode() + tensor.numpy().tobytes())
    for moments in model.policy.optimizer.state_dict()["state"].values():
        for name in sorted(moments):
            sha.update(torch.as_tensor(moments[name]).numpy().tobytes())
    return sha.hexdigest()


class Digests(BaseCallback):
    """The digest before the first and after every update."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        self.seen.append(digest(self.model))

    def _on_training_end(self):
        self.seen.append(digest(self.model))
