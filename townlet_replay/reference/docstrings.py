"""Docstrings as the site shows them: what Sphinx and editors read is put in words of Markdown.

Loaded by mkdocstrings, never by the package itself; needs the extra ``docs``.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Docstring, Extension, Object

ROLE = re.compile(r":(?:attr|class|exc|func|meth|mod):`(~?)([^`]+)`")
EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
INDENTED_EXAMPLE = re.compile(r"^Example::\n\n((?:    .*\n|\n)*(?:    .*)?)", re.MULTILINE)


def readable(text: str) -> str:
    """Return a docstring, already free of its indent, with Markdown for what Sphinx would read.

    ``:meth:`step``` becomes code, of a name with ``~`` only the last part; an ``Example:`` of
    prompts becomes a section that is shown as code; so does what is indented after ``Example::``.
    """
    text = ROLE.sub(_as_code, text)
    text = INDENTED_EXAMPLE.sub(_fenced, text)
    return EXAMPLE.sub("Examples:", text)


def _as_code(found: re.Match[str]) -> str:
    short, name = found.groups()
    return f"`{name.rpartition('.')[2] if short else name}`"


def _fenced(found: re.Match[str]) -> str:
    lines = [line.removeprefix("    ") for line in found[1].rstrip().splitlines()]
    return "\n".join(["**Examples:**", "", "```python", *lines, "```"])


class Readable(Extension):
    """Makes every docstring readable before the site is written."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Replace the docstring of one module, class, function or attribute."""
        if obj.docstring is not None:
            self._rewrite(obj.docstring)

    @staticmethod
    def _rewrite(docstring: Docstring) -> None:
        docstring.value = readable(docstring.value)
