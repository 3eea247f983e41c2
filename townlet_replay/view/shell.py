"""The shell of every page: one file, one style sheet, one program, and nothing from elsewhere.

A content security policy names the program and the style sheet by their hashes. So a browser runs
and applies only these two, whatever names of strangers stand in the page, and fetches nothing; a
page that follows a log may ask its own server.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from townlet_replay.errors import CaptureError
from townlet_replay.view.packed import packed

ASSETS = Path(__file__).parent / "assets"


def page_of(
    title: str,
    facts: Mapping[str, Any],
    body: str,
    programs: Sequence[str],
    *,
    asks: bool = False,
) -> str:
    """Return a page.

    Args:
        title: Of the window.
        facts: What the program shows; see ``townlet_replay.view.packed``.
        body: Asset with the elements of the page.
        programs: Assets that make its program, in this order.
        asks: Whether the program may ask the server that it came from.

    Raises:
        CaptureError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise CaptureError(
            'a page needs jinja2: install it with "pip install townlet[report]"'
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, undefined=jinja2.StrictUndefined
    )
    style, program = asset("page.css"), "\n".join(asset(name) for name in programs)
    document, columns = packed(facts)
    return environment.get_template("shell.html").render(
        policy=policy_of([program], [style], asks=asks),
        title=title,
        style=style,
        body=asset(body),
        facts=document,
        columns=columns,
        program=program,
    )


def policy_of(programs: Sequence[str], styles: Sequence[str], *, asks: bool = False) -> str:
    """Return a content security policy under which only these texts run and apply.

    Args:
        programs: What stands inside the script elements that run.
        styles: What stands inside the style elements.
        asks: Whether a program may ask its own server.
    """
    source = "'self'" if asks else "'none'"
    rules = [
        "default-src 'none'",
        f"script-src {' '.join(map(source_of, programs))}",
        f"style-src {' '.join(map(source_of, styles))}",
        "img-src data:",
        f"connect-src {source}",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    return "; ".join(rules)


def asset(name: str) -> str:
    """Return a file that pages are made of."""
    return (ASSETS / name).read_text(encoding="utf-8")


def source_of(text: str) -> str:
    """Return how a content security policy names what stands inside an element."""
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest())
    return f"'sha256-{digest.decode('ascii')}'"
