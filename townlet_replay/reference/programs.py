"""The example programs, as their docstrings introduce them."""

from __future__ import annotations

import ast
from pathlib import Path

from townlet_replay.reference.markdown import code, table

EXAMPLES = Path(__file__).parents[2] / "examples"  # there in a checkout, which has the pages too


def examples() -> str:
    """Name and first sentence of every example."""
    rows = []
    for path in sorted(EXAMPLES.glob("*.py")):
        told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows.append((code(f"examples/{path.name}"), told.split("\n\n")[0]))
    return table(("program", "shows"), rows)
