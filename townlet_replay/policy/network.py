"""The policy network: ``map -> encoder``, ``features -> MLP``, joint trunk, action and value heads.

One network serves every resident (parameter sharing, IPPO). What it sees and which actions it
chooses from is its :class:`ObservationSpec`; how wide it is, its :class:`NetworkConfig`. Both are
stored with the weights, so that weights never meet another vocabulary unnoticed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from townlet_replay.errors import TrainingError
from townlet_replay.policy.central import TOWN, CentralCritic
from townlet_replay.policy.recurrent import BEGINNING, SEGMENT, STATE, LifeCore
from townlet_replay.sample import ReplaySample

Observations = Mapping[str, NDArray[Any]]
"""Arrays of one batch by key, each ``(B, ...)``."""

_ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
# Gains of orthogonal initialisation: Engstrom et al. 2020, table 1; Huang et al. 2022, detail 2.
_TRUNK_GAIN, _ACTION_GAIN, _VALUE_GAIN = math.sqrt(2.0), 0.01, 1.0

# Upper limits keep a forged checkpoint header from asking for all the memory there is.
Width = Annotated[int, Field(ge=1, le=4096)]
MapSide = Annotated[int, Field(ge=1, le=512)]


class NetworkConfig(BaseModel):
    """Widths and kinds of layers, all counted in units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: Literal["linear", "conv"] = Field(
        "linear",
        description="map encoder: one dense layer, or two 3x3 convolutions and a dense one",
    )
    map_width: Width = Field(64, description="units the map is encoded into")
    conv_channels: tuple[Width, Width] = Field((16, 32), description="used by encoder 'conv'")
    features_width: Width = Field(64, description="units the features are encoded into")
    trunk_widths: tuple[Width, ...] = Field((64,), max_length=8, description="joint hidden layers")
    activation: Literal["tanh", "relu"] = "tanh"
    recurrent: Literal["lstm"] | None = Field(
        None, description="what remembers between trunk and heads; none: nothing does"
    )
    recurrent_width: Width = Field(64, description="units that are remembered")
    critic: Literal["own", "central"] = Field(
        "own", description="values from the trunk, or, live, from the features of the whole town"
    )
    critic_widths: tuple[Width, ...] = Field(
        (64, 64), min_length=1, max_length=8, description="hidden layers of a central critic"
    )


