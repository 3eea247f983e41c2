"""``townlet render``: files that can be read back, whole or not there at all."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import av
import numpy as np
import pygame
import pytest
import typer
from cli_runs import refusal, townlet
from PIL import Image
from town_captures import tiny_checkpoint

from townlet_env import townlet_v0
from townlet_env.config.load import load_scenario
from townlet_env.errors import ConfigError
from townlet_env.wrappers import ScriptedScenario
from townlet_replay import picture_files
from townlet_replay.film import film, film_settings, show
from townlet_replay.picture_files import Gif

SCENARIO = "kitchen_breakfast"
SIZE = 480


def picture(tick: int, seed: int | None = None, scenario=SCENARIO) -> np.ndarray:
    """What the environment itself draws after so many ticks."""
    env = ScriptedScenario(
        townlet_v0.parallel_env(scenario, render_mode="rgb_array", render_size=SIZE)
    )
    env.reset(seed=env.unwrapped.config.seed if seed is None else seed)
    for _ in range(tick):
        env.step({})
    return env.render()


def read_png(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_gif(path) -> tuple[list[np.ndarray], int]:
    """Frames, and milliseconds per frame."""
    with Image.open(path) as image:
        frames = []
        for k in range(image.n_frames):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")))
        return frames, image.info["duration"]


def read_mp4(path) -> tuple[list[np.ndarray], float]:
    """Frames, and frames per second."""
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], rate


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_films_and_pictures_are_read_back(tmp_path):
    files = {suffix: tmp_path / "new" / f"film.{suffix}" for suffix in ("gif", "mp4", "png")}
    options = [word for suffix, path in files.items() for word in (f"--{suffix}", path)]
    ran = townlet(
        "render", SCENARIO, *options, "--size", SIZE, "--ticks", 12, "--fps", 10, "--json"
    )
    assert ran.code == 0, ran
    want = [picture(tick) for tick in range(13)]
    # The tick of the header counts to the end of the episode, which was cut.
    want = [frame[60:] for frame in want]
    assert np.array_equal(read_png(files["png"])[60:], want[-1])
    frames, duration = read_gif(files["gif"])
    assert (len(frames), duration) == (13, 100)
    assert max(apart(frame[60:], right) for frame, right in zip(frames, want, strict=True)) < 3.0
    frames, rate = read_mp4(files["mp4"])
    assert (len(frames), rate) == (13, 10.0)
    assert max(apart(frame[60:], right) for frame, right in zip(frames, want, strict=True)) < 4.0
    height, width, _ = picture(0).shape
    assert ran.json["scenario"] == SCENARIO
    assert {entry["path"]: entry for entry in ran.json["files"]} == {
        str(path): {
            "path": str(path),
            "frames": 1 if suffix == "png" else 13,
            "width": width,
            "height": height,
            "size": path.stat().st_size,
        }
        for suffix, path in files.items()
    }
    assert sorted(path.name for path in files["gif"].parent.iterdir()) == [
        "film.gif",
        "film.mp4",
        "film.png",
    ]


def test_a_picture_shows_the_tick_asked_for(tmp_path):
    path = tmp_path / "at.png"
    ran = townlet("render", SCENARIO, "--png", path, "--at", 9, "--seed", 5, "--size", SIZE)
    assert np.array_equal(read_png(path), picture(9, seed=5))
    height, width, _ = picture(0).shape
    assert re.fullmatch(rf"{re.escape(str(path))}: {width} x {height} pixels, \d+ kB\n", ran.out)
    townlet("render", SCENARIO, "--png", path, "--size", SIZE)
    assert np.array_equal(read_png(path), picture(60))
    townlet("render", SCENARIO, "--png", path, "--at", 0, "--size", SIZE)
    assert np.array_equal(read_png(path), picture(0))


def test_films_begin_where_asked_and_end_with_the_episode(tmp_path):
    path = tmp_path / "late.gif"
    ran = townlet(
        "render", SCENARIO, "--gif", path, "--at", 50, "--every", 4, "--size", SIZE, "--fps", 100
    )
    frames, duration = read_gif(path)
    assert (len(frames), duration) == (4, 20)  # ticks 50, 54, 58 and the last
    for frame, tick in zip(frames, (50, 54, 58, 60), strict=True):
        assert apart(frame, picture(tick)) < 3.0
    assert f"{path}: 4 frames of " in ran.out


def test_colours_of_a_gif_are_those_of_the_town():
    gif, frames = Gif(8.0), [picture(tick) for tick in (0, 10, 20)]
    for frame in frames:
        gif.add(frame)
    colours = {
        tuple(colour)
        for colour in np.asarray(picture_files._palette(frames).getpalette()).reshape(-1, 3)
    }
    for colour in ((62, 108, 176), (214, 98, 60), (226, 137, 54), (44, 160, 176), (129, 101, 190)):
        assert colour in colours  # tokens and needs, exactly
    assert gif.finish().startswith(b"GIF89a")


def test_without_a_file_the_town_is_told_as_text():
    one = townlet("render", SCENARIO, "--at", 7)
    env = ScriptedScenario(townlet_v0.parallel_env(SCENARIO, render_mode="ansi"))
    env.reset(seed=env.unwrapped.config.seed)
    for _ in range(7):
        env.step({})
    assert one.out == env.render() + "\n\n"
    every = townlet("render", SCENARIO, "--every", 20, "--json").json
    assert [frame["tick"] for frame in every["frames"]] == [0, 20, 40, 60]
    assert "tick 20/60" in every["frames"][1]["text"]
    assert townlet("render", SCENARIO, "--ticks", 3).out.count("kitchen breakfast") == 4


def test_on_a_terminal_text_plays_in_place(monkeypatch):
    import time

    from townlet_replay.cli import console

    pauses, said = [], []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(typer, "echo", said.append)
    monkeypatch.setattr(type(console.stdout), "is_terminal", property(lambda _: True))
    monkeypatch.setenv("LINES", "10")
    townlet("render", SCENARIO, "--ticks", 2, "--fps", 4)
    assert pauses == [0.25] * 3
    assert all(frame.startswith("\x1b[2J\x1b[Hkitchen breakfast") for frame in said)
    assert [frame.count("\n") for frame in said] == [8] * 3  # what fits, and the cursor's line


def test_everybody_may_follow_another_script_or_a_network(tmp_path):
    still = townlet("render", SCENARIO, "--at", 30, "--policy", "idle").out
    assert still.splitlines()[3:9] == townlet("render", SCENARIO, "--at", 0).out.splitlines()[3:9]
    network = tiny_checkpoint(tmp_path / "net", SCENARIO)
    options = ("--at", 30, "--checkpoint", network)
    played = townlet("render", SCENARIO, *options)
    assert played.code == 0
    assert played.out == townlet("render", SCENARIO, *options).out
    assert played.out != still
    assert "found both" in refusal("render", SCENARIO, *options, "--policy", "idle")


def test_a_window_plays_the_episode(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    ran = townlet("render", SCENARIO, "--window", "--ticks", 5, "--fps", 100, "--json")
    assert ran.json == {"scenario": SCENARIO, "last_tick": 5}
    pygame.display.quit()


def test_a_window_closed_by_its_viewer_ends_the_episode(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    moments = show(load_scenario(SCENARIO), "human", film_settings(fps=100))
    assert next(moments).tick == 0
    pygame.event.post(pygame.Event(pygame.QUIT))
    assert [moment.tick for moment in moments] == [1]
    pygame.display.quit()


def test_an_interrupted_film_leaves_what_was_there(tmp_path):
    path = tmp_path / "film.gif"
    path.write_bytes(b"older")

    def interrupt(_):
        raise KeyboardInterrupt

    targets = {".gif": path, ".mp4": tmp_path / "film.mp4"}
    with pytest.raises(KeyboardInterrupt):
        film(load_scenario(SCENARIO), targets, film_settings(size=SIZE), interrupt)
    assert [found.name for found in tmp_path.iterdir()] == ["film.gif"]
    assert path.read_bytes() == b"older"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--png", "town.jpg"), "town.jpg: expected a name that ends in .png, found 'town.jpg'"),
        (("--gif", "folder.gif"), "folder.gif: expected the name of a file, found a folder"),
        (("--at", 61), "at: expected a tick up to 60, found 61"),
        (("--fps", 0), "render: fps: expected greater than 0, found 0.0"),
        (("--png", "a.png", "--size", 90), "expected from 304 to 8192 pixels for a town of 9 x 6"),
        (("--window", "--png", "a.png"), "expected --window or files, found both; leave out one"),
        (("--policy", "needs_drivn"), "did you mean 'needs_driven'"),
        (("--checkpoint", "none.json"), "none.json"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.gif").mkdir()
    assert message in refusal("render", SCENARIO, *options)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.gif"]


def test_what_writes_films_may_be_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"needs av, .* pip install 'townlet\[render\]'"):
        picture_files.check_target(tmp_path / "a.mp4", ".mp4")


def test_json_is_all_there_is_on_stdout(tmp_path):
    """Also where pygame would greet: in a process of its own."""
    command = [sys.executable, "-m", "townlet_replay", "render", SCENARIO]
    options = ["--png", str(tmp_path / "a.png"), "--at", "0", "--json"]
    ran = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["files"][0]["frames"] == 1
