"""The documents as a site: it builds without a warning and loads nothing from elsewhere."""

import functools
import http.server
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from browser import PHONE, looking_at, overflow, until

import townlet_env
import townlet_env.policies
import townlet_replay
from townlet_replay.reference.docstrings import readable

ROOT = Path(__file__).parents[1]
LOADED = re.compile(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="?(?:https?:)?//', re.I)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Hands out files and says nothing."""

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built once; a warning fails."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr
    return folder


@pytest.fixture(scope="module")
def address(site):
    """Where this machine alone can read it."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(site):
    pages = [page.read_text(encoding="utf-8") for page in site.rglob("*.html")]
    written = {page.stem for page in (ROOT / "docs").rglob("*.md")}
    assert len(pages) > len(written) >= 25
    assert [found[0] for page in pages if (found := LOADED.search(page))] == []
    reference = (site / "API.html").read_text(encoding="utf-8")
    assert "Wrap" in reference  # docstrings are in it
    assert "annotate" in reference


def test_the_reference_has_every_public_name_and_shows_docstrings_as_they_are_meant(site):
    reference = (site / "API.html").read_text(encoding="utf-8")
    homes = [f"{home}.{name}" for name, home in townlet_replay._HOMES.items()]
    homes += [f"townlet_env.errors.{name}" for name in townlet_env.__all__]
    homes += [f"townlet_env.policies.{name}" for name in townlet_env.policies.__all__]
    assert [home for home in homes if f'id="{home}"' not in reference] == []
    # Prompts that became quotations, roles and colons of Sphinx, headings that ran into the text.
    wrong = r"<blockquote>|:(?:attr|class|exc|func|meth|mod):|::</p>|<p>(?:Args|Raises|Returns):"
    assert re.findall(wrong, reference) == []


def test_docstrings_are_put_in_words_of_markdown():
    assert readable("See :class:`~a.b.C` and :meth:`step`.") == "See `C` and `step`."
    assert readable("One.\n\nExample:\n    >>> 1\n") == "One.\n\nExamples:\n    >>> 1\n"
    shown = readable("One.\n\nExample::\n\n    with a:\n        b\n")
    assert shown.startswith("One.\n\n**Examples:**\n\n```python\nwith a:\n    b\n```")


def test_every_page_opens_with_one_title_its_pictures_and_no_complaint(site, address, browser):
    names = sorted(str(page.relative_to(site)) for page in site.rglob("*.html"))
    wrong = {}
    with looking_at(browser, f"{address}/index.html", PHONE) as page:
        for name in names:
            if name == "404.html":
                continue
            page.goto(f"{address}/{name}")
            # Pictures are asked for when they come into sight.
            page.evaluate("for (const one of document.images) one.loading = 'eager'")
            until(page, "[...document.images].every((one) => one.complete)")
            titles = page.locator("h1").count()
            broken = page.evaluate(
                "[...document.images].filter((one) => !one.naturalWidth).map((one) => one.src)"
            )
            if titles != 1 or broken or overflow(page) > 0:
                wrong[name] = (titles, broken, overflow(page))
    assert wrong == {}


def test_search_finds_what_a_reader_looks_for(address, browser):
    with looking_at(browser, f"{address}/index.html") as page:
        page.locator(".md-search__input").fill("action mask")
        until(page, "document.querySelectorAll('.md-search-result__item').length > 0")
        found = page.locator(".md-search-result__list").inner_text()
        assert "mask" in found.lower()
