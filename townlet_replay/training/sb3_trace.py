"""Traces of Stable-Baselines3's learners: what goes in, and what each gradient step comes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from torch.utils.hooks import RemovableHandle

from townlet_replay.training.sb3_tap import NumpyState
from townlet_replay.training.trace import Trace, Value, fingerprint, gradients_of, weights_of

_COLUMNS = (
    "actions",
    "rewards",
    "episode_starts",
    "values",
    "log_probs",
    "action_masks",
    "advantages",
    "returns",
)


class TraceCallback(BaseCallback):
    """Writes a trace of a model as it learns."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace
        self._hook: RemovableHandle | None = None
        self._parts: Callable[[], dict[str, Value]] = dict

    def _on_training_start(self) -> None:
        optimizer: Any = self.model.policy.optimizer
        self._parts = weights_of(self.model.policy, optimizer)
        self._hook = optimizer.register_step_post_hook(self._stepped)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer: Any = self.model.rollout_buffer  # type: ignore[attr-defined]
        stored = buffer.observations
        columns = stored if isinstance(stored, dict) else {"observation": stored}
        found = {f"observations.{key}": column for key, column in columns.items()}
        found |= {name: vars(buffer)[name] for name in _COLUMNS if name in vars(buffer)}
        values = {f"buffer.{name}": fingerprint(column) for name, column in found.items()}
        state = NumpyState.now()
        generator = {"generator": fingerprint(state.keys), "generator.position": state.position}
        self._trace.begin({**values, **generator, **self._parts()})

    def _stepped(self, *_: object) -> None:
        self._trace.minibatch({**gradients_of(self.model.policy), **self._parts()})

    def _on_training_end(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._trace.close()
