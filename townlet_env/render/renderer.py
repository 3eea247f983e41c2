"""One renderer per environment: remembers the news, draws when asked."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from townlet_env.errors import ConfigError, nearest
from townlet_env.render.news import News
from townlet_env.render.scene import look_at_town
from townlet_env.render.text import draw_text
from townlet_env.sim.batch import WorldBatch

RenderMode = Literal["ansi"]
RENDER_MODES: tuple[RenderMode, ...] = ("ansi",)
RENDER_FPS = 8  # ticks shown per second in a window or a film

Frame = npt.NDArray[np.uint8]  # (height, width, 3)


class Renderer:
    """Draws one world of a batch, in one mode.

    Attributes:
        mode: ``ansi``, ``rgb_array`` or ``human``.
    """

    def __init__(self, mode: str, title: str, size: int | None = None) -> None:
        """Check the options; nothing is opened before the first drawing.

        Args:
            mode: One of ``RENDER_MODES``.
            title: What the picture is called.
            size: Longer side of the picture in pixels; chosen by the size of the town by default.

        Raises:
            ConfigError: An unknown mode, or pictures are asked for and the extra that draws them
                is not installed.
        """
        if mode not in RENDER_MODES:
            raise ConfigError(
                f"render_mode: unknown value {mode!r}{nearest(str(mode), RENDER_MODES)}"
            )
        self.mode = mode
        self._title = title
        self._size = size
        self._news = News()

    def open(self, batch: WorldBatch, w: int = 0) -> None:
        """Take note that world ``w`` was reset or set to another state."""
        self._news.forget()

    def watch(self, batch: WorldBatch, w: int = 0, fps: float = RENDER_FPS) -> None:
        """Take note of a tick."""
        self._news.take(batch, w)

    def draw(self, batch: WorldBatch, w: int = 0) -> str | Frame | None:
        """Draw the present state of world ``w``.

        Returns:
            Text in mode ``ansi``, uint8 (H, W, 3) in mode ``rgb_array``, None in mode ``human``.

        Raises:
            ResetNeeded: The world was never reset.
            ConfigError: The town does not fit into a picture of this size.
        """
        scene = look_at_town(batch, w, title=self._title, news=self._news.lines)
        return draw_text(scene)

    def close(self) -> None:
        """Close what is open."""
