"""Playing a scenario to be watched: as a picture, a film, text or a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from townlet_env.config.load import Source, validate
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError
from townlet_env.render.renderer import RENDER_FPS, Renderer, RenderMode
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.wrappers import ScriptedScenario
from townlet_replay.picture_files import FILMS, Film, PictureFile, check_target, write_film

Watch = Callable[[int], None]
Choose = Callable[[Any], dict[str, int]]  # what the residents do, from what they observe


class FilmSettings(BaseModel):
    """What is shown, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        None, description="the scenario's by default"
    )
    at: Annotated[int, Field(ge=0)] | None = Field(
        None, description="tick a film begins at, or a picture shows; the last by default"
    )
    every: Annotated[int, Field(ge=1)] = Field(1, description="ticks per frame")
    fps: Annotated[float, Field(gt=0.0, le=100.0)] = Field(RENDER_FPS, description="per second")
    size: Annotated[int, Field(ge=1)] | None = Field(
        None, description="longer side of a picture in pixels"
    )
    policy: str | None = Field(None, description="everybody follows this script instead")
    checkpoint: Path | None = Field(None, description="a network plays everybody instead")
    greedy: bool = Field(False, description="its most probable actions")


class Shown(NamedTuple):
    """A moment of an episode."""

    tick: int
    look: Any  # text, or uint8 (H, W, 3); None in a window


def film_settings(**settings: object) -> FilmSettings:
    """Return checked settings.

    Raises:
        ConfigError: An unknown setting or a wrong value; names it.
    """
    return validate(FilmSettings, settings, Source("render", {}))


def show(
    config: TownConfig, mode: RenderMode, settings: FilmSettings, watch: Watch | None = None
) -> Iterator[Shown]:
    """Play one episode and yield what is to be seen of it, beginning with tick ``at``.

    The last tick is yielded even if ``every`` would pass over it. A window that its viewer closes
    ends the episode.

    Args:
        config: The scenario; ``config.ticks`` is the length of the episode. Residents without a
            script wait, unless ``policy`` or ``checkpoint`` say what they do.
        mode: ``ansi``, ``rgb_array`` or ``human``.
        settings: What is shown, and how.
        watch: Called after every tick.

    Raises:
        ConfigError: The scenario ends before ``at``, a policy is unknown, the picture is too small
            for the town, or the extra that draws pictures is not installed.
        CheckpointError: The checkpoint is damaged, or of another vocabulary or feature list.
    """
    begin = settings.at or 0
    if begin > config.ticks:
        raise ConfigError(f"at: expected a tick up to {config.ticks}, found {begin}")
    renderer = Renderer(mode, config, settings.size)
    env, choose = _town(config, settings)
    batch = env.unwrapped.batch
    with closing(renderer):
        observations, _ = env.reset(seed=config.seed if settings.seed is None else settings.seed)
        renderer.open(batch)
        tick = 0
        while True:
            over = not env.unwrapped.agents
            if tick >= begin and ((tick - begin) % settings.every == 0 or over):
                yield Shown(tick, renderer.draw(batch))
            if over or renderer.dismissed:
                return
            observations, *_ = env.step(choose(observations))
            tick += 1
            renderer.watch(batch, fps=settings.fps)
            if watch is not None:
                watch(1)


def film(
    config: TownConfig, targets: dict[str, Path], settings: FilmSettings, watch: Watch | None = None
) -> list[PictureFile]:
    """Play one episode and write it as pictures and films.

    Args:
        config: The scenario.
        targets: Files by suffix: ``.png``, ``.gif`` and ``.mp4``. A film shows the episode from
            tick ``at``; a picture that tick, or the last.
        settings: What is shown, and how.
        watch: Called after every tick.

    Raises:
        ConfigError: As ``show``; or a file has a wrong name.
        CaptureError: A file cannot be written; what was there before is intact.
    """
    for suffix, path in targets.items():
        check_target(path, suffix)
    films: dict[str, Film] = {suffix: FILMS[suffix](settings.fps) for suffix in targets}
    still = set(targets) == {".png"}
    if still:  # nothing but its one moment is drawn
        settings = settings.model_copy(update={"every": config.ticks + 1})
    shape: tuple[int, ...] = ()
    for shown in show(config, "rgb_array", settings, watch):
        frame = np.asarray(shown.look)
        shape = frame.shape
        for suffix, target in films.items():
            if suffix != ".png" or settings.at in (None, shown.tick):
                target.add(frame)
        if still and settings.at is not None:
            break
    return [write_film(films[suffix], path, shape) for suffix, path in targets.items()]


def _town(config: TownConfig, settings: FilmSettings) -> tuple[Any, Choose]:
    """Return the environment to be played, and who decides in it."""
    if settings.checkpoint is None and settings.policy is None:
        return ScriptedScenario(TownletParallelEnv(config)), lambda _: {}
    # Only what these need imports torch, which takes longer than many a film.
    from townlet_env.policies.crew import with_policy

    if settings.checkpoint is None:
        played = with_policy(config, str(settings.policy))
        return ScriptedScenario(TownletParallelEnv(played)), lambda _: {}
    if settings.policy is not None:
        raise ConfigError("expected a policy or a checkpoint, found both; leave out one")
    from townlet_replay.capture import town_spec
    from townlet_replay.policy.checkpoint import load_checkpoint
    from townlet_replay.policy.runtime import PolicyRuntime

    env = TownletParallelEnv(config)
    network = load_checkpoint(settings.checkpoint, observation=town_spec(env.plan)).network
    seed = config.seed if settings.seed is None else settings.seed
    runtime = PolicyRuntime(network, seed=seed, greedy=settings.greedy)
    return env, lambda seen: runtime.act({a: seen[a] for a in env.agents}).actions
