"""Mode ``human``: a window that shows the picture, keeps the pace and may be closed."""

import warnings

import numpy as np
import pygame
import pytest

with warnings.catch_warnings():
    # The checks import one of PettingZoo's own games in a way PettingZoo deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import render_test

from townlet_env import townlet_v0
from townlet_env.config.load import list_scenarios
from townlet_env.render.renderer import RENDER_MODES
from townlet_env.wrappers import ScriptedScenario


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.display.quit()


@pytest.fixture
def watched():
    env = townlet_v0.parallel_env("queue_conflict", render_mode="human")
    env.metadata["render_fps"] = 1000
    env.reset(seed=4)
    yield env
    env.close()


def window_of(env):
    return env._renderer._window


def shown(env) -> np.ndarray:
    """What is on the window now."""
    surface = window_of(env)._window.get_surface()
    flat = np.frombuffer(pygame.image.tobytes(surface, "RGB"), np.uint8)
    return flat.reshape(surface.get_height(), surface.get_width(), 3)


def close_with_the_mouse(env) -> None:
    pygame.event.post(pygame.Event(pygame.WINDOWCLOSE, window=window_of(env)._window))


def test_a_window_shows_every_step_as_the_array_would(watched):
    twin = townlet_v0.parallel_env("queue_conflict", render_mode="rgb_array")
    twin.reset(seed=4)
    assert np.array_equal(shown(watched), twin.render())
    for _ in range(3):
        for env in (watched, twin):
            env.step(dict.fromkeys(env.agents, 2))
        assert np.array_equal(shown(watched), twin.render())
    assert watched.render() is None
    assert np.array_equal(shown(watched), twin.render())
    assert "queue_conflict" in window_of(watched)._window.title


def test_a_restored_state_is_shown(watched):
    before, state = shown(watched).copy(), watched.get_state()
    watched.step({})
    assert not np.array_equal(shown(watched), before)
    watched.set_state(state)
    assert np.array_equal(shown(watched), before)


def test_steps_keep_the_pace_of_the_metadata(watched):
    class Clock:
        def __init__(self):
            self.paces = []

        def tick(self, fps):
            self.paces.append(fps)

    clock = window_of(watched)._clock = Clock()
    watched.metadata["render_fps"] = 17
    watched.step({})
    watched.render()  # looking again takes no time
    watched.step({})
    assert clock.paces == [17, 17]


def test_a_viewer_may_close_the_window_and_the_town_lives_on(watched):
    close_with_the_mouse(watched)
    watched.step({})
    assert watched._renderer.dismissed
    for _ in range(3):
        watched.step({})
    watched.render()
    watched.reset()
    assert watched._renderer.dismissed
    watched.close()
    assert not watched._renderer.dismissed
    watched.render()  # asked for anew, a new one opens
    assert window_of(watched).is_open


def test_closing_twice_is_fine(watched):
    watched.close()
    watched.close()
    assert window_of(watched) is None


def test_the_end_of_the_program_closes_every_window(watched):
    pygame.event.post(pygame.Event(pygame.QUIT))
    watched.step({})
    assert watched._renderer.dismissed


def test_windows_stand_side_by_side(watched):
    other = townlet_v0.parallel_env("rivalry_decay", render_mode="human")
    other.metadata["render_fps"] = 1000
    other.reset()
    close_with_the_mouse(other)
    watched.step({})  # sees the event of the other one, and leaves it
    assert window_of(watched).is_open
    other.step({})
    assert not window_of(other).is_open
    other.close()


@pytest.mark.parametrize("scenario", list_scenarios())
def test_every_scenario_plays_in_every_mode(scenario):
    for mode in RENDER_MODES:
        env = ScriptedScenario(townlet_v0.parallel_env(scenario, render_mode=mode, max_ticks=4))
        env.unwrapped.metadata["render_fps"] = 1000
        assert env.metadata["render_modes"] == list(RENDER_MODES)
        env.reset()
        while env.agents:
            env.step({})
        kind = {"ansi": str, "rgb_array": np.ndarray, "human": type(None)}[mode]
        assert isinstance(env.render(), kind)
        env.close()


@pytest.mark.filterwarnings(
    "ignore:Observation is not a NumPy array",
    "ignore:We recommend agents to be named in the format",
)
def test_pettingzoos_own_check():
    def env(render_mode):
        town = townlet_v0.env("queue_conflict", render_mode=render_mode, max_ticks=5)
        town.unwrapped.metadata["render_fps"] = 1000
        return town

    render_test(env)
