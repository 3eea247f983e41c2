"""Pictures of a town: ``ansi`` text, ``rgb_array`` pixels and a ``human`` window.

``scene`` reads a world into plain facts, ``text`` and ``picture`` draw them. Only the modules that
draw pixels import pygame, and nothing imports those before a picture is asked for.
"""
