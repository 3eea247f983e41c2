"""Where commands print: results to stdout, progress and messages to stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

stdout = Console()
stderr = Console(stderr=True)


def printable(text: str) -> str:
    """Keep names from files from being read as terminal codes."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def aligned(rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Return rows as lines; the first ``texts`` columns begin, the others end, below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


class Bar:
    """A progress bar on a terminal; quiet lines elsewhere."""

    def __init__(self, progress: Progress | None, title: str, total: int) -> None:
        self._progress = progress
        self._title = title
        self._total = total
        self._done = 0
        self._task = None if progress is None else progress.add_task(title, total=total, note="")

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Move on by ``amount`` and show ``note`` beside the bar."""
        before, self._done = self._done, min(self._done + amount, self._total)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self._done, note=note)
            return
        # Off a terminal: a line at each quarter and at the end, not one per step.
        if self._done * 4 // self._total > before * 4 // self._total:
            line = f"{self._title}: {self._done}/{self._total} {note}".rstrip()
            stderr.print(line, highlight=False, markup=False)


@contextmanager
def bars() -> Iterator[Progress | None]:
    """Open the place where bars are drawn; None off a terminal."""
    if not stderr.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=stderr) as progress:
        yield progress


@contextmanager
def bar(title: str, total: int) -> Iterator[Bar]:
    """Show one bar."""
    with bars() as progress:
        yield Bar(progress, title, total)
