"""The page as one file that needs nothing else: no server, no network."""

from __future__ import annotations

import json
from pathlib import Path

from townlet_replay.errors import CaptureError
from townlet_replay.safe_files import write_files
from townlet_replay.view.facts import Facts

TEMPLATE = "page.html"


def html_of(facts: Facts) -> str:
    """Return the page.

    Names and texts of a capture come from strangers: they are JSON inside the page, in which no
    character can end the element, and are only ever shown as text.

    Raises:
        CaptureError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise CaptureError(
            'a page needs jinja2: install it with "pip install townlet[report]"'
        ) from error
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    data = json.dumps(facts, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    safe = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    title = f"{facts['title']}, episode {facts['episode']}"
    return environment.get_template(TEMPLATE).render(title=title, data=safe)


def write_page(facts: Facts, path: str | Path) -> Path:
    """Write the page, whole or not at all, and return where it is.

    Raises:
        CaptureError: jinja2 is not installed, or the disk refuses.
    """
    out = Path(path)
    write_files(out.parent, {out.name: html_of(facts).encode("utf-8")})
    return out
