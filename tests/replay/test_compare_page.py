"""The report looked at in Chromium: complete, silent, by itself, narrow, and on paper."""

from __future__ import annotations

import pytest
from browser import DESK, PHONE, looking_at, overflow, saved
from comparisons import HOSTILE, made_up

from townlet_replay.compare.findings import Findings
from townlet_replay.compare.page import html_of

SECTIONS = (
    "verdict",
    "curves",
    "best",
    "profile",
    "kpis",
    "thresholds",
    "equality",
    "capture",
    "health",
    "agreement",
    "residents",
    "everything",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    found = made_up(scenario=HOSTILE, residents=(HOSTILE, "bo"))
    folder = tmp_path_factory.mktemp("page")
    return saved(folder / "report.html", html_of(Findings(found)))


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_it_shows_everything_and_fetches_nothing(browser, page, size):
    with looking_at(browser, page, size) as opened:
        opened.wait_for_selector("html[data-drawn]", state="attached")
        for name in SECTIONS:
            assert opened.locator(f"#{name} h2").count() == 1, name
            assert opened.locator(f'nav a[href="#{name}"]').count() == 1, name
        holders = opened.locator("[data-chart]")
        assert holders.count() == int(opened.evaluate("document.documentElement.dataset.drawn"))
        assert holders.count() == opened.locator("[data-chart] .main-svg .xaxislayer-above").count()
        assert overflow(opened) <= 0
        narrow = opened.evaluate(
            "[...document.querySelectorAll('[data-chart]')]"
            ".every(h => h.getBoundingClientRect().right <= innerWidth)"
        )
        assert narrow


def test_hostile_names_stay_text(browser, page):
    with looking_at(browser, page) as opened:
        opened.wait_for_selector("html[data-drawn]", state="attached")
        assert opened.locator("img").count() == 0
        assert opened.title() == f"Comparison on {HOSTILE}"
        assert opened.locator("h1").inner_text() == f"Comparison on {HOSTILE}"
        assert opened.locator("#residents td", has_text=HOSTILE).count() == 1
        labels = opened.locator("#agreement .xtick text, #capture .xtick text").all_text_contents()
        assert HOSTILE in [label.strip() for label in labels]


INTRUDER = """() => {
  const own = document.createElement("script");
  own.textContent = "document.title = 'taken over'";
  document.body.append(own);
  return fetch("http://127.0.0.1:9/").then(() => "reached", () => "refused");
}"""


def test_nothing_but_its_own_scripts_can_run_and_nobody_be_called(browser, page):
    said = []
    with looking_at(browser, page, strict=False) as opened:
        opened.on("console", lambda message: said.append(message.text))
        opened.wait_for_selector("html[data-drawn]", state="attached")
        assert opened.evaluate(INTRUDER) == "refused"
        assert opened.title() != "taken over"
    assert any("Executing inline script violates" in text for text in said), said
    assert any("Refused to connect" in text for text in said), said


def test_charts_fit_on_paper(browser, page):
    with looking_at(browser, page) as opened:
        opened.wait_for_selector("html[data-drawn]", state="attached")
        opened.emulate_media(media="print")
        opened.set_viewport_size({"width": 690, "height": 1000})
        opened.evaluate("dispatchEvent(new Event('beforeprint'))")
        opened.wait_for_timeout(300)
        assert overflow(opened) <= 0
        widths = opened.evaluate(
            "[...document.querySelectorAll('[data-chart] .main-svg')]"
            ".map(svg => svg.getBoundingClientRect().right)"
        )
        assert max(widths) <= 690
        assert not opened.locator("nav").is_visible()
        assert opened.pdf(format="A4").startswith(b"%PDF")
