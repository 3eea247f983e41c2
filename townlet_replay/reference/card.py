"""Tables of the environment card, read off the environment."""

from __future__ import annotations

import inspect
import re
from typing import get_args

from gymnasium.spaces import Box

from townlet_env import townlet_v0
from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.config.sections import RewardsConfig
from townlet_env.views.spaces import ObservationVariant
from townlet_replay.reference.markdown import code, table

_ARGUMENT = re.compile(r"^ {4}(?:    )?(\*{0,2}\w+): (.+?)(?=\n {4,8}\S+: |\n\n|\Z)", re.M | re.S)


def card() -> str:
    """What the environment is, in the lines that cards of environments have."""
    env = townlet_v0.parallel_env()
    agents = env.possible_agents
    counts = sorted({len(load_scenario(name).residents) for name in list_scenarios()})
    clip = RewardsConfig().clip
    rows = [
        ("Import", code("from townlet_env import townlet_v0")),
        ("Actions", "discrete"),
        ("Parallel API", "yes"),
        ("AEC API", "yes"),
        ("Manual control", "no"),
        ("Agents", f"{code(agents)} in `queue_conflict`; {counts[0]} to {counts[-1]} as shipped"),
        ("Action space", code(env.action_space(agents[0]))),
        ("Observation space", "a `Dict`, see below"),
        ("State space", code(f"Box(-1, 1, {env.state_space.shape}, float32)")),
        ("Rewards", f"-{clip:g} to {clip:g} a tick, and more once when leaving town"),
        ("Render modes", ", ".join(code(mode) for mode in env.metadata["render_modes"])),
    ]
    return table(("", "`townlet_v0`"), rows)


def observations() -> str:
    """Keys of an observation by variant."""
    rows = []
    for variant in get_args(ObservationVariant):
        env = townlet_v0.parallel_env(observation=variant)
        space = env.observation_space(env.possible_agents[0])
        for key, part in space.spaces.items():
            assert isinstance(part, Box)
            low, high = float(part.low.min()), float(part.high.max())
            rows.append(
                (code(variant), code(key), str(part.shape), str(part.dtype), f"{low:g} to {high:g}")
            )
    return table(("`observation`", "key", "shape", "type", "values"), rows)


def arguments() -> str:
    """Arguments of ``parallel_env``, in the words of its docstring."""
    made = townlet_v0.parallel_env
    told = dict(
        _ARGUMENT.findall(
            inspect.cleandoc(made.__doc__ or "").split("Args:")[1].split("Raises:")[0]
        )
    )
    rows = []
    for name, parameter in inspect.signature(made).parameters.items():
        default = "" if parameter.default is parameter.empty else code(parameter.default)
        label = f"**{name}" if parameter.kind is parameter.VAR_KEYWORD else name
        rows.append((code(label), default, told[label].replace("``", "`")))
    return table(("argument", "default", "meaning"), rows)
