"""Adam in one compiled pass per tensor, on the state of a ``torch.optim.Adam``."""

from __future__ import annotations

import math

import numpy as np
import torch

from townlet_replay.training.fused_kernels import Floats, Pace, adam_step


class FusedAdam:
    """Steps the weights of one optimizer; its state stays its own, ready to be saved or loaded.

    Args:
        optimizer: ``torch.optim.Adam`` over contiguous float32 parameters, without weight decay.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._parameters: list[torch.nn.Parameter] = optimizer.param_groups[0]["params"]
        self._steps = 0
        self._rows: list[tuple[Floats, Floats, Floats, Floats]] = []

    def begin(self) -> None:
        """Find gradients and moments where they are now; a fresh optimizer gets its first ones."""
        self._rows = []
        for parameter in self._parameters:
            state = self._optimizer.state[parameter]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
            self._steps = int(state["step"])
            gradient = parameter.grad
            if gradient is None:
                raise ValueError("expected a gradient for every parameter, found one without")
            tensors = (parameter.detach(), gradient, state["exp_avg"], state["exp_avg_sq"])
            weight, slope, mean, square = (tensor.view(-1).numpy() for tensor in tensors)
            self._rows.append((weight, slope, mean, square))

    def step(self, clip_scale: float) -> None:
        """Take one step along the gradients times ``clip_scale``."""
        self._steps += 1
        group = self._optimizer.param_groups[0]  # another object once a state was loaded
        beta1, beta2 = group["betas"]
        pace = Pace(
            *map(
                np.float32,
                (
                    clip_scale,
                    1 - beta1,
                    beta2,
                    1 - beta2,
                    group["lr"] / (1 - beta1**self._steps),
                    math.sqrt(1 - beta2**self._steps),
                    group["eps"],
                ),
            )
        )
        for row in self._rows:
            adam_step(*row, pace)

    def end(self) -> None:
        """Tell the optimizer how many steps were taken."""
        for parameter in self._parameters:
            self._optimizer.state[parameter]["step"].fill_(self._steps)
