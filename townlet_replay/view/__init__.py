"""A page to watch what was recorded."""

from townlet_replay.view.page import write_page

__all__ = ["write_page"]
