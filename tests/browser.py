"""Pages looked at in headless Chromium: what they say, and what they would have fetched."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import pytest

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
OURS = ("file:", "data:", "blob:", "http://127.0.0.1:")
PATIENCE = 180_000  # ms: of a machine that does other things, no claim about the page
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


def chromium() -> str:
    """Where Chromium is; pytest fails with how to install it if it is nowhere."""
    found = shutil.which("chromium")
    if found is None:
        pytest.fail(
            "tests of pages need Chromium, found none; on Debian: apt-get install -y chromium"
        )
    return found


@pytest.fixture(scope="module")
def browser():
    """One Chromium for the tests of a module; conftest.py hands it out."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield running
        running.close()


@contextlib.contextmanager
def looking_at(browser, address, size=DESK, *, strict=True, **settings):
    """A page that must stay silent and by itself: no errors, nothing fetched from elsewhere.

    ``address`` is a URL, or the path of a file, with or without ``#...``; unless ``strict``, errors
    are of no interest.
    """
    url = address if str(address).startswith("http") else "file://" + str(address)
    context = browser.new_context(viewport=size, **settings)
    context.set_default_timeout(PATIENCE)
    page, wrong = context.new_page(), []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda asked: None if asked.url.startswith(OURS) else wrong.append(asked.url)
    )
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    try:
        page.goto(url)
        yield page
        assert wrong == [] or not strict
    finally:
        context.close()


def overflow(page) -> int:
    """Pixels that the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def until(page, condition: str, seconds: float = PATIENCE / 1000) -> None:
    """Wait until JavaScript finds ``condition``; Playwright's own way is against the policy."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"() => {condition}"):
        assert time.monotonic() < end, f"in vain for {condition}"
        page.wait_for_timeout(20)


def saved(path: Path, html: str) -> Path:
    """Write a page to be looked at."""
    path.write_text(html, "utf-8")
    return path
