"""Where everything is in the picture; needs no pygame."""

from __future__ import annotations

from typing import NamedTuple

from townlet_env.errors import ConfigError

MIN_CELL = 8  # pixels; a token in a smaller cell could not be told from another
LARGEST = 8192  # pixels
_USUAL, _USUAL_LARGE = 1120, 1440  # longer side unless asked for: of a small town, of a large one
_LARGE = 24  # cells
_USUAL_CELL = 64  # pixels; a flat is not blown up beyond this unless asked for


class Box(NamedTuple):
    """A rectangle, in pixels."""

    x: int
    y: int
    w: int
    h: int

    @property
    def right(self) -> int:
        """First column beyond it."""
        return self.x + self.w

    @property
    def bottom(self) -> int:
        """First row beyond it."""
        return self.y + self.h


class Geometry(NamedTuple):
    """The parts of a picture; all sizes of text and margins are told in ``em``."""

    width: int  # even, as films ask for it
    height: int  # even
    em: int  # height of a line of text, roughly
    cell: int
    header: Box
    board: Box  # the map
    news: Box
    panel: Box  # the residents

    @property
    def token(self) -> int:
        """Side of a resident's drawing; in large towns more than a cell, so that it is read."""
        return min(max(self.cell, round(1.9 * self.em)), round(1.7 * self.cell))

    def token_box(self, x: int, y: int) -> Box:
        """Return the pixels of a resident who stands in a cell."""
        cell, side = self.cell_box(x, y), self.token
        return Box(cell.x + (cell.w - side) // 2, cell.y + (cell.h - side) // 2, side, side)

    def cell_box(self, x: int, y: int) -> Box:
        """Return the pixels of a cell."""
        return Box(self.board.x + x * self.cell, self.board.y + y * self.cell, self.cell, self.cell)


def lay_out_picture(shape: tuple[int, ...], size: int | None = None) -> Geometry:
    """Divide a picture of a town.

    Args:
        shape: Rows and columns of the town.
        size: Longer side of the picture in pixels, at most; by the size of the town by default.

    Raises:
        ConfigError: Cells would be too small to be told apart, or the picture is far too large.
    """
    rows, columns = shape
    if size is None:
        size = _USUAL_LARGE if max(shape) > _LARGE else _USUAL
        cell = min(_USUAL_CELL, _fit(rows, columns, size))
    else:
        cell = _fit(rows, columns, size)
    if size > LARGEST or cell < MIN_CELL:
        least = next(s for s in range(64, 2**20, 16) if _fit(rows, columns, s) >= MIN_CELL)
        raise ConfigError(
            f"size of the picture: expected from {least} to {LARGEST} pixels for a town of "
            f"{columns} x {rows} cells, found {size}"
        )
    em = _em(size)
    wide, high = max(columns * cell, 22 * em), max(rows * cell, 16 * em)
    header = Box(em, em, wide + em + _panel(em), _header(em))
    top = header.bottom + em
    board = Box(em + (wide - columns * cell) // 2, top + (high - rows * cell) // 2,
                columns * cell, rows * cell)  # fmt: skip
    news = Box(em, top + high + em, wide, _news(em))
    panel = Box(em + wide + em, top, _panel(em), high + em + _news(em))
    width, height = panel.right + em, news.bottom + em
    return Geometry(width + width % 2, height + height % 2, em, cell, header, board, news, panel)


def _em(size: int) -> int:
    return min(26, max(10, size // 80))


def _panel(em: int) -> int:
    return 20 * em


def _header(em: int) -> int:
    return round(3.6 * em)


def _news(em: int) -> int:
    return 9 * em


def _fit(rows: int, columns: int, size: int) -> int:
    """Return the largest cell for which the picture is not longer than ``size``."""
    em = _em(size)
    wide = size - 3 * em - _panel(em) - 1
    high = size - 4 * em - _header(em) - _news(em) - 1
    return min(wide // columns, high // rows)
