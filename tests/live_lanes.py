"""Lanes of shipped scenarios, with settings replaced."""

from __future__ import annotations

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.views.lanes import Lanes


def lanes_of(scenario, worlds=1, learners=None, kind=Lanes, **overrides):
    config = load_scenario(scenario, overrides)
    return kind(config, compile_plan(config), worlds, learners)
