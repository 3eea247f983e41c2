"""The optional package that pictures need."""

from __future__ import annotations

import os

from townlet_env.errors import ConfigError


def need_pygame() -> None:
    """Make sure that pygame-ce can be imported, without its greeting on stdout.

    Raises:
        ConfigError: It is not installed, or the older pygame is there in its place.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError as error:
        raise ConfigError(
            "pictures need pygame-ce, which is not installed; run: pip install 'townlet[render]'"
        ) from error
    if "IS_CE" not in vars(pygame):
        raise ConfigError(
            "pictures need pygame-ce, found the older pygame in its place; run: "
            "pip uninstall pygame, then: pip install --force-reinstall 'townlet[render]'"
        )
