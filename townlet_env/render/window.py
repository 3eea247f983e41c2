"""A window that shows pictures at a steady pace."""

from __future__ import annotations

import pygame


class Window:
    """One window; several may be open side by side.

    Whoever closes it with the mouse only stops watching: the town lives on, and no new window
    opens until the environment is closed.

    Attributes:
        is_open: False once it was closed, by the viewer or by ``close``.
    """

    def __init__(self, size: tuple[int, int], title: str) -> None:
        """Open a window of ``size`` pixels."""
        pygame.display.init()
        self._window = pygame.Window(f"Townlet: {title}", size)
        self._clock = pygame.time.Clock()
        self.is_open = True

    def show(self, picture: pygame.Surface) -> None:
        """Show a picture of the window's size."""
        self._answer()
        if self.is_open:
            self._window.get_surface().blit(picture, (0, 0))
            self._window.flip()

    def keep_pace(self, fps: float) -> None:
        """Wait until the next tick of ``fps`` a second is due."""
        if self.is_open:
            self._clock.tick(fps)

    def close(self) -> None:
        """Close the window; pygame itself is left running, as others may be using it."""
        if self.is_open:
            self.is_open = False
            self._window.destroy()

    def _answer(self) -> None:
        """Answer what the viewer did to this window; what belongs to others is left to them."""
        if not self.is_open:
            return
        pygame.event.pump()
        wanted = (pygame.WINDOWCLOSE, pygame.QUIT)
        for event in pygame.event.get(wanted):
            if event.type == pygame.QUIT or event.window == self._window:
                self.close()
            else:
                pygame.event.post(event)
