"""One renderer per environment: remembers the news, draws when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError, nearest
from townlet_env.render.extra import need_pygame
from townlet_env.render.ground import ground_of
from townlet_env.render.news import News
from townlet_env.render.scene import Scene, look_at_town
from townlet_env.render.text import draw_text
from townlet_env.sim.batch import WorldBatch

if TYPE_CHECKING:
    from townlet_env.render.picture import Painter
    from townlet_env.render.window import Window

RenderMode = Literal["human", "rgb_array", "ansi"]
RENDER_MODES: tuple[RenderMode, ...] = ("human", "rgb_array", "ansi")
RENDER_FPS = 8  # ticks shown per second in a window or a film

Frame = npt.NDArray[np.uint8]  # (height, width, 3)


class Renderer:
    """Draws one world of a batch, in one mode.

    Attributes:
        mode: ``ansi``, ``rgb_array`` or ``human``.
    """

    def __init__(self, mode: str, config: TownConfig, size: int | None = None) -> None:
        """Check the options; nothing is opened before the first drawing.

        Args:
            mode: One of ``RENDER_MODES``.
            config: The scenario; gives the title and the looks of the ground.
            size: Longer side of the picture in pixels; chosen by the size of the town by default.

        Raises:
            ConfigError: An unknown mode, or pictures are asked for and the extra that draws them
                is not installed.
        """
        if mode not in RENDER_MODES:
            raise ConfigError(
                f"render_mode: unknown value {mode!r}{nearest(str(mode), RENDER_MODES)}"
            )
        if mode != "ansi":
            need_pygame()
        self.mode = mode
        self._title = config.name
        self._ground = ground_of(config)
        self._size = size
        self._news = News()
        self._painter: Painter | None = None
        self._window: Window | None = None

    def open(self, batch: WorldBatch, w: int = 0) -> None:
        """Take note that world ``w`` was reset or set to another state; a window shows it."""
        self._news.forget()
        if self.mode == "human":
            self.draw(batch, w)

    def watch(self, batch: WorldBatch, w: int = 0, fps: float = RENDER_FPS) -> None:
        """Take note of a tick; a window shows it and keeps the pace of ``fps`` ticks a second."""
        self._news.take(batch, w)
        if self.mode == "human":
            self.draw(batch, w)
            if self._window is not None:
                self._window.keep_pace(fps)

    def draw(self, batch: WorldBatch, w: int = 0) -> str | Frame | None:
        """Draw the present state of world ``w``.

        Returns:
            Text in mode ``ansi``, uint8 (H, W, 3) in mode ``rgb_array``, None in mode ``human``.

        Raises:
            ResetNeeded: The world was never reset.
            ConfigError: The town does not fit into a picture of this size.
        """
        scene = look_at_town(
            batch, w, title=self._title, ground=self._ground, news=self._news.lines
        )
        if self.mode == "ansi":
            return draw_text(scene)
        if self.mode == "rgb_array":
            return self._paint(scene).pixels(scene)
        self._show(scene)
        return None

    @property
    def dismissed(self) -> bool:
        """True once the viewer has closed the window; the town lives on without it."""
        return self._window is not None and not self._window.is_open

    def close(self) -> None:
        """Close the window, if one is open; the next drawing opens a new one."""
        if self._window is not None:
            self._window.close()
        self._window = None
        self._painter = None

    def _paint(self, scene: Scene) -> Painter:
        if self._painter is None:
            from townlet_env.render.picture import Painter

            self._painter = Painter(scene.ground.shape, self._size)
        return self._painter

    def _show(self, scene: Scene) -> None:
        picture = self._paint(scene).paint(scene)
        if self._window is None:
            from townlet_env.render.window import Window

            self._window = Window(picture.get_size(), self._title)
        self._window.show(picture)


def draw_world(
    batch: WorldBatch,
    w: int = 0,
    *,
    config: TownConfig | None = None,
    size: int | None = None,
    news: tuple[str, ...] = (),
) -> Frame:
    """Return a picture of one world of a batch: uint8 (H, W, 3).

    Args:
        batch: The worlds.
        w: Which of them.
        config: Their scenario; gives the title and the looks of the ground.
        size: Longer side of the picture in pixels; by the size of the town by default.
        news: Lines under the map; ``townlet_env.render.news.News`` collects them.

    Raises:
        ResetNeeded: The world was never reset.
        ConfigError: The town does not fit into a picture of this size, or pygame-ce is missing.
    """
    need_pygame()
    from townlet_env.render.picture import Painter

    title, ground = ("", None) if config is None else (config.name, ground_of(config))
    scene = look_at_town(batch, w, title=title, ground=ground, news=news)
    return Painter(scene.ground.shape, size).pixels(scene)