class ObservationSpec(BaseModel):
    """What a network sees and what it chooses from.

    ``features_key`` is ``"features"`` in the town; an environment without a Dict observation is
    recorded under ``"observation"``, which then counts as features (flattened).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    map_shape: tuple[MapSide, MapSide, MapSide] | None  # (C, H, W)
    features_dim: int = Field(ge=1, le=1_000_000)
    action_dim: int = Field(ge=1, le=100_000)
    features_key: Literal["features", "observation"] = "features"
    feature_names: tuple[str, ...] | None = None
    action_lookup: dict[int, str]

    @classmethod
    def from_sample(cls, sample: ReplaySample) -> ObservationSpec:
        """Read the spec off a captured sample.

        Raises:
            TrainingError: the sample's observation keys or actions are not ones a network can use.
        """
        shapes = {key: array.shape[1:] for key, array in sample.observations.items()}
        meta = sample.meta
        if not sample.discrete:
            raise TrainingError(
                f"sample of agent {meta.agent_id!r}: expected actions that are ids of a "
                f"vocabulary, found {sample.actions.dtype}{list(sample.actions.shape)}; "
                "only Discrete action spaces can be trained on"
            )
        return cls._from_shapes(shapes, meta.action_dim, meta.action_lookup, meta.feature_names)

    @classmethod
    def from_spaces(
        cls,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        action_lookup: Mapping[int, str] | None = None,
        feature_names: tuple[str, ...] | None = None,
    ) -> ObservationSpec:
        """Read the spec off an environment's spaces, ``env.action_lookup`` and ``.feature_names``.

        Raises:
            TrainingError: the action space is not Discrete, or the observation has other keys than
                ``map``, ``features``, ``action_mask``.
        """
        if not isinstance(action_space, spaces.Discrete):
            raise TrainingError(
                f"expected a Discrete action space, found {action_space}; "
                "only Discrete action spaces can be trained on"
            )
        parts = (
            dict(observation_space.spaces)
            if isinstance(observation_space, spaces.Dict)
            else {"observation": observation_space}
        )
        shapes = {key: part.shape for key, part in parts.items() if part.shape is not None}
        actions = int(action_space.n)
        lookup = {action: f"action_{action}" for action in range(actions)}
        return cls._from_shapes(shapes, actions, action_lookup or lookup, feature_names)

    @classmethod
    def _from_shapes(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        action_dim: int,
        action_lookup: Mapping[int, str],
        feature_names: tuple[str, ...] | None,
    ) -> ObservationSpec:
        keys = sorted(set(shapes) - {"action_mask"})
        if keys not in (["features"], ["features", "map"], ["observation"]):
            raise TrainingError(
                f"expected observation keys 'features' (and 'map'), or one 'observation', "
                f"found {keys}; flatten other observations into 'features' first"
            )
        map_shape = shapes.get("map")
        if map_shape is not None and len(map_shape) != 3:
            raise TrainingError(f"expected 'map' of shape (C, H, W), found {map_shape}")
        key = keys[0]
        return cls.model_validate(
            {
                "map_shape": map_shape,
                "features_dim": math.prod(shapes[key]),
                "action_dim": action_dim,
                "features_key": key,
                "feature_names": feature_names,
                "action_lookup": dict(sorted(action_lookup.items())),
            }
        )

    def difference(self, other: ObservationSpec) -> str | None:
        """Say in words where ``other`` first differs from this spec; None if they agree."""
        pairs = (
            ("map_shape", self.map_shape, other.map_shape),
            ("features_key", self.features_key, other.features_key),
            ("features_dim", self.features_dim, other.features_dim),
            ("action_dim", self.action_dim, other.action_dim),
        )
        for name, mine, theirs in pairs:
            if mine != theirs:
                return f"{name}: expected {mine}, found {theirs}"
        return _first_difference(
            "feature", _numbered(self.feature_names), _numbered(other.feature_names)
        ) or _first_difference("action", self.action_lookup, other.action_lookup)

    def arrays(self, observations: Observations) -> dict[str, NDArray[Any]]:
        """Check a batch of observations and return what the network uses of it, features flat.

        Keys that the network does not use (``action_mask``) are left out. Nothing is copied.

        Raises:
            TrainingError: a key is missing or has another shape than this spec.
        """
        expected: dict[str, tuple[int, ...]] = {}
        if self.map_shape is not None:
            expected["map"] = self.map_shape
        expected[self.features_key] = (self.features_dim,)
        found = {}
        for key, shape in expected.items():
            if key not in observations:
                raise TrainingError(
                    f"expected observation key {key!r}, found {sorted(observations)}"
                )
            array = np.asarray(observations[key])
            if key == self.features_key:
                array = array.reshape(len(array), -1)
            if array.shape[1:] != shape:
                raise TrainingError(
                    f"observation {key!r}: expected rows of shape {shape}, "
                    f"found {array.shape[1:]}; was it recorded under another variant?"
                )
            found[key] = array
        return found

    def tensors(self, observations: Observations, device: torch.device) -> dict[str, Tensor]:
        """Check a batch of observations and copy it into tensors, dtypes kept.

        Raises:
            TrainingError: a key is missing or has another shape than this spec.
        """
        # Copies: arrays may be read-only.
        return {
            key: torch.tensor(array, device=device)
            for key, array in self.arrays(observations).items()
        }


class TownletNetwork(nn.Module):
    """Logits and value of one observation batch.

    Args:
        spec: what the network sees and chooses from.
        config: kinds and widths of layers.
        seed: seeds the initial weights; None leaves them undefined, to be loaded.

    Building draws nothing from torch's global random state.
    """

    def __init__(self, spec: ObservationSpec, config: NetworkConfig, seed: int | None) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        activation = _ACTIVATIONS[config.activation]
        # torch's layers draw a default initialisation when built; on the meta device they cannot.
        with torch.device("meta"):
            joint = config.features_width
            self.map_encoder: nn.Module | None = None
            if spec.map_shape is not None:
                self.map_encoder = _map_encoder(spec.map_shape, config, activation)
                joint += config.map_width
            self.features_encoder = nn.Sequential(
                nn.Linear(spec.features_dim, config.features_width), activation()
            )
            layers: list[nn.Module] = []
            for width in config.trunk_widths:
                layers += [nn.Linear(joint, width), activation()]
                joint = width
            self.trunk = nn.Sequential(*layers)
            self.core: LifeCore | None = None
            if config.recurrent is not None:
                self._beginning = _beginning_of(spec)
                self.core, joint = LifeCore(joint, config.recurrent_width), config.recurrent_width
            self.action_head = nn.Linear(joint, spec.action_dim)
            self.critic: CentralCritic | None = None
            if config.critic == "central":
                widths = config.critic_widths
                self.critic = CentralCritic(spec.features_dim, widths, activation)
                joint = self.critic.width
            self.value_head = nn.Linear(joint, 1)
        if seed is not None:
            self.to_empty(device="cpu")
            self._initialise(seed)

    def _initialise(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        gains: dict[nn.Module, float] = {
            self.action_head: _ACTION_GAIN,
            self.value_head: _VALUE_GAIN,
        }
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                gain = gains.get(module, _TRUNK_GAIN)
                nn.init.orthogonal_(module.weight, gain, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LSTM):  # Huang et al. 2022, details of the LSTM
                for name, parameter in module.named_parameters():
                    if name.startswith("bias"):
                        nn.init.zeros_(parameter)
                    else:
                        nn.init.orthogonal_(parameter, 1.0, generator=generator)

    def encode(self, observations: Mapping[str, Tensor]) -> Tensor:
        """Return the trunk's output ``(N, width)`` that both heads read."""
        features = observations[self.spec.features_key].flatten(1).float()
        encoded: Tensor = self.features_encoder(features)
        if self.map_encoder is not None:
            encoded = torch.cat([self.map_encoder(observations["map"].float()), encoded], dim=1)
        hidden: Tensor = self.trunk(encoded)
        return hidden

    def forward(self, observations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return unmasked logits ``(N, A)`` and values ``(N,)`` of a batch.

        Args:
            observations: ``map`` (N, C, H, W) of any dtype and ``features`` (N, F), as in the
                spec; with a recurrent core also what :class:`LifeCore` is told.
        """
        logits, values, _ = self.advance(observations)
        return logits, values

    def advance(self, observations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return logits and values, and the states after the last row of every part of a life.

        None stands for the states of a network that remembers nothing.
        """
        hidden, state = self.encode(observations), None
        if self.core is not None:
            features = observations[self.spec.features_key].flatten(1)
            thread = self.core.thread_of(observations, features[:, self._beginning] > 0.5)
            hidden, state = self.core(hidden, thread)
        logits: Tensor = self.action_head(hidden)
        values = self._values(hidden, observations)
        return logits, values, state

    def _values(self, hidden: Tensor, observations: Mapping[str, Tensor]) -> Tensor:
        """Return values (N,); NaN where a central critic does not see the town."""
        if self.critic is not None:
            if TOWN not in observations:
                return torch.full((len(hidden),), torch.nan, device=hidden.device)
            features = observations[self.spec.features_key].flatten(1).float()
            hidden = self.critic(features, observations[TOWN].float())
        values: Tensor = self.value_head(hidden)
        return values.flatten()

    @property
    def state_width(self) -> int:
        """Numbers that a life is remembered by; 0 if nothing is remembered."""
        return 0 if self.core is None else 2 * self.core.width

    def tensors(self, observations: Observations) -> dict[str, Tensor]:
        """Copy what the network uses of a batch to its device; see ``ObservationSpec.tensors``.

        Raises:
            TrainingError: The observations do not fit.
        """
        found = self.spec.tensors(observations, self.device)
        wanted: tuple[str, ...] = () if self.core is None else (SEGMENT, STATE)
        wanted += () if self.critic is None else (TOWN,)
        for key in wanted:
            if key in observations:
                found[key] = torch.tensor(observations[key], device=self.device)
        return found

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.action_head.weight.device

    @property
    def digest(self) -> str:
        """SHA-256 over names, dtypes, shapes and bytes of all weights."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            array = np.ascontiguousarray(tensor.detach().cpu().numpy())
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def _map_encoder(
    shape: tuple[int, int, int], config: NetworkConfig, activation: type[nn.Module]
) -> nn.Sequential:
    channels, height, width = shape
    layers: list[nn.Module] = []
    if config.encoder == "conv":
        first, second = config.conv_channels
        layers += [nn.Conv2d(channels, first, 3, padding=1), activation()]
        layers += [nn.Conv2d(first, second, 3, stride=2, padding=1), activation()]
        channels, height, width = second, (height + 1) // 2, (width + 1) // 2
    layers += [nn.Flatten(), nn.Linear(channels * height * width, config.map_width), activation()]
    return nn.Sequential(*layers)


def _beginning_of(spec: ObservationSpec) -> int:
    """Return the column that tells when a life begins."""
    names = spec.feature_names or ()
    if BEGINNING not in names or len(names) != spec.features_dim:
        raise TrainingError(
            f"network.recurrent: expected the feature {BEGINNING!r}, which tells when a life "
            "begins, found none in this observation; leave network.recurrent out"
        )
    return names.index(BEGINNING)


def _numbered(names: tuple[str, ...] | None) -> dict[int, str]:
    return {} if names is None else dict(enumerate(names))


def _first_difference(kind: str, mine: dict[int, str], theirs: dict[int, str]) -> str | None:
    for index in sorted(mine.keys() | theirs.keys()):
        if mine.get(index) != theirs.get(index):
            return f"{kind} {index}: expected {mine.get(index)!r}, found {theirs.get(index)!r}"
    return None
