"""A scene as pixels, off screen: the same for arrays, windows and films."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pygame

from townlet_env.render.board import Board
from townlet_env.render.geometry import Geometry, lay_out_picture
from townlet_env.render.labels import short_labels
from townlet_env.render.letters import Letters
from townlet_env.render.margins import Header, draw_news
from townlet_env.render.palette import PAPER
from townlet_env.render.panel import Panel
from townlet_env.render.pen import Sprites
from townlet_env.render.scene import Scene


class Painter:
    """Draws scenes of one town; the same scene always gives the same pixels.

    Attributes:
        geometry: Where everything is in the picture.
    """

    def __init__(self, shape: tuple[int, ...], size: int | None = None) -> None:
        """Divide the picture.

        Args:
            shape: Rows and columns of the town.
            size: Longer side of the picture in pixels, at most.

        Raises:
            ConfigError: The town does not fit into a picture of this size.
        """
        self.geometry: Geometry = lay_out_picture(shape, size)
        self._letters = Letters()
        self._board = Board(self.geometry, self._letters, Sprites())
        self._header = Header(self.geometry, self._letters)
        self._panel = Panel(self.geometry, self._letters)

    def paint(self, scene: Scene) -> pygame.Surface:
        """Return a fresh surface with the scene on it."""
        surface = pygame.Surface((self.geometry.width, self.geometry.height))
        surface.fill(PAPER)
        names = short_labels([resident.name for resident in scene.residents])
        labels = {r.slot: label for r, label in zip(scene.residents, names, strict=True)}
        self._header.draw(surface, scene)
        self._board.draw(surface, scene, labels)
        self._panel.draw(surface, scene, labels)
        draw_news(surface, self.geometry, self._letters, scene.news)
        return surface

    def pixels(self, scene: Scene) -> npt.NDArray[np.uint8]:
        """Return the scene as a fresh array: uint8 (height, width, 3), red, green, blue."""
        picture = self.paint(scene)
        width, height = picture.get_size()
        flat = np.frombuffer(pygame.image.tobytes(picture, "RGB"), np.uint8)
        return flat.reshape(height, width, 3).copy()
